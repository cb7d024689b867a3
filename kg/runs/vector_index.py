"""Vector indexes: Cypher can search the vectors of published runs, each through an index of its own.

Neo4j has one vector index per label and property and cannot filter within it, so the (:Embedding) nodes of a run get a
label derived from its id. An index is made when its run is published, kept while the run is in the graph, and dropped
when the run is pruned or discarded. Everything here can be repeated: an index is made last, once all nodes carry the
label, so that the next call of `ensure` completes whatever a kill left undone.
"""

from __future__ import annotations

import json
import re
import time
from typing import TYPE_CHECKING

from kg.errors import StoreRefused
from kg.progress import SILENT, Progress

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from kg.store import Row, Store

WAIT_S = 60.0
NAME, LABEL = "vectors_", "Embedding_"
_NOT_A_NAME = re.compile(r"\W", re.ASCII)
# Not quantised: of 60,000 random vectors of 50 numbers quantised ones gave 68 % of the ten nearest, these 81 %.
_CREATE = """
CREATE VECTOR INDEX `{name}` IF NOT EXISTS FOR (e:`{label}`) ON (e.vector) OPTIONS {{indexConfig: {{
  `vector.dimensions`: {dims}, `vector.similarity_function`: 'cosine', `vector.quantization.enabled`: false,
  `vector.hnsw.m`: 32, `vector.hnsw.ef_construction`: 200
}}}}
"""
_OURS = """
SHOW VECTOR INDEXES YIELD name, state, populationPercent, labelsOrTypes, options
WHERE name STARTS WITH $name AND labelsOrTypes[0] STARTS WITH $label
RETURN name, state, populationPercent AS percent, options.indexConfig['vector.dimensions'] AS dims
"""


def index_name(run_id: str) -> str:
    """Return the name of a run's vector index, such as vectors_glue_cortex_1 for glue-cortex-1."""
    return NAME + _NOT_A_NAME.sub("_", run_id)


def index_label(run_id: str) -> str:
    """Return the label of a published run's (:Embedding) nodes, such as Embedding_glue_cortex_1."""
    return LABEL + _NOT_A_NAME.sub("_", run_id)


def ensure(store: Store, progress: Progress = SILENT) -> None:
    """Make the missing indexes (`make`) and wait for them (`wait`)."""
    wait(store, make(store, progress), progress)


def make(store: Store, progress: Progress = SILENT, also: Sequence[str] = ()) -> list[str]:
    """Make the indexes that published runs lack, and drop those of runs that are not in the graph.

    A server without vector indexes does not prevent publication: a warning is given, and everything else works.

    Args:
        store: the graph.
        progress: where to warn if the server refuses.
        also: complete runs that are about to be published.

    Returns:
        Names of the indexes that the server has yet to populate.
    """
    try:
        return _make(store, {*_published(store), *also})
    except StoreRefused as error:
        progress.say(f"warning: Cypher cannot search the vectors of published runs here: {error.message}")
        return []


def wait(store: Store, names: Sequence[str], progress: Progress = SILENT, wait_s: float = WAIT_S) -> None:
    """Wait until these indexes are populated, or `wait_s` seconds: then they fill in the background.

    Args:
        store: the graph.
        names: of the indexes.
        progress: where to report how full they are, and which are not ready in time or have failed.
        wait_s: seconds; 0 only looks.
    """
    if not names:
        return
    progress.begin(f"indexing vectors: {', '.join(names)}", 100, "percent")
    until, pause, done = time.monotonic() + wait_s, 0.02, 0.0
    while True:
        states = {name: index for name, index in _indexes(store).items() if name in names}
        filled = sum(index["percent"] for index in states.values()) / max(len(states), 1)
        progress.advance(max(filled - done, 0))
        done = max(filled, done)
        pending = [name for name, index in states.items() if index["state"] == "POPULATING"]
        if not pending or time.monotonic() > until:
            break
        time.sleep(pause)
        pause = min(pause * 2, 1.0)
    progress.end()
    for name in pending:
        progress.say(f"{name} is {states[name]['percent']:.0f} % populated and continues in the background")
    for name in (name for name, index in states.items() if index["state"] == "FAILED"):
        progress.say(f"warning: Neo4j could not populate {name}; `regkg db migrate` tries again")


def missing(store: Store) -> list[str]:
    """Return published runs in the graph whose vectors have no working index.

    Raises:
        StoreRefused: the server does not support vector indexes.
    """
    existing = _indexes(store)
    return [
        run for run, dims in _dims(store, _published(store)).items() if not _fits(existing.get(index_name(run)), dims)
    ]


def drop(store: Store, run_id: str) -> None:
    """Drop a run's index, if it has one; its label goes with its nodes."""
    store.implicit(f"DROP INDEX `{index_name(run_id)}` IF EXISTS")


def _make(store: Store, wanted: Iterable[str]) -> list[str]:
    """Label and index the vectors of these runs where needed; return the names of indexes not yet populated."""
    existing = _indexes(store)
    complete = store.read("MATCH (r:ModelRun {outcome: 'complete'}) RETURN r.id AS id")
    orphaned = set(existing) - {index_name(row["id"]) for row in complete}
    for name in sorted(orphaned):
        store.implicit(f"DROP INDEX `{name}` IF EXISTS")
    unready = []
    for run, dims in _dims(store, wanted).items():
        name, label = index_name(run), index_label(run)
        store.implicit(
            f"MATCH (e:Embedding {{run: $run}}) WHERE NOT e:`{label}` "
            f"CALL (e) {{ SET e:`{label}` }} IN TRANSACTIONS OF 10000 ROWS",
            run=run,
        )
        if not _fits(existing.get(name), dims):
            drop(store, run)  # it is of other vectors, or has failed
            store.implicit(_CREATE.format(name=name, label=label, dims=dims))
            unready.append(name)
        elif existing[name]["state"] != "ONLINE":
            unready.append(name)
    return unready


def _indexes(store: Store) -> dict[str, Row]:
    """Return the indexes of runs by name: state, percent populated, dims."""
    return {row["name"]: row for row in store.read(_OURS, name=NAME, label=LABEL)}


def _fits(index: Row | None, dims: int) -> bool:
    return index is not None and index["dims"] == dims and index["state"] != "FAILED"


def _published(store: Store) -> list[str]:
    """Return complete runs that were served at any time."""
    journal = store.read("MATCH (p:Publication) RETURN DISTINCT p.runs AS runs")
    ids = sorted({run for row in journal for run in json.loads(row["runs"]).values()})
    rows = store.read("MATCH (r:ModelRun {outcome: 'complete'}) WHERE r.id IN $ids RETURN r.id AS id", ids=ids)
    return [row["id"] for row in rows]


def _dims(store: Store, runs: Iterable[str]) -> dict[str, int]:
    """Return the vector length of each of these runs that has vectors in the graph."""
    rows = store.read(
        "UNWIND $runs AS run MATCH (r:ModelRun {id: run}) "
        "CALL (run) { MATCH (e:Embedding {run: run}) RETURN size(e.vector) AS dims LIMIT 1 } RETURN run, dims",
        runs=sorted(runs),
    )
    return {row["run"]: row["dims"] for row in rows}
