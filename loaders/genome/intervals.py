"""Which intervals meet, and how far apart they are. 0-based half-open, nested or not."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import pandas as pd
import scipy.sparse as sp

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

    Ints = NDArray[np.int64]


class Intervals(NamedTuple):
    """N intervals, none of them empty.

    Attributes:
        chrom: (N,) anything that can be compared: names, or assembly and name in one.
        start, end: (N,) int64.
    """

    chrom: NDArray[np.object_]
    start: Ints
    end: Ints


def overlapping(left: Intervals, right: Intervals) -> tuple[Ints, Ints]:
    """Return rows (i, j) of all pairs that share a base, ordered by i, then j; see `meeting`."""
    i, j = meeting(left, right)
    # a sparse matrix counts its rows into place and sorts each, several times faster than the pairs are sorted at once
    shape = len(left.start), len(right.start)
    places = (i.astype(np.int32), j.astype(np.int32)) if max(shape) < 2**31 else (i, j)
    pairs = sp.coo_array((np.ones(len(i), np.int8), places), shape=shape).tocsr()
    rows = np.repeat(np.arange(shape[0]), np.diff(pairs.indptr))
    return rows, pairs.indices.astype(np.int64)


def meeting(left: Intervals, right: Intervals) -> tuple[Ints, Ints]:
    """Return rows (i, j) of all pairs that share a base, in no order.

    Two intervals share a base if one starts inside the other. So each pair is found once, either by right
    starts in [left.start, left.end) or by left starts in (right.start, right.end): range queries over
    sorted starts, O((N + M) log(N + M) + pairs) whatever is nested in what.
    """
    chrom = pd.factorize(np.concatenate([left.chrom, right.chrom]))[0].astype(np.int64)
    # one number line for all chromosomes, with room between them
    both = np.concatenate([left.start, left.end, right.start, right.end])
    low = int(both.min(initial=0))
    span = int(both.max(initial=0)) - low + 1
    l_shift, r_shift = (chrom[: len(left.start)] * span - low, chrom[len(left.start) :] * span - low)
    l_start, l_end = left.start + l_shift, left.end + l_shift
    r_start, r_end = right.start + r_shift, right.end + r_shift
    # sorted questions are answered several times faster than others, by what is in the cache
    i, j = np.argsort(l_start, kind="stable"), np.argsort(r_start, kind="stable")
    l_start, l_end, r_start, r_end = l_start[i], l_end[i], r_start[j], r_end[j]
    i1, j1 = _starts_within(l_start, l_end, r_start)
    j2, i2 = _starts_within(r_start + 1, r_end, l_start)
    return np.concatenate([i[i1], i[i2]]), np.concatenate([j[j1], j[j2]])


def within(left: Intervals, right: Intervals, window_bp: int = 0) -> tuple[Ints, Ints]:
    """Return rows (i, j) of all pairs at most `window_bp` apart (see `distance`), ordered by i, then j."""
    return overlapping(Intervals(left.chrom, left.start - window_bp, left.end + window_bp), right)


def clusters(of: Intervals) -> Ints:
    """Return the number of the run of overlapping intervals that each is in, from 0 along the genome.

    Two of a run need not meet if others lie between them; intervals that only touch are in different runs.
    """
    if not len(of.start):
        return np.empty(0, dtype=np.int64)
    room = int(of.end.max()) - min(int(of.start.min()), 0)
    # one number line for all chromosomes
    shift = pd.factorize(of.chrom, sort=True)[0].astype(np.int64) * room
    order = np.lexsort((of.end, of.start + shift))
    start, reach = (of.start + shift)[order], np.maximum.accumulate((of.end + shift)[order])
    number = np.zeros(len(order), dtype=np.int64)
    number[order[1:]] = np.cumsum(start[1:] >= reach[:-1])
    return number


def distance(left_start: ArrayLike, left_end: ArrayLike, right_start: ArrayLike, right_end: ArrayLike) -> Ints:
    """Return bp between intervals of one chromosome: 0 if they overlap, 1 if they touch (GLUE, Cao & Gao 2022)."""
    apart: Ints = np.atleast_1d(np.subtract(right_start, left_end, dtype=np.int64))
    np.maximum(apart, np.subtract(left_start, right_end, dtype=np.int64), out=apart)
    apart += 1
    return np.maximum(apart, 0, out=apart)


def signed_distance(point: ArrayLike, strand: ArrayLike, start: ArrayLike, end: ArrayLike) -> Ints:
    """Return bp from a base to intervals along the strand: negative upstream, 0 inside, -1 or 1 beside them."""
    at, first, last = (np.asarray(x, dtype=np.int64) for x in (point, start, end))
    along = np.where(first > at, first - at, np.where(last <= at, last - 1 - at, 0))
    return np.where(np.asarray(strand) == "-", -along, along).astype(np.int64)


def _starts_within(low: Ints, high: Ints, starts: Ints) -> tuple[Ints, Ints]:
    """Return pairs (k, at) with low[k] <= starts[at] < high[k]; starts are sorted."""
    first = np.searchsorted(starts, low, side="left")
    count = np.maximum(np.searchsorted(starts, high, side="left") - first, 0)
    k = np.repeat(np.arange(len(low)), count)
    before = np.cumsum(count) - count
    at = np.repeat(first - before, count)
    at += np.arange(len(at))
    return k, at
