"""Files of peaks as rows: the features of an h5ad, or BED, narrowPeak and broadPeak, which their columns tell apart."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from kg.cells import read_header, split_positions
from loaders.tables.checks import check_columns, parse_integers
from loaders.tables.rows import Reason, Rows, read_delimited

if TYPE_CHECKING:
    from loaders.tables.files import InputFile
    from loaders.tables.source_context import SourceContext

BED = ("chrom", "start", "end", "name", "score", "strand", "signal", "p_value", "q_value", "offset")
_HEADER = {"start", "chromstart", "chr_start"}


def read_bed(file: InputFile, context: SourceContext) -> Rows:
    """Return rows with the columns BED, as many as there are; `start` and `end` are integers, a header row is left out.

    Raises:
        InputError: there are fewer than three columns.
    """
    rows = read_delimited(file, context.notes, BED)
    check_columns(rows, ("chrom", "start", "end"), "BED has at least three columns: chrom, start, end")
    if len(rows) and rows["start"].iloc[0].lower() in _HEADER:
        rows.keep(np.arange(len(rows)) > 0)
        rows.read -= 1
    parse_integers(rows, "start", "end")
    return rows


def read_features(file: InputFile) -> Rows:
    """Return a row for each variable chrom:start-end of an h5ad; the "line" is its position among them, from 1."""
    names = read_header(file.path).features
    rows = Rows(file.name, pd.DataFrame({"name": names}, index=pd.RangeIndex(1, len(names) + 1), dtype=object))
    parts = split_positions(rows["name"])
    rows.set(chrom=parts["chrom"], start=parts["start"], end=parts["end"])
    rows.reject(parts["start"].isna(), "name", Reason.BAD_PEAK)
    parse_integers(rows, "start", "end")
    return rows


def has_signal(rows: Rows) -> bool:
    """Return whether columns seven to nine are those of narrowPeak or broadPeak, and not of BED9."""
    if "q_value" not in rows.frame or f"column{len(BED) + 1}" in rows.frame:
        return False
    signal, p_value, q_value = (pd.to_numeric(rows[name], errors="coerce") for name in ("signal", "p_value", "q_value"))
    thick = (signal >= rows["start"]) & (signal <= p_value) & (p_value <= rows["end"])
    return bool((signal.notna() & p_value.notna() & q_value.notna() & ~thick).mean() > 0.5)


def set_strength(rows: Rows) -> str:
    """Set `strength`, missing where the file has no number; return its kind: signal, bed (column 5) or peak (none)."""
    column, kind = ("signal", "signal") if has_signal(rows) else ("score", "bed")
    numbers = pd.to_numeric(rows[column], errors="coerce") if column in rows.frame else np.nan
    rows.set(strength=pd.Series(numbers, rows.frame.index, dtype=np.float64).replace([np.inf, -np.inf], np.nan))
    return kind if rows["strength"].notna().any() else "peak"
