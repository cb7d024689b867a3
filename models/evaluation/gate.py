"""The gate: a retrained run is published only if it is not worse than the run that it replaces.

The two are compared by what their model declares (`models.contract`): metrics, such as FOSCTTM of the same cells, and
how they rank pairs against edges that neither has seen: edges of types that did not guide them or, of types that did,
of chromosomes held out from both and from every run whose weights they started from. What cannot be compared is
reported and left out, never guessed.
"""

from __future__ import annotations

import math
import tomllib
from dataclasses import asdict, dataclass, field, replace
from typing import TYPE_CHECKING, Any

from kg import runs
from kg.errors import NotFound, SettingsError
from kg.runs.labelled_pairs import labelled_pairs, pair_columns
from models import registry
from models.contract import Metric
from models.evaluation.metrics import auroc
from models.evaluation.ranking import auroc_change

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from kg.runs import Run
    from kg.store import Store
    from models.contract import Benchmark

_TOLERANCE = "_tolerance"
PASSED, FAILED, LEFT_OUT = "passed", "failed", "not comparable"
EVERYWHERE = None  # unseen on every chromosome


@dataclass(frozen=True)
class Gate:
    """By how much a run may be worse than the one it replaces, where that differs from what its model declares.

    Attributes:
        tolerances: metric, as its model declares it, or "auroc" -> by how much it may be worse.
        min_positives: how many scored pairs unseen edges of a type must join for that type to be compared.
    """

    tolerances: Mapping[str, float] = field(default_factory=dict)
    min_positives: int = 20

    def tolerance(self, name: str, declared: float) -> float:
        """Return the tolerance set for this metric, else the declared one."""
        return self.tolerances.get(name, declared)


@dataclass(frozen=True)
class GateFigure:
    """One figure of a run compared with that of the published run.

    Attributes:
        name: such as foscttm or auroc_CONTACTS.
        parent, child: its value for the published and for the new run; None where there is none.
        tolerance: by how much the new one may be worse.
        verdict: passed, failed or not comparable.
        why: the reason, in words.
        interval: 95 % interval of child - parent over resampled genes, for figures of pairs; it decides nothing.
    """

    name: str
    parent: float | None
    child: float | None
    tolerance: float
    verdict: str
    why: str = ""
    interval: tuple[float, float] | None = None

    def __str__(self) -> str:
        if self.parent is None or self.child is None or self.verdict == LEFT_OUT:
            return f"{self.name} is not comparable: {self.why}"
        text = f"{self.name} {self.child:.4g}, published run {self.parent:.4g}, tolerance {self.tolerance:g}"
        if self.interval is None:
            return text
        low, high = self.interval
        change = f"changed by {self.child - self.parent:+.4g}, 95 % over resampled genes {low:+.4g} to {high:+.4g}"
        return f"{text}, {change}{': within chance' if low <= 0 <= high else ''}"


@dataclass(frozen=True)
class GateVerdict:
    """The gate's verdict on a run: passed when at least one figure was compared and none failed."""

    figures: tuple[GateFigure, ...]

    @property
    def passed(self) -> bool:
        """Whether the run may be published."""
        verdicts = [figure.verdict for figure in self.figures]
        return FAILED not in verdicts and PASSED in verdicts

    @property
    def reason(self) -> str:
        """What passed or failed or, when nothing could be compared, why; one sentence."""
        decisive = [f for f in self.figures if f.verdict == (PASSED if self.passed else FAILED)] or list(self.figures)
        listed = "; ".join(map(str, decisive)) or "nothing could be compared"
        return f"gate {'passed' if self.passed else 'failed'}: {listed}"


def read_gate(path: Path | None, options: Mapping[str, Any]) -> Gate:
    """Read the gate from the table [gate] of a TOML file, and from options, which win.

    Args:
        path: of the file, or None.
        options: min_positives, and NAME_tolerance for each metric NAME that a model declares; None is left out.

    Raises:
        SettingsError: the file has no such table, or an entry is unknown or of the wrong type.
    """
    table: dict[str, Any] = {}
    if path is not None:
        try:
            table = tomllib.loads(path.read_text())["gate"]
        except (KeyError, tomllib.TOMLDecodeError) as error:
            raise SettingsError(f"{path} has no table [gate]: {error}", "see docs/retraining.md") from error
    expected = {**{f"{name}{_TOLERANCE}": float for name in tolerance_names()}, "min_positives": int}
    invalid = [f"{name} = {value!r}" for name, value in table.items() if not _fits(value, expected.get(name))]
    if invalid:
        valid = f"valid entries are {', '.join(expected)}, all numbers"
        raise SettingsError(f"{path}: [gate] has invalid entries: {', '.join(invalid)}", valid)
    values = {**table, **{name: value for name, value in options.items() if value is not None}}
    min_positives = values.pop("min_positives", Gate.min_positives)
    return Gate({name.removesuffix(_TOLERANCE): float(value) for name, value in values.items()}, min_positives)


def tolerance_names() -> list[str]:
    """Return the names of all metrics that can be given a tolerance: "auroc", and those that models declare."""
    declared = (entry for name in registry.names() for entry in registry.get(name).gate)
    return ["auroc", *sorted({entry.name for entry in declared if isinstance(entry, Metric)})]


def judge(store: Store, gate: Gate, parent: Run, child: Run, release: int) -> GateVerdict:
    """Compare two complete runs by what their model declares, against the edges of `release`."""
    figures: list[GateFigure] = []
    for declared in registry.get(child.model).gate:
        if isinstance(declared, Metric):
            figures += _metric(store, gate, declared, parent, child)
        else:
            figures += _rankings(store, gate, declared, parent, child, release)
    return GateVerdict(tuple(figures))


