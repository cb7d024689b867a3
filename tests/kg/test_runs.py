"""Runs on a real Neo4j: complete or invisible, published by moving a pointer, resumed after a kill."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest

from kg import runs
from kg.errors import Conflict, MissingInput, StoreRefused, UnknownRun
from kg.releases import publish, served
from kg.runs import predictions
from kg.runs.outputs import FeatureEmbedding
from kg.runs.predictions import Predictions
from tests.kg import toy
from tests.kg.toy import METRICS, made, peak_id, registered, rows_of, vectors

if TYPE_CHECKING:
    from pathlib import Path

    from kg.store import Store


@pytest.fixture
def world(store: Store) -> Store:
    toy.load_world(store)
    publish(store)
    return store


def test_a_run_is_registered_written_completed_and_served(world: Store, tmp_path: Path) -> None:
    run_id = registered(world)
    assert run_id == "glue-cortex-1"
    assert runs.run(world, run_id).outcome == "running"
    predictions.keep(tmp_path, run_id, made(), METRICS)
    done = runs.write_back(world, tmp_path, run_id)
    assert (done.outcome, done.metrics, done.config) == ("complete", METRICS, {"epochs": 3})
    assert rows_of(world, run_id) == (2, 3)
    now = runs.publish_run(world, run_id)
    assert now.release == 1
    assert now.runs == {"glue:cortex": run_id}
    assert served(world) == now


def test_what_is_kept_comes_back_equal(tmp_path: Path) -> None:
    predictions.keep(tmp_path, "r", made(), METRICS)
    found, metrics = predictions.kept(tmp_path, "r")
    assert metrics == METRICS
    assert found.links[0].table.equals(made().links[0].table)
    assert found.embedding is not None
    assert found.embedding.ids == ["G1", "G2", peak_id(0)]
    assert np.array_equal(found.embedding.vectors, vectors())


def test_an_edge_keeps_its_id_from_run_to_run(world: Store, tmp_path: Path) -> None:
    for score in (0.5, 0.25):
        run_id = registered(world)
        predictions.keep(tmp_path, run_id, made(score), METRICS)
        runs.write_back(world, tmp_path, run_id)
    ids = world.read("MATCH ()-[e:PREDICTED_LINK]->({id: 'G1'}) RETURN e.edge_id AS id, e.run AS run ORDER BY run")
    assert [row["run"] for row in ids] == ["glue-cortex-1", "glue-cortex-2"]
    assert ids[0]["id"] == ids[1]["id"]


def test_a_run_cut_in_the_middle_cannot_be_published_and_is_resumed(
    world: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run_id = registered(world)
    predictions.keep(tmp_path, run_id, made(), METRICS)
    with monkeypatch.context() as patch:
        patch.setattr(predictions, "_write_embedding", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
        with pytest.raises(KeyboardInterrupt):
            runs.write_back(world, tmp_path, run_id)
    assert rows_of(world, run_id) == (2, 0)
    assert runs.run(world, run_id).outcome == "writing"
    with pytest.raises(Conflict, match="is writing"):
        runs.publish_run(world, run_id)
    assert runs.write_back(world, tmp_path, run_id).outcome == "complete"
    assert rows_of(world, run_id) == (2, 3)
    with pytest.raises(Conflict, match="complete already"):
        runs.write_back(world, tmp_path, run_id)


def test_a_run_of_a_dead_process_is_told(world: Store) -> None:
    run_id = registered(world)
    assert not runs.interrupted(world)
    world.write("MATCH (r:ModelRun {id: $id}) SET r.process = split(r.process, ':')[0] + ':999999:1.00'", id=run_id)
    assert [run.id for run in runs.interrupted(world)] == [run_id]


def test_a_prediction_on_a_missing_node_keeps_the_run_invisible(world: Store, tmp_path: Path) -> None:
    run_id = registered(world)
    some = made()
    lost = FeatureEmbedding(["G1", "G2", "G9"], ["Gene"] * 3, vectors())
    predictions.keep(tmp_path, run_id, Predictions(some.links, lost), METRICS)
    with pytest.raises(StoreRefused, match="'Embedding': 2"):
        runs.write_back(world, tmp_path, run_id)
    assert runs.run(world, run_id).outcome == "writing"


def test_a_run_without_artefacts_says_so(world: Store, tmp_path: Path) -> None:
    run_id = registered(world)
    with pytest.raises(MissingInput, match="left no predictions"):
        runs.write_back(world, tmp_path, run_id)


def test_discard_removes_rows_but_never_of_a_served_run(world: Store, tmp_path: Path) -> None:
    ids = []
    for _ in range(2):
        ids.append(registered(world))
        predictions.keep(tmp_path, ids[-1], made(), METRICS)
        runs.write_back(world, tmp_path, ids[-1])
    runs.publish_run(world, ids[1])
    with pytest.raises(Conflict, match="is served for glue:cortex"):
        runs.discard(world, ids[1])
    assert runs.discard(world, ids[0]).outcome == "discarded"
    assert rows_of(world, ids[0]) == (0, 0)
    assert rows_of(world, ids[1]) == (2, 3)


def test_publishing_a_release_keeps_the_served_runs(world: Store, tmp_path: Path) -> None:
    run_id = registered(world)
    predictions.keep(tmp_path, run_id, made(), METRICS)
    runs.write_back(world, tmp_path, run_id)
    runs.publish_run(world, run_id)
    toy.load(world, toy.OTHER, toy.near([(5000, "G3")]))
    now = publish(world)
    assert now is not None
    assert (now.release, now.runs) == (2, {"glue:cortex": run_id})
    assert served(world, 1).runs == {"glue:cortex": run_id}


def test_two_cell_sets_are_two_slots(world: Store, tmp_path: Path) -> None:
    for cells in ("cortex", "blood"):
        run_id = registered(world, cells)
        predictions.keep(tmp_path, run_id, made(), METRICS)
        runs.write_back(world, tmp_path, run_id)
        runs.publish_run(world, run_id)
    assert served(world).runs == {"glue:blood": "glue-blood-2", "glue:cortex": "glue-cortex-1"}


def test_an_unknown_run_is_said(world: Store) -> None:
    with pytest.raises(UnknownRun, match="no run 'nope'"):
        runs.run(world, "nope")
