"""Registering AnnData files as a named set of cells: what they hold, and how much of it the graph knows."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from kg import cells
from kg.cells import assay_of
from kg.errors import AssemblyMismatch, InputError, SettingsError
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
    """The outcome of registering one file.

    Attributes:
        happened: added, moved, changed or unchanged.
        unmapped, ambiguous: names of features without an id; they are kept for training and never written.
    """

    file: cells.CellsFile
    happened: str
    unmapped: tuple[str, ...]
    ambiguous: tuple[str, ...]


@dataclass(frozen=True, eq=False)
class _CheckedFile:
    path: Path
    assay: str
    assembly: str | None
    match: cells.FeatureMatch

    @property
    def species(self) -> str | None:
        return _species_of(self.assembly)


def register_cells(
    store: Store, name: str, paths: Sequence[Path], needed: float = cells.COVERAGE, assemblies: Sequence[str] = ()
) -> list[Registered]:
    """Register the files of one set of cells; every file is checked before the first is written.

    There is one file for each assay and species. The modality of a file is its assay, such as `rna`; that of a second
    species has its assembly too, such as `rna-GRCm38`. A species that the set has keeps its modality.

    Args:
        store: the graph; features are matched to the genes and peaks of its draft.
        name: of the set.
        paths: h5ad files or zarr stores; of Parquet shards what `loaders.cells.parquet_cells.ready` makes.
        needed: share of a file's features that must have a graph id.
        assemblies: of the features, any alias: none, one for all files, or one for each; by default what files state.

    Raises:
        InputError: a file is not AnnData, or two files are of one assay and not of two species.
        AssemblyMismatch: a file states another assembly than the caller.
        CoverageTooLow: the draft knows too few of a file's features.
        SettingsError: there are neither one nor as many assemblies as files.
    """
    number = draft_number(store)
    genes, peaks = read_nodes(store, GENE, number), read_nodes(store, PEAK, number)
    files = []
    for path, stated in zip(paths, _one_for_each(assemblies, len(paths)), strict=True):
        header = cells.read_header(path)
        name_of_assembly = _agreed_assembly(path, header.assembly, stated)
        match = cells.match_features(header.features, genes, peaks, name_of_assembly)
        match.check(str(path), needed)
        files.append(_CheckedFile(path, header.modality, name_of_assembly, match))
    modalities = _name_modalities(name, files, cells.registered(store, name))
    return [
        Registered(
            *cells.register(store, name, file.path, file.match, modality=modality, assembly=file.assembly),
            file.match.unmapped,
            file.match.ambiguous,
        )
        for file, modality in zip(files, modalities, strict=True)
    ]


def _one_for_each(assemblies: Sequence[str], files: int) -> Sequence[str | None]:
    if not assemblies:
        return [None] * files
    if len(assemblies) == 1:
        return [assemblies[0]] * files
    if len(assemblies) != files:
        raise SettingsError(
            f"--assembly is given {len(assemblies)} times for {files} files",
            "give it once for all files, or once for each in their order",
        )
    return assemblies


def _agreed_assembly(path: Path, by_file: str | None, by_command: str | None) -> str | None:
    names = [assembly(name).name for name in (by_command, by_file) if name]
    if len(set(names)) > 1:
        raise AssemblyMismatch(
            f"{path}: the file says {names[1]}, --assembly says {names[0]}", "leave --assembly out, or give other files"
        )
    return names[0] if names else None


def _name_modalities(name: str, files: Sequence[_CheckedFile], registered: Sequence[cells.CellsFile]) -> list[str]:
    """Return the modality of each file."""
    modalities = {}
    for assay in dict.fromkeys(file.assay for file in files):
        same = [file for file in files if file.assay == assay]
        before = [file for file in registered if assay_of(file.modality) == assay]
        if len(same) == 1 and len(before) < 2:
            modalities[same[0]] = assay
            continue
        _check_species(name, same, before)
        held = {_species_of(file.assembly): file.modality for file in before if file.assembly}
        for file in same:
            free = assay not in held.values()
            held.setdefault(file.species, assay if free else f"{assay}-{file.assembly}")
            modalities[file] = held[file.species]
    return [modalities[file] for file in files]


def _check_species(name: str, same: Sequence[_CheckedFile], before: Sequence[cells.CellsFile]) -> None:
    """Refuse files of one assay unless they are known to be of different species."""
    assay = same[0].assay
    unknown = next((file.path.name for file in same if file.species is None), None)
    hint = "state the assembly of each file in uns['assembly'] or by --assembly, or give one file for each modality"
    if unknown and len(same) == 1:
        held = ", ".join(f"{file.modality} ({file.assembly})" for file in before)
        raise InputError(f"cells {name!r} hold {held}, and the assembly of {unknown} is not known", hint)
    if unknown:
        raise InputError(f"two of the files of cells {name!r} are {assay}, of which {unknown} states no assembly", hint)
    species = [file.species for file in same]
    for i, file in enumerate(same):
        if file.species in species[:i]:
            other = same[species.index(file.species)]
            raise InputError(
                f"two of the files of cells {name!r} are {assay} of one species: "
                f"{other.path.name} ({other.assembly}) and {file.path.name} ({file.assembly})",
                "give one file for each modality and species",
            )


def _species_of(name: str | None) -> str | None:
    return None if name is None else assembly(name).species
