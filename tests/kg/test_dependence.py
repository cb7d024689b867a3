"""Called links that rest on one dataset, against sets worked out by hand."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from kg import runs
from kg.errors import Conflict
from kg.releases import publish
from kg.runs import Registration, predictions
from kg.runs.dependence import DatasetShare, Link, links, shares, single_source
from kg.runs.outputs import FeatureEmbedding
from kg.runs.predictions import Predictions
from kg.schema import PREDICTED_LINK
from kg.schema.batches import EdgeBatch
from tests.kg import toy
from tests.kg.test_staleness import PCHIC, contacts

if TYPE_CHECKING:
    from pathlib import Path

    from kg.store import Store

PAIRS = [(0, "G1"), (2000, "G2"), (5000, "G3"), (0, "G2")]


def run_of(store: Store, home: Path, edge_types: tuple[str, ...]) -> str:
    """All pairs are scored, all but the last called."""
    run_id = runs.register(store, Registration("glue", "toy", 1, 0, 1, {}, "abc", "v1", {}, {}, edge_types))
    batch = EdgeBatch.build(
        PREDICTED_LINK,
        start_id=[toy.peak_id(start) for start, _ in PAIRS],
        end_id=[gene for _, gene in PAIRS],
        score=[0.5, 0.25, 0.75, 0.125],
        score_kind="cosine",
        p_value=0.01,
        q_value=0.02,
        sign=1,
        called=[True, True, True, False],
    )
    nodes = Predictions([batch], FeatureEmbedding(["G1"], ["Gene"], toy.vectors()[:1]))
    predictions.keep(home, run_id, nodes, {})
    runs.write_back(store, home, run_id)
    return run_id


@pytest.fixture
def world(store: Store) -> Store:
    toy.load_world(store)  # NEAR of the first two pairs
    toy.load(store, PCHIC, contacts([(2000, "G2"), (5000, "G3"), (0, "G2")]))
    publish(store)
    toy.load(store, PCHIC, contacts([(0, "G1")]), "two", replace=True)  # a later release, which the run did not read
    publish(store)
    return store


def test_links_are_counted_by_what_they_rest_on(world: Store, tmp_path: Path) -> None:
    run = run_of(world, tmp_path, ("NEAR", "CONTACTS"))
    assert {(link.peak, link.gene): link.datasets for link in links(world, run)} == {
        (toy.peak_id(0), "G1"): ("proximity:toy",),
        (toy.peak_id(2000), "G2"): ("pchic:toy", "proximity:toy"),
        (toy.peak_id(5000), "G3"): ("pchic:toy",),
    }
    assert shares(world, run) == [DatasetShare("pchic:toy", 2, 1), DatasetShare("proximity:toy", 2, 1)]
    assert list(single_source(world, run, "pchic:toy")) == [Link(toy.peak_id(5000), "G3", 0.75, ("pchic:toy",))]
    assert {link.gene for link in single_source(world, run)} == {"G1", "G3"}


def test_only_types_that_guided_the_run_count(world: Store, tmp_path: Path) -> None:
    run = run_of(world, tmp_path, ("NEAR",))
    assert shares(world, run) == [DatasetShare("proximity:toy", 2, 2)]
    assert {link.gene for link in single_source(world, run)} == {"G1", "G2"}


def test_a_run_that_is_not_complete_is_refused(world: Store) -> None:
    with pytest.raises(Conflict, match="is running, not complete"):
        shares(world, toy.registered(world))
