"""Retention: taking runs out of the graph and back in; their files stay, unless they are to be deleted too."""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from typing import TYPE_CHECKING

from kg.errors import Conflict, UnknownRelease
from kg.progress import SILENT, Progress
from kg.releases import served
from kg.runs import predictions
from kg.runs.records import finish, run, runs, take_over, write_back

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from kg.runs.records import Run
    from kg.store import Store

IN_GRAPH = ("complete", "pruning")


@dataclass(frozen=True)
class Pruned:
    """A run that is, or would be, taken out of the graph."""

    run: str
    slot: str
    outcome: str
    files: bool


def pin(store: Store, run_id: str, *, pinned: bool = True) -> Run:
    """Mark a run as kept by `prune`, or no longer.

    Raises:
        UnknownRun: there is no such run.
    """
    run(store, run_id)
    store.write("MATCH (r:ModelRun {id: $id}) SET r.pinned = $pinned", id=run_id, pinned=pinned)
    return run(store, run_id)


def prune(
    store: Store,
    home: Path,
    chosen: Sequence[str] = (),
    *,
    keep: int = 0,
    delete: bool = False,
    plan: bool = False,
    progress: Progress = SILENT,
) -> list[Pruned]:
    """Take runs out of the graph; their Parquet files stay under `home`, so that `restore` brings them back.

    Runs that are served or pinned are kept, and so are their parents.

    Args:
        store: the graph.
        home: REGKG_HOME, where run folders are.
        chosen: ids; if empty, every run that is not kept.
        keep: without `chosen`, how many of the newest runs of each slot stay as well.
        delete: delete the files too, for good, including those of runs pruned earlier.
        plan: only report which runs would go.
        progress: where to report each run.

    Raises:
        Conflict: a chosen run is kept, or is not in the graph.
        MissingInput: a run's files are missing, so pruning would lose it; not checked with `delete`.
    """
    all_runs = runs(store)
    reasons = _kept(store, all_runs)
    pruned_before = [run_ for run_ in all_runs if run_.outcome == "pruned" and delete]
    if chosen:
        leaving = [_may_go(run(store, run_id), reasons, delete=delete) for run_id in chosen]
    else:
        newest: dict[str, int] = {}
        leaving = list(pruned_before)
        for run_ in all_runs:
            if run_.outcome in IN_GRAPH:
                newest[run_.slot] = newest.get(run_.slot, 0) + 1
                if run_.id not in reasons and newest[run_.slot] > keep:
                    leaving.append(run_)
    for run_ in leaving:
        if not delete and run_.outcome in IN_GRAPH:
            predictions.kept(home, run_.id)  # read them, to be sure that they are intact
    if not plan:
        for run_ in leaving:
            _take_out(store, home, run_, delete=delete, progress=progress)
    return [Pruned(f.id, f.slot, "pruned" if not plan else f.outcome, not delete) for f in leaving]


def restore(store: Store, home: Path, run_id: str, progress: Progress = SILENT) -> Run:
    """Write a pruned run back from its files; leave a complete one alone.

    Raises:
        MissingInput: the files were deleted, or are elsewhere.
        Conflict: the run was never complete.
    """
    run_ = run(store, run_id)
    if run_.outcome == "complete":
        return run_
    if run_.outcome not in {"pruned", "pruning", "writing"}:
        raise Conflict(f"run {run_id} is {run_.outcome}: there is nothing to restore", "regkg runs list")
    return write_back(store, home, run_id, progress)


def _take_out(store: Store, home: Path, run_: Run, *, delete: bool, progress: Progress) -> None:
    progress.say(f"{run_.id}: {'files deleted' if delete else 'out of the graph'}")
    if run_.outcome in IN_GRAPH:
        take_over(store, run_.id, "pruning")  # first, so that no reader starts on rows that are being removed
        predictions.remove(store, run_.id)
        finish(store, run_.id, "pruned", note=run_.note)
    if delete:
        shutil.rmtree(predictions.run_folder(home, run_.id), ignore_errors=True)


def _kept(store: Store, everything: Sequence[Run]) -> dict[str, str]:
    """Return for the id of every run that stays the reason why."""
    by_id = {run_.id: run_ for run_ in everything}
    try:
        served_runs = served(store).runs
    except UnknownRelease:
        served_runs = {}
    reasons = {run_id: f"it is served for {slot}" for slot, run_id in served_runs.items()}
    reasons |= {run_.id: "it is pinned" for run_ in everything if run_.pinned and run_.id not in reasons}
    for run_id in list(reasons):
        parent = by_id[run_id].parent if run_id in by_id else None
        if parent is not None:
            reasons.setdefault(parent, f"it is the parent of {run_id}")
    return reasons


def _may_go(run_: Run, reasons: dict[str, str], *, delete: bool) -> Run:
    if run_.id in reasons:
        raise Conflict(f"run {run_.id} stays: {reasons[run_.id]}", "publish another run, or unpin it, first")
    if run_.outcome in IN_GRAPH or (delete and run_.outcome == "pruned"):
        return run_
    raise Conflict(f"run {run_.id} is {run_.outcome}, so none of its rows are in the graph", "regkg runs list")
