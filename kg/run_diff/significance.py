"""Tests of whether a score moved between two runs by more than seeds move it.

For each edge, the shift of its mean score is compared with the spread over seeds, by a two-sample t test with moderated
variances: a few seeds estimate the variance of one edge poorly, but that of all edges together well (Smyth 2004, doi
10.2202/1544-6115.1027), best from edges with a similar score (Law et al. 2014, doi 10.1186/gb-2014-15-2-r29): cosines
near 1 vary little. Since there are many tests, p is adjusted to q by Benjamini and Hochberg.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from scipy.optimize import brentq
from scipy.special import polygamma, psi
from scipy.stats import false_discovery_control
from scipy.stats import t as student

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    Floats = NDArray[np.float64]

FLOOR = 1e-10  # of a variance: scores are float32
NORMAL_MAD = 1.4826  # standard deviations of a normal per median absolute deviation
WINDOWS, MIN_WINDOW = 20, 40  # edges of similar scores: a twentieth of all, at least 40
UNKNOWN_DF = 5.0  # degrees of freedom assumed where the spread comes from two runs alone


@dataclass(frozen=True)
class Noise:
    """How far seeds alone shift the score of each edge.

    Attributes:
        variance: (edges,) of a shift, estimated edge by edge; NaN where it is not known.
        df: degrees of freedom of each estimate; 0 where all edges share one variance that needs no moderation.
        expected: (edges,) variance expected at such a score, up to a factor common to all edges.
        per_seed: ratio of the variance of a shift to that of one seed's score; 0 where seeds are not known.
        centre: the shift common to all edges, such as 0.
        source: where the estimate comes from, in words.
    """

    variance: Floats
    df: float
    source: str
    expected: Floats | float = 1.0
    per_seed: float = 0.0
    centre: float = 0.0


@dataclass(frozen=True)
class MemberScores:
    """A run's score of each edge and its standard deviation over the members, both (edges,)."""

    score: Floats
    spread: Floats
    members: int


@dataclass(frozen=True)
class ShiftTests:
    """The test results of each edge.

    Attributes:
        spread: (edges,) standard deviation of a shift due to seeds alone, after moderation.
        scatter: (edges,) standard deviation of one seed's score; 0 where seeds are not known.
        p, q: (edges,) two-sided; NaN where there is no shift to test.
    """

    spread: Floats
    scatter: Floats
    p: Floats
    q: Floats


def of_members(a: MemberScores, b: MemberScores) -> Noise:
    """Estimate the noise from the spread over the members of both runs, or of the only run that has several.

    s2 = ((k_a - 1) s_a^2 + (k_b - 1) s_b^2) / (k_a + k_b - 2); the variance of a shift is s2 (1 / k_a + 1 / k_b).
    """
    df = a.members + b.members - 2
    with_members = [run for run in (a, b) if run.members > 1]
    pooled = np.sum([(run.members - 1) * run.spread**2 for run in with_members], axis=0) / df
    expected = trend((a.score + b.score) / 2, pooled)  # the mean score is independent of the shift
    factor = 1 / a.members + 1 / b.members
    return Noise(pooled * factor, df, f"stability over {a.members} and {b.members} members", expected * factor, factor)


def of_runs(groups: Sequence[Floats]) -> Noise:
    """Estimate the noise from groups of runs that differ by seed alone.

    Spreads are pooled over groups; a shift between two such runs has twice the variance of one.

    Args:
        groups: scores (runs, edges) of each group, NaN where missing.
    """
    df = sum(len(group) - 1 for group in groups)
    variance = 2 * np.sum([((group - group.mean(0)) ** 2).sum(0) for group in groups], axis=0) / df
    sizes = " and ".join(str(len(group)) for group in groups)
    expected = trend(np.mean([group.mean(0) for group in groups], axis=0), variance)
    return Noise(variance, df, f"spread over {sizes} runs that differ by seed", expected, 2.0)


