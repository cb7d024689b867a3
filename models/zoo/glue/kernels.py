"""The compiled inner loops of GLUE on the CPU: negative binomial of sparse counts, sampled edges of the graph.

A step is memory-bound, so each row is processed while it is in cache, and everything that one pass can accumulate is
accumulated in it. numba compiles at first use (some seconds) and caches the result next to this file or in the user's
cache. It reads no annotations. All arrays are C-contiguous, and float32 unless stated otherwise.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, NamedTuple

import numba
import numpy as np

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

EPS = 1e-7
CHUNK = 4096  # entries that are passed over more than once: they stay in the first cache
TOGETHER = 64  # edges whose rows are fetched together, and are still in cache when gradients are pushed
GROUP = 32  # rows whose 1 + mu / theta are multiplied, in float64, before one logarithm is taken
FEW = 16  # up to this count, sums over j < x stand in for gamma functions
SAFE = {"reassoc", "contract", "arcp", "nsz"}  # sums in any order; NaN and infinity keep their meaning
f32, i32 = np.float32, np.int32
TINY = f32(1e-12)
# without error_model="numpy" every division checks for zero, and no loop with one is vectorised
_fast = numba.njit(fastmath=SAFE, error_model="numpy", nogil=True, cache=True)
_finite = numba.njit(fastmath={*SAFE, "nnan", "ninf"}, error_model="numpy", nogil=True, cache=True)
_inlined = numba.njit(fastmath={*SAFE, "nnan", "ninf"}, error_model="numpy", inline="always")


class Nonzeros(NamedTuple):
    """Counts of some cells.

    Attributes:
        library: (cells,) float32 row sums.
        start: (cells + 1,) int64, first nonzero of each cell.
        column, value: (nonzeros,) int64 and float32.
    """

    library: NDArray[np.float32]
    start: NDArray[np.int64]
    column: NDArray[np.int64]
    value: NDArray[np.float32]


@_inlined
def _exp(x: Any) -> Any:
    """Return exp(x) for x <= 0, to 1e-6 relative: 2^n times a polynomial, as in the Cephes library; branch-free."""
    x = max(x, f32(-87.0))
    n = i32(x * f32(1.44269504) - f32(0.5))
    x = x - f32(n) * f32(0.693359375)
    x = x - f32(n) * f32(-2.12194440e-4)
    y = f32(1.9875691500e-4) * x + f32(1.3981999507e-3)
    y = y * x + f32(8.3334519073e-3)
    y = y * x + f32(4.1665795894e-2)
    y = y * x + f32(1.6666665459e-1)
    y = y * x + f32(5.0000001201e-1)
    y = y * (x * x) + x + f32(1)
    return y * i32((n + i32(127)) << i32(23)).view(f32)


@_inlined
def _log(x: Any) -> Any:
    """Return the natural logarithm of a normal x > 0, by the Cephes library's polynomial; branch-free."""
    bits = f32(x).view(i32)
    n = i32((bits >> i32(23)) - i32(126))
    x = i32((bits & i32(0x7FFFFF)) | i32(0x3F000000)).view(f32)  # in [0.5, 1)
    low = x < f32(0.707106781)
    n = i32(n - i32(1)) if low else n
    x = x + x - f32(1) if low else x - f32(1)
    y = f32(7.0376836292e-2) * x - f32(1.1514610310e-1)
    y = y * x + f32(1.1676998740e-1)
    y = y * x - f32(1.2420140846e-1)
    y = y * x + f32(1.4249322787e-1)
    y = y * x - f32(1.6668057665e-1)
    y = y * x + f32(2.0000714765e-1)
    y = y * x - f32(2.4999993993e-1)
    y = y * x + f32(3.3333331174e-1)
    y = y * x * (x * x) - f32(2.12194440e-4) * f32(n) - f32(0.5) * (x * x)
    return x + y + f32(0.693359375) * f32(n)


@_inlined
def _log1p(x: Any) -> Any:
    """Return log(1 + x) of x in [0, 1] as 2 artanh(x / (2 + x)), whose series keeps small x to the last digit."""
    s = x / (f32(2) + x)
    z = s * s
    y = f32(1 / 15) * z + f32(1 / 13)
    y = y * z + f32(1 / 11)
    y = y * z + f32(1 / 9)
    y = y * z + f32(1 / 7)
    y = y * z + f32(1 / 5)
    y = y * z + f32(1 / 3)
    return f32(2) * s * (y * z + f32(1))


@_finite
def _weigh(row: Any, theta: Any) -> Any:
    """Replace finite logits by exp(logit - largest); return their sum weighted by theta."""
    largest = row[0]
    for j in range(len(row)):
        largest = max(largest, row[j])
    total = f32(0)
    for j in range(len(row)):
        row[j] = _exp(row[j] - largest)
        total += row[j] * theta[j]
    return total


