"""The one driver of all sources: check, read, validate, quarantine, compare, write, record."""

from __future__ import annotations

import json
import time
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from kg.errors import AssemblyMismatch, InputError, MissingInput, SettingsError, TooManyRejected
from kg.evidence.datasets import Snapshot, Source
from kg.evidence.draft import open_draft
from kg.files import sha256
from kg.progress import SILENT, Progress
from kg.schema import ASSEMBLY
from loaders.genome.assemblies import Assembly, assembly
from loaders.reading import Reading, read_source
from loaders.registry import Loader, find
from loaders.tables import quarantine
from loaders.tables.files import InputFile, check_file
from loaders.tables.lift_rows import Lift, read_lift
from loaders.tables.rows import messages
from loaders.tables.source_context import SourceContext

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from kg.evidence.bulk import BulkDraft
    from kg.evidence.datasets import DatasetVersion
    from kg.evidence.draft import Draft
    from kg.store import Store

REJECTED_SHARE = 0.01  # of a reload: a bad row looks like a missing one and would close a good one
EXAMPLES = 5


@dataclass(frozen=True)
class Request:
    """One load, as it was asked for.

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
class LoadReport:
    """What a load did; rows are of the graph up to `unchanged`, of the files after it.

    Attributes:
        draft: number of the release that the rows wait for.
        nothing_to_do: the same files were loaded before, so they were not even read.
        quarantine: folder with the rejected rows; examples: the first of them as sentences.
        reasons: rows rejected for each of them.
        notes: oddities that were accepted, counted: `bom` in files, `crlf` in lines.
    """

    dataset: str
    draft: int
    added: int = 0
    changed: int = 0
    removed: int = 0
    unchanged: int = 0
    quarantined: int = 0
    folded: int = 0
    filtered: int = 0
    rows_read: int = 0
    renamed: int = 0
    reasons: Mapping[str, int] = field(default_factory=dict)
    notes: Mapping[str, int] = field(default_factory=dict)
    warnings: tuple[str, ...] = ()
    examples: tuple[str, ...] = ()
    quarantine: str | None = None
    nothing_to_do: bool = False
    plan: bool = False
    seconds: float = 0.0


@dataclass(frozen=True)
class Prepared:
    """A request whose files and options were looked at; no database was asked. `assembly` is that of the graph."""

    request: Request
    loader: Loader
    files: tuple[InputFile, ...]
    assembly: Assembly | None
    options: Mapping[str, Any]
    lift: Lift | None = None


def prepare(request: Request) -> Prepared:
    """Look at files and options before anything is opened or started.

    Raises:
        InputError: a file is refused, or its assembly is not known.
        SettingsError: an option does not make sense.
    """
    loader = find(request.source)
    files = _check_files(loader, request)
    options = _options(loader, request)
    of_files = _stated_assembly(loader, request, files)
    lift = _lift(loader, request, of_files)
    return Prepared(request, loader, files, lift.to if lift else of_files, options, lift)


def load(store: Store, home: Path, request: Request | Prepared, progress: Progress = SILENT) -> LoadReport:
    """Make the files of one command the dataset's rows in the draft; nothing is written if a file is refused.

    Args:
        store: the graph.
        home: rejected rows go to `home`/quarantine.
        request: what to load, prepared or not.
        progress: told of files read and rows written.

    Raises:
        InputError: a file is refused, or too many of its rows are.
        Conflict: another writer has the draft, or too many rows would be removed.
        SettingsError: an option does not make sense.
    """
    asked = request if isinstance(request, Prepared) else prepare(request)
    with open_draft(store, f"regkg load {asked.loader.name}") as draft:
        return load_into(draft, home, asked, progress)


def load_into(draft: Draft | BulkDraft, home: Path, asked: Prepared, progress: Progress = SILENT) -> LoadReport:
    """Like `load`, into a draft that is open, or into the rows of a first build."""
    started = time.monotonic()
    request, loader, files = asked.request, asked.loader, asked.files
    versions = {v.dataset: v for v in draft.datasets() if not v.withdrawn}
    source = _source(loader, request, files, versions)
    _check_one_assembly(source, asked.assembly, versions, draft.nodes(ASSEMBLY).column("id").to_pylist())
    snapshot = _snapshot(asked)
    if draft.nothing_to_do(source, snapshot):
        unchanged = sum(versions[source.dataset].rows.values())
        seconds = time.monotonic() - started
        return LoadReport(source.dataset, draft.number, unchanged=unchanged, nothing_to_do=True, seconds=seconds)
    progress.begin(f"reading {' '.join(f.name for f in files) or 'the draft'}")
    graph = {type_.label: draft.nodes(type_) for type_ in loader.lookup}
    given = SourceContext(
        files,
        asked.assembly,
        request.biosample or "",
        graph,
        lift=asked.lift,
        cache=home / "cache",
        progress=progress,
    )
    reading = read_source(loader, given, asked.options)
    progress.end(f"{reading.read:,} rows, {len(reading.rejected):,} rejected")
    kept = None if request.plan else quarantine.keep(reading.rejected, home, source.dataset)
    _check_rejected(reading, request, reload=source.dataset in versions)
    snapshot = Snapshot(snapshot.sha256, snapshot.loader, snapshot.parameters, len(reading.rejected))
    changes = draft.load(
        source,
        snapshot,
        reading.batches,
        part=request.part,
        replace=request.replace,
        plan=request.plan,
        progress=progress,
    )
    return LoadReport(
        source.dataset,
        draft.number,
        **asdict(changes),
        **_of_files(reading),
        quarantine=str(kept) if kept else None,
        plan=request.plan,
        seconds=round(time.monotonic() - started, 3),
    )


def _check_files(loader: Loader, request: Request) -> tuple[InputFile, ...]:
    if loader.is_derived and request.files:
        raise SettingsError(f"{loader.name} is derived from the graph and takes no files", "leave the files out")
    if not loader.is_derived and not request.files:
        raise MissingInput(f"{loader.name} needs files: {loader.files}", f"regkg load {loader.name} FILE")
    files = tuple(check_file(path) for path in request.files)
    again = {f.name for i, f in enumerate(files) if f.sha256 in {g.sha256 for g in files[:i]}}
    if again:
        raise InputError(f"given twice: {', '.join(sorted(again))}", "name each file once")
    return files


def _stated_assembly(loader: Loader, request: Request, files: Sequence[InputFile]) -> Assembly | None:
    """What the command says and the files say must agree; either is enough."""
    if not loader.assembly:
        return None
    said = {f.name: stated for f in files if (stated := f.stated_assembly)}
    asked = assembly(request.assembly).name if request.assembly else None
    names = {asked, *said.values()} - {None}
    if len(names) > 1:
        stated = ", ".join(f"{name} says {one}" for name, one in said.items())
        raise AssemblyMismatch(
            f"{f'--assembly says {asked}, ' if asked else ''}{stated}", "load files of one assembly at a time"
        )
    if not names and request.lift_with is None:
        raise InputError(
            f"the assembly of {', '.join(f.name for f in files)} is not known",
            "say --assembly, for example GRCh38 or mm10",
        )
    return assembly(str(names.pop())) if names else None


def _lift(loader: Loader, request: Request, of_files: Assembly | None) -> Lift | None:
    if request.lift_with is None:
        return None
    if not loader.lifts:
        raise SettingsError(f"files of {loader.name} are not lifted", "give files of the graph's assembly")
    return read_lift(request.lift_with, of_files)


def _options(loader: Loader, request: Request) -> dict[str, Any]:
    defaults = {option.name: option.default for option in loader.options}
    unknown = sorted(set(request.options) - set(defaults))
    if unknown:
        raise SettingsError(
            f"{loader.name} has no option {', '.join(unknown)}", f"it has {', '.join(defaults) or 'none'}"
        )
    options = {**defaults, **request.options}
    missing = [str(value) for value in options.values() if isinstance(value, Path) and not value.is_file()]
    if missing:
        raise MissingInput(f"{', '.join(missing)}: no such file", "check the path")
    return options


def _source(
    loader: Loader, request: Request, files: Sequence[InputFile], versions: Mapping[str, DatasetVersion]
) -> Source:
    default = f"{loader.name}:{files[0].stem}" if files else loader.name
    others = [v.dataset for v in versions.values() if v.source == loader.name]
    if request.dataset is None and others and default not in others:
        raise SettingsError(
            f"the graph has {', '.join(others)}; is {files[0].name} a new dataset or a new version of one?",
            f"say --dataset {others[0]} to replace its rows, or --dataset {default} to add to them",
        )
    return Source(
        dataset=request.dataset or default,
        source=loader.name,
        licence=request.licence,
        citation=request.citation or loader.cites or None,
        derived=loader.is_derived,
        looked_up=tuple(type_.label for type_ in loader.lookup),
    )


def _check_one_assembly(
    source: Source, one: Assembly | None, versions: Mapping[str, DatasetVersion], lifted_to: Sequence[str]
) -> None:
    """A graph holds one assembly of a species: of the files of its datasets, or what peaks were lifted to."""
    others = [v for v in versions.values() if v.dataset != source.dataset]
    held = {str(json.loads(v.parameters).get("assembly")): v.dataset for v in others}
    held = dict.fromkeys(lifted_to, "peaks were lifted to it") | held
    for name, why in held.items():
        if one and name not in ("None", one.name) and assembly(name).species == one.species:
            raise AssemblyMismatch(
                f"the graph holds {name} ({why}), these files are {one.name}",
                "a graph has one assembly of a species: lift the files with --lift-with, or use another REGKG_HOME",
            )


def _snapshot(asked: Prepared) -> Snapshot:
    stated = {
        "assembly": asked.assembly.name if asked.assembly else None,
        "biosample": asked.request.biosample,
        "part": asked.request.part,
        "lifted_from": asked.lift.of.name if asked.lift else None,
        "lift_with": f"sha256:{asked.lift.sha256}" if asked.lift else None,
    }
    # a file that an option names is known by its content, as the files themselves are
    options = {k: f"sha256:{sha256(v)}" if isinstance(v, Path) else v for k, v in asked.options.items()}
    parameters = {**options, **{k: v for k, v in stated.items() if v is not None}}
    digests = tuple(sorted(file.sha256 for file in asked.files))
    return Snapshot(digests, f"{asked.loader.name}@{asked.loader.version}", parameters)


def _check_rejected(reading: Reading, request: Request, *, reload: bool) -> None:
    first = "; ".join(list(messages(reading.rejected.head(3))))
    if not reading.read:
        raise InputError("the files hold no rows", "are they the right ones?")
    if not reading.rows:
        raise TooManyRejected(f"all {reading.read:,} rows were rejected: {first}", "is it the right file and format?")
    rejected = len(reading.rejected)
    if reload and rejected > REJECTED_SHARE * reading.read and not request.accept_rejects:
        raise TooManyRejected(
            f"{rejected:,} of {reading.read:,} rows were rejected, which would remove the good rows they stand for: "
            f"{first}",
            "mend the file, or say --accept-rejects",
        )


def _of_files(reading: Reading) -> dict[str, Any]:
    return {
        "quarantined": len(reading.rejected),
        "folded": reading.folded,
        "filtered": reading.filtered,
        "rows_read": reading.read,
        "renamed": reading.renamed,
        "reasons": {str(rule): int(n) for rule, n in reading.rejected["rule"].value_counts().items()},
        "notes": reading.notes,
        "warnings": reading.warnings,
        "examples": tuple(messages(reading.rejected.head(EXAMPLES))),
    }
