"""Sequences in FASTA files: whole chromosomes, or cut-outs named by their position."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import pandas as pd

from kg.errors import AssemblyMismatch, InputError
from loaders.genome.intervals import clusters
from loaders.tables.checks import check_intervals
from loaders.tables.files import blocks
from loaders.tables.rows import Reason, Rows

if TYPE_CHECKING:
    from collections import Counter
    from collections.abc import Iterator

    from loaders.genome.assemblies import Assembly
    from loaders.genome.intervals import Intervals
    from loaders.tables.files import InputFile

_POSITION = re.compile(r"(?:.*::)?(?P<chrom>[^:\s]+):(?P<start>\d+)-(?P<end>\d+)")
COLUMNS = ("chrom", "start", "end", "sequence")


class Record(NamedTuple):
    """One sequence of a file.

    Attributes:
        line: of its name, from 1.
        name: up to the first blank.
        sequence: its letters as they stand.
    """

    line: int
    name: str
    sequence: bytes


def is_fasta(file: InputFile) -> bool:
    """Return whether the first line is a name."""
    return file.head.lstrip().startswith(b">")


def read_records(file: InputFile, notes: Counter[str]) -> Iterator[Record]:
    """Yield the sequences of a FASTA file, gzipped or not, one after the other."""
    line, name, parts = 0, "", list[bytes]()
    for first, lines in blocks(file, notes):
        marks = [i for i, text in enumerate(lines) if text.startswith(b">")]
        for mark, end in zip([-1, *marks], [*marks, len(lines)], strict=True):
            if mark >= 0:
                if line:
                    yield Record(line, name, b"".join(parts))
                line, name = first + mark, (lines[mark][1:].split() or [b""])[0].decode()
                parts = []
            parts += [text.strip() for text in lines[mark + 1 : end]]
    if line:
        yield Record(line, name, b"".join(parts))


def read_cut_outs(file: InputFile, notes: Counter[str], assembly: Assembly, wanted: Intervals) -> Rows:
    """Return pieces of an assembly, with the columns COLUMNS.

    Records named chrom:start-end (0-based half-open, as `bedtools getfasta` writes them, also after NAME::) are
    taken as they are. Others are whole chromosomes, of which the wanted intervals are cut out, overlapping ones as
    one piece; chromosomes that the assembly does not know, or that nothing is wanted of, are left out.

    Raises:
        InputError: a sequence has no name.
        AssemblyMismatch: a chromosome has not the length that it has in the assembly.
    """
    pieces: list[Record] = []
    cut: list[pd.DataFrame] = []
    for record in read_records(file, notes):
        if not record.name:
            raise InputError(f"{file.name}:{record.line} the sequence has no name", "names follow >, such as chr1")
        if _POSITION.fullmatch(record.name):
            pieces.append(record)
        else:
            cut.append(_cut(file.name, record, assembly, wanted))
    rows = _pieces(file.name, pieces, assembly)
    filled = [frame for frame in (rows.frame, *cut) if len(frame)]
    rows.frame = pd.concat(filled) if filled else rows.frame
    rows.read += sum(map(len, cut))
    return rows


def _pieces(file: str, records: list[Record], assembly: Assembly) -> Rows:
    lines, names = [record.line for record in records], [record.name for record in records]
    rows = Rows(file, pd.DataFrame({"name": names}, lines, dtype=object))
    position = rows["name"].str.extract(_POSITION).astype({"start": np.int64, "end": np.int64})
    sequence = np.array([record.sequence for record in records], dtype=object)
    rows.set(chrom=position["chrom"], start=position["start"], end=position["end"], sequence=sequence)
    check_intervals(rows, assembly)
    rows.set(length=rows["sequence"].str.len(), named_length=rows["end"] - rows["start"])
    rows.reject(rows["length"] != rows["named_length"], "sequence", Reason.LENGTH)
    rows.frame = rows.frame[list(COLUMNS)]
    return rows


def _cut(file: str, record: Record, assembly: Assembly, wanted: Intervals) -> pd.DataFrame:
    chrom = assembly.rename(pd.Series([record.name], dtype=object)).iloc[0]
    here = np.flatnonzero(wanted.chrom == chrom)
    if not len(here):
        return pd.DataFrame(columns=COLUMNS)
    expected = assembly.lengths[chrom]
    if len(record.sequence) != expected:
        raise AssemblyMismatch(
            f"{file}:{record.line} {record.name} has {len(record.sequence):,} bases, in {assembly.name} it has "
            f"{expected:,}",
            "give the genome that --assembly names; cut-outs are named chr1:1000-1500, 0-based half-open",
        )
    intervals = type(wanted)(wanted.chrom[here], wanted.start[here], wanted.end[here])
    overlapping = pd.DataFrame({"start": intervals.start, "end": intervals.end}).groupby(clusters(intervals))
    merged = pd.DataFrame({"start": overlapping["start"].min(), "end": overlapping["end"].max()})
    merged["sequence"] = [record.sequence[a:b] for a, b in zip(merged["start"], merged["end"], strict=True)]
    return merged.assign(chrom=chrom, line=record.line).set_index("line")[list(COLUMNS)]
