"""Whether a score moved between two runs by more than seeds move it.

For each edge, the shift of its mean score is set against the spread over seeds, by a two-sample t test whose
variances are moderated: a few seeds estimate the variance of one edge badly, and of all edges together well
(Smyth 2004, doi 10.2202/1544-6115.1027). Tests are many, so p becomes q by Benjamini and Hochberg.
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
NORMAL_MAD = 1.4826  # standard deviations of a normal in one median absolute deviation
UNKNOWN_DF = 5.0  # tails of the spread that two runs alone must give


@dataclass(frozen=True)
class Noise:
    """What seeds alone do to the shift of each edge.

    Attributes:
        variance: (edges,) of a shift, estimated edge by edge; NaN where it is not known.
        df: degrees of freedom of each of them; 0 where all edges share one variance that needs no moderation.
        centre: what every edge shifts by, such as 0.
        source: where this comes from, in words.
    """

    variance: Floats
    df: float
    source: str
    centre: float = 0.0


@dataclass(frozen=True)
class Tested:
    """The test of each edge.

    Attributes:
        spread: (edges,) standard deviation of a shift by seeds alone, after moderation.
        p, q: (edges,) two-sided; NaN where there is no shift to test.
    """

    spread: Floats
    p: Floats
    q: Floats


def of_members(spread_a: Floats, members_a: int, spread_b: Floats, members_b: int) -> Noise:
    """From the standard deviations over the members of both runs, or of the only one that has several.

    s2 = ((k_a - 1) s_a^2 + (k_b - 1) s_b^2) / (k_a + k_b - 2); the variance of a shift is s2 (1 / k_a + 1 / k_b).
    """
    df = members_a + members_b - 2
    parts = [(m - 1) * s**2 for m, s in ((members_a, spread_a), (members_b, spread_b)) if m > 1]
    pooled = np.sum(parts, axis=0) / df
    return Noise(pooled * (1 / members_a + 1 / members_b), df, f"stability over {members_a} and {members_b} members")


def of_runs(groups: Sequence[Floats]) -> Noise:
    """From other runs: each group holds the scores (runs, edges) of runs that differ by seed alone, NaN where missing.

    Spreads are pooled over groups; a shift between two such runs has twice the variance of one.
    """
    df = sum(len(group) - 1 for group in groups)
    squares = np.sum([((group - group.mean(0)) ** 2).sum(0) for group in groups], axis=0)
    names = " and ".join(str(len(group)) for group in groups)
    return Noise(2 * squares / df, df, f"spread over {names} runs that differ by seed")


def of_shifts(shift: Floats) -> Noise:
    """From the two runs alone, when nothing else tells: most edges are taken not to have moved.

    One spread for all edges, from the median absolute deviation around the median shift. Edges that wobble more than
    others are then taken for moved, so tails are those of a t distribution of UNKNOWN_DF degrees of freedom.
    """
    known = shift[np.isfinite(shift)]
    centre = float(np.median(known)) if len(known) else 0.0
    spread = NORMAL_MAD * float(np.median(np.abs(known - centre))) if len(known) else 0.0
    source = "shifts of all edges, as if most had not moved (both runs have one member, and no others were named)"
    return Noise(np.full(len(shift), spread**2), 0, source, centre)


def shift_test(shift: Floats, noise: Noise) -> Tested:
    """Test each shift (edges,) against what seeds do; NaN shifts stay untested."""
    variance, df = _moderated(np.maximum(noise.variance, FLOOR), noise.df)
    spread = np.sqrt(variance)
    p = 2 * student.sf(np.abs(shift - noise.centre) / spread, df)
    q = np.full(len(p), np.nan)
    known = np.isfinite(p)
    if known.any():
        q[known] = false_discovery_control(p[known])
    return Tested(spread, p, q)


def _moderated(variance: Floats, df: float) -> tuple[Floats, float]:
    """Variances drawn to what all edges have in common, and the degrees of freedom that they then have."""
    if not df:
        return variance, UNKNOWN_DF
    known = variance[np.isfinite(variance)]
    prior, prior_df = prior_variance(known, df) if len(known) > 1 else (float(variance[0]), 0.0)
    if math.isinf(prior_df):
        return np.where(np.isfinite(variance), prior, np.nan), math.inf
    return (prior_df * prior + df * variance) / (prior_df + df), prior_df + df


def prior_variance(variance: Floats, df: float) -> tuple[float, float]:
    """The scaled inverse chi-squared that variances of `df` degrees of freedom were drawn from, by log moments.

    Returns:
        its location, and its degrees of freedom: infinite when all edges have one variance.
    """
    logs = np.log(variance) - psi(df / 2) + math.log(df / 2)
    extra = float(np.var(logs, ddof=1)) - float(polygamma(1, df / 2))
    if extra <= 0:
        return float(np.mean(variance)), math.inf
    half = brentq(lambda x: float(polygamma(1, x)) - extra, 1e-6, 1e9) if extra > 1e-8 else math.inf
    if math.isinf(half):
        return float(np.mean(variance)), math.inf
    return float(np.exp(np.mean(logs) + psi(half) - math.log(half))), 2 * half
