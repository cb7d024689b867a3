"""Records of model runs: registered before training, written back, complete or invisible, then published."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from kg.errors import Conflict, UnknownRun
from kg.progress import SILENT, Progress
from kg.releases import Served, serve, served
from kg.runs import predictions, vector_index
from kg.schema import NEAR
from kg.store.leases import process_is_gone, this_process

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from kg.store import Row, Store


@dataclass(frozen=True)
class Run:
    """One training of a model on one release and one set of cells.

    Attributes:
        outcome: running, writing, complete, failed, discarded, or pruning and pruned; readers see only complete ones.
        slot: "model:cells"; a publication serves one run for each slot.
        release: the release whose evidence it read.
        datasets: dataset id -> hash of the rows it used.
        interrupted: its record says running, writing or pruning, but its process is gone.
        edge_types: edge types that guided or supervised it.
        node_types: node types whose records it read; empty in runs of an earlier version.
        parent: the run whose weights it started from, that it is to replace, or that it is derived from; None for a
            first run.
        experiment: why it is never published, such as the datasets it leaves out; None for a run that may be.
        pinned: whether `prune` keeps it.
        derived: whether it was computed from its parent's predictions rather than trained; it embeds nothing.
    """

    id: str
    model: str
    cells: str
    slot: str
    release: int
    outcome: str
    config_hash: str
    code: str
    seed: int
    members: int
    started_at: str
    finished_at: str | None
    config: Mapping[str, Any]
    datasets: Mapping[str, str]
    metrics: Mapping[str, Any]
    note: str = ""
    interrupted: bool = False
    edge_types: tuple[str, ...] = ()
    parent: str | None = None
    experiment: str | None = None
    pinned: bool = False
    derived: bool = False
    node_types: tuple[str, ...] = ()


@dataclass(frozen=True)
class Registration:
    """What is known before training starts; attributes as in `Run`."""

    model: str
    cells: str
    release: int
    seed: int
    members: int
    config: Mapping[str, Any]
    config_hash: str
    code: str
    datasets: Mapping[str, str]
    environment: Mapping[str, Any] = field(default_factory=dict)
    edge_types: tuple[str, ...] = ()
    parent: str | None = None
    experiment: str | None = None
    derived: bool = False
    node_types: tuple[str, ...] = ()


def register(store: Store, about: Registration) -> str:
    """Record a run as running, before it trains; return its id, such as glue-cortex-3."""

    def work(tx: Any) -> str:
        sequence = tx.run(
            "MERGE (p:Pointer {name: 'run_sequence'}) SET p.value = coalesce(p.value, 0) + 1 RETURN p.value AS n"
        ).single()["n"]
        run_id = f"{about.model}-{about.cells}-{sequence}"
        tx.run(
            "CREATE (r:ModelRun) SET r = $about, r.started_at = datetime(), r.sequence = $sequence",
            about=_properties(about, run_id),
            sequence=sequence,
        ).consume()
        return run_id

    return store.transaction(work)


def runs(store: Store) -> list[Run]:
    """Return all runs, newest first, including incomplete ones."""
    return [_run(row["r"]) for row in store.read(f"MATCH (r:ModelRun) {_RETURN} ORDER BY r.sequence DESC")]


def run(store: Store, run_id: str) -> Run:
    """Return one run.

    Raises:
        UnknownRun: there is no such run.
    """
    rows = store.read(f"MATCH (r:ModelRun {{id: $id}}) {_RETURN}", id=run_id)
    if not rows:
        raise UnknownRun(f"there is no run {run_id!r}", "regkg runs list")
    return _run(rows[0]["r"])


def complete_run(store: Store, run_id: str) -> Run:
    """Return a complete run.

    Raises:
        UnknownRun: there is no such run.
        Conflict: it is not complete.
    """
    run_ = run(store, run_id)
    if run_.outcome != "complete":
        raise Conflict(f"run {run_id} is {run_.outcome}, not complete", f"regkg runs resume {run_id}")
    return run_


def guiding(of: Run) -> tuple[str, ...]:
    """Return the names of the edge types that guided or supervised a run; NEAR for one that did not record them."""
    return of.edge_types or (() if of.node_types else (NEAR.name,))


def environment(store: Store, run_id: str) -> dict[str, Any]:
    """Return what a run was registered with besides its configuration: request, cells, versions."""
    rows = store.read("MATCH (r:ModelRun {id: $id}) RETURN r.environment AS environment", id=run_id)
    return dict(json.loads(rows[0]["environment"] or "{}")) if rows else {}


def interrupted(store: Store) -> list[Run]:
    """Return the runs whose process died while training or writing."""
    return [r for r in runs(store) if r.interrupted]


def take_over(store: Store, run_id: str, outcome: str) -> None:
    """Record that this process now trains or writes a run."""
    store.write(
        "MATCH (r:ModelRun {id: $id}) SET r.outcome = $outcome, r.process = $process",
        id=run_id,
        outcome=outcome,
        process=this_process(),
    )


def finish(
    store: Store, run_id: str, outcome: str, *, metrics: Mapping[str, Any] | None = None, note: str = ""
) -> None:
    """Record how a run ended."""
    store.write(
        "MATCH (r:ModelRun {id: $id}) SET r.outcome = $outcome, r.note = $note, r.finished_at = datetime(), "
        "r.metrics = coalesce($metrics, r.metrics)",
        id=run_id,
        outcome=outcome,
        note=note,
        metrics=None if metrics is None else json.dumps(metrics, sort_keys=True),
    )


def add_note(store: Store, run_id: str, note: str) -> None:
    """Replace the note of a run."""
    store.write("MATCH (r:ModelRun {id: $id}) SET r.note = $note", id=run_id, note=note)


def write_back(store: Store, home: Path, run_id: str, progress: Progress = SILENT) -> Run:
    """Write a run's kept predictions into the graph, count them, and only then mark it complete.

    This is safe to repeat after a kill: rows left by an earlier attempt are removed first. A run that was published
    before it was pruned gets its vector index again.

    Raises:
        Conflict: the run is complete or discarded already.
        StoreRefused: the graph does not hold what was written.
    """
    run_ = run(store, run_id)
    if run_.outcome in {"complete", "discarded"}:
        raise Conflict(f"run {run_id} is {run_.outcome} already", f"regkg runs show {run_id}")
    kept, metrics = predictions.kept(home, run_id)
    take_over(store, run_id, "writing")
    predictions.write(store, run_id, kept, progress)
    finish(store, run_id, "complete", metrics=metrics)
    vector_index.ensure(store, progress)
    return run(store, run_id)


def publish_run(store: Store, run_id: str, note: str = "", progress: Progress = SILENT) -> Served:
    """Serve a complete run for its slot and index its vectors for Cypher; the release served stays the same.

    Until the pointer moves, in one transaction at the end, what was published before stays as it was.

    Raises:
        Conflict: it is not complete, or an experiment.
        UnknownRun, UnknownRelease: there is no such run, or nothing is published.
    """
    run_ = run(store, run_id)
    if run_.outcome != "complete":
        raise Conflict(f"run {run_id} is {run_.outcome}; only complete runs can be published", "regkg runs list")
    if run_.experiment:
        raise Conflict(f"run {run_id} is an experiment: {run_.experiment}", "compare it: regkg runs diff")

    def work(tx: Any) -> None:
        publication = tx.run(
            "MATCH (s:Pointer {name: 'served'}) SET s.touched = timestamp() "
            "WITH s MATCH (p:Publication {number: s.publication}) RETURN p.release AS release, p.runs AS runs"
        ).single()
        serve(tx, publication["release"], {**json.loads(publication["runs"]), run_.slot: run_id}, note)

    served(store)  # fails clearly if nothing is published yet
    filling = vector_index.make(store, progress, also=[run_id])
    store.transaction(work)
    vector_index.wait(store, filling, progress)
    return served(store)


def discard(store: Store, run_id: str) -> Run:
    """Remove a run's rows from the graph; its record stays, marked discarded.

    Raises:
        Conflict: it is served.
    """
    run_ = run(store, run_id)
    published = store.read(
        "MATCH (s:Pointer {name: 'served'}) MATCH (p:Publication {number: s.publication}) RETURN p.runs AS runs"
    )
    if published and run_id in json.loads(published[0]["runs"]).values():
        raise Conflict(f"run {run_id} is served for {run_.slot}", "publish another run for this slot first")
    finish(store, run_id, "discarded")  # first, so that no reader starts on rows that are being removed
    predictions.remove(store, run_id)
    return run(store, run_id)


_RETURN = "RETURN r {.*, started_at: toString(r.started_at), finished_at: toString(r.finished_at)} AS r"


def _properties(about: Registration, run_id: str) -> Row:
    return {
        "id": run_id,
        "model": about.model,
        "cells": about.cells,
        "slot": f"{about.model}:{about.cells}",
        "release": about.release,
        "seed": about.seed,
        "members": about.members,
        "config": json.dumps(about.config, sort_keys=True),
        "config_hash": about.config_hash,
        "code": about.code,
        "datasets": json.dumps(dict(about.datasets), sort_keys=True),
        "environment": json.dumps(dict(about.environment), sort_keys=True),
        "edge_types": list(about.edge_types),
        "node_types": list(about.node_types),
        "parent": about.parent,
        "experiment": about.experiment,
        "derived": about.derived,
        "metrics": "{}",
        "outcome": "running",
        "process": this_process(),
    }


def _run(row: Row) -> Run:
    return Run(
        **{name: row[name] for name in ("id", "model", "cells", "slot", "release", "outcome", "config_hash", "code")},
        seed=row["seed"],
        members=row["members"],
        started_at=row["started_at"],
        finished_at=row["finished_at"],
        config=json.loads(row["config"]),
        datasets=json.loads(row["datasets"]),
        metrics=json.loads(row["metrics"]),
        note=row.get("note") or "",
        edge_types=tuple(row.get("edge_types") or ()),
        node_types=tuple(row.get("node_types") or ()),
        parent=row.get("parent"),
        experiment=row.get("experiment"),
        pinned=bool(row.get("pinned")),
        derived=bool(row.get("derived")),
        interrupted=row["outcome"] in {"running", "writing", "pruning"} and process_is_gone(row["process"]),
    )