@_fast
def _sum(row: Any) -> Any:
    total = f32(0)
    for j in range(len(row)):
        total += row[j]
    return total


@_fast
def _digamma(x: Any) -> Any:
    """Return digamma of x > 0, by recurrence up to 6 and then its asymptotic series."""
    below = 0.0
    while x < 6.0:
        below += 1.0 / x
        x += 1.0
    y = 1.0 / (x * x)
    return math.log(x) - 0.5 / x - y * (1 / 12 - y * (1 / 120 - y * (1 / 252 - y * (1 / 240 - y / 132)))) - below


@_fast
def _count_terms(theta: Any, x: Any, odds: Any) -> Any:
    """Return what a count x > 0 adds to the loss, and digamma(theta + x) - digamma(theta).

    The loss is x log(odds) - lgamma(theta + x) + lgamma(theta) + lgamma(x + 1), with odds = 1 + theta / mu; a
    small count takes a single logarithm.
    """
    if x <= FEW and x == math.floor(x):
        ratio, slope = 1.0, 0.0
        for j in range(int(x)):
            ratio *= odds * (j + 1) / (theta + j)
            slope += 1.0 / (theta + j)
        return math.log(ratio), slope
    terms = math.lgamma(theta) - math.lgamma(theta + x) + math.lgamma(x + 1.0)
    return x * math.log(odds) + terms, _digamma(theta + x) - _digamma(theta)


@_fast
def _walk_means(row: Any, scale: Any, theta: Any, product: Any, shares: Any) -> Any:
    """Turn weights into r; accumulate 1 + r and r / (1 + r); return the sum of theta r / (1 + r)."""
    total = f32(0)
    for j in range(len(row)):
        r = row[j] * scale
        row[j] = r
        product[j] *= 1.0 + r
        share = r / (f32(1) + r)
        shares[j] += share
        total += share * theta[j]
    return total


@_fast
def _walk_counts(row: Any, own: Any, counts: Any, theta: Any, spare: Any, into: Any) -> Any:
    """Add a cell's nonzeros to the loss, to the sum over features of the gradient by log mu, and to `into`."""
    nll, total = 0.0, 0.0
    for at in own:
        j = counts.column[at]
        x, t, mu = float(counts.value[at]), float(theta[j]), float(row[j]) * theta[j]
        r_eps = (mu + EPS) / t
        loss, digamma_change = _count_terms(t, x, (1.0 + r_eps) / r_eps)
        slope = x / (1.0 + r_eps)
        nll += loss
        into[3, j] += slope - t * digamma_change
        slope *= mu / (mu + EPS)
        total -= slope
        if len(spare):
            spare[at] = slope / t
            into[2, j] -= slope / t
    return nll, f32(total)


@_fast
def _walk_slopes(row: Any, lost: Any, slopes: Any) -> Any:
    """Turn r into the gradient that all entries have, nonzero or not."""
    for j in range(len(row)):
        r = row[j]
        d = r / (f32(1) + r) - r * lost
        row[j] = d
        slopes[j] += d


@_fast
def _take_logs(product: Any, log_sum: Any) -> Any:
    for j in range(len(product)):
        log_sum[j] += math.log(product[j])
        product[j] = 1.0


@_fast
def _nb_rows(a: Any, first: Any, theta: Any, counts: Any, spare: Any, into: Any) -> Any:
    n, width = a.shape
    nll = 0.0
    product, shares, slopes = np.ones(width), np.zeros(width, f32), np.zeros(width, f32)
    for i in range(n):
        row, library = a[i], counts.library[first + i]
        own = range(counts.start[first + i], counts.start[first + i + 1])
        if not math.isfinite(_sum(row)):
            return math.nan
        total = _walk_means(row, library / _weigh(row, theta), theta, product, shares)
        if i % GROUP == GROUP - 1 or i == n - 1:
            _take_logs(product, into[0])
        loss, gained = _walk_counts(row, own, counts, theta, spare, into)
        nll += loss
        if len(spare):
            _walk_slopes(row, (total + gained) / max(library, TINY), slopes)
            for at in own:
                row[counts.column[at]] -= spare[at]
    into[1] += shares
    into[2] += slopes
    return nll


@_fast
def _edges(v: Any, source: Any, target: Any, sign: Any, present: Any, real: Any, absent: Any, grad: Any) -> Any:
    loss = 0.0
    for first in range(0, len(source), TOGETHER):
        at = slice(first, first + TOGETHER)
        slope = _dots(v, source[at], target[at])
        loss += _edge_terms(slope, sign[at], present[at], real, absent)
        _push(v, source[at], target[at], slope, grad)
    return loss


@_fast
def _dots(v: Any, source: Any, target: Any) -> Any:
    dots = np.empty(len(source), f32)
    for e in range(len(source)):
        head, tail = v[source[e]], v[target[e]]
        dot = f32(0)
        for j in range(v.shape[1]):
            dot += head[j] * tail[j]
        dots[e] = dot
    return dots


