"""Intervals of one assembly on another, through the blocks of chains: many at once, each with a class and a reason.

The rule is that of UCSC liftOver (Hinrichs 2006, doi:10.1093/nar/gkj144). A chain counts when at least `min_match`
of the interval's bases lie in its blocks. One such chain: lifted, from where the first aligned base goes to where
the last one does. None: deleted if at most one chain aligns any base, split if several do. More: duplicated.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

import numpy as np

from loaders.genome.intervals import Intervals, meeting

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from loaders.tables.chain import Chains

    Ints = NDArray[np.int64]
    Bools = NDArray[np.bool_]
    Texts = NDArray[np.object_]

ROUNDING = 1e-6  # 0.1 * 30 is more than 3


class Fate(StrEnum):
    """What became of an interval."""

    LIFTED = "lifted"
    DELETED = "deleted"
    SPLIT = "split"
    DUPLICATED = "duplicated"
    TOO_WIDE = "too_wide"
    NOT_RECIPROCAL = "not_reciprocal"


@dataclass
class Lifted:
    """N intervals after lifting; positions mean something where `fate` is lifted.

    Attributes:
        fate: (N,) a Fate each.
        reason: (N,) why not, in a sentence; empty where it was lifted.
        at: positions there, 0-based half-open on the forward strand.
        inverted: (N,) the alignment runs along the other strand.
        matched: (N,) aligned bases in the best chain.
        chain: (N,) that chain; -1 where no base is aligned.
    """

    fate: Texts
    reason: Texts
    at: Intervals
    inverted: Bools
    matched: Ints
    chain: Ints

    @property
    def good(self) -> Bools:
        """Which were lifted."""
        return np.asarray(self.fate == Fate.LIFTED, dtype=bool)

    def refuse(self, bad: Bools, fate: Fate, reason: Texts | str) -> None:
        """Set fate and reason of the bad intervals that counted as lifted so far."""
        bad = bad & self.good
        self.fate[bad] = fate
        self.reason[bad] = reason if isinstance(reason, str) else reason[bad]


def lift(chains: Chains, intervals: Intervals, min_match: float) -> Lifted:
    """Map intervals through chains.

    Args:
        chains: from the assembly of the intervals.
        intervals: N of them, none empty; those beyond a chromosome's end are not aligned there.
        min_match: share of the bases that must be aligned by one chain, in (0, 1].
    """
    n = len(intervals.start)
    row, chain, start, end, aligned = _aligned(chains, intervals)
    needed = min_match * (intervals.end - intervals.start)
    enough = aligned + ROUNDING >= needed[row]
    parts, hits = np.bincount(row, minlength=n), np.bincount(row[enough], minlength=n)
    best = np.zeros(n, dtype=np.int64)
    np.maximum.at(best, row, aligned)
    which = np.select([hits == 1, hits > 1, parts > 1], [0, 1, 2], 3)
    only = enough & (hits[row] == 1)
    lifted = Lifted(
        fate=np.array([Fate.LIFTED, Fate.DUPLICATED, Fate.SPLIT, Fate.DELETED], dtype=object)[which],
        reason=np.full(n, "", dtype=object),
        at=Intervals(np.full(n, "", dtype=object), np.zeros(n, dtype=np.int64), np.zeros(n, dtype=np.int64)),
        inverted=np.zeros(n, dtype=bool),
        matched=best,
        chain=np.full(n, -1, dtype=np.int64),
    )
    at, by = row[only], chain[only]
    lifted.chain[at], lifted.inverted[at] = by, chains.inverted[by]
    lifted.at.chrom[at], lifted.at.start[at], lifted.at.end[at] = chains.to_chrom[by], start[only], end[only]
    _explain(lifted, intervals, needed, parts, hits)
    return lifted


def lift_points(chains: Chains, chain: Ints, position: Ints) -> Ints:
    """Map single bases through these chains, element by element; -1 where one is not aligned or the chain is -1."""
    block = _first_block(chains, chain, position)
    inside = (chain >= 0) & (block < len(chains.chain))
    block = np.where(inside, block, 0)
    inside &= (chains.chain[block] == chain) & (chains.block_start[block] <= position)
    to = chains.block_to[block] + position - chains.block_start[block]
    return np.where(inside, np.where(chains.inverted[chain], chains.to_size[chain] - 1 - to, to), -1)


def check_widths(lifted: Lifted, intervals: Intervals, ratio: float, most_bp: int) -> None:
    """Refuse what came out wider than `most_bp` or `ratio` times its width, or narrower than its width / `ratio`.

    The narrow ones count as deleted: most of them is missing there.
    """
    before, after = (at.end - at.start for at in (intervals, lifted.at))
    reason = np.char.add(np.char.mod("%d bp there against ", after), np.char.mod("%d here", before)).astype(object)
    lifted.refuse(after * ratio < before, Fate.DELETED, reason)
    lifted.refuse((after > ratio * before) | (after > most_bp), Fate.TOO_WIDE, reason)


def check_way_back(lifted: Lifted, back: Chains, intervals: Intervals, min_match: float, most_bp: int) -> None:
    """Refuse what, lifted back, has its midpoint more than `most_bp` from that of the interval, or is not lifted."""
    there = np.flatnonzero(lifted.good)
    again, home = lift(back, _take(lifted.at, there), min_match), _take(intervals, there)
    apart = np.abs((again.at.start + again.at.end) // 2 - (home.start + home.end) // 2)
    reason = np.char.add(np.char.mod("it comes back %d", apart), " bp away").astype(object)
    elsewhere = again.at.chrom != home.chrom
    reason[elsewhere] = "it comes back to " + again.at.chrom[elsewhere]
    lost = ~again.good
    reason[lost] = [
        f"the way back: {fate}, {why}" for fate, why in zip(again.fate[lost], again.reason[lost], strict=True)
    ]
    bad = np.zeros(len(lifted.fate), dtype=bool)
    bad[there] = lost | elsewhere | (apart > most_bp)
    reasons = np.full(len(bad), "", dtype=object)
    reasons[there] = reason
    lifted.refuse(bad, Fate.NOT_RECIPROCAL, reasons)


def resize(at: Intervals, width_bp: int, size: Ints) -> Intervals:
    """Return windows of one width around the midpoints, moved where a chromosome (of `size` bp) ends."""
    start = (at.start + at.end) // 2 - width_bp // 2
    start = np.maximum(np.minimum(start, size - width_bp), 0)
    return Intervals(at.chrom, start, np.minimum(start + width_bp, size))


def _aligned(chains: Chains, intervals: Intervals) -> tuple[Ints, Ints, Ints, Ints, Ints]:
    """Return all pairs of interval and chain with an aligned base: both, where it lies there, and aligned bases."""
    row, chain = meeting(intervals, Intervals(chains.chrom, chains.start, chains.end))
    start = np.maximum(intervals.start[row], chains.start[chain])
    first = _first_block(chains, chain, start)
    met = chains.block_start[first] < intervals.end[row]
    row, chain, start, first = row[met], chain[met], start[met], first[met]
    end = np.minimum(intervals.end[row], chains.end[chain])
    last = first.copy()
    further = end > chains.block_end[first]
    last[further] = _first_block(chains, chain[further], end[further], by_start=True) - 1
    before = np.maximum(start - chains.block_start[first], 0)  # bases of the first block ahead of the interval
    after = np.maximum(chains.block_end[last] - end, 0)
    length = chains.block_end - chains.block_start
    upto = np.cumsum(length)
    aligned = upto[last] - upto[first] + length[first] - before - after
    to_start = chains.block_to[first] + before
    to_end = chains.block_to[last] + length[last] - after
    inverted, size = chains.inverted[chain], chains.to_size[chain]
    return (
        row,
        chain,
        np.where(inverted, size - to_end, to_start),
        np.where(inverted, size - to_start, to_end),
        aligned,
    )


def _first_block(chains: Chains, chain: Ints, position: Ints, *, by_start: bool = False) -> Ints:
    """Return each chain's first block that ends after the position, or with `by_start` starts at or after it.

    Positions lie within their chain, so a lane of the number line for each chain keeps the blocks in order.
    """
    lane = int(chains.end.max(initial=0)) + 1
    edge = chains.block_start if by_start else chains.block_end
    ordered, at = chains.chain * lane + edge, chain * lane + position
    return np.asarray(np.searchsorted(ordered, at, side="left" if by_start else "right"), dtype=np.int64)


def _take(intervals: Intervals, rows: Ints) -> Intervals:
    return Intervals(intervals.chrom[rows], intervals.start[rows], intervals.end[rows])


def _explain(lifted: Lifted, intervals: Intervals, needed: NDArray[np.floating], parts: Ints, hits: Ints) -> None:
    lost = np.flatnonzero(~lifted.good)
    columns = (lifted.fate, lifted.matched, intervals.end - intervals.start, np.ceil(needed - ROUNDING), parts, hits)
    rows = zip(*(column[lost].tolist() for column in columns), strict=True)
    lifted.reason[lost] = [_reason(*row) for row in rows]


def _reason(fate: Fate, best: int, width: int, needed: float, parts: int, hits: int) -> str:
    if fate is Fate.DUPLICATED:
        return f"{hits} chains align {needed:.0f} or more of its {width} bases"
    if fate is Fate.SPLIT:
        return f"{parts} chains align parts of it, the best {best} of {width} bases, {needed:.0f} are needed"
    return f"{best} of {width} bases are aligned, {needed:.0f} are needed" if best else "no base of it is aligned"
