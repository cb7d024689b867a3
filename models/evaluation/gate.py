"""The gate: a retrained run is published only where it is not worse than the run that it replaces.

Compared is what their model declares (`models.contract`): metrics, such as FOSCTTM of the same cells, and how they rank
pairs against edges that neither saw: types that did not guide them or, of types that did, chromosomes held out from
both, and from every run whose weights they started from. What cannot be compared is said and left out, never guessed.
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
EVERYWHERE = None  # no chromosome of a type was seen


@dataclass(frozen=True)
class Gate:
    """By how much a run may be worse than the one it replaces, where that is not what its model declares.

    Attributes:
        tolerances: metric, as its model declares it, or "auroc" -> by how much it may be worse.
        min_positives: pairs that unseen edges of a type join, or it is not compared.
    """

    tolerances: Mapping[str, float] = field(default_factory=dict)
    min_positives: int = 20

    def tolerance(self, name: str, declared: float) -> float:
        """The one that was asked for, else the declared one."""
        return self.tolerances.get(name, declared)


@dataclass(frozen=True)
class GateFigure:
    """One comparison.

    Attributes:
        name: such as foscttm or auroc_CONTACTS.
        parent, child: its value of the published and of the new run; None where there is none.
        tolerance: the new one may be worse by this.
        verdict: passed, failed or not comparable.
        why: for people.
        interval: 95 % of child - parent over resampled genes, where pairs make the figure; it decides nothing.
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
        said = f"{self.name} {self.child:.4g}, of the published run {self.parent:.4g}, tolerance {self.tolerance:g}"
        if self.interval is None:
            return said
        low, high = self.interval
        change = f"changed by {self.child - self.parent:+.4g}, 95 % over resampled genes {low:+.4g} to {high:+.4g}"
        return f"{said}, {change}{': within chance' if low <= 0 <= high else ''}"


@dataclass(frozen=True)
class GateVerdict:
    """What the gate says of a run; `passed` when a figure was compared and none failed."""

    figures: tuple[GateFigure, ...]

    @property
    def passed(self) -> bool:
        """Whether the run may be published."""
        said = [figure.verdict for figure in self.figures]
        return FAILED not in said and PASSED in said

    @property
    def reason(self) -> str:
        """In a sentence: what failed or, when nothing could be compared, why."""
        told = [f for f in self.figures if f.verdict == (PASSED if self.passed else FAILED)] or list(self.figures)
        listed = "; ".join(map(str, told)) or "nothing could be compared"
        return f"gate {'passed' if self.passed else 'failed'}: {listed}"


def read_gate(path: Path | None, options: Mapping[str, Any]) -> Gate:
    """The gate from the table [gate] of a TOML file, and from options, which win.

    Args:
        path: of the file; None for none.
        options: min_positives, and NAME_tolerance for each metric NAME that a model declares; None is left out.

    Raises:
        SettingsError: the file has no such table, or something in it is unknown or of another type.
    """
    table: dict[str, Any] = {}
    if path is not None:
        try:
            table = tomllib.loads(path.read_text())["gate"]
        except (KeyError, tomllib.TOMLDecodeError) as error:
            raise SettingsError(f"{path} has no table [gate]: {error}", "see docs/retraining.md") from error
    known = {**{f"{name}{_TOLERANCE}": float for name in tolerable()}, "min_positives": int}
    wrong = [f"{name} = {value!r}" for name, value in table.items() if not _fits(value, known.get(name))]
    if wrong:
        raise SettingsError(f"{path}: [gate] says {', '.join(wrong)}", f"it may say {', '.join(known)}, all numbers")
    asked = {**table, **{name: value for name, value in options.items() if value is not None}}
    least = asked.pop("min_positives", Gate.min_positives)
    return Gate({name.removesuffix(_TOLERANCE): float(value) for name, value in asked.items()}, least)


def tolerable() -> list[str]:
    """Names of all that a gate can be told a tolerance of: "auroc", and the metrics that models declare."""
    declared = (one for name in registry.names() for one in registry.get(name).gate)
    return ["auroc", *sorted({one.name for one in declared if isinstance(one, Metric)})]


def judge(store: Store, gate: Gate, parent: Run, child: Run, release: int) -> GateVerdict:
    """Compare two complete runs by what their model declares; edges are those of `release`."""
    found: list[GateFigure] = []
    for declared in registry.get(child.model).gate:
        if isinstance(declared, Metric):
            found += _metric(store, gate, declared, parent, child)
        else:
            found += _rankings(store, gate, declared, parent, child, release)
    return GateVerdict(tuple(found))


