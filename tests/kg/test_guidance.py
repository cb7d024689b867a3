"""What is left out of a guidance graph: rows of held-out chromosomes, and whole datasets."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from kg.guidance import GuidanceGraph, chrom_of, read_guidance
from kg.releases import publish
from tests.kg import toy
from tests.kg.test_staleness import PCHIC, contacts

if TYPE_CHECKING:
    from kg.store import Store

TYPES = ["NEAR", "CONTACTS"]


@pytest.fixture
def world(store: Store) -> Store:
    toy.load_world(store)  # NEAR: (0, G1), (2000, G2); all on chr1
    toy.load(store, PCHIC, contacts([(2000, "G2"), (5000, "G3"), (0, "G3")]))
    publish(store)
    return store


def pairs(graph: GuidanceGraph) -> set[tuple[str, str]]:
    return set(zip(graph.vertices[graph.source].tolist(), graph.vertices[graph.target].tolist(), strict=True))


NEARS = {(toy.peak_id(0), "G1"), (toy.peak_id(2000), "G2")}
TOUCH = {(toy.peak_id(2000), "G2"), (toy.peak_id(5000), "G3"), (toy.peak_id(0), "G3")}


def test_contacts_of_held_out_chromosomes_do_not_guide(world: Store) -> None:
    assert pairs(read_guidance(world, 1, TYPES)) == NEARS | TOUCH
    assert pairs(read_guidance(world, 1, TYPES, held_out=["chr2"])) == NEARS | TOUCH
    held = read_guidance(world, 1, TYPES, held_out=["chr1", "chr2"])
    assert pairs(held) == NEARS
    assert "pchic:toy" in held.datasets, "its rows elsewhere would guide"


def test_a_dataset_left_out_is_not_read(world: Store) -> None:
    whole = read_guidance(world, 1, TYPES)
    less = read_guidance(world, 1, TYPES, without=["pchic:toy"])
    assert pairs(less) == NEARS
    assert set(whole.datasets) - set(less.datasets) == {"pchic:toy"}
    assert less.hash == read_guidance(world, 1, ["NEAR"]).hash


def test_edges_go_with_the_nodes_of_a_dataset_left_out(world: Store) -> None:
    less = read_guidance(world, 1, TYPES, without=["genes:toy"])
    assert less.vertices.tolist() == sorted(toy.peak_id(start) for start in (0, 2000, 5000))
    assert pairs(less) == set()


def test_the_chromosome_is_in_the_id() -> None:
    assert chrom_of("GRCh38:chr8:100-600") == "chr8"
    assert chrom_of("GRCh38:HLA-A*01:01:01:01:100-600") == "HLA-A*01:01:01:01"
