"""Open-chromatin peaks: BED with three or more columns, narrowPeak (both plain or gzipped), or the features of an h5ad.

A peak's id is assembly:chrom:start-end. Positions are 0-based half-open; --one-based reads files that are not.
The summit of a narrowPeak is kept; where a caller reports one interval with several summits, the one with the
highest signal stays and the others count as folded.
"""

from collections.abc import Iterator
from typing import Annotated

import numpy as np
import pandas as pd

from kg.cells import read_header, split_positions
from kg.schema import PEAK, NodeType
from loaders.checks import check_columns, check_intervals, check_zero_based, parse_integers, shift_one_based
from loaders.files import InputFile
from loaders.registry import Given, loader
from loaders.rows import Reason, Rows, read_delimited

BED = ("chrom", "start", "end", "name", "score", "strand", "signal", "p_value", "q_value", "offset")
_HEADER = {"start", "chromstart", "chr_start"}


@loader(files="BED, narrowPeak or h5ad", writes=(PEAK,), assembly=True, cites="UCSC BED and ENCODE narrowPeak formats")
def read(
    given: Given,
    *,
    one_based: Annotated[
        bool | None, "positions are 1-based with both ends inside; default: 0-based, and checked"
    ] = None,
) -> Iterator[tuple[NodeType, Rows]]:
    """Peaks of every file; files may overlap."""
    for file in given.files:
        rows = _features(file) if file.is_hdf5 else _bed(file, given)
        if one_based:
            shift_one_based(rows)
        elif one_based is None and not file.is_hdf5:
            check_zero_based(rows)
        check_intervals(rows, given.assembly)
        _set_summit(rows)
        position = rows["chrom"] + ":" + rows["start"].astype(str) + "-" + rows["end"].astype(str)
        rows.set(id=given.assembly.name + ":" + position, assembly=given.assembly.name)
        yield PEAK, rows


def _bed(file: InputFile, given: Given) -> Rows:
    rows = read_delimited(file, given.notes, BED)
    check_columns(rows, ("chrom", "start", "end"), "BED has at least three columns: chrom, start, end")
    if len(rows) and rows["start"].iloc[0].lower() in _HEADER:
        rows.keep(np.arange(len(rows)) > 0)
        rows.read -= 1
    parse_integers(rows, "start", "end")
    return rows


def _features(file: InputFile) -> Rows:
    """Names chrom:start-end of an h5ad's variables; the "line" is the position among them, from 1."""
    names = read_header(file.path).features
    frame = pd.DataFrame({"name": names}, index=pd.RangeIndex(1, len(names) + 1), dtype=object)
    rows = Rows(file.name, frame)
    parts = split_positions(rows["name"])
    rows.set(chrom=parts["chrom"], start=parts["start"], end=parts["end"])
    rows.reject(parts["start"].isna(), "name", Reason.BAD_PEAK)
    parse_integers(rows, "start", "end")
    return rows


def _set_summit(rows: Rows) -> None:
    """The offset column of a narrowPeak counts from the start; -1 says that no summit was called."""
    if "offset" not in rows.frame:
        rows.set(summit=None)
        return
    parse_integers(rows, "offset")
    summit = rows["start"] + rows["offset"]
    rows.set(summit=summit)
    rows.reject(summit > rows["end"], "offset", Reason.SUMMIT)
    # some callers round a summit up to the end of the peak
    rows.set(summit=rows["summit"].clip(upper=rows["end"] - 1).where(rows["offset"] >= 0).astype("Int64"))
    before = len(rows)
    signal = pd.to_numeric(rows["signal"], errors="coerce")
    ranked = rows.frame.assign(_signal=signal).sort_values(
        ["_signal", "summit"], ascending=[False, True], kind="stable"
    )
    rows.keep(rows.frame.index.isin(ranked.drop_duplicates(["chrom", "start", "end"]).index))
    rows.folded += before - len(rows)
