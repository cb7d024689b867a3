"""Rows of one file on their way into a batch; those that break a rule leave with file, line, column and reason."""

from __future__ import annotations

import csv
import io
from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv

from loaders.tables.files import texts

if TYPE_CHECKING:
    from collections import Counter
    from collections.abc import Iterator, Sequence

    from numpy.typing import NDArray

    from loaders.tables.files import InputFile

Line = tuple[int, bytes]
_NO_FIRST = np.frombuffer(b"#\n\t ", np.uint8)  # comments, blank lines, empty first fields
_DISPLAY = np.frombuffer(b"tb", np.uint8)  # track, browser
LOOKED_AT = 1000  # rows, to see whether a column repeats itself
REJECTED = ["file", "line", "column", "reason", "rule", "text"]
"""Columns of a table of rejected rows; `text` is the row as it stood in the file."""


class Reason(Enum):
    """Why a row was rejected: the sentence people read, with the row's values filled in."""

    FIELDS = "the row has {fields} fields, expected {expected}"
    NOT_INTEGER = "{value!r} is not a whole number"
    NEGATIVE = "{start} is negative"
    FIRST_IS_ONE = "positions of this format start from 1, not {value}"
    EMPTY = "{end} is not greater than start {start}"
    BACKWARDS = "{end} is less than start {start}"
    NO_CHROMOSOME = "{chrom!r} is not a chromosome of {assembly}"
    BEYOND = "{end} lies beyond the end of {chrom} of {assembly} ({length:,.0f} bp)"
    STRAND = "{strand!r} is neither + nor -"
    NO_ID = "the row has no id"
    BAD_PEAK = "{name!r} is not a position such as chr1:1000-1500"
    BAD_ANCHOR = "{value!r} is not an anchor such as chr1,1000,1500, or chr1:1000-1500,3 in a longrange file"
    BAD_VARIANT = "{value!r} is not a variant such as chr1_1000_A_G"
    VARIANT_ELSEWHERE = "{variant} is not at {chromosome}:{position}"
    SUMMIT = "the summit {summit} lies outside the peak {start}-{end}"
    CONFLICT = "{key} occurs again with other values"
    NOT_NUMBER = "{value!r} is not a number"
    RANGE = "{value} is not between {low} and {high}"
    NO_GENE = "{value!r} names no gene of the graph"
    MANY_GENES = "{value!r} names several genes of the graph"
    BAD_POSITION = "{value!r} is not a position such as chr1:1000-1500 or chr1_1000_1500"
    NO_MODE = "{value!r} is not activation, repression or unknown"
    NO_GRADE = "{value!r} is not a grade from A to E"
    NO_TRUTH_VALUE = "{value!r} is neither true nor false"
    MATRIX = "the matrix of {id!r}: {fault}"
    NO_MOTIF = "{value!r} names several motifs of the graph"
    LENGTH = "the sequence has {length:,} letters, its name says {named_length:,}"
    HIT_LENGTH = "the motif {motif} is {length} long, the match {match_length}"
    NO_ORTHOLOGY = "{value!r} is not one2one, one2many or many2many"
    NO_CURIE = "{value!r} is not a CURIE such as CL:0000576"


class Rows:
    """Rows of one file.

    Attributes:
        file: name of the file; empty for derived rows.
        frame: columns by name, text at first; the index is the physical line in the file, from 1.
        counted: whether these rows are rows of the file; not when they follow from others, such as their biosamples.
        rejected: tables with the columns REJECTED.
        read: rows that the file held.
        filtered, folded, renamed: rows left out by a stated threshold, identical to another, with chromosome renamed.
        warnings: what people should look at although the file is accepted.
    """

    def __init__(
        self, file: str, frame: pd.DataFrame, rejected: Sequence[pd.DataFrame] = (), *, counted: bool = True
    ) -> None:
        self.file, self.frame = file, frame
        self.rejected = list(rejected)
        self.read = len(frame) + sum(map(len, rejected)) if counted else 0
        self.filtered = self.folded = self.renamed = 0
        self.warnings: list[str] = []
        self._original = frame

    def __len__(self) -> int:
        return len(self.frame)

    def __getitem__(self, column: str) -> pd.Series[Any]:
        return self.frame[column]

    def set(self, **columns: Any) -> None:
        """Add or replace columns."""
        self.frame = self.frame.assign(**columns)

    def keep(self, good: pd.Series[bool] | NDArray[Any]) -> None:
        """Leave the others out without calling them wrong; the caller counts them as filtered or folded."""
        self.frame = self.frame[good]

    def spread(self, at: NDArray[np.int64], **columns: Any) -> None:
        """Take one row for each position in `at` (a row may occur often, or not at all), with further columns."""
        self.frame = self.frame.iloc[at].assign(**columns)

    def reject(self, bad: pd.Series[bool] | NDArray[Any], column: str, reason: Reason, **values: Any) -> None:
        """Take the bad rows out; the sentence is filled from their columns and from `values`; `value` is `column`'s."""
        gone = self.frame[bad]
        if gone.empty:
            return
        self.frame = self.frame[~bad]
        texts = self._original.loc[gone.index].astype(str).agg("\t".join, axis=1)
        filled = gone if column not in gone else gone.assign(value=gone[column])
        sentences = [
            reason.value.format(**{str(k): v for k, v in row.items()}, **values) for row in filled.to_dict("records")
        ]
        self.rejected.append(_rejected(self.file, gone.index, column, reason, sentences, texts))


