"""Open-chromatin peaks: BED with three or more columns, narrowPeak, broadPeak (plain or gzipped), or h5ad features.

A peak's id is assembly:chrom:start-end. Positions are 0-based half-open; --one-based reads files that are not.
A file with ten columns whose seventh to ninth are numbers is a narrowPeak, and the summits of its tenth are kept;
where a caller reports one interval with several summits, the one with the highest signal stays and the others
count as folded. The columns of BED12 after the sixth are not read.

Peaks that overlap an interval of the --blacklist are left out and count as filtered. Peaks of several files stay
as they are, unless a consensus is asked for: `union` joins peaks that share a base, `fixed` makes windows of
--width-bp around the summits (the middle, where there is none) and keeps the strongest of those that overlap, as
ArchR does. Strength is the signal of a narrowPeak or broadPeak and the score of other BED. Peaks that went into
another one count as folded. A consensus is made of the files of one command; it does not reach into other --part's.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from kg.errors import InputError
from kg.parameters import param
from kg.schema import PEAK, NodeType
from loaders.formats.peak_files import has_signal, read_bed, read_features, set_strength
from loaders.genome.intervals import Intervals, overlapping
from loaders.registry import loader
from loaders.tables.checks import check_intervals, check_zero_based, parse_integers, place, shift_one_based
from loaders.tables.consensus import fix_width, unite
from loaders.tables.files import InputFile, check_file
from loaders.tables.joins import intervals_in
from loaders.tables.rows import Reason, Rows, messages
from loaders.tables.source_context import SourceContext


@dataclass(frozen=True)
class Options:
    """How the files are read, and whether one set of peaks is made of them."""

    one_based: bool | None = param("positions are 1-based with both ends inside; default: 0-based, and checked", None)
    blacklist: Path | None = param("regions whose peaks are left out: BED on the assembly of the graph", None)
    consensus: str | None = param("make one set of peaks that do not overlap", None, choices=("union", "fixed"))
    width_bp: int = param("width of the windows of a fixed consensus", 501, low=1)


@loader(
    files="BED, narrowPeak, broadPeak or h5ad",
    writes=(PEAK,),
    assembly=True,
    cites="UCSC BED, ENCODE narrowPeak and broadPeak formats; ArchR (doi:10.1038/s41588-021-00790-6)",
)
def read(context: SourceContext, options: Options) -> Iterator[tuple[NodeType, Rows]]:
    """Yield peaks of every file; files may overlap."""
    files = [_placed(file, context, options.one_based) for file in context.files]
    barred = _blacklisted(options.blacklist, context) if options.blacklist else None
    for rows in files:
        if barred is not None:
            _leave_out(rows, barred)
        if options.consensus != "fixed":
            _fold_summits(rows)
    if options.consensus == "union":
        unite(files)
    elif options.consensus == "fixed":
        fix_width(files, options.width_bp, context.assembly)
    for rows in files:
        if options.consensus:
            rows.set(original=None)  # a peak made here was in no file
        position = rows["chrom"] + ":" + rows["start"].astype(str) + "-" + rows["end"].astype(str)
        rows.set(id=context.assembly.name + ":" + position, assembly=context.assembly.name)
        yield PEAK, rows


def _placed(file: InputFile, context: SourceContext, one_based: bool | None) -> Rows:  # noqa: FBT001 - an option, passed on
    """Return the peaks of a file on the assembly, with summit and strength."""
    rows = read_features(file) if file.is_hdf5 else read_bed(file, context)
    if one_based:
        shift_one_based(rows)
    elif one_based is None and not file.is_hdf5:
        check_zero_based(rows)
    set_strength(rows)
    _set_summit(rows)
    place(rows, context, points=("summit",))
    return rows


def _set_summit(rows: Rows) -> None:
    """Set `summit`: a narrowPeak's offset column counts from the start, -1 means that no summit was called."""
    if "offset" not in rows.frame or not has_signal(rows):
        rows.set(summit=pd.Series(pd.NA, rows.frame.index, dtype="Int64"))
        return
    parse_integers(rows, "offset")
    summit = rows["start"] + rows["offset"]
    rows.set(summit=summit)
    rows.reject(summit > rows["end"], "offset", Reason.SUMMIT)
    # some callers round a summit up to the end of the peak
    rows.set(summit=rows["summit"].clip(upper=rows["end"] - 1).where(rows["offset"] >= 0).astype("Int64"))


def _fold_summits(rows: Rows) -> None:
    """Keep the strongest summit of each interval; of equal ones the first."""
    ranked = rows.frame.sort_values(["strength", "summit"], ascending=[False, True], kind="stable")
    kept = rows.frame.index.isin(ranked.drop_duplicates(["chrom", "start", "end"]).index)
    rows.folded += int((~kept).sum())
    rows.keep(kept)


def _blacklisted(path: Path, context: SourceContext) -> Intervals:
    """Return intervals of a BED, which must be without fault: a bad row might let a bad peak in."""
    rows = read_bed(check_file(path), context)
    check_intervals(rows, context.assembly)
    for sentence in (text for table in rows.rejected for text in messages(table)):
        raise InputError(sentence, "fix the blacklist; no row of it may be lost")
    return intervals_in(rows)


def _leave_out(rows: Rows, barred: Intervals) -> None:
    under, _ = overlapping(intervals_in(rows), barred)
    kept = np.ones(len(rows), dtype=bool)
    kept[under] = False
    rows.filtered += int((~kept).sum())
    rows.keep(kept)
