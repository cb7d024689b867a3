"""One set of peaks out of several that overlap: their union, or windows of one width around the best summits."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from loaders.genome.intervals import Intervals, clusters

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from loaders.genome.assemblies import Assembly
    from loaders.tables.rows import Rows

    Mask = NDArray[np.bool_]


def unite(files: Sequence[Rows]) -> None:
    """Make every run of overlapping peaks, of one file or several, one peak from its first base to its last.

    It takes the place and the summit of its strongest member; the others count as folded. Peaks that only touch
    stay apart.

    Args:
        files: rows with chrom, start, end, summit (missing where there is none) and strength (missing is weakest).
    """
    every = _together(files)
    of = every.groupby(clusters(_intervals(every)))
    every = every.assign(start=of["start"].transform("min"), end=of["end"].transform("max"))
    _write(files, every, (every["rank"] == of["rank"].transform("min")).to_numpy())


def fix_width(files: Sequence[Rows], width_bp: int, assembly: Assembly) -> None:
    """Make every peak a window around its summit and keep those that no better one overlaps (ArchR, Granja 2021).

    The strongest window of all is kept, what overlaps it is folded, and so on with what is left: first within each
    file by strength, then over all files by the quantile of the strength within its file, so that deeper
    experiments do not win everywhere. Ties go to the first position. A window that would leave the chromosome
    counts as filtered.

    Args:
        files: rows as `unite` takes them; a peak without summit is taken by its middle.
        width_bp: of each window; with an even width the summit is right of the middle.
        assembly: of the peaks.
    """
    for rows in files:
        summit = rows["summit"].fillna((rows["start"] + rows["end"]) // 2).astype(np.int64)
        rows.set(summit=summit.astype("Int64"), start=summit - width_bp // 2, end=summit - width_bp // 2 + width_bp)
        inside = (rows["start"] >= 0) & ~assembly.beyond(rows["chrom"], rows["end"])
        rows.filtered += int((~inside).sum())
        rows.keep(inside)
        _keep_best([rows])
        # trunc as in ArchR: the quantiles of tied strengths are one
        rows.set(strength=rows["strength"].fillna(-np.inf).rank() // 1 / max(len(rows), 1))
    if len(files) > 1:
        _keep_best(files)


def best(of: Intervals, rank: NDArray[np.int64]) -> Mask:
    """Return which are left when the lowest rank is kept, what overlaps it is dropped, and so on with the rest."""
    kept = np.zeros(len(rank), dtype=bool)
    left = np.argsort(rank, kind="stable")
    while len(left):
        here = Intervals(of.chrom[left], of.start[left], of.end[left])
        cluster = clusters(here)
        _, first = np.unique(cluster, return_index=True)  # `left` goes by rank
        kept[left[first]] = True
        start, end = here.start[first][cluster], here.end[first][cluster]
        left = left[(here.start >= end) | (start >= here.end)]
    return kept


def _keep_best(files: Sequence[Rows]) -> None:
    every = _together(files)
    _write(files, every, best(_intervals(every), every["rank"].to_numpy()))


def _together(files: Sequence[Rows]) -> pd.DataFrame:
    """Return the peaks of all files, ranked: the strongest first, ties by position, then by the order of the files."""
    columns = ["chrom", "start", "end", "summit", "strength"]
    every = pd.concat([rows.frame[columns] for rows in files], ignore_index=True)
    by = ["strength", "chrom", "start", "end", "summit"]
    order = every.sort_values(by, ascending=[False, True, True, True, True], kind="stable", na_position="last").index
    return every.assign(rank=pd.Series(np.arange(len(every)), index=order))


def _intervals(frame: pd.DataFrame) -> Intervals:
    return Intervals(
        frame["chrom"].to_numpy(dtype=object),
        frame["start"].to_numpy(dtype=np.int64),
        frame["end"].to_numpy(dtype=np.int64),
    )


def _write(files: Sequence[Rows], every: pd.DataFrame, kept: Mask) -> None:
    """Give each file its rows back, without those that are not kept."""
    at = 0
    for rows in files:
        part = slice(at, at := at + len(rows))
        rows.set(start=every["start"].to_numpy()[part], end=every["end"].to_numpy()[part])
        rows.folded += int((~kept[part]).sum())
        rows.keep(kept[part])
