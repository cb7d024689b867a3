"""What a match scores, and how likely such a score is by chance.

Scores are log2 odds of a base in the motif against the background, rounded to whole multiples of 1/STEP bit. All
sums are sums of integers: equal on every machine and in every order, and the p-values are exact for them. Rounding
moves the score of a motif of w positions by at most w / (2 * STEP) bit.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

STEP = 1000  # per bit
ASSUMED_SITES = 20  # for a matrix of probabilities without its number of sites, as in MEME
_AS_PROBABILITIES = 1.1  # columns that sum to less hold no counts
_FIRST_BITS = 16


@dataclass(frozen=True)
class Profile:
    """A motif made ready to scan with.

    Attributes:
        scores: (positions, ACGT) int64, in 1/STEP bit.
        threshold: the lowest score that is a hit; above the highest possible score if none is rare enough.
        tail: (D,) p-value of scoring at most d below the highest possible score, for d up to that of the threshold.
    """

    scores: NDArray[np.int64]
    threshold: int
    tail: NDArray[np.float64]

    @property
    def highest(self) -> int:
        """The highest possible score."""
        return int(self.scores.max(axis=1).sum())

    @property
    def reversed(self) -> Profile:
        """The same for the other strand; with a background that is equal on both, so are threshold and p-values."""
        return Profile(self.scores[::-1, ::-1].copy(), self.threshold, self.tail)

    def p_values(self, scores: NDArray[np.int64]) -> NDArray[np.float64]:
        """Return the p-values of hits by their scores."""
        tails: NDArray[np.float64] = self.tail[self.highest - scores]
        return tails


def background(gc: float) -> NDArray[np.float64]:
    """Return frequencies of A, C, G and T, equal on both strands."""
    return np.array([1 - gc, gc, gc, 1 - gc]) / 2


def profile(matrix: NDArray[np.float64], p_value: float, gc: float, pseudocount: float) -> Profile:
    """Make a motif ready to scan with.

    A hit scores at least the lowest possible score whose p-value is at most `p_value`: a score exactly at the
    threshold is a hit, and sites of equal score are all in or all out.

    Args:
        matrix: (positions, ACGT) counts, or probabilities, which are taken for ASSUMED_SITES sites.
        p_value: of one position of one strand.
        gc: share of G and C in the background.
        pseudocount: added to each position, divided among the bases as in the background.
    """
    odds = background(gc)
    sites = matrix.sum(axis=1, keepdims=True)
    counts = np.where(sites < _AS_PROBABILITIES, matrix * ASSUMED_SITES, matrix)
    share = (counts + pseudocount * odds) / (counts.sum(axis=1, keepdims=True) + pseudocount)
    scores = np.rint(STEP * np.log2(share / odds)).astype(np.int64)
    tail = _tail(scores, p_value, odds)
    return Profile(scores, int(scores.max(axis=1).sum()) - len(tail) + 1, tail)


def _tail(scores: NDArray[np.int64], p_value: float, odds: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return P(score >= highest - d) for d = 0, 1, ... up to the last possible score where it is at most `p_value`.

    The distribution of what a random site loses against the highest score, one position after the other. Losses
    only grow, so that cutting it off at some loss leaves everything below exact.
    """
    lost = scores.max(axis=1, keepdims=True) - scores
    size = _FIRST_BITS * STEP
    while True:
        chance = np.zeros(size)
        chance[0] = 1.0
        for position in lost:
            before, chance = chance, np.zeros(size)
            for loss, odd in zip(position, odds, strict=True):
                if loss < size:
                    chance[loss:] += odd * before[: size - loss]
        tail = np.cumsum(chance)
        if tail[-1] > p_value or size > lost.max(axis=1).sum():
            possible = np.flatnonzero(chance[: np.searchsorted(tail, p_value, side="right")])
            return tail[: possible[-1] + 1 if len(possible) else 0]
        size *= 2
