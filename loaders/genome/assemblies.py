"""Genome assemblies as data: names, aliases, species, chromosome lengths. `chr1` against `1` is solved here, once.

The lengths of the main chromosomes are in `assemblies.tsv`. Other sequences (GL..., JH..., KI..., patches) are
accepted under the name they come with; their length is not known.
"""

from __future__ import annotations

import csv
import re
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from types import MappingProxyType
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from kg.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Mapping

SPECIES = {"GRCh": "NCBITaxon:9606", "GRCm": "NCBITaxon:10090", "Mmul": "NCBITaxon:9544"}
ALIASES = {
    "GRCh37": ("hg19", "b37", "hs37d5", "GRCh37.p13"),
    "GRCh38": ("hg38",),
    "GRCm38": ("mm10",),
    "GRCm39": ("mm39",),
    "Mmul_8": ("rheMac8", "Mmul_8.0.1", "Mmul8.0.1"),
    "Mmul_10": ("rheMac10", "Mmul10"),
}
_PATCH = re.compile(r"\.p\d+$", re.IGNORECASE)
_MAIN = re.compile(r"^(?:chr)?(?:\d+|[XYZWM]|MT|mito)$", re.IGNORECASE)
_CONTIG = re.compile(r"^[A-Za-z0-9][\w.*\-]*$")


@dataclass(frozen=True)
class Assembly:
    """One genome assembly.

    Attributes:
        name: GRCh38, GRCm38, ...
        species: NCBITaxon CURIE.
        lengths: main chromosome in UCSC style -> bp.
    """

    name: str
    species: str
    lengths: Mapping[str, int]

    def canonical(self, name: str) -> str | None:
        """Return the name used in the graph, or None if the assembly cannot have such a sequence (chr21 of a mouse)."""
        bare = re.sub("^chr", "", name, flags=re.IGNORECASE).upper()
        main = f"chr{'M' if bare in {'MT', 'MITO'} else bare}"
        if main in self.lengths:
            return main
        return name if _CONTIG.match(name) and not _MAIN.match(name) else None

    def rename(self, chroms: pd.Series[str]) -> pd.Series[str]:
        """Return canonical names, element by element; None where there is none."""
        codes, names = pd.factorize(chroms)
        renamed = np.array([self.canonical(str(n)) for n in names], dtype=object)
        return pd.Series(renamed[codes], index=chroms.index, dtype=object)

    def beyond(self, chroms: pd.Series[str], ends: pd.Series[int]) -> pd.Series[bool]:
        """Return which ends (exclusive) lie past the end of their chromosome; never on sequences of unknown length."""
        return ends > chroms.map(self.lengths).fillna(np.inf)

    def misfits(self, chroms: pd.Series[str], ends: pd.Series[int]) -> int:
        """Return how many rows cannot belong to this assembly: no such chromosome, or past its end."""
        renamed = self.rename(chroms)
        return int(renamed.isna().sum() + self.beyond(renamed, ends).sum())


@cache
def assemblies() -> Mapping[str, Assembly]:
    """Return every known assembly by name."""
    lengths: dict[str, dict[str, int]] = {}
    with files("loaders").joinpath("assemblies.tsv").open(encoding="utf-8") as text:
        for row in csv.DictReader(text, delimiter="\t"):
            lengths.setdefault(row["assembly"], {})[row["chrom"]] = int(row["length"])
    return MappingProxyType({n: Assembly(n, SPECIES[n[:4]], MappingProxyType(held)) for n, held in lengths.items()})


def assembly(name: str) -> Assembly:
    """Return the assembly of this name or alias; case and a patch level (GRCh38.p14) do not matter.

    Raises:
        InputError: no such assembly is known.
    """
    known = _names()
    canonical = known.get(name.strip().lower()) or known.get(_PATCH.sub("", name.strip()).lower())
    if canonical is None:
        listed = ", ".join(f"{n} ({ALIASES[n][0]})" for n in assemblies())
        raise InputError(f"assembly {name!r} is not known", f"known are {listed}")
    return assemblies()[canonical]


def stated_in(text: str) -> set[str]:
    """Return names of the assemblies that a text, such as a file's header, mentions."""
    words = re.findall(r"[A-Za-z][\w.]*\w", text)
    known = _names()
    return {known[w] for word in words if (w := _PATCH.sub("", word).lower()) in known}


@cache
def _names() -> Mapping[str, str]:
    return {alias.lower(): name for name, aliases in ALIASES.items() for alias in (name, *aliases)}
