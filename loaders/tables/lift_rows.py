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


def read_lift(path: Path, of: Assembly | None) -> Lift:
    """A chain between two assemblies of one species, told by the lengths of its chromosomes.

    Args:
        path: of the chain file.
        of: what the assembly of the files was said to be.

    Raises:
        InputError: no chain file, or a damaged one.
        AssemblyMismatch: it does not start from that assembly, or ends at none of the same species.
    """
    file = check_file(path)
    chains = read_chains(file, Counter())
    starts = fitting(chains.sizes)
    if (of and of not in starts) or len(starts) != 1:
        found = " or ".join(one.name for one in starts) or "no known assembly"
        raise AssemblyMismatch(
            f"{file.name}: its chromosomes are those of {found}{f', the files are {of.name}' if of else ''}",
            "the chain must start from the assembly of the files, which --assembly names",
        )
    ends = [one for one in fitting(chains.to_sizes) if one.species == starts[0].species and one != starts[0]]
    if len(ends) != 1:
        raise AssemblyMismatch(
            f"{file.name}: it does not end at another assembly of the species of {starts[0].name}",
            "peaks go to another species with `regkg load liftover`",
        )
    return Lift(chains.named(starts[0], ends[0]), starts[0], ends[0], file.sha256)


def fitting(sizes: Mapping[str, int]) -> list[Assembly]:
    """Known assemblies that have chromosomes of these lengths."""
    return [one for one in assemblies().values() if fits(sizes, one)]


def lift_rows(rows: Rows, by: Lift, points: Sequence[str] = ()) -> None:
    """Lift `chrom`, `start`, `end` (0-based half-open, checked) and single positions within them.

    Sets `original`, where each row came from, after a `;` if an earlier interval of it was lifted, and `inverted`,
    whether the alignment runs along the other strand.

    Args:
        rows: of one file.
        by: what to lift with.
        points: columns of bases inside the intervals; one that is not aligned becomes missing.
    """
    came = Intervals(rows["chrom"].to_numpy(dtype=object), rows["start"].to_numpy(), rows["end"].to_numpy())
    found = lift(by.chains, came, MIN_MATCH)
    _warn(rows, by, found, came)
    lifted = {name: _points(rows, by, found, name) for name in points}
    rows.set(chrom=found.at.chrom, start=found.at.start, end=found.at.end, inverted=found.inverted, **lifted)
    good = found.good
    rows.filtered += int((~good).sum())
    rows.keep(good)
    columns = zip(*(column[good].tolist() for column in came), strict=True)
    original = [f"{by.of.name}:{chrom}:{start}-{end}" for chrom, start, end in columns]
    rows.set(original=rows["original"] + ";" + original if "original" in rows.frame else original)


def _points(rows: Rows, by: Lift, found: Lifted, name: str) -> pd.Series[int]:
    said = rows[name].notna().to_numpy()
    chain = np.where(said, found.chain, -1)
    there = lift_points(by.chains, chain, rows[name].fillna(0).to_numpy(dtype=np.int64))
    return pd.Series(there, rows.frame.index, dtype="Int64").where(there >= 0)


def _warn(rows: Rows, by: Lift, found: Lifted, came: Intervals) -> None:
    for fate in Fate:
        those = np.flatnonzero(found.fate == fate)
        if fate is not Fate.LIFTED and len(those):
            chrom, start, end = (column[those[0]] for column in came)
            rows.warnings.append(
                f"{rows.file}: {len(those):,} of {len(rows):,} rows were not lifted from {by.of.name} to {by.to.name}, "
                f"{fate}: the first is {chrom}:{start}-{end}, {found.reason[those[0]]}"
            )
