"""kill -9 in the middle of a load and of a write-back: what is published stays, the next command goes on."""

from __future__ import annotations

import signal
from typing import TYPE_CHECKING, Any

import pytest

from kg import runs
from kg.errors import Conflict, LoadIncomplete
from kg.releases import discard, publish, served, verify
from kg.runs import predictions
from tests.kg import toy
from tests.kg.toy import METRICS, made, registered, rows_of

if TYPE_CHECKING:
    from pathlib import Path

    from kg.server import Endpoint
    from kg.store import Store
    from tests.forked import Forks

# The child writes one row a transaction and dies, by its own SIGKILL, before the n-th.
LOAD = """
import os, signal, sys
from kg.evidence import row_writer
from kg.evidence.draft import open_draft
from kg.server import Endpoint
from kg.store import open_store
import toy
row_writer.ROWS, left, one = 1, [int(sys.argv[1])], row_writer.RowWriter._one
def dying(self, *args, **kwargs):
    if left[0] == 0:
        os.kill(os.getpid(), signal.SIGKILL)
    left[0] -= 1
    return one(self, *args, **kwargs)
row_writer.RowWriter._one = dying
with open_store(Endpoint(os.environ["URI"], "neo4j", os.environ["PASSWORD"])) as store:
    toy.load(store, toy.GENES, toy.genes({"G1": "NEW", "G2": "BETA", "G4": "DELTA", "G5": "EPS"}), "two")
"""
WRITE_BACK = """
import os, pathlib, signal, sys
from kg import runs
from kg.runs import predictions
from kg.server import Endpoint
from kg.store import open_store
predictions.ROWS, left, batch = 1, [int(sys.argv[1])], predictions._in_batches
with open_store(Endpoint(os.environ["URI"], "neo4j", os.environ["PASSWORD"])) as store:
    write = store.write
    def dying(cypher, **parameters):
        if cypher.startswith("UNWIND"):
            if left[0] == 0:
                os.kill(os.getpid(), signal.SIGKILL)
            left[0] -= 1
        return write(cypher, **parameters)
    store.write = dying
    runs.write_back(store, pathlib.Path(sys.argv[2]), sys.argv[3])
"""


def killed(forks: Forks, code: str, endpoint: Endpoint, *args: object) -> None:
    """Run the child and see it die."""
    done = forks.run(code, *args, env={"URI": endpoint.uri, "PASSWORD": endpoint.password})
    assert done.returncode == -signal.SIGKILL, done.stderr


def at_release(store: Store, number: int) -> list[dict[str, Any]]:
    return store.read(
        "MATCH (n)-[:HAS_RECORD]->(r) WHERE r.since <= $n AND $n < r.until "
        "RETURN n.id AS id, r.row_hash AS hash ORDER BY id, hash",
        n=number,
    )


@pytest.mark.parametrize("batches", [0, 1, 2, 4])
def test_a_killed_load_leaves_the_release_and_is_finished_by_the_same_command(
    store: Store, neo4j_endpoint: Endpoint, forks: Forks, batches: int
) -> None:
    toy.load_world(store)
    publish(store)
    frozen, before = at_release(store, 1), served(store)
    killed(forks, LOAD, neo4j_endpoint, batches)
    assert at_release(store, 1) == frozen
    assert served(store) == before
    assert verify(store, 1).number == 1
    with pytest.raises(LoadIncomplete, match="the load of genes:toy was interrupted"):
        publish(store)
    new = toy.genes({"G1": "NEW", "G2": "BETA", "G4": "DELTA", "G5": "EPS"})
    toy.load(store, toy.GENES, new, "two")
    toy.load(store, toy.NEARS, toy.near([(0, "G1"), (2000, "G2")]), "two")
    made_now = publish(store)
    assert made_now is not None
    assert verify(store, 2).hash == made_now.hash
    ids = store.read("MATCH (g:Gene)-[:HAS_RECORD]->(r {until: 2147483647}) RETURN g.id AS id ORDER BY id")
    assert [row["id"] for row in ids] == ["G1", "G2", "G4", "G5"]


def test_a_killed_load_can_be_discarded(store: Store, neo4j_endpoint: Endpoint, forks: Forks) -> None:
    toy.load_world(store)
    publish(store)
    frozen = at_release(store, 1)
    killed(forks, LOAD, neo4j_endpoint, 3)
    assert discard(store) == 1
    assert at_release(store, 1) == frozen
    assert publish(store) is None


@pytest.mark.parametrize("batches", [0, 1, 3])
def test_a_killed_write_back_is_invisible_and_resumed(
    store: Store, neo4j_endpoint: Endpoint, forks: Forks, tmp_path: Path, batches: int
) -> None:
    toy.load_world(store)
    publish(store)
    first = registered(store)
    predictions.keep(tmp_path, first, made(), METRICS)
    runs.write_back(store, tmp_path, first)
    before = runs.publish_run(store, first)
    second = registered(store)
    predictions.keep(tmp_path, second, made(0.25), METRICS)
    killed(forks, WRITE_BACK, neo4j_endpoint, batches, tmp_path, second)
    assert served(store) == before
    assert rows_of(store, first) == (2, 3)
    assert [run.id for run in runs.interrupted(store)] == [second]
    with pytest.raises(Conflict, match="is writing"):
        runs.publish_run(store, second)
    assert runs.write_back(store, tmp_path, second).outcome == "complete"
    assert rows_of(store, second) == (2, 3)
    assert runs.publish_run(store, second).runs == {"glue:cortex": second}


def test_a_killed_write_back_can_be_discarded(
    store: Store, neo4j_endpoint: Endpoint, forks: Forks, tmp_path: Path
) -> None:
    toy.load_world(store)
    publish(store)
    run_id = registered(store)
    predictions.keep(tmp_path, run_id, made(), METRICS)
    killed(forks, WRITE_BACK, neo4j_endpoint, 2, tmp_path, run_id)
    assert sum(rows_of(store, run_id)) > 0
    assert runs.discard(store, run_id).outcome == "discarded"
    assert rows_of(store, run_id) == (0, 0)