def trend(score: Floats, variance: Floats) -> Floats:
    """Return for each score the geometric mean variance of a window of similar scores; NaN where one is missing."""
    known = np.isfinite(score) & np.isfinite(variance)
    order = np.argsort(score[known], kind="stable")
    logs = np.log(np.maximum(variance[known], FLOOR))[order]
    n, half = len(logs), max(len(logs) // WINDOWS, MIN_WINDOW) // 2
    low, high = (np.clip(np.arange(n) + by, 0, n) for by in (-half, half + 1))
    total = np.concatenate([[0.0], np.cumsum(logs)])
    expected = np.full(score.shape, np.nan)
    positions = np.flatnonzero(known)[order]
    expected.ravel()[positions] = np.exp((total[high] - total[low]) / np.maximum(high - low, 1))
    return expected


def of_shifts(shift: Floats) -> Noise:
    """Estimate the noise from the two runs alone, assuming that most edges have not moved.

    All edges share one spread, from the median absolute deviation around the median shift. Edges noisier than the rest
    would then look moved, so the tails are those of a t distribution with UNKNOWN_DF degrees of freedom.
    """
    known = shift[np.isfinite(shift)]
    centre = float(np.median(known)) if len(known) else 0.0
    spread = NORMAL_MAD * float(np.median(np.abs(known - centre))) if len(known) else 0.0
    source = "shifts of all edges, assuming that most have not moved (one member a run, and no other runs were named)"
    return Noise(np.full(len(shift), spread**2), 0, source, centre=centre)


def shift_test(shift: Floats, noise: Noise, strata: NDArray[np.int64] | None = None) -> ShiftTests:
    """Test each shift (edges,) against the noise of seeds; NaN shifts stay untested.

    Args:
        shift: of each edge.
        noise: of each edge.
        strata: (edges,) groups that may differ in how many edges moved, for `weighted_q`; must not be derived from
            shifts.
    """
    ratio, df = _moderated(np.maximum(noise.variance, FLOOR) / noise.expected, noise.df)
    spread = np.sqrt(ratio * noise.expected)
    p = 2 * student.sf(np.abs(shift - noise.centre) / spread, df)
    q = np.full(len(p), np.nan)
    known = np.isfinite(p)
    if known.any():
        q[known] = weighted_q(p[known], np.zeros(known.sum(), np.int64) if strata is None else strata[known])
    scatter = spread / np.sqrt(noise.per_seed) if noise.per_seed else np.zeros_like(spread)
    return ShiftTests(spread, scatter, p, q)


def weighted_q(p: Floats, strata: NDArray[np.int64]) -> Floats:
    """Return Benjamini and Hochberg's q of p weighted by stratum: more weight, 1 on average, where more edges moved.

    Half of the weight is shared evenly, half by (1 - pi0) / pi0 of each stratum (Hu, Zhao & Zhou 2010, doi
    10.1198/jasa.2010.tm09329), pi0 being the share of edges that did not move, estimated from the p above 0.5
    (Storey 2002). With one stratum this is the plain procedure.
    """
    odds = np.zeros(len(p))
    for stratum in np.unique(strata):
        within = strata == stratum
        unmoved = min(1.0, (1 + np.sum(p[within] > 0.5)) / (0.5 * within.sum()))
        odds[within] = (1 - unmoved) / unmoved
    mean = odds.mean()
    weight = 0.5 + 0.5 * (odds / mean if mean > 0 else 1.0)
    return false_discovery_control(np.minimum(p / weight, 1.0))


def _moderated(variance: Floats, df: float) -> tuple[Floats, float]:
    """Return variances shrunk towards what all edges have in common, and their degrees of freedom after that."""
    if not df:
        return variance, UNKNOWN_DF
    known = variance[np.isfinite(variance)]
    prior, prior_df = prior_variance(known, df) if len(known) > 1 else (float(variance[0]), 0.0)
    if math.isinf(prior_df):
        return np.where(np.isfinite(variance), prior, np.nan), math.inf
    return (prior_df * prior + df * variance) / (prior_df + df), prior_df + df


def prior_variance(variance: Floats, df: float) -> tuple[float, float]:
    """Fit by log moments the scaled inverse chi-squared from which variances of `df` degrees of freedom were drawn.

    Returns:
        Its location, and its degrees of freedom: infinite when all edges have one variance.
    """
    logs = np.log(variance) - psi(df / 2) + math.log(df / 2)
    excess = float(np.var(logs, ddof=1)) - float(polygamma(1, df / 2))
    if excess <= 0:
        return float(np.mean(variance)), math.inf
    half = brentq(lambda x: float(polygamma(1, x)) - excess, 1e-6, 1e9) if excess > 1e-8 else math.inf
    if math.isinf(half):
        return float(np.mean(variance)), math.inf
    return float(np.exp(np.mean(logs) + psi(half) - math.log(half))), 2 * half