def read_delimited(
    file: InputFile, notes: Counter[str], names: Sequence[str] | None, *, containing: Sequence[bytes] = ()
) -> Rows:
    """Read a delimited text file, all values as text; nothing is taken for a missing value (a gene may be called NA).

    Comment lines (#, track, browser), blank lines and blanks at the end of a line are left out; such lines are
    counted all the same. Fields are separated by tabs, or by blanks where the first row has no tab; a table whose
    header has commas and no tab is CSV, with quotes where a field needs them.

    Args:
        file: text, gzipped or not.
        notes: counts byte order marks and CRLF lines.
        names: of the columns, more than the file has are left out, further ones are called column5, ...;
            None takes them from the first row.
        containing: read only lines that hold one of these.
    """
    frames: list[pd.DataFrame] = []
    rejected: list[pd.DataFrame] = []
    shape: _Shape | None = None
    for first, text in texts(file, notes):
        number, rest = _without_preamble(first, text, containing)
        if not rest:
            continue
        if shape is None:
            shape, number, rest = _shape_of(number, rest, names)
        regular = None if containing else _regular(number, rest, shape)
        if regular is not None:
            frames.append(regular)
            continue
        good, wrong = _by_width(_data_lines(number, rest, containing, shape), shape)
        if wrong:
            rejected.append(_ragged(file.name, wrong, len(shape.names)))
        if good:
            frames.append(_parsed(b"\n".join(line for _, line in good), shape.names, pd.Index([n for n, _ in good])))
    columns = shape.names if shape else list(names or ())
    frame = pd.concat(frames) if frames else pd.DataFrame({n: [] for n in columns}, dtype=object)
    return Rows(file.name, frame, rejected)


@dataclass(frozen=True)
class _Shape:
    """How the rows of a file are written: column names, and what is between fields (tabs, commas, or blanks)."""

    names: list[str]
    between: str


def _without_preamble(number: int, text: bytes, containing: Sequence[bytes]) -> tuple[int, bytes]:
    """Return the text from its first row on, and the number of that line."""
    while text:
        line, _, rest = text.partition(b"\n")
        if _is_data(line, containing):
            break
        number, text = number + 1, rest
    return number, text


def _shape_of(number: int, text: bytes, names: Sequence[str] | None) -> tuple[_Shape, int, bytes]:
    """Return the shape from the first row, which is taken off where it is the header."""
    line, _, rest = text.partition(b"\n")
    commas = names is None and b"\t" not in line and b"," in line
    between = "tabs" if b"\t" in line else "commas" if commas else "blanks"
    fields = [f.decode() for f in _fields(_row(line, between))]
    columns = list(fields if names is None else names)
    shape = _Shape((columns + [f"column{i + 1}" for i in range(len(columns), len(fields))])[: len(fields)], between)
    return (shape, number + 1, rest) if names is None else (shape, number, text)


def _regular(number: int, text: bytes, shape: _Shape) -> pd.DataFrame | None:
    """Parse all rows at once if they are separated by tabs and of the right width; None otherwise."""
    if shape.between != "tabs" or _has_odd_lines(text):
        return None
    try:
        return _parsed(text, shape.names, pd.RangeIndex(number, number + text.count(b"\n") + 1))
    except (pa.ArrowInvalid, ValueError):  # a row of another width
        return None


