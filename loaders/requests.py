"""Loads as they are requested, and checked before any database is opened: options, files, assembly."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from kg.errors import AssemblyMismatch, InputError, MissingInput, SettingsError
from kg.evidence.datasets import Snapshot
from kg.files import sha256
from loaders.genome.assemblies import Assembly, assembly
from loaders.registry import Loader, find
from loaders.tables.files import InputFile, check_file
from loaders.tables.lift_rows import Lift, read_lift

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence


@dataclass(frozen=True)
class LoadRequest:
    """One load, as it was requested.

    Attributes:
        source: name of a source.
        files: the whole snapshot of the dataset, or of one part of it.
        dataset: its id; by default the source and the name of the first file.
        assembly: of the files, any alias; by default what the files say.
        lift_with: chain file from the assembly of the files to that of the graph.
        biosample: of all rows, a CURIE or a name.
        part: compare only within this part of the dataset.
        replace: allow removing more than half of the dataset.
        accept_rejects: allow a reload that rejects more than 1 % of its rows.
        plan: write nothing, only count.
        options: of the source.
    """

    source: str
    files: Sequence[Path] = ()
    dataset: str | None = None
    assembly: str | None = None
    lift_with: Path | None = None
    biosample: str | None = None
    licence: str | None = None
    citation: str | None = None
    part: str | None = None
    replace: bool = False
    accept_rejects: bool = False
    plan: bool = False
    options: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class PreparedLoad:
    """A request whose options and files were checked, without a database.

    Attributes:
        assembly: of the graph; None for a source without coordinates.
        options: an instance of the source's options.
        lift: from the assembly of the files to that of the graph, where they differ.
    """

    request: LoadRequest
    loader: Loader
    files: tuple[InputFile, ...]
    assembly: Assembly | None
    options: Any
    lift: Lift | None = None


def prepare(request: LoadRequest) -> PreparedLoad:
    """Check the options, then the files, before a database is opened or started.

    Raises:
        ParameterError: the source does not have an option, or a value is outside its limits.
        InputError: a file is refused, or its assembly is not known.
        SettingsError: the source takes no files, or its files are not lifted.
    """
    loader = find(request.source)
    options = _check_options(loader, request)
    files = _check_files(loader, request)
    stated = _stated_assembly(loader, request, files)
    lift = _lift(loader, request, stated)
    return PreparedLoad(request, loader, files, lift.to if lift else stated, options, lift)


def snapshot_of(prepared: PreparedLoad) -> Snapshot:
    """Return what is recorded of a load: checksums of its files, its loader, and all parameters its rows depend on."""
    stated = {
        "assembly": prepared.assembly.name if prepared.assembly else None,
        "biosample": prepared.request.biosample,
        "part": prepared.request.part,
        "lifted_from": prepared.lift.of.name if prepared.lift else None,
        "lift_with": f"sha256:{prepared.lift.sha256}" if prepared.lift else None,
    }
    # a file that an option names is known by its content, as the files themselves are
    options = {k: f"sha256:{sha256(v)}" if isinstance(v, Path) else v for k, v in asdict(prepared.options).items()}
    parameters = {**options, **{k: v for k, v in stated.items() if v is not None}}
    digests = tuple(sorted(file.sha256 for file in prepared.files))
    return Snapshot(digests, f"{prepared.loader.name}@{prepared.loader.version}", parameters)


def _check_options(loader: Loader, request: LoadRequest) -> Any:
    """Return an instance of the source's options; paths among them must be files."""
    options = loader.check_options(request.options)
    missing = [str(value) for value in asdict(options).values() if isinstance(value, Path) and not value.is_file()]
    if missing:
        raise MissingInput(f"{', '.join(missing)}: no such file", "check the path")
    return options


def _check_files(loader: Loader, request: LoadRequest) -> tuple[InputFile, ...]:
    if loader.is_derived and request.files:
        raise SettingsError(f"{loader.name} is derived from the graph and takes no files", "leave the files out")
    if not loader.is_derived and not request.files:
        raise MissingInput(f"{loader.name} needs files: {loader.files}", f"regkg load {loader.name} FILE")
    files = tuple(check_file(path) for path in request.files)
    again = {f.name for i, f in enumerate(files) if f.sha256 in {g.sha256 for g in files[:i]}}
    if again:
        raise InputError(f"named twice: {', '.join(sorted(again))}", "name each file once")
    return files


def _stated_assembly(loader: Loader, request: LoadRequest, files: Sequence[InputFile]) -> Assembly | None:
    """Return the assembly that the command or the files state; where both do, they must agree."""
    if not loader.assembly:
        return None
    by_files = {f.name: stated for f in files if (stated := f.stated_assembly)}
    by_command = assembly(request.assembly).name if request.assembly else None
    names = {by_command, *by_files.values()} - {None}
    if len(names) > 1:
        stated = ", ".join(f"{file} says {name}" for file, name in by_files.items())
        raise AssemblyMismatch(
            f"{f'--assembly says {by_command}, ' if by_command else ''}{stated}", "load files of one assembly at a time"
        )
    if not names and request.lift_with is None:
        raise InputError(
            f"the assembly of {', '.join(f.name for f in files)} is not known",
            "give --assembly, for example GRCh38 or mm10",
        )
    return assembly(str(names.pop())) if names else None


def _lift(loader: Loader, request: LoadRequest, of_files: Assembly | None) -> Lift | None:
    if request.lift_with is None:
        return None
    if not loader.lifts:
        raise SettingsError(f"files of {loader.name} cannot be lifted", "give files of the graph's assembly")
    return read_lift(request.lift_with, of_files)
