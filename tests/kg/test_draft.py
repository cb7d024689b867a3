"""The draft on a real Neo4j: loads write only what differs, readers of older releases see nothing of it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from kg.errors import (
    Conflict,
    DatasetStale,
    DraftHeld,
    LoadIncomplete,
    SchemaError,
    UnknownDataset,
    UnknownRelease,
)
from kg.evidence import stored_rows
from kg.evidence.draft import open_draft
from kg.evidence.nodes import read_nodes
from kg.evidence.row_diff import Changes, StoredRow
from kg.evidence.row_writer import RowWriter
from kg.guidance import read_guidance
from kg.guidance.policy import power_decay
from kg.releases import discard, publish, releases, served, verify
from kg.schema import GENE, OPEN, PEAK
from kg.store import leases
from tests.kg import toy

if TYPE_CHECKING:
    from kg.schema import RowType
    from kg.store import Store


def symbols(store: Store, number: int) -> dict[str, str]:
    table = read_nodes(store, GENE, number)
    return dict(zip(table["id"].to_pylist(), table["symbol"].to_pylist(), strict=True))


def evidence(store: Store) -> list[dict[str, Any]]:
    """Every evidence row there is, byte for byte."""
    return store.read(
        "MATCH (a)-[r:NEAR]->(b) RETURN a.id AS a, b.id AS b, properties(r) AS r UNION ALL "
        "MATCH (a)-[:HAS_RECORD]->(b) RETURN a.id AS a, null AS b, properties(b) AS r"
    )


def test_a_new_gene_name_is_seen_only_from_its_release_on(store: Store) -> None:
    toy.load_world(store)
    publish(store)
    changes = toy.load(store, toy.GENES, toy.genes({"G1": "ALPHA", "G2": "BETA2", "G3": "GAMMA"}), "two")
    assert changes == Changes(0, 1, 0, 2)
    assert symbols(store, 1)["G2"] == "BETA"
    assert symbols(store, 2)["G2"] == "BETA2"
    assert served(store).release == 1


def test_the_same_rows_again_write_nothing(store: Store) -> None:
    toy.load_world(store)
    publish(store)
    before = evidence(store)
    assert toy.load(store, toy.NEARS, toy.near([(2000, "G2"), (0, "G1")]), "shuffled") == Changes(0, 0, 0, 2)
    assert evidence(store) == before
    assert publish(store) is None


def test_shuffled_rows_are_known_by_the_sum_of_their_hashes(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """The graph is asked for its rows where they differ, and not where they are the same in another order."""
    toy.load_world(store)
    publish(store)
    asked: list[str] = []
    plain = stored_rows.stored_rows

    def watched(store: Store, type_: RowType, dataset: str, draft: int) -> list[StoredRow]:
        asked.append(type_.name)
        return plain(store, type_, dataset, draft)

    monkeypatch.setattr(stored_rows, "stored_rows", watched)
    assert toy.load(store, toy.NEARS, toy.near([(2000, "G2"), (0, "G1")]), "shuffled") == Changes(0, 0, 0, 2)
    assert not asked
    assert toy.load(store, toy.NEARS, toy.near([(2000, "G2"), (0, "G2")]), "other") == Changes(1, 0, 1, 1)
    assert asked == ["NEAR"]


def test_rows_that_only_leave_their_part_are_compared(store: Store) -> None:
    toy.load(store, toy.GENES, toy.genes({"G1": "A", "G2": "B"}), "one", part="north")
    assert toy.load(store, toy.GENES, toy.genes({"G1": "A", "G2": "B"}), "whole") == Changes(0, 0, 0, 2)
    parts = store.read("MATCH (r:GeneRecord) RETURN DISTINCT r.part AS part")
    assert parts == [{"part": None}]


def test_a_known_checksum_needs_no_comparison_and_another_one_is_remembered(store: Store) -> None:
    toy.load_world(store)
    publish(store)
    toy.load(store, toy.NEARS, toy.near([(2000, "G2"), (0, "G1")]), "shuffled")
    with open_draft(store, "test") as draft:
        assert draft.nothing_to_do(toy.NEARS, toy.snapshot("one"))
        assert draft.nothing_to_do(toy.NEARS, toy.snapshot("shuffled"))
        assert not draft.nothing_to_do(toy.NEARS, toy.snapshot("unseen"))


def test_changed_peaks_make_looked_up_rows_stale(store: Store) -> None:
    toy.load_world(store)
    publish(store)
    toy.load(store, toy.PEAKS, toy.peaks([0, 2000, 5000, 9000]), "two")
    with open_draft(store, "test") as draft:
        assert not draft.nothing_to_do(toy.NEARS, toy.snapshot("one"))
    with pytest.raises(DatasetStale, match="proximity:toy"):
        publish(store)
    toy.load(store, toy.NEARS, toy.near([(0, "G1"), (2000, "G2")]), "rebuilt")
    assert publish(store) is not None


def test_rows_close_reopen_and_come_back(store: Store) -> None:
    toy.load_world(store)
    publish(store)
    published = evidence(store)
    one = toy.near([(0, "G1")])
    assert toy.load(store, toy.NEARS, one, "less") == Changes(0, 0, 1, 1)
    assert [r["r"]["until"] for r in evidence(store) if r["b"] == "G2"] == [2]
    toy.load(store, toy.NEARS, toy.near([(0, "G1"), (2000, "G2")]), "back")
    key = str
    assert sorted(evidence(store), key=key) == sorted(published, key=key)


def test_a_changed_measurement_closes_the_old_row(store: Store) -> None:
    toy.load_world(store)
    publish(store)
    changes = toy.load(store, toy.NEARS, toy.near([(0, "G1"), (2000, "G2")], distance_bp=7), "moved")
    assert changes == Changes(0, 2, 0, 0)
    rows = [(r["r"]["since"], r["r"]["until"], r["r"]["distance_bp"]) for r in evidence(store) if r["b"] == "G1"]
    assert sorted(rows) == [(1, 2, 0), (2, OPEN, 7)]


def test_closing_more_than_half_needs_to_be_said(store: Store) -> None:
    toy.load_world(store)
    before = evidence(store)
    few = toy.genes({"G1": "ALPHA"})
    with pytest.raises(Conflict, match="remove 2 of the 3 rows"):
        toy.load(store, toy.GENES, few, "few")
    assert evidence(store) == before


def test_a_node_that_evidence_still_uses_is_not_closed(store: Store) -> None:
    toy.load_world(store)
    toy.load(store, toy.OTHER, toy.near([(5000, "G3")]))
    with pytest.raises(Conflict, match=r"G3 \(NEAR of links:toy\)"):
        toy.load(store, toy.GENES, toy.genes({"G1": "ALPHA", "G2": "BETA"}), "two")


def test_an_edge_to_a_missing_node_is_refused_before_anything_is_written(store: Store) -> None:
    toy.load_world(store)
    before = evidence(store)
    with pytest.raises(SchemaError, match="1 rows name a Gene that does not exist, such as G9"):
        toy.load(store, toy.OTHER, toy.near([(0, "G1"), (0, "G9")]))
    assert evidence(store) == before


def test_planning_writes_nothing(store: Store) -> None:
    toy.load_world(store)
    before = evidence(store)
    assert toy.load(
        store, toy.GENES, toy.genes({"G1": "X", "G2": "Y", "G3": "Z", "G4": "N"}), "p", plan=True
    ) == Changes(1, 3, 0, 0)
    assert evidence(store) == before


def test_an_interrupted_load_is_invisible_blocks_publishing_and_is_finished_by_running_it_again(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    toy.load_world(store)
    publish(store)
    frozen = symbols(store, 1)
    more = toy.genes({"G1": "NEW", "G2": "BETA", "G3": "GAMMA", "G4": "DELTA"})

    def die(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(RowWriter, "create", die)
        with pytest.raises(KeyboardInterrupt):
            toy.load(store, toy.GENES, more, "two")
    assert symbols(store, 1) == frozen
    with pytest.raises(LoadIncomplete, match="genes:toy"):
        publish(store)
    with open_draft(store, "test") as draft:
        assert not draft.nothing_to_do(toy.GENES, toy.snapshot("two"))
    toy.load(store, toy.GENES, more, "two")
    toy.load(store, toy.NEARS, toy.near([(0, "G1"), (2000, "G2")]), "rebuilt")
    publish(store)
    assert symbols(store, 2) == {"G1": "NEW", "G2": "BETA", "G3": "GAMMA", "G4": "DELTA"}
    assert verify(store, 1).number == 1
    assert verify(store, 2).number == 2


def test_discard_gives_back_the_published_rows(store: Store) -> None:
    toy.load_world(store)
    publish(store)
    before = evidence(store)
    toy.load(store, toy.GENES, toy.genes({"G1": "NEW", "G2": "BETA", "G4": "DELTA"}), "two")
    toy.load(store, toy.NEARS, toy.near([(0, "G1")]), "two")
    assert discard(store) == 2
    key = str
    assert sorted(evidence(store), key=key) == sorted(before, key=key)
    assert publish(store) is None


def test_discarding_the_first_draft_leaves_nothing(store: Store) -> None:
    toy.load_world(store)
    assert discard(store) == 3
    assert evidence(store) == []
    assert store.read("MATCH (n) WHERE n:Gene OR n:Peak OR n:Dataset RETURN n") == []


def test_two_writers_do_not_share_the_draft(store: Store) -> None:
    with (
        open_draft(store, "regkg load genes"),
        pytest.raises(DraftHeld, match="regkg load genes"),
        open_draft(store, "x"),
    ):
        pass
    with open_draft(store, "afterwards"):
        pass


def test_the_lease_of_a_dead_process_is_taken_over(store: Store) -> None:
    host = leases.this_process().split(":")[0]
    store.write(
        "MERGE (l:Lease {name: 'draft'}) SET l.token = 'old', l.holder = 'gone', l.process = $p, "
        "l.expires_at = timestamp() + 1000000",
        p=f"{host}:999999:1.00",
    )
    with open_draft(store, "test") as draft:
        assert draft.number == 1


def test_a_writer_that_lost_the_lease_writes_nothing(store: Store) -> None:
    toy.load_world(store)
    before = evidence(store)
    with open_draft(store, "slow") as draft:
        store.write("MATCH (l:Lease {name: 'draft'}) SET l.token = 'thief'")
        with pytest.raises(DraftHeld, match="slow lost the draft"):
            draft.load(toy.GENES, toy.snapshot("two"), [toy.genes({"G1": "A", "G2": "B", "G3": "C"})])
    assert evidence(store) == before


def test_the_release_hash_depends_on_rows_only(store: Store) -> None:
    toy.load_world(store)
    publish(store)
    hashes = dict(releases(store)[0].datasets)
    store.write("MATCH (n) WHERE NOT n:Schema DETACH DELETE n")
    toy.load(store, toy.PEAKS, toy.peaks([5000, 0, 2000]), "shuffled")
    toy.load(store, toy.GENES, toy.genes({"G1": "ALPHA", "G2": "BETA", "G3": "GAMMA"}))
    toy.load(store, toy.NEARS, toy.near([(2000, "G2"), (0, "G1")]))
    publish(store)
    assert dict(releases(store)[0].datasets) == hashes


def test_verify_finds_a_row_changed_by_hand(store: Store) -> None:
    toy.load_world(store)
    publish(store)
    assert verify(store, 1).number == 1
    store.write("MATCH (:Peak)-[r:NEAR]->(:Gene {id: 'G1'}) SET r.distance_bp = 3")
    with pytest.raises(Exception, match="rows of proximity:toy differ"):
        verify(store, 1)


def test_nothing_published_and_unknown_releases_are_said(store: Store) -> None:
    with pytest.raises(UnknownRelease, match="nothing is published"):
        served(store)
    toy.load_world(store)
    publish(store, "first")
    assert served(store, 1).publication == 1
    with pytest.raises(UnknownRelease, match="no release 7"):
        served(store, 7)


def test_nodes_carry_the_attributes_of_the_newest_release(store: Store) -> None:
    toy.load_world(store)
    publish(store)
    toy.load(store, toy.GENES, toy.genes({"G1": "NEW", "G2": "BETA", "G3": "GAMMA"}), "two")
    toy.load(store, toy.NEARS, toy.near([(0, "G1"), (2000, "G2")]), "two")
    assert store.read("MATCH (g:Gene {id: 'G1'}) RETURN g.symbol AS s") == [{"s": "ALPHA"}]
    publish(store)
    assert store.read("MATCH (g:Gene {id: 'G1'}) RETURN g.symbol AS s, g.tss AS tss") == [{"s": "NEW", "tss": 0}]


def test_where_datasets_disagree_the_first_by_id_wins(store: Store) -> None:
    toy.load_world(store)
    other = toy.Source("a-first:toy", "genes")
    toy.load(store, other, toy.genes({"G1": "OVERRIDE"}))
    assert symbols(store, 1) == {"G1": "OVERRIDE", "G2": "BETA", "G3": "GAMMA"}


def test_the_guidance_graph_of_a_release_is_sorted_weighed_and_without_parallels(store: Store) -> None:
    toy.load_world(store)
    toy.load(store, toy.OTHER, toy.near([(0, "G1"), (5000, "G3")], distance_bp=10_000))
    publish(store)
    graph = read_guidance(store, 1, ["NEAR"])
    assert graph.vertices.tolist() == sorted(["G1", "G2", "G3", *map(toy.peak_id, (0, 2000, 5000))])
    edges = {
        (graph.vertices[s], graph.vertices[t]): round(float(w), 5)
        for s, t, w in zip(graph.source, graph.target, graph.weight, strict=True)
    }
    assert edges == {
        (toy.peak_id(0), "G1"): 1.0,
        (toy.peak_id(2000), "G2"): 1.0,
        (toy.peak_id(5000), "G3"): 0.16556,
    }
    assert set(graph.datasets) == {"genes:toy", "links:toy", "peaks:toy", "proximity:toy"}
    assert len(read_nodes(store, PEAK, 1)) == 3
    with pytest.raises(Conflict, match="must not guide"):
        read_guidance(store, 1, ["PREDICTED_LINK"])


def test_power_decay_has_the_published_values() -> None:
    distances = np.array([0, 1000, 2000, 10_000, 50_000, 100_000, 150_000])
    expected = [1, 0.59460, 0.43869, 0.16556, 0.05240, 0.03139, 0.02321]
    assert power_decay(distances) == pytest.approx(expected, abs=5e-6)


def test_a_withdrawn_dataset_is_gone_from_the_next_release_only(store: Store) -> None:
    toy.load_world(store)
    publish(store)
    with open_draft(store, "test") as draft:
        assert draft.unload(toy.NEARS.dataset, plan=True) == Changes(0, 0, 2, 0)
        assert draft.unload(toy.NEARS.dataset) == Changes(0, 0, 2, 0)
        with pytest.raises(UnknownDataset, match="proximity:toy"):
            draft.unload(toy.NEARS.dataset)
    publish(store)
    assert len(read_guidance(store, 1, ["NEAR"]).source) == 2
    assert len(read_guidance(store, 2, ["NEAR"]).source) == 0
    verify(store, 1)
    verify(store, 2)


def test_a_withdrawn_dataset_may_come_back(store: Store) -> None:
    toy.load_world(store)
    publish(store)
    before = evidence(store)
    with open_draft(store, "test") as draft:
        draft.unload(toy.NEARS.dataset)
        assert not draft.nothing_to_do(toy.NEARS, toy.snapshot("one"))
    toy.load(store, toy.NEARS, toy.near([(0, "G1"), (2000, "G2")]))
    key = str
    assert sorted(evidence(store), key=key) == sorted(before, key=key)
    with open_draft(store, "test") as draft:
        assert draft.nothing_to_do(toy.NEARS, toy.snapshot("one"))


def test_nodes_that_others_rest_on_are_not_withdrawn(store: Store) -> None:
    toy.load_world(store)
    toy.load(store, toy.OTHER, toy.near([(0, "G1")]))
    with open_draft(store, "test") as draft, pytest.raises(Conflict, match=r"NEAR of links:toy"):
        draft.unload(toy.PEAKS.dataset)
