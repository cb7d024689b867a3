"""Taking runs out of the graph and back in: what was trained stays as files, unless those are to go too."""

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
    """Say that `prune` keeps a run, or no longer.

    Raises:
        UnknownRun: there is none.
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

    Kept are runs that are served, pinned, or the parent of such a run.

    Args:
        store: the graph.
        home: where run folders lie.
        chosen: ids; none means every run that is not kept.
        keep: without `chosen`, how many of the newest of each slot stay as well.
        delete: the files go too, for good; also those of runs that were pruned before.
        plan: only say which.
        progress: told of each.

    Raises:
        Conflict: a chosen run is kept, or is not in the graph.
        MissingInput: a run's files are not here, so that pruning would lose it; with `delete` that is the wish.
    """
    everything = runs(store)
    reasons = _kept(store, everything)
    gone = [found for found in everything if found.outcome == "pruned" and delete]
    if chosen:
        going = [_may_go(run(store, run_id), reasons, delete=delete) for run_id in chosen]
    else:
        newest: dict[str, int] = {}
        going = list(gone)
        for found in everything:
            if found.outcome in IN_GRAPH:
                newest[found.slot] = newest.get(found.slot, 0) + 1
                if found.id not in reasons and newest[found.slot] > keep:
                    going.append(found)
    for found in going:
        if not delete and found.outcome in IN_GRAPH:
            predictions.kept(home, found.id)  # read, not only looked for
    if not plan:
        for found in going:
            _take_out(store, home, found, delete=delete, progress=progress)
    return [Pruned(f.id, f.slot, "pruned" if not plan else f.outcome, not delete) for f in going]


def restore(store: Store, home: Path, run_id: str, progress: Progress = SILENT) -> Run:
    """A run that was pruned, written back from its files; a complete one is left alone.

    Raises:
        MissingInput: the files were deleted, or lie elsewhere.
        Conflict: it never was complete.
    """
    found = run(store, run_id)
    if found.outcome == "complete":
        return found
    if found.outcome not in {"pruned", "pruning", "writing"}:
        raise Conflict(f"run {run_id} is {found.outcome}: there is nothing to bring back", "regkg runs list")
    return write_back(store, home, run_id, progress)


def _take_out(store: Store, home: Path, found: Run, *, delete: bool, progress: Progress) -> None:
    progress.say(f"{found.id}: {'files deleted' if delete else 'out of the graph'}")
    if found.outcome in IN_GRAPH:
        take_over(store, found.id, "pruning")  # first, so that nobody starts to read rows that are going
        predictions.remove(store, found.id)
        finish(store, found.id, "pruned", note=found.note)
    if delete:
        shutil.rmtree(predictions.run_folder(home, found.id), ignore_errors=True)


def _kept(store: Store, everything: Sequence[Run]) -> dict[str, str]:
    """Id of every run that stays -> why."""
    by_id = {found.id: found for found in everything}
    try:
        in_force = served(store).runs
    except UnknownRelease:
        in_force = {}
    reasons = {run_id: f"it is served for {slot}" for slot, run_id in in_force.items()}
    reasons |= {found.id: "it is pinned" for found in everything if found.pinned and found.id not in reasons}
    for run_id in list(reasons):
        parent = by_id[run_id].parent if run_id in by_id else None
        if parent is not None:
            reasons.setdefault(parent, f"it is the parent of {run_id}")
    return reasons


def _may_go(found: Run, reasons: dict[str, str], *, delete: bool) -> Run:
    if found.id in reasons:
        raise Conflict(f"run {found.id} stays: {reasons[found.id]}", "publish another run, or unpin it, first")
    if found.outcome in IN_GRAPH or (delete and found.outcome == "pruned"):
        return found
    raise Conflict(f"run {found.id} is {found.outcome}, so none of its rows are in the graph", "regkg runs list")
