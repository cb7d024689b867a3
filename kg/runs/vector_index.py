"""Vector indexes: the vectors of a published run can be asked in Cypher, each run through an index of its own.

Neo4j holds one vector index for a label and a property and filters nothing in it, so the (:Embedding) nodes of a run
get a label that is generated from its id. An index is made when its run is published, kept while the run is in the
graph, and dropped when the run is pruned or discarded. Everything here may be repeated: an index is made last, once all
nodes carry the label, so that whatever a kill left undone is done by the next call of `ensure`.
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
    """Name of a run's vector index: vectors_glue_cortex_1 for glue-cortex-1; whatever is no letter or digit is _."""
    return NAME + _NOT_A_NAME.sub("_", run_id)


def index_label(run_id: str) -> str:
    """Label of a published run's (:Embedding) nodes, such as Embedding_glue_cortex_1."""
    return LABEL + _NOT_A_NAME.sub("_", run_id)


def ensure(store: Store, progress: Progress = SILENT) -> None:
    """`make` the indexes that are missing and `wait` for them."""
    wait(store, make(store, progress), progress)


def make(store: Store, progress: Progress = SILENT, also: Sequence[str] = ()) -> list[str]:
    """Make the indexes that published runs lack, and drop those that belong to no run in the graph.

    A server without such indexes does not stop anybody from publishing: that is said, and everything else works.

    Args:
        store: the graph.
        progress: told when the server refuses.
        also: complete runs that are about to be published.

    Returns:
        Names of the indexes that the server has yet to fill.
    """
    try:
        return _make(store, {*_published(store), *also})
    except StoreRefused as error:
        progress.say(f"warning: the vectors of published runs cannot be asked in Cypher here: {error.message}")
        return []


def wait(store: Store, names: Sequence[str], progress: Progress = SILENT, wait_s: float = WAIT_S) -> None:
    """Wait until these indexes are filled, or no longer than so many seconds: then they fill in the background.

    Args:
        store: the graph.
        names: of indexes.
        progress: told how full they are, and of those that are not ready in time or that the server could not fill.
        wait_s: 0 only looks.
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
        progress.say(f"{name} is filled to {states[name]['percent']:.0f} % and goes on in the background")
    for name in (name for name, index in states.items() if index["state"] == "FAILED"):
        progress.say(f"warning: Neo4j could not fill {name}; `regkg db migrate` tries again")


def missing(store: Store) -> list[str]:
    """Published runs in the graph whose vectors have no index that works.

    Raises:
        StoreRefused: the server knows no vector indexes.
    """
    there = _indexes(store)
    return [run for run, dims in _dims(store, _published(store)).items() if not _fits(there.get(index_name(run)), dims)]


def drop(store: Store, run_id: str) -> None:
    """Drop a run's index, if it has one; its label goes with its nodes."""
    store.implicit(f"DROP INDEX `{index_name(run_id)}` IF EXISTS")


def _make(store: Store, wanted: Iterable[str]) -> list[str]:
    """Label and index the vectors of these runs where they are not yet; gives the names of indexes not yet filled."""
    there = _indexes(store)
    complete = store.read("MATCH (r:ModelRun {outcome: 'complete'}) RETURN r.id AS id")
    left = set(there) - {index_name(row["id"]) for row in complete}
    for name in sorted(left):
        store.implicit(f"DROP INDEX `{name}` IF EXISTS")
    unready = []
    for run, dims in _dims(store, wanted).items():
        name, label = index_name(run), index_label(run)
        store.implicit(
            f"MATCH (e:Embedding {{run: $run}}) WHERE NOT e:`{label}` "
            f"CALL (e) {{ SET e:`{label}` }} IN TRANSACTIONS OF 10000 ROWS",
            run=run,
        )
        if not _fits(there.get(name), dims):
            drop(store, run)  # of other vectors, or failed
            store.implicit(_CREATE.format(name=name, label=label, dims=dims))
            unready.append(name)
        elif there[name]["state"] != "ONLINE":
            unready.append(name)
    return unready


def _indexes(store: Store) -> dict[str, Row]:
    """By name, those that stand for a run: state, percent filled, dims."""
    return {row["name"]: row for row in store.read(_OURS, name=NAME, label=LABEL)}


def _fits(index: Row | None, dims: int) -> bool:
    return index is not None and index["dims"] == dims and index["state"] != "FAILED"


def _published(store: Store) -> list[str]:
    """Complete runs that were served at any time."""
    journal = store.read("MATCH (p:Publication) RETURN DISTINCT p.runs AS runs")
    ids = sorted({run for row in journal for run in json.loads(row["runs"]).values()})
    rows = store.read("MATCH (r:ModelRun {outcome: 'complete'}) WHERE r.id IN $ids RETURN r.id AS id", ids=ids)
    return [row["id"] for row in rows]


def _dims(store: Store, runs: Iterable[str]) -> dict[str, int]:
    """Length of the vectors of each of these runs that has some in the graph."""
    rows = store.read(
        "UNWIND $runs AS run MATCH (r:ModelRun {id: run}) "
        "CALL (run) { MATCH (e:Embedding {run: run}) RETURN size(e.vector) AS dims LIMIT 1 } RETURN run, dims",
        runs=sorted(runs),
    )
    return {row["run"]: row["dims"] for row in rows}
