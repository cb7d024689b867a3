"""How well scored pairs are ranked: AUROC and average precision, overall and among pairs equally far apart.

Pairs close together are both scored higher and true more often, so a score must beat distance. The matched AUROC
compares pairs only within bins of 25 kb, each weighted by its positives. Intervals come from resampling genes, since
the pairs of one gene are not independent.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from sklearn.metrics import average_precision_score

from models.metrics import auroc

if TYPE_CHECKING:
    from collections.abc import Callable

    import pandas as pd
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]
    Bools = NDArray[np.bool_]

BIN_BP = 25_000
RESAMPLES = 400


@dataclass(frozen=True)
class Figure:
    """One figure with its 95 % interval over resampled genes."""

    value: float
    low: float
    high: float


@dataclass(frozen=True)
class Ranking:
    """How a score ranks pairs, beside what distance alone does.

    Attributes:
        pairs, positives, genes: how many there are.
        auroc, matched_auroc, average_precision: of the score.
        distance_auroc, distance_matched_auroc, distance_average_precision: of minus the distance; what is left of it
            within bins too, which a matched figure must beat.
        prevalence: share of positives, which an average precision must beat.
    """

    pairs: int
    positives: int
    genes: int
    prevalence: float
    auroc: Figure
    matched_auroc: Figure
    average_precision: Figure
    distance_auroc: Figure
    distance_matched_auroc: Figure
    distance_average_precision: Figure


def rank(pairs: pd.DataFrame, *, seed: int = 0) -> Ranking:
    """Figures of pairs with the columns gene, distance_bp, score and positive (`kg.scored`)."""
    positive = pairs["positive"].to_numpy(dtype=bool)
    score = pairs["score"].to_numpy(dtype=np.float64)
    distance = pairs["distance_bp"].to_numpy(dtype=np.float64)
    gene = np.unique(pairs["gene"].to_numpy(dtype=str), return_inverse=True)[1]
    samples = list(_resampled(gene, seed))

    def figure(of: str) -> Figure:
        whole = slice(None)
        spread = [_FIGURES[of](positive[at], score[at], distance[at]) for at in samples]
        low, high = np.nanquantile(spread, [0.025, 0.975]) if np.isfinite(spread).any() else (np.nan, np.nan)
        return Figure(_FIGURES[of](positive[whole], score[whole], distance[whole]), float(low), float(high))

    return Ranking(
        len(pairs), int(positive.sum()), int(gene.max(initial=-1) + 1), float(positive.mean()),
        **{name: figure(name) for name in _FIGURES},
    )  # fmt: skip


def matched_auroc(positive: Bools, score: Floats, distance: Floats) -> float:
    """AUROC within bins of 25 kb of distance, mean weighted by the positives of each bin that has both kinds."""
    bins = (distance // BIN_BP).astype(np.int64)
    values, weights = [], []
    for one in np.unique(bins[positive]):
        inside = bins == one
        value = auroc(positive[inside], score[inside])
        if np.isfinite(value):
            values.append(value)
            weights.append(int(positive[inside].sum()))
    return float(np.average(values, weights=weights)) if values else float("nan")


def _average_precision(positive: Bools, score: Floats) -> float:
    return float(average_precision_score(positive, score)) if positive.any() else float("nan")


_FIGURES: dict[str, Callable[[Bools, Floats, Floats], float]] = {
    "auroc": lambda positive, score, distance: auroc(positive, score),
    "matched_auroc": matched_auroc,
    "average_precision": lambda positive, score, distance: _average_precision(positive, score),
    "distance_auroc": lambda positive, score, distance: auroc(positive, -distance),
    "distance_matched_auroc": lambda positive, score, distance: matched_auroc(positive, -distance, distance),
    "distance_average_precision": lambda positive, score, distance: _average_precision(positive, -distance),
}


def _resampled(gene: NDArray[np.int64], seed: int) -> list[NDArray[np.int64]]:
    """Rows of as many genes as there are, drawn with replacement, many times."""
    rng = np.random.default_rng(seed)
    order = np.argsort(gene, kind="stable")
    counts = np.bincount(gene)
    first = np.cumsum(counts) - counts
    drawn = rng.integers(len(counts), size=(RESAMPLES, len(counts)))
    return [order[_runs(first[genes], counts[genes])] for genes in drawn]


def _runs(first: NDArray[np.int64], count: NDArray[np.int64]) -> NDArray[np.int64]:
    """first[0], ..., first[0] + count[0] - 1, first[1], ..."""
    before = np.cumsum(count) - count
    at: NDArray[np.int64] = np.arange(count.sum()) + np.repeat(first - before, count)
    return at
