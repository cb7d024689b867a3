"""Differences of releases against a dictionary of what was loaded."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from kg.errors import UnknownRelease
from kg.releases import publish
from kg.releases.diff import SCHEMA, Difference, rows, summary, tables
from tests.kg import toy

if TYPE_CHECKING:
    from kg.store import Store


@pytest.fixture
def three(store: Store) -> Store:
    """Release 2 renames a gene, drops a link, moves another and adds a third; release 3 takes the name back."""
    toy.load_world(store)
    publish(store)
    toy.load(store, toy.GENES, toy.genes({"G1": "NEW", "G2": "BETA", "G3": "GAMMA", "G4": "DELTA"}), "two")
    links = toy.near([(0, "G2"), (2000, "G2"), (5000, "G3")], 7)
    toy.load(store, toy.NEARS, links, "two")
    publish(store)
    toy.load(store, toy.GENES, toy.genes({"G1": "ALPHA", "G2": "BETA", "G3": "GAMMA", "G4": "DELTA"}), "three")
    toy.load(store, toy.NEARS, links, "three")
    publish(store)
    return store


def test_the_summary_counts_rows_by_dataset_and_type(three: Store) -> None:
    assert summary(three, 1, 2) == [
        Difference("genes:toy", "Gene", added=1, removed=0, changed=1, rows=4),
        Difference("proximity:toy", "NEAR", added=2, removed=1, changed=1, rows=3),
    ]
    assert summary(three, 2, 1) == [
        Difference("genes:toy", "Gene", added=0, removed=1, changed=1, rows=3),
        Difference("proximity:toy", "NEAR", added=1, removed=2, changed=1, rows=2),
    ]
    assert summary(three, 1, 3, ["Gene"]) == [Difference("genes:toy", "Gene", 1, 0, 0, 4)]
    assert summary(three, 2, 2) == []


def test_rows_carry_both_sides(three: Store) -> None:
    found = {(c.change, c.start_id, c.end_id): c for c in rows(three, 1, 2)}
    assert set(found) == {
        ("changed", "G1", None),
        ("added", "G4", None),
        ("removed", toy.peak_id(0), "G1"),
        ("changed", toy.peak_id(2000), "G2"),
        ("added", toy.peak_id(0), "G2"),
        ("added", toy.peak_id(5000), "G3"),
    }
    gene = found["changed", "G1", None]
    assert gene.before is not None
    assert gene.after is not None
    assert (gene.before["symbol"], gene.after["symbol"]) == ("ALPHA", "NEW")
    assert {k for k in gene.before if gene.before[k] != gene.after[k]} == {"symbol"}
    link = found["changed", toy.peak_id(2000), "G2"]
    assert (link.before, link.after) == (
        {"distance_bp": 0, "tss_distance_bp": 0},
        {"distance_bp": 7, "tss_distance_bp": 7},
    )
    assert found["removed", toy.peak_id(0), "G1"].after is None


def test_backwards_is_the_mirror(three: Store) -> None:
    mirror = {"added": "removed", "removed": "added", "changed": "changed"}
    forward = {(c.change, c.row_id, str(c.before), str(c.after)) for c in rows(three, 1, 3)}
    back = {(mirror[c.change], c.row_id, str(c.after), str(c.before)) for c in rows(three, 3, 1)}
    assert forward == back
    assert {c.type for c in rows(three, 1, 3, types=["NEAR"])} == {"NEAR"}
    assert {c.type for c in rows(three, 1, 3, datasets=["genes:toy"])} == {"Gene"}


def test_tables_hold_the_same_rows_as_json(three: Store) -> None:
    (table,) = tables(rows(three, 1, 2))
    assert table.schema == SCHEMA
    assert table.num_rows == 6
    first = table.to_pylist()[0]
    assert json.loads(first["after"])["symbol"] in {"NEW", "DELTA"}


def test_the_draft_can_be_compared_and_unknown_releases_are_refused(three: Store) -> None:
    toy.load(three, toy.GENES, toy.genes({"G1": "ALPHA", "G2": "BB", "G3": "GAMMA", "G4": "DELTA"}), "four")
    assert summary(three, 3, 4) == [Difference("genes:toy", "Gene", 0, 0, 1, 4)]
    with pytest.raises(UnknownRelease, match="there is no release 9"):
        summary(three, 1, 9)
