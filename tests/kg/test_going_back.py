"""Rolling back, reverting, pinning and pruning on the toy graph."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from kg import runs
from kg.errors import Conflict, MissingInput, UnknownRelease
from kg.evidence.draft import open_draft
from kg.operations.rollback import journal, keep_drafting, roll_back, roll_back_run
from kg.progress import SILENT
from kg.releases import publish, release_hash, served, verify
from kg.releases.revert import revert
from kg.runs import predictions, retention
from tests.kg import toy
from tests.kg.toy import METRICS, made, registered, rows_of

if TYPE_CHECKING:
    from pathlib import Path

    from kg.store import Store


def state(store: Store, number: int) -> list[tuple[str, str]]:
    """Every row of a release."""
    nodes = store.read(
        "MATCH (n)-[:HAS_RECORD]->(r) WHERE r.since <= $n AND $n < r.until RETURN n.id AS id, r.row_hash AS hash",
        n=number,
    )
    edges = store.read(
        "MATCH ()-[r:NEAR]->() WHERE r.since <= $n AND $n < r.until RETURN r.edge_id AS id, r.row_hash AS hash",
        n=number,
    )
    return sorted((row["id"], row["hash"]) for row in [*nodes, *edges])


@pytest.fixture
def two(store: Store) -> Store:
    """Release 2 renames G1, drops G3, adds G4 and a peak, and moves links."""
    toy.load_world(store)
    publish(store, "first")
    toy.load(store, toy.PEAKS, toy.peaks([0, 2000, 5000, 9000]), "two")
    toy.load(store, toy.GENES, toy.genes({"G1": "NEW", "G2": "BETA", "G4": "DELTA"}), "two")
    toy.load(store, toy.NEARS, toy.near([(2000, "G2"), (9000, "G4")], 5), "two", replace=True)
    publish(store, "second")
    return store


def complete(store: Store, home: Path, score: float = 0.5) -> str:
    run_id = registered(store)
    predictions.keep(home, run_id, made(score), METRICS)
    runs.write_back(store, home, run_id)
    return run_id


def test_rolling_back_serves_the_release_before_and_touches_no_row(two: Store, tmp_path: Path) -> None:
    before = state(two, 1), state(two, 2)
    back = roll_back(two, tmp_path, progress=SILENT)
    assert (back.release, back.publication) == (1, 3)
    assert (state(two, 1), state(two, 2)) == before
    assert [(p.number, p.release, p.in_force) for p in journal(two)] == [(3, 1, True), (2, 2, False), (1, 1, False)]
    assert served(two, 2).publication == 2
    with pytest.raises(UnknownRelease, match="no earlier release"):
        roll_back(two, tmp_path, progress=SILENT)
    assert roll_back(two, tmp_path, publication=2, progress=SILENT).release == 2


def test_drafts_are_refused_on_a_release_that_was_rolled_back_from(two: Store, tmp_path: Path) -> None:
    roll_back(two, tmp_path, progress=SILENT)
    with pytest.raises(Conflict, match="release 2 was rolled back from"):
        toy.load(two, toy.GENES, toy.genes({"G1": "X"}), "three")
    with pytest.raises(Conflict, match="rolled back from"):
        publish(two)
    keep_drafting(two)
    assert publish(two) is None
    roll_back(two, tmp_path, publication=2, progress=SILENT)
    roll_back(two, tmp_path, keep=True, progress=SILENT)
    assert publish(two) is None


def test_reverting_gives_the_rows_of_the_release_before(two: Store, tmp_path: Path) -> None:
    roll_back(two, tmp_path, progress=SILENT)
    changes = revert(two, 2)
    assert {c.dataset: (c.added, c.changed, c.removed) for c in changes} == {
        "genes:toy": (1, 1, 1),
        "peaks:toy": (0, 0, 1),
        "proximity:toy": (1, 1, 1),
    }
    now = publish(two)
    assert now is not None
    assert now.release == 3
    assert state(two, 3) == state(two, 1)
    assert verify(two, 3).hash == served(two, 1).hash
    assert len(state(two, 2)) == 3 + 4 + 2
    # the files of the first release are known again
    with open_draft(two, "test") as draft:
        assert draft.nothing_to_do(toy.GENES, toy.snapshot("one"))
        assert draft.nothing_to_do(toy.NEARS, toy.snapshot("one"))


def test_reverting_a_dataset_that_came_withdraws_it_and_one_that_went_returns(store: Store) -> None:
    toy.load_world(store)
    publish(store)
    toy.load(store, toy.OTHER, toy.near([(0, "G3")]))
    with open_draft(store, "test") as draft:
        draft.unload("proximity:toy")
    publish(store)
    revert(store, 2)
    publish(store)
    assert state(store, 3) == state(store, 1)
    with open_draft(store, "test") as draft:
        withdrawn = {v.dataset: v.withdrawn for v in draft.datasets()}
    assert withdrawn == {"genes:toy": False, "peaks:toy": False, "proximity:toy": False, "links:toy": True}


def test_later_work_on_other_rows_stays(two: Store) -> None:
    toy.load(two, toy.GENES, toy.genes({"G1": "NEW", "G2": "OTHER", "G4": "DELTA"}), "three")
    toy.load(two, toy.NEARS, toy.near([(2000, "G2"), (9000, "G4")], 5), "three")
    publish(two)
    revert(two, 2)
    publish(two)
    symbols = two.read(
        "MATCH (g:Gene)-[:HAS_RECORD]->(r) WHERE r.since <= 4 AND 4 < r.until RETURN g.id AS id, r.symbol AS symbol"
    )
    assert {row["id"]: row["symbol"] for row in symbols} == {"G1": "ALPHA", "G2": "OTHER", "G3": "GAMMA"}
    assert verify(two, 4).number == 4


def test_rows_that_later_releases_touched_refuse_and_leave_the_draft_as_it_was(two: Store) -> None:
    toy.load(two, toy.GENES, toy.genes({"G1": "NEWER", "G2": "BETA", "G4": "DELTA"}), "three")
    toy.load(two, toy.NEARS, toy.near([(2000, "G2"), (9000, "G4")], 5), "three")
    publish(two)
    before = state(two, 4)
    with pytest.raises(Conflict, match=r"1 Gene rows of 'genes:toy' that release 2 wrote were changed after it"):
        revert(two, 2)
    assert state(two, 4) == before
    assert publish(two) is None


def test_what_others_rest_on_is_not_reverted_and_the_draft_is_clean(two: Store) -> None:
    toy.load(two, toy.OTHER, toy.near([(0, "G4")]))
    publish(two)
    before = state(two, 4)
    with pytest.raises(Conflict, match=r"nodes that would be removed still have edges: G4"):
        revert(two, 2)
    assert state(two, 4) == before
    assert publish(two) is None


def test_a_revert_that_died_blocks_publishing_and_is_finished_by_itself(
    two: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    loads: list[Any] = []
    with monkeypatch.context() as patch:
        from kg.evidence.draft import Draft

        whole = Draft.load

        def dying(self: Draft, *args: Any, **options: Any) -> Any:
            if len(loads) == 3:
                raise KeyboardInterrupt
            loads.append(args)
            return whole(self, *args, **options)

        patch.setattr(Draft, "load", dying)
        with pytest.raises(KeyboardInterrupt):
            revert(two, 2)
    with pytest.raises(Conflict, match=r"genes:toy|proximity:toy"):
        publish(two)
    revert(two, 2)
    publish(two)
    assert state(two, 3) == state(two, 1)
    assert verify(two, 3).hash == release_hash(verify(two, 1).datasets)


def test_a_pruned_run_leaves_the_graph_and_comes_back_the_same(store: Store, tmp_path: Path) -> None:
    toy.load_world(store)
    publish(store)
    first, second = complete(store, tmp_path), complete(store, tmp_path, 0.25)
    runs.publish_run(store, first)
    with pytest.raises(Conflict, match="it is served"):
        retention.prune(store, tmp_path, [first])
    assert [p.run for p in retention.prune(store, tmp_path, plan=True)] == [second]
    retention.pin(store, second)
    assert retention.prune(store, tmp_path) == []
    retention.pin(store, second, pinned=False)
    assert [p.run for p in retention.prune(store, tmp_path)] == [second]
    assert rows_of(store, second) == (0, 0)
    assert runs.run(store, second).outcome == "pruned"
    with pytest.raises(Conflict, match="is pruned; only complete runs"):
        runs.publish_run(store, second)
    assert retention.restore(store, tmp_path, second).outcome == "complete"
    assert rows_of(store, second) == (2, 3)


def test_a_run_is_not_pruned_when_its_files_are_elsewhere(store: Store, tmp_path: Path) -> None:
    toy.load_world(store)
    publish(store)
    run_id = complete(store, tmp_path)
    with pytest.raises(MissingInput):
        retention.prune(store, tmp_path / "elsewhere", [run_id])
    assert rows_of(store, run_id) == (2, 3)
    retention.prune(store, tmp_path, [run_id], delete=True)
    assert not predictions.run_folder(tmp_path, run_id).exists()
    with pytest.raises(MissingInput):
        retention.restore(store, tmp_path, run_id)


def test_parents_of_what_is_served_stay(store: Store, tmp_path: Path) -> None:
    toy.load_world(store)
    publish(store)
    first, second = complete(store, tmp_path), complete(store, tmp_path)
    store.write("MATCH (r:ModelRun {id: $id}) SET r.parent = $parent", id=second, parent=first)
    runs.publish_run(store, second)
    with pytest.raises(Conflict, match=f"it is the parent of {second}"):
        retention.prune(store, tmp_path, [first])


def test_a_slot_goes_back_to_its_run_before_which_is_restored_when_pruned(store: Store, tmp_path: Path) -> None:
    toy.load_world(store)
    publish(store)
    first, second = complete(store, tmp_path), complete(store, tmp_path, 0.25)
    runs.publish_run(store, first)
    runs.publish_run(store, second)
    retention.prune(store, tmp_path)
    assert rows_of(store, first) == (0, 0)
    back = roll_back_run(store, tmp_path, None, SILENT)
    assert back.runs == {"glue:cortex": first}
    assert rows_of(store, first) == (2, 3)
    with pytest.raises(Conflict, match="never served another run"):
        roll_back_run(store, tmp_path, None, SILENT)
    with pytest.raises(Conflict, match="no run is served for slot"):
        roll_back_run(store, tmp_path, "glue:liver", SILENT)


def test_newest_runs_of_a_slot_can_be_kept(store: Store, tmp_path: Path) -> None:
    toy.load_world(store)
    publish(store)
    ids = [complete(store, tmp_path) for _ in range(3)]
    assert [p.run for p in retention.prune(store, tmp_path, keep=2)] == [ids[0]]
