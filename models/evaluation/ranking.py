"""How well scores rank pairs: AUROC and average precision, overall and among pairs at similar distances.

Pairs close together are both scored higher and true more often, so a score must beat distance. The matched figures
compare pairs only within bins of 25 kb, each weighted by its number of positives. Intervals come from resampling genes,
since the pairs of one gene are not independent; every score is judged on the same samples, so that two can be compared.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from sklearn.metrics import average_precision_score

from models.evaluation.metrics import auroc

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from numpy.typing import NDArray

    Floats = NDArray[np.float64]
    Bools = NDArray[np.bool_]
    Ints = NDArray[np.int64]

BIN_BP = 25_000
RESAMPLES = 400
DISTANCE, METACELLS = "distance", "metacells"


@dataclass(frozen=True)
class IntervalFigure:
    """One figure with its 95 % interval over resampled genes."""

    value: float
    low: float
    high: float

    def __str__(self) -> str:
        return f"{self.value:.3f} ({self.low:.3f} to {self.high:.3f})"


@dataclass(frozen=True)
class Ranked:
    """How well one score ranks pairs.

    Attributes:
        score: its name; "distance" is minus the distance to the start site.
        auroc, average_precision: over all pairs.
        matched_auroc, matched_average_precision: within bins of 25 kb.
        beyond_distance: by how much `matched_auroc` exceeds that of distance, which ranks within a bin too.
        beyond_metacells: likewise, beyond correlation over metacells; None where that was not requested.
    """

    score: str
    auroc: IntervalFigure
    average_precision: IntervalFigure
    matched_auroc: IntervalFigure
    matched_average_precision: IntervalFigure
    beyond_distance: IntervalFigure
    beyond_metacells: IntervalFigure | None = None


@dataclass(frozen=True)
class ScoreDecile:
    """A tenth of the pairs by score, lowest first.

    Attributes:
        low, high: lowest and highest score.
        pairs, positives: how many.
        share: of positives.
        by_distance: the share expected from distance alone: of positives among all pairs at similar distances.
    """

    low: float
    high: float
    pairs: int
    positives: int
    share: float
    by_distance: float


@dataclass(frozen=True)
class Comparison:
    """Several scores compared on the same pairs.

    Attributes:
        pairs, positives, genes: their numbers.
        prevalence: share of positives, which an average precision must beat.
        scores: the first is the run's.
        calibration: of the run's score.
    """

    pairs: int
    positives: int
    genes: int
    prevalence: float
    scores: Sequence[Ranked]
    calibration: Sequence[ScoreDecile]


def compare(pairs: pd.DataFrame, others: Mapping[str, Floats] | None = None, *, seed: int = 0) -> Comparison:
    """Compare the run's score with distance alone and with other scores.

    Args:
        pairs: columns gene, distance_bp, score and positive (`kg.runs.labelled_pairs`).
        others: name -> a score of each pair, without NaN; METACELLS is correlation over metacells.
        seed: of the resampling.
    """
    positive = pairs["positive"].to_numpy(dtype=bool)
    distance = pairs["distance_bp"].to_numpy(dtype=np.float64)
    score = pairs["score"].to_numpy(dtype=np.float64)
    gene = np.unique(pairs["gene"].to_numpy(dtype=str), return_inverse=True)[1]
    samples: list[Ints] = [np.arange(len(pairs)), *_resampled(gene, seed)]
    named = {"run": score, DISTANCE: -distance, **(others or {})}
    figures = {name: _figures(positive, values, distance, samples) for name, values in named.items()}
    matched_aurocs = {name: f["matched_auroc"] for name, f in figures.items()}
    of_metacells = matched_aurocs.get(METACELLS)
    ranked = [
        Ranked(
            name,
            **{n: _figure(v) for n, v in f.items()},
            beyond_distance=_figure(matched_aurocs[name] - matched_aurocs[DISTANCE]),
            beyond_metacells=None if of_metacells is None else _figure(matched_aurocs[name] - of_metacells),
        )
        for name, f in figures.items()
    ]
    genes = int(gene.max(initial=-1) + 1)
    return Comparison(
        len(pairs), int(positive.sum()), genes, float(positive.mean()), ranked, calibration(positive, score, distance)
    )


def auroc_change(
    gene: NDArray[Any], positive: Bools, before: Floats, after: Floats, *, seed: int = 0
) -> IntervalFigure:
    """Return by how much the AUROC of `after` exceeds that of `before`, over the same resampled genes.

    A gene drawn twice has its pairs counted twice, so that each score is sorted only once.

    Args:
        gene: (pairs,) gene of each pair.
        positive: (pairs,) which are true.
        before, after: (pairs,) the scores.
        seed: of the resampling.
    """
    names, place = np.unique(gene, return_inverse=True)
    ranks = [np.unique(score, return_inverse=True)[1] for score in (before, after)]
    drawn = np.random.default_rng(seed).multinomial(len(names), np.full(len(names), 1 / len(names)), RESAMPLES)
    values = []
    for times in (np.ones(len(names), np.int64), *drawn):
        auroc_before, auroc_after = (_counted_auroc(positive, rank, times[place]) for rank in ranks)
        values.append(auroc_after - auroc_before)
    return _figure(np.array(values))


def calibration(positive: Bools, score: Floats, distance: Floats) -> list[ScoreDecile]:
    """Return the share of positives in each tenth of the score; ties keep the order given."""
    frame = pd.DataFrame({"positive": positive, "score": score, "bin": distance // BIN_BP})
    frame["expected"] = frame.groupby("bin")["positive"].transform("mean")
    place = np.argsort(np.argsort(score, kind="stable"), kind="stable")
    parts = frame.groupby(place * 10 // max(len(frame), 1))
    return [
        ScoreDecile(
            float(part["score"].min()), float(part["score"].max()), len(part), int(part["positive"].sum()),
            float(part["positive"].mean()), float(part["expected"].mean()),
        )
        for _, part in parts
    ]  # fmt: skip


def matched(of: Callable[[Bools, Floats], float], positive: Bools, score: Floats, distance: Floats) -> float:
    """Return the mean of a figure over bins of 25 kb of distance, weighted by the positives of bins with both kinds."""
    bins = (distance // BIN_BP).astype(np.int64)
    values, weights = [], []
    for number in np.unique(bins[positive]):
        inside = bins == number
        if not positive[inside].all():
            values.append(of(positive[inside], score[inside]))
            weights.append(int(positive[inside].sum()))
    return float(np.average(values, weights=weights)) if values else float("nan")


def matched_auroc(positive: Bools, score: Floats, distance: Floats) -> float:
    """Return the AUROC within bins of 25 kb of distance."""
    return matched(auroc, positive, score, distance)


def _counted_auroc(positive: Bools, rank: Ints, times: Ints) -> float:
    """Return the AUROC with each pair counted `times` times; `rank` is the same for equal scores."""
    true, false = (np.bincount(rank, times * mask) for mask in (positive, np.logical_not(positive)))
    pairs = true.sum() * false.sum()
    below = np.cumsum(false) - false
    return float(true @ (below + false / 2) / pairs) if pairs else float("nan")


def _average_precision(positive: Bools, score: Floats) -> float:
    return float(average_precision_score(positive, score)) if positive.any() else float("nan")


_FIGURES: dict[str, Callable[[Bools, Floats, Floats], float]] = {
    "auroc": lambda positive, score, distance: auroc(positive, score),
    "average_precision": lambda positive, score, distance: _average_precision(positive, score),
    "matched_auroc": matched_auroc,
    "matched_average_precision": lambda positive, score, distance: matched(
        _average_precision, positive, score, distance
    ),
}


def _figures(positive: Bools, score: Floats, distance: Floats, samples: Sequence[Ints]) -> dict[str, Floats]:
    """Return for each figure its value followed by those of the samples."""
    return {
        name: np.array([of(positive[at], score[at], distance[at]) for at in samples]) for name, of in _FIGURES.items()
    }


def _figure(values: Floats) -> IntervalFigure:
    resampled = values[1:][np.isfinite(values[1:])]
    low, high = np.quantile(resampled, [0.025, 0.975]) if len(resampled) else (np.nan, np.nan)
    return IntervalFigure(float(values[0]), float(low), float(high))


def _resampled(gene: NDArray[np.int64], seed: int) -> list[NDArray[np.int64]]:
    """Return the rows of as many genes as there are, drawn with replacement, many times."""
    rng = np.random.default_rng(seed)
    order = np.argsort(gene, kind="stable")
    counts = np.bincount(gene)
    first = np.cumsum(counts) - counts
    drawn = rng.integers(len(counts), size=(RESAMPLES, len(counts)))
    return [order[_runs(first[genes], counts[genes])] for genes in drawn]


def _runs(first: NDArray[np.int64], count: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return first[0], ..., first[0] + count[0] - 1, first[1], ..."""
    before = np.cumsum(count) - count
    at: NDArray[np.int64] = np.arange(count.sum()) + np.repeat(first - before, count)
    return at