def _has_odd_lines(text: bytes) -> bool:
    """Return whether a line begins or ends unlike a plain row of tabs; only these bytes are looked at."""
    if not text:
        return True
    byte = np.frombuffer(text, np.uint8)
    ends = np.flatnonzero(byte == ord("\n"))
    firsts, lasts = byte[np.append(0, np.minimum(ends + 1, len(byte) - 1))], byte[np.append(ends - 1, len(byte) - 1)]
    if text.endswith(b"\n") or np.isin(firsts, _NO_FIRST).any() or (lasts == ord(" ")).any():
        return True
    displays = np.isin(firsts, _DISPLAY)
    return bool(displays.any()) and any(word in b"\n" + text for word in (b"\ntrack", b"\nbrowser"))


def _data_lines(number: int, text: bytes, containing: Sequence[bytes], shape: _Shape) -> list[Line]:
    """Return rows with tabs between their fields."""
    lines = ((n, line) for n, line in enumerate(text.split(b"\n"), number) if _is_data(line, containing))
    return [(n, _row(line, shape.between)) for n, line in lines]


def _is_data(line: bytes, containing: Sequence[bytes]) -> bool:
    if not line or line.isspace() or line.startswith(b"#"):
        return False
    if line.startswith((b"track", b"browser")) and line.split(None, 1)[0] in (b"track", b"browser"):
        return False
    return not containing or any(part in line for part in containing)


def _row(line: bytes, between: str) -> bytes:
    """Return the line with tabs between its fields; a tab inside a field of CSV becomes a blank."""
    if between == "commas":
        return "\t".join(next(csv.reader([line.replace(b"\t", b" ").decode()]))).encode()
    return line.rstrip(b" ") if between == "tabs" else b"\t".join(line.split())


def _fields(row: bytes) -> list[bytes]:
    return row.split(b"\t")


def _by_width(rows: list[Line], shape: _Shape) -> tuple[list[Line], list[Line]]:
    good: list[Line] = []
    wrong: list[Line] = []
    tabs = len(shape.names) - 1
    for row in rows:
        (good if row[1].count(b"\t") == tabs else wrong).append(row)
    return good, wrong


def _parsed(text: bytes, names: list[str], index: pd.Index[Any]) -> pd.DataFrame:
    """Parse rows into a column of text for each field.

    Raises:
        ArrowInvalid, ValueError: a row has another number of fields.
    """
    table = pa.csv.read_csv(
        io.BytesIO(text),
        read_options=pa.csv.ReadOptions(column_names=names, use_threads=False),
        parse_options=pa.csv.ParseOptions(delimiter="\t", quote_char=False, ignore_empty_lines=False),
        convert_options=pa.csv.ConvertOptions(column_types=dict.fromkeys(names, pa.string())),
    )
    # one object for equal texts saves room where they repeat, and costs three times the time where they do not
    columns = {c: table[c].to_pandas(deduplicate_objects=_repeats(table[c])).to_numpy() for c in names}
    return pd.DataFrame(columns, index=index)


def _repeats(column: pa.ChunkedArray) -> bool:
    first = column.slice(0, LOOKED_AT)
    return bool(pc.count_distinct(first).as_py() * 2 <= len(first))


def _ragged(file: str, wrong: list[Line], width: int) -> pd.DataFrame:
    sentences = [Reason.FIELDS.value.format(fields=line.count(b"\t") + 1, expected=width) for _, line in wrong]
    texts = [line.decode() for _, line in wrong]
    return _rejected(file, [n for n, _ in wrong], "", Reason.FIELDS, sentences, texts)


def _rejected(file: str, lines: Any, column: str, reason: Reason, sentences: Sequence[str], texts: Any) -> pd.DataFrame:
    values = [file, list(lines), column, sentences, reason.name, list(texts)]
    return pd.DataFrame(dict(zip(REJECTED, values, strict=True)))


def messages(rejected: pd.DataFrame) -> Iterator[str]:
    """Yield rejected rows as sentences: `peaks.bed.gz:1042 column 'end': 900 is not greater than start 1000`."""
    for row in rejected.to_dict("records"):
        column = f" column '{row['column']}'" if row["column"] else ""
        yield f"{row['file']}:{row['line']}{column}: {row['reason']}"
