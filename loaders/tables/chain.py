"""UCSC chain files: alignments of one assembly to another as arrays of gapless blocks.

A chain is a header `chain score tName tSize + tStart tEnd qName qSize strand qStart qEnd id` and lines
`size dt dq`: a block, then the gaps on either side before the next one; the last line is a block alone. It maps
from t to q. On strand - the positions of q count from the far end of its chromosome (Kent 2003,
doi:10.1073/pnas.1932072100).
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, NoReturn

import numpy as np
import pandas as pd

from kg.errors import InputError
from loaders.tables.files import blocks

if TYPE_CHECKING:
    from collections import Counter
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

    from loaders.genome.assemblies import Assembly
    from loaders.tables.files import InputFile

    Ints = NDArray[np.int64]
    Bools = NDArray[np.bool_]
    Texts = NDArray[np.object_]
    Lines = list[tuple[int, bytes]]

_HEADER = re.compile(
    rb"chain\s+\S+\s+(\S+)\s+(\d+)\s+\+\s+(\d+)\s+(\d+)\s+(\S+)\s+(\d+)\s+([+-])\s+(\d+)\s+(\d+)(?:\s+\S+)?"
)
_BLOCK = re.compile(rb"\d{1,15}(?:[ \t]+\d{1,15}){2}")


@dataclass(frozen=True)
class Chains:
    """C chains of B blocks in all, from one assembly to another. 0-based half-open.

    Attributes:
        chrom, size, start, end: (C,) the chain on the assembly that it maps from; size is the chromosome's.
        to_chrom, to_size: (C,) the chromosome that it maps to.
        inverted: (C,) it runs along the other strand there.
        chain: (B,) which chain a block is of, ascending.
        block_start, block_end: (B,) on the assembly that it maps from, ascending within a chain and disjoint.
        block_to: (B,) first base on the strand there; counted from the end of the chromosome when inverted.
    """

    chrom: Texts
    size: Ints
    start: Ints
    end: Ints
    to_chrom: Texts
    to_size: Ints
    inverted: Bools
    chain: Ints
    block_start: Ints
    block_end: Ints
    block_to: Ints

    def __len__(self) -> int:
        return len(self.chrom)

    @property
    def sizes(self) -> dict[str, int]:
        """Chromosome -> bp of the assembly that the chains map from."""
        return dict(zip(self.chrom, self.size.tolist(), strict=True))

    @property
    def to_sizes(self) -> dict[str, int]:
        """Chromosome -> bp of the assembly that they map to."""
        return dict(zip(self.to_chrom, self.to_size.tolist(), strict=True))

    def named(self, of: Assembly, to: Assembly) -> Chains:
        """Return the chains with canonical names of these assemblies: `1` becomes `chr1`.

        A chromosome of another length is another sequence, called so, and nothing is lifted through it:
        chrM of hg19 (16,571 bp) is not MT of GRCh37 (16,569 bp).
        """
        return replace(
            self, chrom=_renamed(self.chrom, self.size, of), to_chrom=_renamed(self.to_chrom, self.to_size, to)
        )

    def back(self) -> Chains:
        """Return the same alignments, mapping the other way."""
        inverted, length = self.inverted[self.chain], self.block_end - self.block_start
        start = np.where(inverted, self.to_size[self.chain] - self.block_to - length, self.block_to)
        to = np.where(inverted, self.size[self.chain] - self.block_end, self.block_start)
        order = np.lexsort((start, self.chain))
        first, last = _ends_of_runs(self.chain)
        block_start, block_end = start[order], (start + length)[order]
        return Chains(
            chrom=self.to_chrom,
            size=self.to_size,
            start=block_start[first],
            end=block_end[last],
            to_chrom=self.chrom,
            to_size=self.size,
            inverted=self.inverted,
            chain=self.chain,
            block_start=block_start,
            block_end=block_end,
            block_to=to[order],
        )


def read_chains(file: InputFile, notes: Counter[str]) -> Chains:
    """Return the chains of a file, plain or gzipped, with names like chr1 or 1.

    Raises:
        InputError: it is not a chain file, or it is damaged; with the line and what is wrong.
    """
    headers, lines, single = _sort_lines(file, notes)
    about = pd.DataFrame([_header(file, *header) for header in headers], index=[at for at, _ in headers])
    at = np.array([n for n, _ in lines], dtype=np.int64)
    chain = np.searchsorted(about.index, at) - 1
    _check_order(file, about.index.to_numpy(), at, chain, np.array(single, dtype=bool))
    size, gap, to_gap = np.fromstring(b" ".join(text for _, text in lines), dtype=np.int64, sep=" ").reshape(-1, 3).T
    first, last = _ends_of_runs(chain)
    start = _walk(about["start"].to_numpy(), chain, first, size + gap)
    to = _walk(about["to_start"].to_numpy(), chain, first, size + to_gap)
    _check_ends(file, about, start[last] + size[last], to[last] + size[last])
    _check_sizes(file, about)
    hollow = np.flatnonzero((size[first] == 0) | (size[last] == 0))
    if len(hollow):
        _refuse(file, int(about.index[hollow[0]]), "the chain begins or ends without an aligned base")
    filled = size > 0  # some programs write an empty block between two gaps
    return Chains(
        **{name: about[name].to_numpy() for name in ("chrom", "size", "start", "end", "to_chrom", "to_size")},
        inverted=(about["strand"] == "-").to_numpy(),
        chain=chain[filled],
        block_start=start[filled],
        block_end=(start + size)[filled],
        block_to=to[filled],
    )


def join(parts: Sequence[Chains]) -> Chains:
    """Join the chains of several files, such as one for each chromosome."""
    ahead = np.cumsum([0, *map(len, parts)])
    columns = {
        name: np.concatenate([getattr(part, name) for part in parts])
        for name in Chains.__dataclass_fields__
        if name != "chain"
    }
    return Chains(chain=np.concatenate([part.chain + n for part, n in zip(parts, ahead, strict=False)]), **columns)


def fits(sizes: Mapping[str, int], assembly: Assembly) -> bool:
    """Return whether all main chromosomes among these have the lengths of the assembly, and there is one.

    The mitochondrial one does not count: builds of one assembly have different ones.
    """
    named = {str(assembly.canonical(name)): size for name, size in sizes.items()}
    main = {name: named[name] for name in named.keys() & assembly.lengths.keys() - {"chrM"}}
    return bool(main) and all(assembly.lengths[name] == size for name, size in main.items())


def _sort_lines(file: InputFile, notes: Counter[str]) -> tuple[Lines, Lines, list[bool]]:
    """Return headers and lines of blocks with their numbers, all blocks with two gaps, and which of them had none."""
    headers: Lines = []
    lines: Lines = []
    single: list[bool] = []
    for first, run in blocks(file, notes):
        for number, raw in enumerate(run, first):
            line = raw.strip()
            alone = line.isdigit()
            if alone or _BLOCK.fullmatch(line):
                lines.append((number, line + b" 0 0" if alone else line))
                single.append(alone)
            elif line.startswith(b"chain"):
                headers.append((number, line))
            elif line and not line.startswith(b"#"):
                _refuse(file, number, f"{line[:60].decode()!r} is neither a chain's header nor a block")
    if not headers or not lines:
        _refuse(file, 1, "the file holds no chain")
    return headers, lines, single


def _header(file: InputFile, number: int, line: bytes) -> dict[str, str | int]:
    match = _HEADER.fullmatch(line)
    if match is None:
        _refuse(file, number, f"{line[:80].decode()!r} is not a header of 12 or 13 fields with + as the first strand")
    chrom, size, start, end, to_chrom, to_size, strand, to_start, to_end = (part.decode() for part in match.groups())
    held = {"size": size, "start": start, "end": end, "to_size": to_size, "to_start": to_start, "to_end": to_end}
    numbers = {name: int(value) for name, value in held.items()}
    for low, high, total in (("start", "end", "size"), ("to_start", "to_end", "to_size")):
        if not numbers[low] < numbers[high] <= numbers[total]:
            _refuse(file, number, f"{numbers[low]}-{numbers[high]} is not an interval within {numbers[total]} bp")
    return {"chrom": chrom, "to_chrom": to_chrom, "strand": strand, **numbers}


def _check_order(file: InputFile, headers: Ints, at: Ints, chain: Ints, single: Bools) -> None:
    """Refuse any order but: a header, blocks with gaps, a last block alone; and so on."""
    if chain[0] < 0:
        _refuse(file, int(at[0]), "a block comes before the first header")
    empty = np.setdiff1d(np.arange(len(headers)), chain)
    if len(empty):
        _refuse(file, int(headers[empty[0]]), "the chain has no blocks")
    _, last = _ends_of_runs(chain)
    ends = np.zeros(len(chain), dtype=bool)
    ends[last] = True
    wrong = np.flatnonzero(ends != single)
    if len(wrong):
        problem = (
            "a block alone ends a chain, but more blocks follow" if single[wrong[0]] else "the chain is cut off here"
        )
        _refuse(file, int(at[wrong[0]]), problem)


def _check_ends(file: InputFile, about: pd.DataFrame, end: Ints, to_end: Ints) -> None:
    for name, reached in (("end", end), ("to_end", to_end)):
        wrong = np.flatnonzero(about[name].to_numpy() != reached)
        if len(wrong):
            at = wrong[0]
            problem = f"the header says that the chain ends at {about[name].iloc[at]}, its blocks end at {reached[at]}"
            _refuse(file, int(about.index[at]), problem)


def _check_sizes(file: InputFile, about: pd.DataFrame) -> None:
    for name, size in (("chrom", "size"), ("to_chrom", "to_size")):
        other = about[size] != about.groupby(name)[size].transform("first")
        if other.any():
            at = int(about.index[other.to_numpy()][0])
            _refuse(file, at, f"{about[name][at]} has {about[size][at]} bp here, and another length above")


def _walk(start: Ints, chain: Ints, first: Ints, step: Ints) -> Ints:
    """Return where each block starts; those of a chain follow each other by these steps."""
    ahead = np.cumsum(step) - step
    placed: Ints = start[chain] + ahead - ahead[first][chain]
    return placed


def _ends_of_runs(chain: Ints) -> tuple[Ints, Ints]:
    """Return first and last block of each chain; every chain has one."""
    first = np.flatnonzero(np.diff(chain, prepend=-1))
    return first, np.append(first[1:], len(chain)) - 1


def _renamed(names: Texts, sizes: Ints, assembly: Assembly) -> Texts:
    texts = pd.Series(names, dtype=object)
    canonical = assembly.rename(texts).fillna(texts)
    stated = canonical.map(assembly.lengths)
    other = stated.notna() & (stated != sizes)
    renamed: Texts = canonical.mask(other, texts + " of " + sizes.astype(str) + " bp").to_numpy(dtype=object)
    return renamed


def _refuse(file: InputFile, line: int, reason: str) -> NoReturn:
    raise InputError(f"{file.name}:{line} {reason}", "give the UCSC chain file as it was downloaded, plain or gzipped")