def as_json(verdict: GateVerdict) -> dict[str, Any]:
    """Return the verdict as JSON values."""
    return {"passed": verdict.passed, "reason": verdict.reason, "figures": [asdict(f) for f in verdict.figures]}


def unseen(store: Store, of: Run, edge_type: str) -> frozenset[str] | None:
    """Return the chromosomes whose edges of a type were seen neither by a run nor by any run it started from."""
    request = runs.environment(store, of.id).get("request", {})
    own = frozenset(request.get("held_out", ())) if edge_type in of.edge_types else EVERYWHERE
    if not request.get("warm") or of.parent is None:
        return own
    return _both(own, unseen(store, runs.run(store, of.parent), edge_type))


def _both(a: frozenset[str] | None, b: frozenset[str] | None) -> frozenset[str] | None:
    """Return the chromosomes in both sets, each of which may be EVERYWHERE."""
    if a is EVERYWHERE or b is EVERYWHERE:
        return b if a is EVERYWHERE else a
    return a & b


def _fits(value: object, expected: type | None) -> bool:
    if isinstance(value, bool) or expected is None:
        return False
    return isinstance(value, int) or (expected is float and isinstance(value, float))


def _compared(
    name: str, parent: float | None, child: float | None, tolerance: float, *, larger_is_worse: bool = False
) -> GateFigure:
    if parent is None or child is None or not (math.isfinite(parent) and math.isfinite(child)):
        return GateFigure(name, parent, child, tolerance, LEFT_OUT, "one of the runs lacks this figure")
    worse_by = child - parent if larger_is_worse else parent - child
    return GateFigure(name, parent, child, tolerance, PASSED if worse_by <= tolerance else FAILED)


def _metric(store: Store, gate: Gate, declared: Metric, parent: Run, child: Run) -> list[GateFigure]:
    """Return one figure for each metric of the declared name, or one for their mean over those that both runs have."""
    tolerance = gate.tolerance(declared.name, declared.tolerance)
    if declared.pooled:
        pooled = [_pooled(declared.name, run, parent, child) for run in (parent, child)]
        values = {declared.name: (pooled[0], pooled[1])}
    else:
        names = sorted(n for n in {*parent.metrics, *child.metrics} if n.startswith(declared.name))
        values = {name: (parent.metrics.get(name), child.metrics.get(name)) for name in names}
    figures = [
        _compared(name, before, after, tolerance, larger_is_worse=not declared.higher_is_better)
        for name, (before, after) in values.items()
    ]
    cells = [runs.environment(store, run.id).get("cells") for run in (parent, child)]
    if declared.same_cells and None not in cells and cells[0] != cells[1]:
        why = "the cell files changed between the runs"
        return [replace(figure, verdict=LEFT_OUT, why=why) for figure in figures]
    return figures


def _pooled(name: str, of: Run, *both: Run) -> float | None:
    """Return the mean over the metrics NAME_... that both runs have."""
    names = {n for n in both[0].metrics if n.startswith(f"{name}_")}.intersection(*(r.metrics for r in both))
    values = [of.metrics[n] for n in sorted(names) if all(r.metrics[n] is not None for r in both)]
    return sum(values) / len(values) if values else None


def _rankings(store: Store, gate: Gate, declared: Benchmark, parent: Run, child: Run, release: int) -> list[GateFigure]:
    """Return the AUROC against each type of edges that the release has, on the pairs that both runs scored."""
    figures = []
    tolerance = gate.tolerance("auroc", declared.tolerance)
    for type_ in declared.against:
        against = type_.name
        try:
            scored = [labelled_pairs(store, run.id, against, release, of=declared.of).pairs for run in (parent, child)]
        except NotFound:
            continue  # the release has no such edge
        name = f"auroc_{against}"
        chroms = _both(unseen(store, parent, against), unseen(store, child, against))
        if chroms is not EVERYWHERE and not chroms:
            why = f"{against} guided a run, or a run whose weights it started from, on every chromosome"
            figures.append(GateFigure(name, None, None, tolerance, LEFT_OUT, why))
            continue
        figures.append(_ranking(name, gate.min_positives, tolerance, scored, chroms, pair_columns(declared.of)))
    return figures


def _ranking(
    name: str,
    min_positives: int,
    tolerance: float,
    scored: Sequence[Any],
    chroms: frozenset[str] | None,
    pair: Sequence[str],
) -> GateFigure:
    pairs = scored[0].merge(scored[1][[*pair, "score"]], on=list(pair), suffixes=("", "_of_child"))
    if chroms is not EVERYWHERE:
        pairs = pairs[pairs["chrom"].isin(chroms)]
    positive = pairs["positive"].to_numpy()
    if positive.sum() < min_positives or positive.all():
        where = "" if chroms is EVERYWHERE else f" on {', '.join(sorted(chroms))}"
        why = f"{positive.sum():,} of {len(pairs):,} pairs{where} are positive, {min_positives} are needed"
        return GateFigure(name, None, None, tolerance, LEFT_OUT, why)
    before, after = (auroc(positive, pairs[column].to_numpy()) for column in ("score", "score_of_child"))
    change = auroc_change(*(pairs[c].to_numpy() for c in ("gene", "positive", "score", "score_of_child")))
    interval = (change.low, change.high) if math.isfinite(change.low) else None
    return replace(_compared(name, before, after, tolerance), interval=interval)
