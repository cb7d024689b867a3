"""Reproduction: train a run again from what it read, as it was trained, and compare the results.

On the same type of CPU, with the same threads and packages, the weights are equal bit by bit. Elsewhere sums are added
in another order, and training amplifies the difference; then scores must agree within `CORRELATION` and `CALLS`.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import torch

from kg import runs
from kg.cells import cells as registered_cells
from kg.errors import ChecksumMismatch, Conflict, MissingInput
from kg.progress import SILENT, Progress
from kg.runs import predictions
from kg.runs.cell_files import read_annotations
from kg.runs.predictions import run_folder
from models.jobs import train
from models.jobs.run_artifacts import read_history
from models.training import checkpoint

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from torch import Tensor

    from kg.runs import Run
    from kg.store import Store

CORRELATION = 0.98  # of the scores of both runs, at least
CALLS = 0.95  # share of pairs that both or neither call, at least
EXACT, CLOSE, OTHER = "bit-equal", "within tolerance", "not reproduced"
NOT_RECORDED = "not recorded"


@dataclass(frozen=True)
class Reproduction:
    """The outcome of reproducing a run.

    Attributes:
        run: the new run, an experiment; of: the run that was reproduced.
        verdict: bit-equal, within tolerance, or not reproduced.
        differs: what has changed since the run was trained -> value then, value now; empty if bits must agree.
        weights: the number of tensors that are equal bit by bit, and of all tensors.
        largest: largest difference of two weights; None if names or shapes of the tensors differ.
        correlation: Pearson correlation of the scores.
        calls: share of pairs that both or neither call.
        shift: largest difference of two scores.
    """

    run: str
    of: str
    verdict: str
    differs: Mapping[str, tuple[Any, Any]]
    weights: tuple[int, int]
    largest: float | None
    correlation: float
    calls: float
    shift: float

    @property
    def reason(self) -> str:
        """The outcome in one sentence."""
        outcome = (
            f"{self.weights[0]} of {self.weights[1]} tensors are equal" if self.weights[1] else "it has no weights"
        )
        if self.verdict != EXACT:
            outcome += f", scores correlate by {self.correlation:.4f}, {self.calls:.1%} of calls agree"
        named = ", ".join(f"{name} ({then} then, {now} now)" for name, (then, now) in self.differs.items())
        return f"{outcome}; {'changed since then: ' + named if named else 'nothing else has changed'}"


def reproduce(store: Store, home: Path, run_id: str, progress: Progress = SILENT) -> Reproduction:
    """Train a run again, from the release that it read, and compare; the new run is an experiment.

    An earlier reproduction that was interrupted is resumed instead.

    Raises:
        UnknownRun: there is no such run.
        Conflict: it never was complete, or does not record its request.
        MissingInput: its files, or the weights that it started from, are missing.
        ChecksumMismatch: its cells are other files now.
    """
    of = runs.run(store, run_id)
    environment = runs.environment(store, run_id)
    _check(store, home, of, environment)
    outputs = predictions.kept(home, run_id)[0]
    statethen = stateof(home, run_id)
    experiment = f"a reproduction of {run_id}"
    interrupted = next((r.id for r in runs.runs(store) if r.experiment == experiment and r.interrupted), None)
    if interrupted is not None:
        progress.say(f"resuming {interrupted}, which was interrupted")
        repeated = train.resume(store, home, interrupted, progress)
    else:
        request = replace(train.TrainingRequest.of(environment["request"]), experiment=experiment)
        threads = environment.get("machine", {}).get("threads") or request.threads
        repeated = train.train(store, home, replace(request, threads=threads), progress, release=of.release)
    statenow = stateof(home, repeated.id)
    outputs_now = predictions.kept(home, repeated.id)[0]
    folders = [run_folder(home, run.id) for run in (of, repeated)]
    rows = [
        RunRows(_scores(kept), read_annotations(folder))
        for kept, folder in zip((outputs, outputs_now), folders, strict=True)
    ]
    return _compared(of, repeated, _differences(store, of, repeated), (statethen, statenow), (rows[0], rows[1]))


def stateof(home: Path, run_id: str) -> dict[str, Tensor]:
    """Return every weight that a run kept; none if its model has no loss, hence no weights; errors as `weights`."""
    history = read_history(run_folder(home, run_id))
    return {} if history is not None and history.empty else weights(home, run_id)


def weights(home: Path, run_id: str) -> dict[str, Tensor]:
    """Return every weight that a run kept, by stage and name.

    Raises:
        MissingInput: it kept none.
        CheckpointRefused: a file is damaged.
    """
    folder = run_folder(home, run_id) / "checkpoints"
    stages = sorted(folder.glob("*.json"))
    if not stages:
        raise MissingInput(f"run {run_id} has no weights in {folder}", "restore them from a backup, or from its export")
    return {
        f"{stage.stem}/{name}": tensor
        for stage in stages
        for name, tensor in checkpoint.load(stage.with_suffix(""), {})[0].items()
        if name.startswith("module/")
    }


def _check(store: Store, home: Path, of: Run, environment: Mapping[str, Any]) -> None:
    if of.outcome not in {"complete", "pruned"} or "request" not in environment:
        state = f"is {of.outcome}" if "request" in environment else "does not record its request"
        raise Conflict(f"run {of.id} {state}, so it cannot be trained again as it was", "regkg runs list")
    now = {file.modality: file.sha256 for file in registered_cells(store, of.cells)} if environment.get("cells") else {}
    if environment.get("cells", {}) != now:
        wrong = sorted(
            m for m in {*now, *environment.get("cells", {})} if environment.get("cells", {}).get(m) != now.get(m)
        )
        raise ChecksumMismatch(
            f"cells {of.cells!r} are other files now than run {of.id} read: {', '.join(wrong)}",
            f"register those again: regkg load cells FILES --name {of.cells}",
        )
    parent = environment["request"].get("parent") if environment["request"].get("warm") else None
    if parent is not None:
        weights(home, parent)


def _differences(store: Store, of: Run, repeated: Run) -> dict[str, tuple[Any, Any]]:
    """Return what determines the last bits and differs between the runs."""
    then, now = ({**runs.environment(store, r.id)} for r in (of, repeated))
    facts = [{"device": e.get("device"), **e.get("machine", {"machine": NOT_RECORDED})} for e in (then, now)]
    for fact, run in zip(facts, (of, repeated), strict=True):
        fact |= {"code": run.code, "configuration": run.config_hash, "evidence": dict(run.datasets)}
        fact["warm"] = bool(runs.environment(store, run.id)["request"].get("warm"))
    if facts[0].get("machine") == NOT_RECORDED:
        return {"machine": (NOT_RECORDED, facts[1]["cpu"])}
    names = {**facts[0], **facts[1]}
    return {n: (facts[0].get(n), facts[1].get(n)) for n in names if facts[0].get(n) != facts[1].get(n)}


@dataclass(frozen=True)
class RunRows:
    """The rows of a run: scores of pairs by type and edge_id, and labels of cells by modality and column."""

    scores: pd.DataFrame
    annotations: Mapping[tuple[str, str], pd.DataFrame]

    def equals(self, other: RunRows) -> bool:
        """Return whether all rows are equal."""
        same = self.annotations.keys() == other.annotations.keys()
        return (
            same
            and self.scores.equals(other.scores)
            and all(frame.equals(other.annotations[name]) for name, frame in self.annotations.items())
        )


def _scores(kept: predictions.Predictions) -> pd.DataFrame:
    """Return all scored rows of a run, of any type, by edge_id."""
    parts = [batch.table.to_pandas().assign(edge_id=batch.edge_ids) for batch in kept.links]
    scored = [part for part in parts if {"score", "called"} <= set(part.columns)]
    if not scored:
        return pd.DataFrame({"score": [], "called": []}, dtype=float)
    rows: pd.DataFrame = pd.concat(scored)
    return rows.set_index("edge_id").sort_index()


def _agreement(then: RunRows, now: RunRows) -> tuple[float, float, float]:
    """Return the correlation of scores, the share of calls and labels that agree, the largest score difference."""
    if not then.scores.index.equals(now.scores.index) or then.annotations.keys() != now.annotations.keys():
        return 0.0, 0.0, float("inf")
    a, b = (rows.scores["score"].to_numpy(np.float64) for rows in (then, now))
    varies = len(a) > 1 and a.std() > 0 and b.std() > 0
    correlation = float(np.corrcoef(a, b)[0, 1]) if varies else float(np.array_equal(a, b))
    agree = [(then.scores["called"] == now.scores["called"]).to_numpy()]
    agree += [(then.annotations[n]["label"] == now.annotations[n]["label"]).to_numpy() for n in then.annotations]
    agreeing = np.concatenate(agree)
    shift = float(np.abs(a - b).max(initial=0.0))
    return correlation, float(agreeing.mean()) if len(agreeing) else 1.0, shift


def _compared(
    of: Run,
    repeated: Run,
    differs: dict[str, tuple[Any, Any]],
    tensors: tuple[dict[str, Tensor], dict[str, Tensor]],
    rows: tuple[RunRows, RunRows],
) -> Reproduction:
    then, now = tensors
    same = [name for name, tensor in then.items() if name in now and torch.equal(tensor, now[name])]
    shapes = [{name: tensor.shape for name, tensor in state.items()} for state in tensors]
    largest = max(
        (float((then[n].double() - now[n].double()).abs().max()) for n in then if then[n].numel()), default=0.0
    ) if shapes[0] == shapes[1] else None  # fmt: skip
    correlation, calls, shift = _agreement(*rows)
    if len(same) == len(then) == len(now) and rows[0].equals(rows[1]):
        verdict = EXACT
    else:
        verdict = CLOSE if differs and correlation >= CORRELATION and calls >= CALLS else OTHER
    return Reproduction(
        repeated.id, of.id, verdict, differs, (len(same), len({*then, *now})), largest, correlation, calls, shift
    )
