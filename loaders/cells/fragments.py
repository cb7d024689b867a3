"""ATAC fragments and peaks -> counts as h5ad, block by block: a file may hold a billion fragments.

Each line is one fragment, whatever its support, and lines may come in any order. A fragment counts once in every
peak that it shares a base with. As cut sites, its first and its last base count, each in the peaks that it lies in;
so a fragment may give 0, 1 or 2 to a peak.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import anndata
import numpy as np
import pandas as pd
from scipy import sparse

from kg.errors import InputError
from kg.files import replaced
from kg.progress import SILENT, Progress
from loaders.formats.fragment_files import read_fragments
from loaders.formats.peak_files import read_bed
from loaders.genome.assemblies import assembly
from loaders.genome.intervals import Intervals, overlapping
from loaders.tables.checks import check_intervals, check_zero_based
from loaders.tables.files import blocks, check_file
from loaders.tables.joins import intervals_in
from loaders.tables.rows import messages
from loaders.tables.source_context import SourceContext

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from loaders.genome.assemblies import Assembly
    from loaders.tables.files import InputFile

    Ints = NDArray[np.int64]

How = Literal["fragments", "cut-sites"]


@dataclass(frozen=True)
class FragmentCounts:
    """What was written.

    Attributes:
        out: the h5ad: cells x peaks, int32; obs has each cell's `fragments` in the file and its count `in_peaks`.
        fragments: lines of the file; of_cells: those of the cells that were kept.
        counts: sum of the matrix.
        barcodes: in the file; absent: listed ones that the file does not have.
    """

    out: Path
    cells: int
    peaks: int
    fragments: int
    of_cells: int
    counts: int
    barcodes: int
    absent: int


def count_fragments(
    fragments: Path,
    peaks: Path,
    out: Path,
    *,
    of: str,
    how: How = "fragments",
    barcodes: Path | None = None,
    min_fragments: int = 0,
    progress: Progress = SILENT,
) -> FragmentCounts:
    """Count the fragments of each cell in each peak.

    Args:
        fragments: file of fragments.
        peaks: BED with three or more columns; equal intervals are one peak; they keep the order of the file.
        out: the h5ad, written whole or not at all.
        of: assembly of both files, any alias.
        how: what is counted, see above.
        barcodes: file with one on each line; cells are these, in this order, whether they have fragments or not; by
            default all that the file of fragments has, sorted.
        min_fragments: cells with fewer fragments in the file, inside peaks or not, are left out.
        progress: counts the fragments read.

    Raises:
        InputError: a file is refused, or none of the listed barcodes is in it.
    """
    genome, read, regions = assembly(of), check_file(fragments), check_file(peaks)
    where = _peaks(regions, genome)
    listed = None if barcodes is None else _barcodes(barcodes)
    cells, counts, total = _count_all(read, genome, where, how, progress)
    names, rows = _chosen(cells, listed, read.name)
    enough = total[rows] >= min_fragments
    adata = anndata.AnnData(
        sparse.csr_matrix(_added(counts, (len(cells) + 1, len(where.start)))[rows[enough]]),
        obs=pd.DataFrame({"fragments": total[rows[enough]]}, index=pd.Index(np.array(names, dtype=object)[enough])),
        var=_features(where),
        uns={"assembly": genome.name, "counted": how, "fragments_sha256": read.sha256, "peaks_sha256": regions.sha256},
    )
    adata.obs["in_peaks"] = np.asarray(adata.X.sum(axis=1)).ravel()
    with replaced(out) as temporary:
        adata.write_h5ad(temporary, compression="gzip")
    return FragmentCounts(
        out=out,
        cells=adata.n_obs,
        peaks=adata.n_vars,
        fragments=int(total.sum()),
        of_cells=int(adata.obs["fragments"].sum()),
        counts=int(adata.X.sum()),
        barcodes=len(cells),
        absent=int((rows < 0).sum()),
    )


def _count_all(
    read: InputFile, genome: Assembly, where: Intervals, how: How, progress: Progress
) -> tuple[dict[str, int], list[Any], NDArray[np.int64]]:
    """Return each barcode's row, counts by block, and fragments by row; the last row is of barcodes not in the file."""
    cells: dict[str, int] = {}
    counts, sizes = [], []
    progress.begin(f"counting {read.name}", unit="fragments")
    for block in read_fragments(read, genome):
        code = np.array([cells.setdefault(name, len(cells)) for name in block.barcodes], dtype=np.int64)[block.cell]
        counts.append(_counted(code, block.at, where, how))
        sizes.append(np.bincount(code))
        progress.advance(len(code))
    progress.end(f"{sum(map(np.sum, sizes)):,} fragments of {len(cells):,} barcodes")
    if not cells:
        raise InputError(f"{read.name}: holds no fragments", "is it the right file?")
    total = np.zeros(len(cells) + 1, dtype=np.int64)
    for size in sizes:
        total[: len(size)] += size
    return cells, counts, total


def _peaks(file: InputFile, genome: Assembly) -> Intervals:
    """Return the peaks of a BED, which must be without fault."""
    rows = read_bed(file, SourceContext((file,), genome))
    check_zero_based(rows)
    check_intervals(rows, genome)
    for sentence in (text for table in rows.rejected for text in messages(table)):
        raise InputError(sentence, "fix the file of peaks; no row of it may be lost")
    rows.keep(~rows.frame.duplicated(["chrom", "start", "end"]))
    if not len(rows):
        raise InputError(f"{file.name}: holds no peaks", "give a BED with the columns chrom, start, end")
    return intervals_in(rows)


def _barcodes(path: Path) -> list[str]:
    file = check_file(path)
    lines = [line.decode().strip() for _, block in blocks(file, Counter()) for line in block]
    return list(dict.fromkeys(line for line in lines if line and not line.startswith("#")))


def _counted(cell: Ints, at: Intervals, peaks: Intervals, how: How) -> tuple[Ints, Ints, Ints]:
    """Return cell, peak and count of one block, each pair once."""
    if how == "cut-sites":
        base = np.concatenate([at.start, at.end - 1])
        at, cell = Intervals(np.concatenate([at.chrom, at.chrom]), base, base + 1), np.concatenate([cell, cell])
    which, peak = overlapping(at, peaks)
    pair, count = np.unique(cell[which] * len(peaks.start) + peak, return_counts=True)
    return pair // len(peaks.start), pair % len(peaks.start), count


def _added(parts: Sequence[tuple[Ints, Ints, Ints]], shape: tuple[int, int]) -> sparse.csr_array:
    cell, peak, count = (np.concatenate(column) for column in zip(*parts, strict=True))
    return sparse.coo_array((count.astype(np.int32), (cell, peak)), shape=shape).tocsr()


def _chosen(cells: Mapping[str, int], listed: list[str] | None, name: str) -> tuple[list[str], Ints]:
    """Return barcodes in the order of the output, and their rows, -1 where the file does not have one."""
    names = sorted(cells) if listed is None else listed
    rows = np.array([cells.get(name_, -1) for name_ in names], dtype=np.int64)
    if (rows < 0).all():
        raise InputError(
            f"{name}: none of the {len(names):,} listed barcodes is in it",
            f"it has {next(iter(cells))}, listed are {', '.join(names[:1])}; is a suffix such as -1 missing?",
        )
    return names, rows


def _features(peaks: Intervals) -> pd.DataFrame:
    frame = pd.DataFrame({"chrom": peaks.chrom, "start": peaks.start, "end": peaks.end})
    position = frame["chrom"] + ":" + frame["start"].astype(str) + "-" + frame["end"].astype(str)
    return frame.set_index(pd.Index(position, name=None))
