"""Which published runs are stale, by what and how much, on a real Neo4j."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from kg import runs
from kg.errors import NotFound, UnknownRelease
from kg.evidence.draft import Source
from kg.releases import publish, releases, served
from kg.runs import Registration, predictions
from kg.runs.staleness import decisions, read_types
from kg.schema import CONTACTS
from kg.schema.batches import EdgeBatch
from tests.kg import toy

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from kg.store import Store

PCHIC = Source("pchic:toy", "pchic", looked_up=("Gene", "Peak"))


def contacts(pairs: Sequence[tuple[int, str]], score: float = 7.0) -> EdgeBatch:
    return EdgeBatch.build(
        CONTACTS,
        start_id=[toy.peak_id(start) for start, _ in pairs],
        end_id=[gene for _, gene in pairs],
        score=[score] * len(pairs),
        score_kind="chicago",
        biosample="a",
        bait="chr1:0-9",
        other_end="chr1:1-9",
        bait_to_bait=False,
    )


def complete(store: Store, home: Path, cells: str, edge_types: tuple[str, ...], parent: str | None = None) -> str:
    """A complete run on the served release."""
    release = served(store).release
    used = releases(store)[0].datasets
    about = Registration("glue", cells, release, 0, 1, {}, "abc", "v1", used, {}, edge_types, parent)
    run_id = runs.register(store, about)
    predictions.keep(home, run_id, toy.made(), toy.METRICS)
    runs.write_back(store, home, run_id)
    return run_id


@pytest.fixture
def slots(store: Store, tmp_path: Path) -> dict[str, str]:
    """Two published runs: one read NEAR, the other contacts as well."""
    toy.load_world(store)
    toy.load(store, PCHIC, contacts([(0, "G1"), (2000, "G2")]))
    publish(store)
    made = {
        "glue:near": complete(store, tmp_path, "near", ("NEAR",)),
        "glue:both": complete(store, tmp_path, "both", ("NEAR", "CONTACTS")),
    }
    for run in made.values():
        runs.publish_run(store, run)
    return made


def test_nothing_changed(store: Store, slots: dict[str, str]) -> None:
    found = decisions(store)
    assert [(d.slot, d.run, d.retrain) for d in found] == [(s, slots[s], False) for s in sorted(slots)]
    assert found[0].reason == "it read the served release"
    assert not any(d.changes for d in found)


def test_only_runs_that_read_what_changed_are_to_be_trained(store: Store, slots: dict[str, str]) -> None:
    del slots
    toy.load(store, PCHIC, contacts([(0, "G1"), (5000, "G3"), (2000, "G3")], 9.0), "two")
    publish(store)
    both, near = decisions(store)
    assert (near.slot, near.retrain, near.changes) == ("glue:near", False, ())
    assert "have not changed" in near.reason
    assert (both.slot, both.retrain, both.release, both.served) == ("glue:both", True, 1, 2)
    (change,) = both.changes
    assert vars(change) == {
        "dataset": "pchic:toy", "added": 2, "removed": 1, "changed": 1, "genes": 3, "peaks": 3,
    }  # fmt: skip
    assert both.reason == ("pchic:toy: 2 rows added, 1 removed, 1 changed, at 3 genes and 3 peaks")


def test_nodes_at_the_ends_and_new_datasets_count(store: Store, slots: dict[str, str]) -> None:
    del slots
    toy.load(store, toy.GENES, toy.genes({"G1": "ALPHA", "G2": "OTHER", "G3": "GAMMA"}), "two")
    toy.load(store, toy.OTHER, toy.near([(5000, "G3")]))
    toy.load(store, toy.NEARS, toy.near([(0, "G1"), (2000, "G2")]), "two")
    publish(store)
    (found,) = decisions(store, ["glue:near"])
    assert [(c.dataset, c.added, c.removed, c.changed, c.genes, c.peaks) for c in found.changes] == [
        ("genes:toy", 0, 0, 1, 1, 0),
        ("links:toy", 1, 0, 0, 1, 1),
    ]
    assert found.retrain


def test_a_release_that_was_trained_on_is_not_trained_on_again(
    store: Store, slots: dict[str, str], tmp_path: Path
) -> None:
    toy.load(store, PCHIC, contacts([(0, "G1")]), "two")
    publish(store)
    (before,) = decisions(store, ["glue:both"])
    assert before.retrain
    child = complete(store, tmp_path, "both", ("NEAR", "CONTACTS"), slots["glue:both"])
    runs.add_note(store, child, "gate failed: foscttm")
    (found,) = decisions(store, ["glue:both"])
    assert (found.retrain, found.interrupted) == (False, None)
    assert found.reason == f"{child} was already trained on release 2 and is not published: gate failed: foscttm"
    runs.discard(store, child)
    assert decisions(store, ["glue:both"])[0].retrain, "a discarded run stands for nothing"


def test_a_run_that_was_cut_short_is_named(store: Store, slots: dict[str, str]) -> None:
    toy.load(store, PCHIC, contacts([(0, "G1")]), "two")
    publish(store)
    about = Registration("glue", "both", 2, 0, 1, {}, "abc", "v1", {}, {}, ("NEAR", "CONTACTS"), slots["glue:both"])
    cut = runs.register(store, about)
    assert decisions(store, ["glue:both"])[0].interrupted is None, "its process lives"
    store.write("MATCH (r:ModelRun {id: $id}) SET r.process = split(r.process, ':')[0] + ':999999:1.00'", id=cut)
    (found,) = decisions(store, ["glue:both"])
    assert (found.retrain, found.interrupted) == (True, cut)


def test_what_is_not_published_is_said(store: Store, slots: dict[str, str]) -> None:
    with pytest.raises(NotFound, match="no run is published for glue:blood"):
        decisions(store, ["glue:blood", *slots])


def test_nothing_published_is_said(store: Store) -> None:
    with pytest.raises(UnknownRelease, match="nothing is published"):
        decisions(store)


def test_a_model_reads_the_nodes_at_the_ends_of_its_edges(store: Store) -> None:
    of = runs.run(store, toy.registered(store))
    assert read_types(replace(of, edge_types=("NEAR", "CONTACTS"))) == ["CONTACTS", "Gene", "NEAR", "Peak"]
    assert read_types(of) == ["Gene", "NEAR", "Peak"], "a run of a version that did not say"
    assert read_types(replace(of, node_types=("Gene",))) == ["Gene"]
