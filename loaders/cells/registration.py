"""Registering AnnData files as a named set of cells: what they hold, and how much of it the graph knows."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from kg import cells
from kg.errors import AssemblyMismatch, InputError
from kg.evidence.draft import draft_number
from kg.evidence.nodes import read_nodes
from kg.schema import GENE, PEAK
from loaders.genome.assemblies import assembly

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from kg.store import Store


@dataclass(frozen=True)
class Registered:
    """What registering one file found.

    Attributes:
        happened: added, moved, changed or unchanged.
        unmapped, ambiguous: names of features without an id; they are kept for training and never written.
    """

    file: cells.CellsFile
    happened: str
    unmapped: tuple[str, ...]
    ambiguous: tuple[str, ...]


def register_cells(
    store: Store, name: str, paths: Sequence[Path], needed: float = cells.COVERAGE, of: str | None = None
) -> list[Registered]:
    """Register the files of one set of cells, one a modality; every file is checked before the first is written.

    Args:
        store: the graph; features are matched to the genes and peaks of its draft.
        name: of the set.
        paths: h5ad files or zarr stores; of Parquet shards what `loaders.cells.parquet_cells.ready` makes.
        needed: share of a file's features that must have a graph id.
        of: assembly of the features, any alias; by default what the files say.

    Raises:
        InputError: a file is no AnnData, or two files are of one modality.
        AssemblyMismatch: a file says another assembly than `of`.
        CoverageTooLow: the draft knows too few of a file's features.
    """
    number = draft_number(store)
    genes, peaks = read_nodes(store, GENE, number), read_nodes(store, PEAK, number)
    found = []
    for path in paths:
        header = cells.read_header(path)
        stated = _assembly(path, header.assembly, of)
        match = cells.match_features(header.features, genes, peaks, stated)
        match.check(str(path), needed)
        found.append((path, header.modality, stated, match))
    kinds = [modality for _, modality, _, _ in found]
    if len(set(kinds)) < len(kinds):
        raise InputError(f"two of the files of cells {name!r} are {max(kinds, key=kinds.count)}", "give one a modality")
    return [
        Registered(
            *cells.register(store, name, path, match, modality=modality, assembly=stated),
            match.unmapped,
            match.ambiguous,
        )
        for path, modality, stated, match in found
    ]


def _assembly(path: Path, stated: str | None, asked: str | None) -> str | None:
    names = [assembly(name).name for name in (asked, stated) if name]
    if len(set(names)) > 1:
        raise AssemblyMismatch(
            f"{path}: the file says {names[1]}, --assembly says {names[0]}", "leave --assembly out, or give other files"
        )
    return names[0] if names else None
