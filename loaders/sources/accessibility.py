"""Where peaks are open: from the cells of an ATAC h5ad, or from peak files of one biosample -> ACCESSIBLE_IN.

An h5ad gives a row for each peak and group of cells, named by a column of obs (--group cell_type); with
--biosample instead, all its cells are of that biosample. The score is the share of the group's cells with a count
above 0 (score_kind share_of_cells). Shares under --min-share are filtered, groups of fewer than --min-cells cells
are left out with a warning, cells without a label are not counted. Names of groups are biosamples: a CL, UBERON or
EFO id, or free text, which `regkg load biosamples` can map to an id.

A narrowPeak, broadPeak or BED needs --biosample; further biosamples go into the same dataset as a --part each, or
into datasets of their own. The score is the signal (score_kind signal), in other BED the score of column 5
(score_kind bed), and 1 where there is none (score_kind peak).

A peak of the graph is open when it shares a base with a peak of the file; of several, one with the same ends
counts, else the strongest, and the others are folded. Peaks of the file that meet none of the graph are filtered.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from kg.errors import InputError
from kg.parameters import param
from kg.schema import ACCESSIBLE_IN, BIOSAMPLE, PEAK
from loaders.cells.groups import Shares, shares
from loaders.formats.peak_files import read_bed, read_features, set_strength
from loaders.registry import RowType, loader
from loaders.tables.checks import place
from loaders.tables.files import InputFile
from loaders.tables.joins import biosamples, intervals_in, keep_best, peaks_under
from loaders.tables.rows import Rows
from loaders.tables.source_context import SourceContext


@dataclass(frozen=True)
class Options:
    """How the cells of an h5ad are grouped, and when a peak counts as open."""

    group: str = param("column of obs with the group of each cell, for h5ad", "")
    min_share: float = param("smallest share of a group's cells; lower shares are filtered", 0.01, low=0, high=1)
    min_cells: int = param("fewest cells of a group; smaller groups are left out", 20, low=0)


@loader(
    files="h5ad of ATAC counts, or narrowPeak, broadPeak or BED of one biosample",
    writes=(BIOSAMPLE, ACCESSIBLE_IN),
    lookup=(PEAK,),
    assembly=True,
    biosample=True,
    cites="AnnData (doi:10.21105/joss.04371); UCSC BED, ENCODE narrowPeak and broadPeak formats",
)
def read(context: SourceContext, options: Options) -> Iterator[tuple[RowType, Rows]]:
    """Yield peaks open in each group, or in the biosample of the files."""
    if options.group and context.biosample:
        raise InputError("--group and --biosample both name biosamples", "give one of them")
    parts = [
        _of_cells(file, context, options.group, options.min_share, options.min_cells)
        if file.is_hdf5
        else _of_peaks(file, context)
        for file in context.files
    ]
    keep_best(parts, ("start_id", "end_id"), ("same_ends", "score"))
    for rows in parts:
        yield ACCESSIBLE_IN, rows
    yield biosamples(name for rows in parts for name in rows["end_id"].unique())


def _of_peaks(file: InputFile, context: SourceContext) -> Rows:
    if not context.biosample:
        raise InputError(f"{file.name}: a file of peaks does not name its biosample", "give --biosample")
    rows = read_bed(file, context)
    kind = set_strength(rows)
    place(rows, context)
    rows.set(score=rows["strength"].fillna(1.0 if kind == "peak" else 0.0), score_kind=kind, end_id=context.biosample)
    _spread_to_peaks(rows, context)
    return rows


def _of_cells(file: InputFile, context: SourceContext, group: str, min_share: float, min_cells: int) -> Rows:
    counted = shares(file.path, group, context.biosample)
    rows = read_features(file)
    place(rows, context)
    _spread_to_peaks(rows, context)
    open_in = counted.share[:, rows.frame.index - 1] >= max(min_share, np.finfo(np.float64).tiny)
    open_in[counted.cells < min_cells] = False
    which, at = np.nonzero(open_in)
    rows.filtered += rows.frame.index.nunique() - rows.frame.index[at].nunique()
    score = counted.share[which, rows.frame.index[at] - 1]
    names = np.array(counted.groups, dtype=object)
    rows.spread(at, end_id=names[which], score=score, score_kind="share_of_cells", cells=counted.cells[which])
    rows.warnings += _odd(file, counted, min_cells)
    return rows


def _spread_to_peaks(rows: Rows, context: SourceContext) -> None:
    """Take one row for each peak of the graph that a row meets."""
    at, peak = peaks_under(intervals_in(rows), context)
    rows.filtered += len(rows) - len(np.unique(at))
    rows.spread(at, start_id=peak)
    ends = rows["chrom"] + ":" + rows["start"].astype(str) + "-" + rows["end"].astype(str)
    rows.set(same_ends=rows["start_id"] == context.assembly.name + ":" + ends)


def _odd(file: InputFile, counted: Shares, min_cells: int) -> list[str]:
    small = [f"{g} ({n})" for g, n in zip(counted.groups, counted.cells, strict=True) if n < min_cells]
    warnings = (
        [f"{file.name}: groups of fewer than {min_cells} cells were left out: {', '.join(small)}"] if small else []
    )
    if counted.unlabelled:
        warnings.append(f"{file.name}: {counted.unlabelled:,} cells have no group")
    return warnings
