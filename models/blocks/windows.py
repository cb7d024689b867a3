"""Pairs of peaks and genes within a window, a block of genes at a time."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Iterator

    import pyarrow as pa
    from numpy.typing import NDArray

    Ints = NDArray[np.int64]

PAIRS = 500_000  # in a block, about


@dataclass(frozen=True)
class Places:
    """Positions of trained features, sorted by chromosome and start.

    Attributes:
        row: (n,) rows of the embeddings.
        chrom: (n,) codes, the same for genes and peaks.
        start, end: (n,) 0-based half-open; for a gene, its start site and the base after it.
    """

    row: Ints
    chrom: Ints
    start: Ints
    end: Ints


def places(genes: pa.Table, peaks: pa.Table, vertices: NDArray[np.str_]) -> tuple[Places, Places]:
    """Return the positions of the genes and peaks of a release that are among `vertices` (sorted)."""
    chroms = np.unique(np.concatenate([_chroms(table) for table in (genes, peaks)]))
    tss = genes["tss"].to_numpy()
    return (
        _placed(genes, tss, tss + 1, chroms, vertices),
        _placed(peaks, peaks["start"].to_numpy(), peaks["end"].to_numpy(), chroms, vertices),
    )


def pairs_in_window(genes: Places, peaks: Places, window_bp: int, n_pairs: int = PAIRS) -> Iterator[tuple[Ints, Ints]]:
    """Yield rows of peaks and of genes at most `window_bp` apart, start site to nearest base; whole genes a block."""
    widest = int((peaks.end - peaks.start).max(initial=1))
    # one axis for all chromosomes, which lie farther apart than any window reaches
    stride = int(max(peaks.end.max(initial=0), genes.end.max(initial=0))) + window_bp + widest + 1
    starts = peaks.chrom * stride + peaks.start
    tss = genes.chrom * stride + genes.start
    first = np.searchsorted(starts, tss - window_bp - widest)
    count = np.searchsorted(starts, tss + window_bp, side="right") - first
    boundaries = np.unique(np.searchsorted(np.cumsum(count), np.arange(n_pairs, count.sum() + n_pairs, n_pairs)) + 1)
    for block in np.split(np.arange(len(tss)), boundaries[boundaries < len(tss)]):
        gene = np.repeat(block, count[block])
        before = np.cumsum(count[block]) - count[block]
        peak = np.arange(len(gene)) + np.repeat(first[block] - before, count[block])
        distance = np.maximum(peaks.start[peak] - genes.start[gene], genes.start[gene] - peaks.end[peak] + 1)
        inside = (distance <= window_bp) & (peaks.chrom[peak] == genes.chrom[gene])
        yield peaks.row[peak[inside]], genes.row[gene[inside]]


def _chroms(table: pa.Table) -> NDArray[np.str_]:
    """Return assembly:chromosome, so that those of two species differ."""
    columns = (table[name].to_numpy(zero_copy_only=False).astype(str) for name in ("assembly", "chrom"))
    assembly, chrom = columns
    return np.char.add(np.char.add(assembly, ":"), chrom)


def _placed(table: pa.Table, start: Ints, end: Ints, chroms: NDArray[np.str_], vertices: NDArray[np.str_]) -> Places:
    ids = table["id"].to_numpy(zero_copy_only=False).astype(str)
    row = np.searchsorted(vertices, ids).clip(max=len(vertices) - 1)
    chrom = np.searchsorted(chroms, _chroms(table))
    known = np.flatnonzero(vertices[row] == ids)
    order = known[np.lexsort((start[known], chrom[known]))]
    return Places(row[order], chrom[order], start[order], end[order])
