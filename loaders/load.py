"""The one driver of all sources: read, validate, quarantine, compare, write, record."""

from __future__ import annotations

import json
import time
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any

from kg.errors import AssemblyMismatch, InputError, SettingsError, TooManyRejected
from kg.evidence.datasets import Snapshot, Source
from kg.evidence.draft import open_draft
from kg.progress import SILENT, Progress
from kg.schema import ASSEMBLY
from loaders.genome.assemblies import Assembly, assembly
from loaders.reading import ParsedSource, read_source
from loaders.requests import LoadRequest, PreparedLoad, prepare, snapshot_of
from loaders.tables import quarantine
from loaders.tables.rows import messages
from loaders.tables.source_context import SourceContext

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from kg.evidence.bulk import BulkDraft
    from kg.evidence.datasets import DatasetVersion
    from kg.evidence.draft import Draft
    from kg.store import Store
    from loaders.registry import Loader
    from loaders.tables.files import InputFile

REJECTED_SHARE = 0.01  # of a reload: a bad row looks like a missing one and would close a good one
EXAMPLES = 5


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


def load(store: Store, home: Path, request: LoadRequest | PreparedLoad, progress: Progress = SILENT) -> LoadReport:
    """Make the files of one command the dataset's rows in the draft; nothing is written if a file is refused.

    Args:
        store: the graph.
        home: rejected rows go to `home`/quarantine.
        request: what to load, prepared or not.
        progress: reports files read and rows written.

    Raises:
        InputError: a file is refused, or too many of its rows are.
        Conflict: another writer has the draft, or too many rows would be removed.
        ParameterError: an option of the source is not valid.
        SettingsError: it is not clear which dataset the files belong to.
    """
    prepared = request if isinstance(request, PreparedLoad) else prepare(request)
    with open_draft(store, f"regkg load {prepared.loader.name}") as draft:
        return load_into(draft, home, prepared, progress)


def load_into(draft: Draft | BulkDraft, home: Path, prepared: PreparedLoad, progress: Progress = SILENT) -> LoadReport:
    """Like `load`, into a draft that is open, or into the rows of a first build."""
    started = time.monotonic()
    request, loader, files = prepared.request, prepared.loader, prepared.files
    versions = {v.dataset: v for v in draft.datasets() if not v.withdrawn}
    source = _source(loader, request, files, versions)
    _check_one_assembly(source, prepared.assembly, versions, draft.nodes(ASSEMBLY).column("id").to_pylist())
    snapshot = snapshot_of(prepared)
    if draft.nothing_to_do(source, snapshot):
        unchanged = sum(versions[source.dataset].rows.values())
        seconds = time.monotonic() - started
        return LoadReport(source.dataset, draft.number, unchanged=unchanged, nothing_to_do=True, seconds=seconds)
    progress.begin(f"reading {' '.join(f.name for f in files) or 'the draft'}")
    graph = {type_.label: draft.nodes(type_) for type_ in loader.lookup}
    context = SourceContext(
        files,
        prepared.assembly,
        request.biosample or "",
        graph,
        lift=prepared.lift,
        cache=home / "cache",
        progress=progress,
    )
    parsed = read_source(loader, context, prepared.options)
    progress.end(f"{parsed.read:,} rows, {len(parsed.rejected):,} rejected")
    kept = None if request.plan else quarantine.keep(parsed.rejected, home, source.dataset)
    check_rejected(parsed, request, reload=source.dataset in versions)
    snapshot = Snapshot(snapshot.sha256, snapshot.loader, snapshot.parameters, len(parsed.rejected))
    changes = draft.load(
        source,
        snapshot,
        parsed.batches,
        part=request.part,
        replace=request.replace,
        plan=request.plan,
        progress=progress,
    )
    return LoadReport(
        source.dataset,
        draft.number,
        **asdict(changes),
        **_of_files(parsed),
        quarantine=str(kept) if kept else None,
        plan=request.plan,
        seconds=round(time.monotonic() - started, 3),
    )


def _source(
    loader: Loader, request: LoadRequest, files: Sequence[InputFile], versions: Mapping[str, DatasetVersion]
) -> Source:
    default = f"{loader.name}:{files[0].stem}" if files else loader.name
    others = [v.dataset for v in versions.values() if v.source == loader.name]
    if request.dataset is None and others and default not in others:
        raise SettingsError(
            f"the graph has {', '.join(others)}; is {files[0].name} a new dataset or a new version of one?",
            f"give --dataset {others[0]} to replace its rows, or --dataset {default} to add to them",
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
    source: Source, of_files: Assembly | None, versions: Mapping[str, DatasetVersion], lifted_to: Sequence[str]
) -> None:
    """Refuse a second assembly of a species: beside that of other datasets, or of lifted peaks."""
    others = [v for v in versions.values() if v.dataset != source.dataset]
    held = {str(json.loads(v.parameters).get("assembly")): v.dataset for v in others}
    held = dict.fromkeys(lifted_to, "peaks were lifted to it") | held
    for name, why in held.items():
        if of_files and name not in ("None", of_files.name) and assembly(name).species == of_files.species:
            raise AssemblyMismatch(
                f"the graph holds {name} ({why}), these files are {of_files.name}",
                "a graph has one assembly of a species: lift the files with --lift-with, or use another REGKG_HOME",
            )


def check_rejected(parsed: ParsedSource, request: LoadRequest, *, reload: bool) -> None:
    """Refuse files without rows, and a reload that would close good rows because others were rejected.

    Raises:
        InputError: the files hold no rows.
        TooManyRejected: all rows were rejected, or more than REJECTED_SHARE of a reload.
    """
    first = "; ".join(list(messages(parsed.rejected.head(3))))
    if not parsed.read:
        raise InputError("the files hold no rows", "are they the right ones?")
    if not parsed.rows:
        raise TooManyRejected(f"all {parsed.read:,} rows were rejected: {first}", "is it the right file and format?")
    rejected = len(parsed.rejected)
    if reload and rejected > REJECTED_SHARE * parsed.read and not request.accept_rejects:
        raise TooManyRejected(
            f"{rejected:,} of {parsed.read:,} rows were rejected, which would remove the good rows they stand for: "
            f"{first}",
            "fix the file, or give --accept-rejects",
        )


def _of_files(parsed: ParsedSource) -> dict[str, Any]:
    return {
        "quarantined": len(parsed.rejected),
        "folded": parsed.folded,
        "filtered": parsed.filtered,
        "rows_read": parsed.read,
        "renamed": parsed.renamed,
        "reasons": {str(rule): int(n) for rule, n in parsed.rejected["rule"].value_counts().items()},
        "notes": parsed.notes,
        "warnings": parsed.warnings,
        "examples": tuple(messages(parsed.rejected.head(EXAMPLES))),
    }
