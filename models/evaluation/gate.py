"""The gate: a retrained run is published only where it is not worse than the run that it replaces.

Compared are what the two say of the same cells (FOSCTTM, integration consistency) and how they rank pairs against
edges that neither saw: types that did not guide them or, of types that did, chromosomes held out from both, and from
every run whose weights they started from. What cannot be compared is said and left out, never guessed.
"""

from __future__ import annotations

import math
import tomllib
from dataclasses import asdict, dataclass, fields, replace
from typing import TYPE_CHECKING, Any

from kg import runs
from kg.errors import NotFound, SettingsError
from kg.guidance import HELD_OUT
from kg.runs.labelled_pairs import scored_pairs
from kg.runs.pair_files import PAIR
from kg.schema import PERTURBS
from models.evaluation.metrics import auroc
from models.evaluation.ranking import auroc_change

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from kg.runs import Run
    from kg.store import Store

AGAINST = (*HELD_OUT, PERTURBS.name)
PASSED, FAILED, LEFT_OUT = "passed", "failed", "not comparable"
EVERYWHERE = None  # no chromosome of a type was seen


@dataclass(frozen=True)
class Gate:
    """By how much a run may be worse than the one it replaces.

    Attributes:
        foscttm_tolerance: FOSCTTM of paired cells may be larger by this.
        consistency_tolerance: integration consistency, mean over its metacell counts, may be smaller by this.
        auroc_tolerance: AUROC against each type of unseen edges may be smaller by this.
        min_positives: pairs that unseen edges of a type join, or it is not compared.
    """

    foscttm_tolerance: float = 0.02
    consistency_tolerance: float = 0.02
    auroc_tolerance: float = 0.02
    min_positives: int = 20


@dataclass(frozen=True)
class Figure:
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
class Verdict:
    """What the gate says of a run; `passed` when a figure was compared and none failed."""

    figures: tuple[Figure, ...]

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


def read_gate(path: Path | None, said: Mapping[str, Any]) -> Gate:
    """The gate from the table [gate] of a TOML file, and from options, which win.

    Raises:
        SettingsError: the file has no such table, or it says something unknown or of another type.
    """
    table: dict[str, Any] = {}
    if path is not None:
        try:
            table = tomllib.loads(path.read_text())["gate"]
        except (KeyError, tomllib.TOMLDecodeError) as error:
            raise SettingsError(f"{path} has no table [gate]: {error}", "see docs/retraining.md") from error
    known = {field.name: type(field.default) for field in fields(Gate)}
    wrong = [f"{name} = {value!r}" for name, value in table.items() if not _fits(value, known.get(name))]
    if wrong:
        raise SettingsError(f"{path}: [gate] says {', '.join(wrong)}", f"it may say {', '.join(known)}, all numbers")
    return replace(Gate(), **{**table, **{name: value for name, value in said.items() if value is not None}})


def judge(store: Store, gate: Gate, parent: Run, child: Run, release: int) -> Verdict:
    """Compare two complete runs; edges are those of `release`."""
    return Verdict((*_metrics(store, gate, parent, child), *_rankings(store, gate, parent, child, release)))


def as_json(verdict: Verdict) -> dict[str, Any]:
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
) -> Figure:
    if parent is None or child is None or not (math.isfinite(parent) and math.isfinite(child)):
        return Figure(name, parent, child, tolerance, LEFT_OUT, "one of the runs has no such figure")
    worse_by = child - parent if larger_is_worse else parent - child
    return Figure(name, parent, child, tolerance, PASSED if worse_by <= tolerance else FAILED)


def _metrics(store: Store, gate: Gate, parent: Run, child: Run) -> list[Figure]:
    """FOSCTTM where cells are paired, and consistency."""
    paired = sorted(n for n in {*parent.metrics, *child.metrics} if n.startswith("foscttm"))
    found = [
        _compared(n, parent.metrics.get(n), child.metrics.get(n), gate.foscttm_tolerance, larger_is_worse=True)
        for n in paired
    ]
    before, after = (_consistency(run, parent, child) for run in (parent, child))
    found.append(_compared("consistency", before, after, gate.consistency_tolerance))
    cells = [runs.environment(store, run.id).get("cells") for run in (parent, child)]
    if None not in cells and cells[0] != cells[1]:
        why = "the files of cells have changed between the runs"
        return [replace(figure, verdict=LEFT_OUT, why=why) for figure in found]
    return found


def _consistency(of: Run, *both: Run) -> float | None:
    """Mean over the metacell counts that both runs were measured with."""
    names = {n for n in both[0].metrics if n.startswith("consistency_")}.intersection(*(r.metrics for r in both))
    values = [of.metrics[n] for n in sorted(names) if all(r.metrics[n] is not None for r in both)]
    return sum(values) / len(values) if values else None


def _rankings(store: Store, gate: Gate, parent: Run, child: Run, release: int) -> list[Figure]:
    """AUROC against each type of edges that the release has, on the pairs that both runs scored."""
    found = []
    for against in AGAINST:
        try:
            scored = [scored_pairs(store, run.id, against, release).pairs for run in (parent, child)]
        except NotFound:
            continue  # the release has no such edge
        name = f"auroc_{against}"
        chroms = _both(unseen(store, parent, against), unseen(store, child, against))
        if chroms is not EVERYWHERE and not chroms:
            why = f"{against} guided a run, or one whose weights it started from, on every chromosome"
            found.append(Figure(name, None, None, gate.auroc_tolerance, LEFT_OUT, why))
            continue
        found.append(_ranking(name, gate, scored, chroms))
    return found


def _ranking(name: str, gate: Gate, scored: Sequence[Any], chroms: frozenset[str] | None) -> Figure:
    pairs = scored[0].merge(scored[1][[*PAIR, "score"]], on=PAIR, suffixes=("", "_of_child"))
    if chroms is not EVERYWHERE:
        pairs = pairs[pairs["chrom"].isin(chroms)]
    positive = pairs["positive"].to_numpy()
    if positive.sum() < gate.min_positives or positive.all():
        where = "" if chroms is EVERYWHERE else f" on {', '.join(sorted(chroms))}"
        why = f"{positive.sum():,} positive of {len(pairs):,} pairs{where}, {gate.min_positives} are needed"
        return Figure(name, None, None, gate.auroc_tolerance, LEFT_OUT, why)
    before, after = (auroc(positive, pairs[column].to_numpy()) for column in ("score", "score_of_child"))
    change = auroc_change(*(pairs[c].to_numpy() for c in ("gene", "positive", "score", "score_of_child")))
    interval = (change.low, change.high) if math.isfinite(change.low) else None
    return replace(_compared(name, before, after, gate.auroc_tolerance), interval=interval)
