"""Files with two anchors a row: BEDPE, mango, and the two text formats of the WashU browser.

The format is recognised by the first row. Positions become 0-based half-open; the anchors' columns end in 1 and 2.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from kg.errors import InputError
from loaders.tables.checks import parse_integers, place
from loaders.tables.joins import intervals_in
from loaders.tables.rows import Reason, Rows, read_delimited

if TYPE_CHECKING:
    from collections import Counter

    from loaders.genome.intervals import Intervals
    from loaders.tables.files import InputFile
    from loaders.tables.source_context import SourceContext

AnchorHits = tuple[NDArray[np.int64], NDArray[np.object_]]
"""Position of a row, and the id of what lies under its anchor."""

ANCHORS = ("chrom1", "start1", "end1", "chrom2", "start2", "end2")
_POSITIONS = ("start1", "end1", "start2", "end2")
_TEXT = r"^([^\s,:]+)[,:](\d+)[,-](\d+)$"
_TARGET = r"^([^\s,:]+):(\d+)-(\d+),([^,\s]+)$"


@dataclass(frozen=True)
class PairFormat:
    """Names of the fields of a row; `one_based` where both ends of an anchor belong to it."""

    name: str
    columns: tuple[str, ...]
    one_based: bool = False


BEDPE = PairFormat("bedpe", (*ANCHORS, "name", "score", "strand1", "strand2"))
COUNTS = PairFormat("counts", (*ANCHORS, "score"))
MANGO = PairFormat("mango", (*ANCHORS, "pets", "q_value"))
WASHU_TEXT = PairFormat("washu_text", ("first", "second", "score"), one_based=True)
LONGRANGE = PairFormat("longrange", ("chrom1", "start1", "end1", "target", "id", "strand"))


def read_pairs(file: InputFile, notes: Counter[str]) -> tuple[Rows, PairFormat]:
    """Return rows with the columns ANCHORS (positions are integers), those of the format, and `score` as text.

    Raises:
        InputError: no row looks like one of the formats.
    """
    header, kind = _detect_format(file)
    rows = read_delimited(file, notes, kind.columns)
    if header:
        rows.keep(np.arange(len(rows)) > 0)
        rows.read -= 1
    if kind is WASHU_TEXT:
        _extract(rows, "first", _TEXT, ("chrom1", "start1", "end1"))
        _extract(rows, "second", _TEXT, ("chrom2", "start2", "end2"))
    elif kind is LONGRANGE:
        _extract(rows, "target", _TARGET, ("chrom2", "start2", "end2", "score"))
    parse_anchors(rows, one_based=kind.one_based)
    return rows, kind


def parse_anchors(rows: Rows, *, one_based: bool) -> None:
    """Convert positions of both anchors to integers, 0-based half-open."""
    parse_integers(rows, *_POSITIONS)
    if one_based:
        for start in ("start1", "start2"):
            rows.reject(rows[start] < 1, start, Reason.FIRST_IS_ONE)
            rows.set(**{start: rows[start] - 1})


def place_anchors(rows: Rows, context: SourceContext) -> None:
    """Check both anchors against the assembly; where they were lifted, `original` says from where, first;second.

    Raises:
        AssemblyMismatch: more than a small share of the rows has no place on the assembly.
    """
    for k in "12":
        place(rows, context, f"chrom{k}", f"start{k}", f"end{k}")
    if "original" not in rows.frame:
        rows.set(original=None)


def anchor(rows: Rows, k: str) -> Intervals:
    """Return positions of the first (`1`) or second (`2`) anchors, after they were placed."""
    return intervals_in(rows, f"chrom{k}", f"start{k}", f"end{k}")


def label(rows: Rows, k: str) -> NDArray[np.object_]:
    """Return anchors as chrom:start-end."""
    text = rows[f"chrom{k}"] + ":" + rows[f"start{k}"].astype(str) + "-" + rows[f"end{k}"].astype(str)
    return text.to_numpy(dtype=object)


def pairs_meeting(left: AnchorHits, right: AnchorHits) -> pd.DataFrame:
    """Return all pairs of hits under the same row: columns at (position of the row), left, right."""
    lefts, rights = (pd.DataFrame({"at": at, side: ids}) for side, (at, ids) in (("left", left), ("right", right)))
    return lefts.merge(rights, on="at").astype({"at": np.int64})


def renumbered(pairs: pd.DataFrame, used: NDArray[np.bool_]) -> pd.DataFrame:
    """Renumber `at` among the used rows only, for when the others were left out."""
    return pairs.assign(at=(np.cumsum(used) - 1)[pairs["at"]])


def first_rows(file: InputFile, most: int = 2) -> list[list[str]]:
    """Return the fields of a file's first rows, comments left out."""
    lines = [line for line in file.head.decode(errors="replace").splitlines() if line.strip()]
    lines = [line for line in lines if not line.startswith(("#", "track ", "browser "))]
    return [line.split("\t") if "\t" in line else line.split() for line in lines[:most]]


def _detect_format(file: InputFile) -> tuple[bool, PairFormat]:
    """Return whether the first row is a header, and the format of the next."""
    for at, fields in enumerate(first_rows(file)):
        pair_format = _format(fields)
        if pair_format:
            return at == 1, pair_format
    raise InputError(
        f"{file.name}: no known header, and neither BEDPE nor mango nor WashU text",
        "a row of BEDPE is chrom1 start1 end1 chrom2 start2 end2 name score, 0-based",
    )


def _format(fields: list[str]) -> PairFormat | None:
    if len(fields) == len(WASHU_TEXT.columns) and all(re.match(_TEXT, field) for field in fields[:2]):
        return WASHU_TEXT
    if len(fields) >= 4 and re.match(_TARGET, fields[3]):
        return LONGRANGE
    if len(fields) <= len(ANCHORS) or not all(fields[i].isdigit() for i in (1, 2, 4, 5)):
        return None
    if len(fields) == len(COUNTS.columns):
        return COUNTS
    return MANGO if len(fields) == len(MANGO.columns) and fields[6].isdigit() else BEDPE


def _extract(rows: Rows, column: str, pattern: str, into: tuple[str, ...]) -> None:
    parts = rows[column].str.extract(pattern)
    rows.set(**{name: parts[i] for i, name in enumerate(into)})
    rows.reject(parts[0].isna(), column, Reason.BAD_ANCHOR)