def as_json(verdict: GateVerdict) -> dict[str, Any]:
    """The verdict in JSON's own types."""
    return {"passed": verdict.passed, "reason": verdict.reason, "figures": [asdict(f) for f in verdict.figures]}


def unseen(store: Store, of: Run, edge_type: str) -> frozenset[str] | None:
    """Chromosomes whose edges of a type neither a run nor any run that it started from has seen; None for all."""
    asked = runs.environment(store, of.id).get("request", {})
    own = frozenset(asked.get("held_out", ())) if edge_type in of.edge_types else EVERYWHERE
    if not asked.get("warm") or of.parent is None:
        return own
    return _both(own, unseen(store, runs.run(store, of.parent), edge_type))


def _both(one: frozenset[str] | None, other: frozenset[str] | None) -> frozenset[str] | None:
    if one is EVERYWHERE or other is EVERYWHERE:
        return other if one is EVERYWHERE else one
    return one & other


def _fits(value: object, expected: type | None) -> bool:
    if isinstance(value, bool) or expected is None:
        return False
    return isinstance(value, int) or (expected is float and isinstance(value, float))


def _compared(
    name: str, parent: float | None, child: float | None, tolerance: float, *, larger_is_worse: bool = False
) -> GateFigure:
    if parent is None or child is None or not (math.isfinite(parent) and math.isfinite(child)):
        return GateFigure(name, parent, child, tolerance, LEFT_OUT, "one of the runs has no such figure")
    worse_by = child - parent if larger_is_worse else parent - child
    return GateFigure(name, parent, child, tolerance, PASSED if worse_by <= tolerance else FAILED)


def _metric(store: Store, gate: Gate, declared: Metric, parent: Run, child: Run) -> list[GateFigure]:
    """One figure for each metric of the declared name, or one for their mean over those that both runs have."""
    tolerance = gate.tolerance(declared.name, declared.tolerance)
    if declared.pooled:
        both = [_pooled(declared.name, run, parent, child) for run in (parent, child)]
        values = {declared.name: (both[0], both[1])}
    else:
        names = sorted(n for n in {*parent.metrics, *child.metrics} if n.startswith(declared.name))
        values = {name: (parent.metrics.get(name), child.metrics.get(name)) for name in names}
    figures = [
        _compared(name, before, after, tolerance, larger_is_worse=not declared.higher_is_better)
        for name, (before, after) in values.items()
    ]
    cells = [runs.environment(store, run.id).get("cells") for run in (parent, child)]
    if declared.same_cells and None not in cells and cells[0] != cells[1]:
        why = "the files of cells have changed between the runs"
        return [replace(figure, verdict=LEFT_OUT, why=why) for figure in figures]
    return figures


def _pooled(name: str, of: Run, *both: Run) -> float | None:
    """Mean over the metrics NAME_... that both runs were measured with."""
    names = {n for n in both[0].metrics if n.startswith(f"{name}_")}.intersection(*(r.metrics for r in both))
    values = [of.metrics[n] for n in sorted(names) if all(r.metrics[n] is not None for r in both)]
    return sum(values) / len(values) if values else None


def _rankings(store: Store, gate: Gate, declared: Benchmark, parent: Run, child: Run, release: int) -> list[GateFigure]:
    """AUROC against each type of edges that the release has, on the pairs that both runs scored."""
    found = []
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
            why = f"{against} guided a run, or one whose weights it started from, on every chromosome"
            found.append(GateFigure(name, None, None, tolerance, LEFT_OUT, why))
            continue
        found.append(_ranking(name, gate.min_positives, tolerance, scored, chroms, pair_columns(declared.of)))
    return found


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
        why = f"{positive.sum():,} positive of {len(pairs):,} pairs{where}, {min_positives} are needed"
        return GateFigure(name, None, None, tolerance, LEFT_OUT, why)
    before, after = (auroc(positive, pairs[column].to_numpy()) for column in ("score", "score_of_child"))
    change = auroc_change(*(pairs[c].to_numpy() for c in ("gene", "positive", "score", "score_of_child")))
    interval = (change.low, change.high) if math.isfinite(change.low) else None
    return replace(_compared(name, before, after, tolerance), interval=interval)
