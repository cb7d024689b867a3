"""Rules that intervals in files must keep: row by row where one row is wrong, as a whole where the file is.

All checks are vectorised; a rejected row leaves `Rows` with its reason, a refused file raises.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from kg.errors import AssemblyMismatch, InputError
from loaders.genome.assemblies import assemblies
from loaders.tables.lift_rows import lift_rows
from loaders.tables.rows import Reason

if TYPE_CHECKING:
    from collections.abc import Sequence

    from loaders.genome.assemblies import Assembly
    from loaders.tables.rows import Rows
    from loaders.tables.source_context import SourceContext

MISFIT_SHARE = 0.001  # where another assembly fits: files of a neighbouring release reach 0.4 % (GRCh38 as GRCh37)
MISFIT_SHARE_ALONE = 0.1  # where none fits, single rows are more likely wrong than the assembly
EMPTY_SHARE = 0.01
ABSENT = ("", ".", "NA", "NaN", "nan", "None", "null")
FEWEST_ROWS = 10  # below that a pattern means nothing


def parse_integers(rows: Rows, *columns: str) -> None:
    """Convert text to int64; reject what is not a whole number."""
    for column in columns:
        text = pa.array(rows[column], pa.string())
        whole = pc.fill_null(pc.match_substring_regex(text, r"^[+-]?[0-9]{1,15}$"), fill_value=False)
        rows.reject(~whole.to_numpy(zero_copy_only=False), column, Reason.NOT_INTEGER)
        rows.set(**{column: pc.utf8_ltrim(text.filter(whole), "+").cast(pa.int64()).to_numpy()})


def parse_numbers(rows: Rows, *columns: str, low: float = -np.inf, high: float = np.inf, needed: bool = True) -> None:
    """Convert text to float64; reject what is not a finite number within the limits.

    Args:
        rows: of the file.
        columns: to parse.
        low, high: inclusive.
        needed: reject empty values too; otherwise `""`, `.`, `NA` and `nan` become missing.
    """
    for column in columns:
        value = pd.to_numeric(rows[column], errors="coerce").astype(np.float64)
        absent = rows[column].isna() | rows[column].isin(ABSENT)
        bad = ~np.isfinite(value) & (needed | ~absent)
        rows.reject(bad, column, Reason.NOT_NUMBER)
        value = value[~bad]
        rows.reject((value < low) | (value > high), column, Reason.RANGE, low=low, high=high)
        rows.set(**{column: value.loc[rows.frame.index]})


def check_columns(rows: Rows, needed: tuple[str, ...], hint: str) -> None:
    """Refuse a file that lacks a column.

    Raises:
        InputError: naming what is missing and what is there.
    """
    missing = [c for c in needed if c not in rows.frame]
    if missing:
        there = ", ".join(map(str, rows.frame.columns[:12]))
        raise InputError(f"{rows.file}: no column {', '.join(missing)}; there are {there or 'none'}", hint)


def place(
    rows: Rows,
    context: SourceContext,
    chrom: str = "chrom",
    start: str = "start",
    end: str = "end",
    *,
    points: Sequence[str] = (),
) -> None:
    """Check an interval of each row against the assembly of the file, and lift it where the graph has another one.

    A file with several intervals a row calls it for each. Lifting sets `original` and `inverted`, see `lift_rows`.

    Args:
        rows: of the file.
        context: with the assembly.
        chrom, start, end: the columns of the interval: 0-based half-open, integers.
        points: columns of single positions inside it, lifted with it.

    Raises:
        AssemblyMismatch: more than a small share of the rows has no place on the assembly.
    """
    names = {chrom: "chrom", start: "start", end: "end"}
    aside = {name: f"{name} of another" for name in names.values() if name in rows.frame and name not in names}
    rows.frame = rows.frame.rename(columns={**aside, **names})
    check_intervals(rows, context.lift.of if context.lift else context.assembly)
    if context.lift:
        lift_rows(rows, context.lift, points)
        context.notes["lifted"] += len(rows)
    rows.frame = rows.frame.drop(columns="length").rename(columns={new: old for old, new in {**aside, **names}.items()})


def check_intervals(rows: Rows, assembly: Assembly) -> None:
    """Check that `chrom`, `start`, `end` (0-based half-open) lie on the assembly; give chromosomes canonical names.

    Raises:
        AssemblyMismatch: more than a small share of the rows has no place on the assembly.
    """
    rows.reject(rows["start"] < 0, "start", Reason.NEGATIVE)
    rows.reject(rows["end"] <= rows["start"], "end", Reason.EMPTY)
    _check_assembly(rows, assembly)
    as_written, renamed = rows["chrom"], assembly.rename(rows["chrom"])
    rows.reject(renamed.isna(), "chrom", Reason.NO_CHROMOSOME, assembly=assembly.name)
    renamed = renamed.loc[rows.frame.index]
    rows.renamed += int((renamed != as_written.loc[renamed.index]).sum())
    rows.set(chrom=renamed)
    rows.set(length=renamed.map(assembly.lengths))
    rows.reject(assembly.beyond(renamed, rows["end"]), "end", Reason.BEYOND, assembly=assembly.name)


def shift_one_based(rows: Rows) -> None:
    """Convert `start` and `end` from 1-based with both ends inside to 0-based half-open."""
    rows.reject(rows["start"] < 1, "start", Reason.FIRST_IS_ONE)
    rows.reject(rows["end"] < rows["start"], "end", Reason.BACKWARDS)
    rows.set(start=rows["start"] - 1)


def check_zero_based(rows: Rows) -> None:
    """Refuse a BED-like file whose intervals are 1-based with both ends inside.

    Three signs: empty intervals (one base long, in truth), a fixed width one short of a round number, and
    neighbours that touch only if the end belongs to the interval.

    Raises:
        InputError: with the sign that was found.
    """
    start, end = rows["start"], rows["end"]
    empty = int((start == end).sum())
    if start.empty or (start == 0).any():
        return
    if empty > max(1, EMPTY_SHARE * len(rows)):
        tell = f"{empty:,} of {len(rows):,} rows end where they start, the first in line {start.index[start == end][0]}"
    elif len(rows) >= FEWEST_ROWS and _is_round_less_one(end - start):
        tell = f"every interval is {int(end.iloc[0] - start.iloc[0])} long, one short of a round number"
    elif len(rows) >= FEWEST_ROWS and _touch_only_closed(rows.frame):
        tell = "neighbours touch only if the end is taken as the last base"
    else:
        return
    raise InputError(
        f"{rows.file}: the file looks 1-based, BED is 0-based half-open: {tell}",
        "pass --one-based if it is, --no-one-based if it is not",
    )


def _check_assembly(rows: Rows, assembly: Assembly) -> None:
    misfits = assembly.misfits(rows["chrom"], rows["end"])
    if misfits == 0:
        return
    better = _better(rows, assembly, misfits)
    share = misfits / len(rows)
    problem = (
        f"{misfits:,} of {len(rows):,} rows have no place on {assembly.name} (no such chromosome, or past its end)"
    )
    if misfits > 1 and share > (MISFIT_SHARE if better else MISFIT_SHARE_ALONE):
        raise AssemblyMismatch(
            f"{rows.file}: {problem}",
            f"{' and '.join(better)} would fit; pass --assembly {better[0]}"
            if better
            else "no known assembly fits; is the file damaged, or of another species?",
        )
    if better:
        rows.warnings.append(f"{rows.file}: {problem}, but {' and '.join(better)} would fit: is the assembly right?")


def _better(rows: Rows, assembly: Assembly, misfits: int) -> list[str]:
    """Return assemblies with at most a tenth of the misfits; those of the same species if there are any."""
    fit = [known for known in assemblies().values() if known.misfits(rows["chrom"], rows["end"]) * 10 <= misfits]
    same = [known for known in fit if known.species == assembly.species]
    return [known.name for known in same or fit]


def _is_round_less_one(width: pd.Series[int]) -> bool:
    return bool(width.nunique() == 1 and width.iloc[0] > 1 and (width.iloc[0] + 1) % 50 == 0)


def _touch_only_closed(frame: pd.DataFrame) -> bool:
    ordered = frame.sort_values(["chrom", "start"], kind="stable")
    same = ordered["chrom"].to_numpy()[1:] == ordered["chrom"].to_numpy()[:-1]
    gap = (ordered["start"].to_numpy()[1:] - ordered["end"].to_numpy()[:-1])[same]
    return bool((gap == 1).sum() >= max(FEWEST_ROWS, EMPTY_SHARE * len(frame)) and not (gap == 0).any())
