"""The vectors of published runs on a real Neo4j: an index for each, for as long as the run is in the graph."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from kg import runs
from kg.errors import StoreRefused
from kg.operations import health
from kg.operations.migrations import migrate
from kg.operations.rollback import roll_back_run
from kg.progress import SILENT
from kg.releases import publish, served
from kg.runs import predictions, retention, vector_index
from kg.runs.outputs import FeatureEmbedding
from kg.runs.predictions import Predictions
from kg.store.read_guard import read_only
from tests.kg import toy
from tests.kg.listener import Listener
from tests.kg.toy import METRICS, made, peak_id, registered

if TYPE_CHECKING:
    from pathlib import Path

    from kg.store import Store

RUN = "glue-cortex-1"
NEAREST = """
CALL db.index.vector.queryNodes($index, 3, $vector) YIELD node, score
RETURN node.node AS id, node.run AS run, score ORDER BY score DESC, id
"""


@pytest.fixture
def world(store: Store) -> Store:
    """A published release, and no index of an earlier test."""
    toy.load_world(store)
    publish(store)
    vector_index.ensure(store)
    return store


def written(store: Store, home: Path, some: Predictions | None = None) -> str:
    run_id = registered(store)
    predictions.keep(home, run_id, some or made(), METRICS)
    return runs.write_back(store, home, run_id).id


def indexes(store: Store) -> dict[str, str]:
    return {row["name"]: row["state"] for row in store.read("SHOW VECTOR INDEXES YIELD name, state")}


def nearest(store: Store, run: str, vector: list[float]) -> list[dict[str, Any]]:
    return read_only(store, NEAREST, {"index": vector_index.index_name(run), "vector": vector}).rows


def test_a_run_is_asked_by_its_vectors_once_it_is_published(world: Store, tmp_path: Path) -> None:
    run = written(world, tmp_path)
    assert indexes(world) == {}
    heard = Listener()
    runs.publish_run(world, run, progress=heard)
    assert indexes(world) == {"vectors_glue_cortex_1": "ONLINE"}
    assert heard.advanced == 100
    assert not heard.said
    vectors = {"G1": [0.0, 1.0], "G2": [2.0, 3.0], peak_id(0): [4.0, 5.0]}  # as `toy.vectors` has them
    found = nearest(world, run, [4.0, 5.0])
    assert {row["run"] for row in found} == {run}
    exact = {
        id_: (1 + np.dot(v, [4.0, 5.0]) / np.linalg.norm(v) / np.linalg.norm([4.0, 5.0])) / 2
        for id_, v in vectors.items()
    }
    assert [row["id"] for row in found] == sorted(exact, key=lambda id_: -exact[id_])
    np.testing.assert_allclose([row["score"] for row in found], sorted(exact.values(), reverse=True), rtol=1e-5)


def test_each_run_has_its_own_and_keeps_it_while_it_is_in_the_graph(world: Store, tmp_path: Path) -> None:
    first = written(world, tmp_path)
    runs.publish_run(world, first)
    wider = FeatureEmbedding(["G1", "G3"], ["Gene"] * 2, np.eye(2, 7, dtype=np.float32) + 1)
    second = written(world, tmp_path, Predictions(made().links, wider))
    runs.publish_run(world, second)
    both = {vector_index.index_name(run): "ONLINE" for run in (first, second)}
    assert indexes(world) == both
    assert {row["id"] for row in nearest(world, second, [1.0] * 7)} == {"G1", "G3"}
    assert {row["id"] for row in nearest(world, first, [1.0, 1.0])} == {"G1", "G2", peak_id(0)}

    retention.prune(world, tmp_path, [first])
    assert indexes(world) == {vector_index.index_name(second): "ONLINE"}
    labels = world.read("CALL db.labels() YIELD label RETURN collect(label) AS labels")[0]["labels"]
    assert vector_index.index_label(first) not in labels
    assert vector_index.index_label(second) in labels

    roll_back_run(world, tmp_path, None, SILENT)
    assert served(world).runs == {"glue:cortex": first}
    assert indexes(world) == both
    assert {row["id"] for row in nearest(world, first, [1.0, 1.0])} == {"G1", "G2", peak_id(0)}
    runs.discard(world, second)
    assert indexes(world) == {vector_index.index_name(first): "ONLINE"}


def test_a_run_that_embeds_nothing_has_none(world: Store, tmp_path: Path) -> None:
    run = written(world, tmp_path, Predictions(made().links))
    runs.publish_run(world, run)
    assert indexes(world) == {}
    assert vector_index.missing(world) == []


def test_a_publish_that_is_killed_leaves_what_is_published_and_goes_on(
    world: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = written(world, tmp_path)
    before = served(world)
    for at in ("_CREATE", "serve"):  # before the index is made, and before the pointer moves
        with monkeypatch.context() as patch:
            where = vector_index if at == "_CREATE" else runs.records
            patch.setattr(where, at, Dies())
            with pytest.raises(KeyboardInterrupt):
                runs.publish_run(world, run)
        assert served(world) == before
        assert set(indexes(world)) == (set() if at == "_CREATE" else {"vectors_glue_cortex_1"})
    runs.publish_run(world, run)
    assert len(nearest(world, run, [1.0, 1.0])) == 3


class Dies:
    """Whatever is done with it, the process ends."""

    def format(self, **_: Any) -> str:
        raise KeyboardInterrupt

    def __call__(self, *_: Any) -> None:
        raise KeyboardInterrupt


def test_what_is_missing_is_said_and_made(world: Store, tmp_path: Path) -> None:
    run = written(world, tmp_path)
    runs.publish_run(world, run)
    assert health.check("vectors", lambda: health._vectors(world)).ok
    vector_index.drop(world, run)
    world.write("MATCH (e:Embedding) REMOVE e:Embedding_glue_cortex_1")  # as a graph of an earlier version is
    looked = health.check("vectors", lambda: health._vectors(world))
    assert (looked.ok, looked.mend) == (False, "regkg db migrate")
    assert run in looked.found
    assert migrate(world) == []
    assert health.check("vectors", lambda: health._vectors(world)).ok
    assert len(nearest(world, run, [1.0, 1.0])) == 3


def test_an_index_of_other_vectors_or_of_no_run_is_not_kept(world: Store, tmp_path: Path) -> None:
    """As a graph that was emptied by hand leaves them: indexes outlive nodes."""
    for name, label, dims in (
        ("vectors_glue_cortex_1", "Embedding_glue_cortex_1", 7),
        ("vectors_glue_gone_9", "Embedding_glue_gone_9", 2),
        ("vectors_of_mine", "Thing", 2),
    ):
        world.implicit(vector_index._CREATE.format(name=name, label=label, dims=dims))
    try:
        run = written(world, tmp_path)
        runs.publish_run(world, run)
        assert indexes(world) == {"vectors_glue_cortex_1": "ONLINE", "vectors_of_mine": "ONLINE"}
        assert len(nearest(world, run, [1.0, 1.0])) == 3
    finally:
        world.implicit("DROP INDEX vectors_of_mine IF EXISTS")


def test_a_server_without_such_indexes_does_not_stop_publishing(
    world: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = written(world, tmp_path)

    def refuses(_: Store) -> None:
        raise StoreRefused("Neo4j refused: unknown index provider")

    heard = Listener()
    with monkeypatch.context() as patch:
        patch.setattr(vector_index, "_indexes", refuses)
        now = runs.publish_run(world, run, progress=heard)
    assert now.runs == {"glue:cortex": run}
    assert [line for line in heard.said if "Cypher cannot search the vectors" in line]


def test_waiting_ends(world: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    slow = {"vectors_x": {"name": "vectors_x", "state": "POPULATING", "percent": 43.0, "dims": 2}}
    monkeypatch.setattr(vector_index, "_indexes", lambda _: slow)
    heard = Listener()
    vector_index.wait(world, ["vectors_x"], heard, wait_s=0)
    assert heard.said == ["vectors_x is 43 % populated and continues in the background"]
    slow["vectors_x"]["state"] = "FAILED"
    vector_index.wait(world, ["vectors_x"], heard, wait_s=60)
    assert "`regkg db migrate` tries again" in heard.said[-1]


def test_names_say_the_run() -> None:
    assert vector_index.index_name("glue-cortex-12") == "vectors_glue_cortex_12"
    assert vector_index.index_label("glue-cortex.2 x-12") == "Embedding_glue_cortex_2_x_12"