@_fast
def _edge_terms(dot: Any, sign: Any, present: Any, real: Any, absent: Any) -> Any:
    """Return the loss and replace the products by its slopes."""
    loss = 0.0
    for e in range(len(dot)):
        logit = float(sign[e] * dot[e])
        weight = real if present[e] else absent
        small = math.exp(-abs(logit))
        loss += weight * (max(logit, 0.0) - logit * present[e] + math.log1p(small))
        chance = (1.0 if logit >= 0 else small) / (1.0 + small)
        dot[e] = f32(weight * (chance - present[e]) * sign[e])
    return loss


@_fast
def _push(v: Any, source: Any, target: Any, slope: Any, grad: Any) -> None:
    for e in range(len(source)):
        head, tail = v[source[e]], v[target[e]]
        to_head, to_tail = grad[source[e]], grad[target[e]]
        for j in range(v.shape[1]):
            to_head[j] += slope[e] * tail[j]
        for j in range(v.shape[1]):
            to_tail[j] += slope[e] * head[j]


@_finite
def _spread(raw: Any, std: Any, slope: Any) -> None:
    for j in range(len(raw)):
        x = raw[j]
        small = _exp(min(x, -x))
        std[j] = max(x, f32(0)) + _log1p(small) + f32(EPS)
        slope[j] = (f32(1) if x >= f32(0) else small) / (f32(1) + small)


@_finite
def _draw(mean: Any, std: Any, noise: Any, sample: Any) -> Any:
    kl = f32(0)
    for j in range(len(mean)):
        sample[j] = mean[j] + std[j] * noise[j]
        kl += f32(0.5) * (mean[j] * mean[j] + std[j] * std[j] - f32(1)) - _log(std[j])
    return kl


@_fast
def _sample(mean: Any, raw: Any, noise: Any, sample: Any, std: Any, slope: Any) -> Any:
    kl = 0.0
    for start in range(0, len(mean), CHUNK):
        at = slice(start, start + CHUNK)
        if math.isfinite(_sum(mean[at])) and math.isfinite(_sum(raw[at])):
            _spread(raw[at], std[at], slope[at])
            kl += _draw(mean[at], std[at], noise[at], sample[at])
        else:
            sample[at], std[at], slope[at], kl = math.nan, math.nan, math.nan, math.nan
    return kl


@_fast
def _sample_back(d_sample: Any, d_kl: Any, noise: Any, std: Any, slope: Any, out: Any) -> None:
    for j in range(len(out)):
        out[j] = (d_sample[j] * noise[j] + d_kl * (std[j] - f32(1) / std[j])) * slope[j]


@_fast
def _rms_step(grad: Any, square: Any, parameter: Any, lr: Any, alpha: Any, eps: Any) -> None:
    rate, old, new, floor = f32(lr), f32(alpha), f32(1.0 - alpha), f32(eps)
    for j in range(len(grad)):
        g = grad[j]
        mean = old * square[j] + new * g * g
        square[j] = mean
        parameter[j] -= rate * g / (f32(math.sqrt(mean)) + floor)


nb_rows: Callable[..., float] = _nb_rows
"""Return the negative log-likelihood of some cells, less the sum over entries of theta * log1p(r), added to `into`.

r is mu / theta. A loss that is not finite is NaN. Where gradients are needed, `a` is left with the gradient by log mu
over theta; otherwise with r.

Args:
    a: (n, features) logits of the mean, less log theta.
    first: index of the first of these cells in `counts`.
    theta: (features,) inverse dispersion.
    counts: `Nonzeros`.
    spare: as long as the nonzeros, overwritten; empty if no gradients are needed.
    into: (4, features) float64, added to: sums over cells of log1p(r), of r / (1 + r), of the gradient by log mu over
        theta, and of the gradient by log theta from the nonzeros.
"""

edges: Callable[..., float] = _edges
"""Return the weighted cross-entropy of edges, whose logit is sign * <v_source, v_target>.

Args:
    v: (V, m).
    source, target, sign, present: (e,) each; present is 1 for a real edge, else 0.
    real, absent: weight of an edge of each kind.
    grad: (V, m), to which the gradient by v is added.
"""

sample: Callable[..., float] = _sample
"""Return the sum of KL(Normal(mean, std) | Normal(0, 1)), std = softplus(raw) + EPS; NaN if a value is not finite.

Args:
    mean, raw, noise: (n,), noise standard normal.
    sample, std, slope: (n,), overwritten with mean + std * noise, std, and its slope by raw; around a value that is not
        finite, with NaN.
"""

sample_back: Callable[..., None] = _sample_back
"""Write the gradient by `raw` into `out`, from those by `sample` and (float32) by the divergence; all (n,)."""

rms_step: Callable[..., None] = _rms_step
"""Take one step of RMSprop, updating `square` (running mean of the squared gradient) and `parameter`; all (n,)."""
