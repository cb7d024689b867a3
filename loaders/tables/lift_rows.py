"""Lifting the rows of a file while it is loaded: `--lift-with CHAIN`, from the file's assembly to the graph's.

The share of bases that must be aligned is liftOver's default between assemblies of one species, 95 %. Rows that
were not lifted count as filtered, with a warning a class.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from kg.errors import AssemblyMismatch
from loaders.genome.assemblies import assemblies
from loaders.genome.intervals import Intervals
from loaders.tables.chain import Chains, fits, read_chains
from loaders.tables.files import check_file
from loaders.tables.lift import Fate, Lifted, lift, lift_points

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from loaders.genome.assemblies import Assembly
    from loaders.tables.rows import Rows

MIN_MATCH = 0.95


@dataclass(frozen=True)
class Lift:
    """How to lift the rows of a load.

    Attributes:
        chains: with canonical names of chromosomes.
        of: the assembly of the files.
        to: that of the graph.
        sha256: of the chain file.
    """

    chains: Chains
    of: Assembly
    to: Assembly
    sha256: str


def read_lift(path: Path, stated: Assembly | None) -> Lift:
    """Read a chain between two assemblies of one species, recognised by the lengths of its chromosomes.

    Args:
        path: of the chain file.
        stated: the assembly that the command or the files state.

    Raises:
        InputError: it is not a chain file, or it is damaged.
        AssemblyMismatch: it does not start from that assembly, or ends at none of the same species.
    """
    file = check_file(path)
    chains = read_chains(file, Counter())
    starts = fitting(chains.sizes)
    if (stated and stated not in starts) or len(starts) != 1:
        known = " or ".join(candidate.name for candidate in starts) or "no known assembly"
        raise AssemblyMismatch(
            f"{file.name}: its chromosomes are those of {known}{f', the files are {stated.name}' if stated else ''}",
            "the chain must start from the assembly of the files, which --assembly names",
        )
    ends = [
        candidate
        for candidate in fitting(chains.to_sizes)
        if candidate.species == starts[0].species and candidate != starts[0]
    ]
    if len(ends) != 1:
        raise AssemblyMismatch(
            f"{file.name}: it does not end at another assembly of the species of {starts[0].name}",
            "peaks go to another species with `regkg load liftover`",
        )
    return Lift(chains.named(starts[0], ends[0]), starts[0], ends[0], file.sha256)


def fitting(sizes: Mapping[str, int]) -> list[Assembly]:
    """Return known assemblies that have chromosomes of these lengths."""
    return [known for known in assemblies().values() if fits(sizes, known)]


def lift_rows(rows: Rows, by: Lift, points: Sequence[str] = ()) -> None:
    """Lift `chrom`, `start`, `end` (0-based half-open, checked) and single positions within them.

    Sets `original`, where each row came from, after a `;` if an earlier interval of it was lifted, and `inverted`,
    whether the alignment runs along the other strand.

    Args:
        rows: of one file.
        by: what to lift with.
        points: columns of bases inside the intervals; one that is not aligned becomes missing.
    """
    intervals = Intervals(rows["chrom"].to_numpy(dtype=object), rows["start"].to_numpy(), rows["end"].to_numpy())
    lifted = lift(by.chains, intervals, MIN_MATCH)
    _warn(rows, by, lifted, intervals)
    lifted_points = {name: _points(rows, by, lifted, name) for name in points}
    rows.set(chrom=lifted.at.chrom, start=lifted.at.start, end=lifted.at.end, inverted=lifted.inverted, **lifted_points)
    good = lifted.good
    rows.filtered += int((~good).sum())
    rows.keep(good)
    columns = zip(*(column[good].tolist() for column in intervals), strict=True)
    original = [f"{by.of.name}:{chrom}:{start}-{end}" for chrom, start, end in columns]
    rows.set(original=rows["original"] + ";" + original if "original" in rows.frame else original)


def _points(rows: Rows, by: Lift, lifted: Lifted, name: str) -> pd.Series[int]:
    present = rows[name].notna().to_numpy()
    chain = np.where(present, lifted.chain, -1)
    there = lift_points(by.chains, chain, rows[name].fillna(0).to_numpy(dtype=np.int64))
    return pd.Series(there, rows.frame.index, dtype="Int64").where(there >= 0)


def _warn(rows: Rows, by: Lift, lifted: Lifted, intervals: Intervals) -> None:
    for fate in Fate:
        those = np.flatnonzero(lifted.fate == fate)
        if fate is not Fate.LIFTED and len(those):
            chrom, start, end = (column[those[0]] for column in intervals)
            rows.warnings.append(
                f"{rows.file}: {len(those):,} of {len(rows):,} rows were not lifted from {by.of.name} to {by.to.name}, "
                f"{fate}: the first is {chrom}:{start}-{end}, {lifted.reason[those[0]]}"
            )
