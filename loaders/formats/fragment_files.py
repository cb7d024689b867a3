"""Files of ATAC fragments: lines `chrom start end barcode [support]` as 10x writes them, 0-based half-open."""

from __future__ import annotations

import io
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.csv

from kg.errors import AssemblyMismatch, MalformedRow
from loaders.genome.intervals import Intervals
from loaders.tables.files import blocks

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from numpy.typing import NDArray

    from loaders.genome.assemblies import Assembly
    from loaders.tables.files import InputFile

FIELDS = ("chrom", "start", "end", "barcode")
_NAMES = pa.dictionary(pa.int32(), pa.string())
_TYPES: Mapping[str, pa.DataType] = {"chrom": _NAMES, "start": pa.int64(), "end": pa.int64(), "barcode": _NAMES}


@dataclass(frozen=True)
class Fragments:
    """N fragments.

    Attributes:
        cell: (N,) int64 positions in `barcodes`.
        at: (N,) chromosomes under their canonical names.
    """

    cell: NDArray[np.int64]
    barcodes: list[str]
    at: Intervals


def read_fragments(file: InputFile, genome: Assembly) -> Iterator[Fragments]:
    """Yield the fragments of a file, some hundred thousand at a time.

    Raises:
        MalformedRow: a line is not a fragment.
        AssemblyMismatch: a fragment has no place on the assembly.
        InputError: the file is damaged.
    """
    width = 0
    for first, lines in blocks(file, Counter()):
        data = [line for line in lines if line and not line.startswith(b"#")]
        if not data:
            continue
        width = width or data[0].count(b"\t") + 1
        names = [*FIELDS, *(f"column{i}" for i in range(len(FIELDS), width))]
        if width < len(FIELDS):
            raise MalformedRow(file.name, first, "barcode", f"fragments have the columns {', '.join(FIELDS)}")
        try:
            table = pa.csv.read_csv(
                io.BytesIO(b"\n".join(data)),
                read_options=pa.csv.ReadOptions(column_names=names),
                parse_options=pa.csv.ParseOptions(delimiter="\t", quote_char=False),
                convert_options=pa.csv.ConvertOptions(
                    column_types=_TYPES, include_columns=list(FIELDS), null_values=[], strings_can_be_null=False
                ),
            ).combine_chunks()
        except pa.ArrowInvalid as error:
            raise _first_wrong(file, first, lines, width) from error
        if np.any(table["start"].to_numpy() >= table["end"].to_numpy()) or np.any(table["start"].to_numpy() < 0):
            raise _first_wrong(file, first, lines, width)
        yield _placed(table, file, genome)


def _placed(table: pa.Table, file: InputFile, genome: Assembly) -> Fragments:
    cell, chrom = (table[name].combine_chunks() for name in ("barcode", "chrom"))
    names = pd.Series(chrom.dictionary.to_pylist(), dtype=object)
    known = genome.rename(names)
    if known.isna().any():
        raise AssemblyMismatch(
            f"{file.name}: {names[known.isna()].iloc[0]!r} is not a chromosome of {genome.name}", "give --assembly"
        )
    code = chrom.indices.to_numpy()
    start, end = table["start"].to_numpy(), table["end"].to_numpy()
    beyond = end > known.map(genome.lengths).fillna(np.inf).to_numpy()[code]
    if beyond.any():
        at = int(np.flatnonzero(beyond)[0])
        raise AssemblyMismatch(
            f"{file.name}: a fragment ends at {end[at]:,}, beyond the end of {known[code[at]]} of {genome.name}",
            "give --assembly",
        )
    return Fragments(
        cell.indices.to_numpy().astype(np.int64),
        cell.dictionary.to_pylist(),
        Intervals(known.to_numpy(dtype=object)[code], start, end),
    )


def _first_wrong(file: InputFile, first: int, lines: list[bytes], width: int) -> MalformedRow:
    """Return an error for the first line of a block that cannot be a fragment; it looks at them one by one."""
    hint = "is it a fragments file, as 10x writes it? regkg load peaks reads peaks"
    for number, line in enumerate(lines, first):
        if not line or line.startswith(b"#"):
            continue
        fields = line.decode().split("\t")
        if len(fields) != width:
            return MalformedRow(file.name, number, "", f"the row has {len(fields)} fields, expected {width}", hint)
        for column in (1, 2):
            if not fields[column].isdigit():
                rule = f"{fields[column]!r} is not a position"
                return MalformedRow(file.name, number, FIELDS[column], rule, hint)
        if int(fields[2]) <= int(fields[1]):
            rule = f"{fields[2]} is not greater than start {fields[1]}"
            return MalformedRow(file.name, number, "end", rule, hint)
    return MalformedRow(file.name, first, "", "a row after this one cannot be read", hint)
