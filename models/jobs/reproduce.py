"""A run trained again from what it read, as it was trained, and compared with what was kept of it.

On the same CPU type, with the same threads and packages, the weights are equal bit by bit. Elsewhere sums are added in
another order, and training enlarges the difference; then the scores must agree within `CORRELATION` and `CALLS`.
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
CALLS = 0.95  # share of pairs that both call or neither does, at least
EXACT, CLOSE, OTHER = "bit-equal", "within tolerance", "not reproduced"
NOT_RECORDED = "not recorded"


@dataclass(frozen=True)
class Reproduction:
    """How a run came out again.

    Attributes:
        run: the new one, an experiment; of: the one that was reproduced.
        verdict: bit-equal, within tolerance, or not reproduced.
        differs: what is not as it was when the run was trained -> as it was, as it is; empty where bits must agree.
        weights: how many of the tensors are equal bit by bit, and how many there are.
        largest: difference of two weights; None when the tensors are not of the same names and shapes.
        correlation: of the scores (Pearson).
        calls: share of pairs that both call or neither does.
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
        """In a sentence."""
        told = f"{self.weights[0]} of {self.weights[1]} tensors are equal" if self.weights[1] else "it has no weights"
        if self.verdict != EXACT:
            told += f", scores correlate by {self.correlation:.4f}, {self.calls:.1%} of calls agree"
        named = ", ".join(f"{name} ({then} then, {now} now)" for name, (then, now) in self.differs.items())
        return f"{told}; {'not as it was: ' + named if named else 'all else is as it was'}"


def reproduce(store: Store, home: Path, run_id: str, progress: Progress = SILENT) -> Reproduction:
    """Train a run again, from the release that it read, and compare; the new run is an experiment.

    One that was cut short is finished first.

    Raises:
        UnknownRun: there is none.
        Conflict: it never was complete, or does not say how it was asked for.
        MissingInput: its files, or the weights that it started from, are not here.
        ChecksumMismatch: its cells are other files now.
    """
    of = runs.run(store, run_id)
    asked = runs.environment(store, run_id)
    _check(store, home, of, asked)
    kept = predictions.kept(home, run_id)[0]
    before = weights_of(home, run_id)
    why = f"a reproduction of {run_id}"
    cut = next((r.id for r in runs.runs(store) if r.experiment == why and r.interrupted), None)
    if cut is not None:
        progress.say(f"{cut} was cut short and goes on")
        made = train.resume(store, home, cut, progress)
    else:
        request = replace(train.TrainingRequest.of(asked["request"]), experiment=why)
        threads = asked.get("machine", {}).get("threads") or request.threads
        made = train.train(store, home, replace(request, threads=threads), progress, release=of.release)
    found = weights_of(home, made.id)
    again = predictions.kept(home, made.id)[0]
    folders = [run_folder(home, run.id) for run in (of, made)]
    rows = [Rows(_scores(one), read_annotations(folder)) for one, folder in zip((kept, again), folders, strict=True)]
    return _compared(of, made, _differences(store, of, made), (before, found), (rows[0], rows[1]))


def weights_of(home: Path, run_id: str) -> dict[str, Tensor]:
    """Every weight that a run kept; none of a run whose model has no losses, and so no weights; errors as `weights`."""
    history = read_history(run_folder(home, run_id))
    return {} if history is not None and history.empty else weights(home, run_id)


def weights(home: Path, run_id: str) -> dict[str, Tensor]:
    """Every weight that a run kept, by stage and name.

    Raises:
        MissingInput: it kept none.
        CheckpointRefused: a file is damaged.
    """
    folder = run_folder(home, run_id) / "checkpoints"
    stages = sorted(folder.glob("*.json"))
    if not stages:
        raise MissingInput(f"run {run_id} has no weights under {folder}", "take them from a backup, or from its export")
    return {
        f"{stage.stem}/{name}": tensor
        for stage in stages
        for name, tensor in checkpoint.load(stage.with_suffix(""), {})[0].items()
        if name.startswith("module/")
    }


def _check(store: Store, home: Path, of: Run, asked: Mapping[str, Any]) -> None:
    if of.outcome not in {"complete", "pruned"} or "request" not in asked:
        what = f"is {of.outcome}" if "request" in asked else "does not say how it was asked for"
        raise Conflict(f"run {of.id} {what}, so it cannot be trained again as it was", "regkg runs list")
    now = {file.modality: file.sha256 for file in registered_cells(store, of.cells)} if asked.get("cells") else {}
    if asked.get("cells", {}) != now:
        wrong = sorted(m for m in {*now, *asked.get("cells", {})} if asked.get("cells", {}).get(m) != now.get(m))
        raise ChecksumMismatch(
            f"cells {of.cells!r} are other files now than run {of.id} read: {', '.join(wrong)}",
            f"register those again: regkg load cells FILES --name {of.cells}",
        )
    parent = asked["request"].get("parent") if asked["request"].get("warm") else None
    if parent is not None:
        weights(home, parent)


def _differences(store: Store, of: Run, made: Run) -> dict[str, tuple[Any, Any]]:
    """What decides on the last bits and is not the same in both runs."""
    then, now = ({**runs.environment(store, r.id)} for r in (of, made))
    facts = [{"device": e.get("device"), **e.get("machine", {"machine": NOT_RECORDED})} for e in (then, now)]
    for fact, one in zip(facts, (of, made), strict=True):
        fact |= {"code": one.code, "configuration": one.config_hash, "evidence": dict(one.datasets)}
        fact["warm"] = bool(runs.environment(store, one.id)["request"].get("warm"))
    if facts[0].get("machine") == NOT_RECORDED:
        return {"machine": (NOT_RECORDED, facts[1]["cpu"])}
    names = {**facts[0], **facts[1]}
    return {n: (facts[0].get(n), facts[1].get(n)) for n in names if facts[0].get(n) != facts[1].get(n)}


@dataclass(frozen=True)
class Rows:
    """What a run says: scores of pairs by type and edge_id, and labels of cells by modality and column."""

    scores: pd.DataFrame
    annotations: Mapping[tuple[str, str], pd.DataFrame]

    def equals(self, other: Rows) -> bool:
        """Whether all of it is equal."""
        same = self.annotations.keys() == other.annotations.keys()
        return (
            same
            and self.scores.equals(other.scores)
            and all(frame.equals(other.annotations[name]) for name, frame in self.annotations.items())
        )


def _scores(kept: predictions.Predictions) -> pd.DataFrame:
    """All scored rows of a run, of whichever type, by edge_id."""
    parts = [batch.table.to_pandas().assign(edge_id=batch.edge_ids) for batch in kept.links]
    scored = [part for part in parts if {"score", "called"} <= set(part.columns)]
    if not scored:
        return pd.DataFrame({"score": [], "called": []}, dtype=float)
    found: pd.DataFrame = pd.concat(scored)
    return found.set_index("edge_id").sort_index()


def _agreement(then: Rows, now: Rows) -> tuple[float, float, float]:
    """Correlation of scores, share of calls and labels that agree, largest difference of two scores."""
    if not then.scores.index.equals(now.scores.index) or then.annotations.keys() != now.annotations.keys():
        return 0.0, 0.0, float("inf")
    a, b = (rows.scores["score"].to_numpy(np.float64) for rows in (then, now))
    varies = len(a) > 1 and a.std() > 0 and b.std() > 0
    correlation = float(np.corrcoef(a, b)[0, 1]) if varies else float(np.array_equal(a, b))
    agree = [(then.scores["called"] == now.scores["called"]).to_numpy()]
    agree += [(then.annotations[n]["label"] == now.annotations[n]["label"]).to_numpy() for n in then.annotations]
    every = np.concatenate(agree)
    shift = float(np.abs(a - b).max(initial=0.0))
    return correlation, float(every.mean()) if len(every) else 1.0, shift


def _compared(
    of: Run,
    made: Run,
    differs: dict[str, tuple[Any, Any]],
    tensors: tuple[dict[str, Tensor], dict[str, Tensor]],
    rows: tuple[Rows, Rows],
) -> Reproduction:
    then, now = tensors
    same = [name for name, tensor in then.items() if name in now and torch.equal(tensor, now[name])]
    shapes = [{name: tensor.shape for name, tensor in one.items()} for one in tensors]
    largest = max(
        (float((then[n].double() - now[n].double()).abs().max()) for n in then if then[n].numel()), default=0.0
    ) if shapes[0] == shapes[1] else None  # fmt: skip
    correlation, calls, shift = _agreement(*rows)
    if len(same) == len(then) == len(now) and rows[0].equals(rows[1]):
        verdict = EXACT
    else:
        verdict = CLOSE if differs and correlation >= CORRELATION and calls >= CALLS else OTHER
    return Reproduction(
        made.id, of.id, verdict, differs, (len(same), len({*then, *now})), largest, correlation, calls, shift
    )
