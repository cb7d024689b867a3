"""A run as a folder for others: its files, how it was made, and an RO-Crate (version 1.1) that describes them.

In the crate the run is a CreateAction: its objects are the datasets of evidence that it read, with hashes, licences and
citations, and the files of cells; its results are the files of the folder; its instrument is this program.
"""

from __future__ import annotations

import json
import shlex
from dataclasses import asdict
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from kg import runs
from kg.cells import cells
from kg.errors import Conflict, NotFound
from kg.evidence.datasets import dataset_versions
from kg.files import replaced, sha256
from kg.operations import backup
from kg.operations.backup import File, claim, copied
from kg.progress import SILENT, Progress
from kg.runs.predictions import kept, run_folder

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from kg.cells import CellsFile
    from kg.evidence.datasets import DatasetVersion
    from kg.runs import Run
    from kg.store import Store

NO_CELLS = "none"  # what a run that read no cells says
CRATE = "ro-crate-metadata.json"
RUN, COMMANDS = "run.json", "commands.sh"
CONTEXT = [
    "https://w3id.org/ro/crate/1.1/context",
    {"sha256": "https://w3id.org/ro/terms/workflow-run#sha256"},
]
FORMATS = {
    ".parquet": "application/vnd.apache.parquet",
    ".json": "application/json",
    ".html": "text/html",
    ".safetensors": "application/octet-stream",
    ".h5ad": "application/x-hdf5",
    ".sh": "text/x-shellscript",
}
Entity = dict[str, Any]


def export_run(store: Store, home: Path, run_id: str, folder: Path, progress: Progress = SILENT) -> dict[str, File]:
    """Write a run into a folder; the crate's metadata comes last.

    Returns:
        Path in the folder -> checksum and size, of every file but the metadata.

    Raises:
        UnknownRun: there is none.
        Conflict: it never was complete, or the folder is not empty.
        MissingInput: its files are not here.
    """
    run = runs.run(store, run_id)
    if run.outcome not in {"complete", "pruned"}:
        raise Conflict(f"run {run_id} is {run.outcome}; only a complete one can be exported", "regkg runs list")
    kept(home, run_id)
    source = run_folder(home, run_id)
    backup.check_room(folder, backup.size_of([source]))
    claim(folder, CRATE)
    chosen = [p for p in sorted(source.rglob("*")) if p.is_file() and not p.name.startswith(".")]
    progress.begin(f"copying {run_id}", sum(path.stat().st_size for path in chosen), "bytes")
    files = {}
    for path in chosen:
        name = path.relative_to(source).as_posix()
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        files[name] = copied(path, folder / name, progress)
    progress.end()
    environment = runs.environment(store, run_id)
    read = [v for v in dataset_versions(store, run.release) if v.dataset in run.datasets and not v.withdrawn]
    of_cells = _cells(store, run)
    (folder / RUN).write_text(json.dumps({**asdict(run), "environment": environment}, indent=1, sort_keys=True))
    (folder / COMMANDS).write_text("\n".join(commands(run, environment, read, of_cells)) + "\n")
    for name in (RUN, COMMANDS):
        files[name] = File(sha256(folder / name), (folder / name).stat().st_size)
    with replaced(folder / CRATE) as path:
        path.write_text(json.dumps(crate(run, environment, read, of_cells, files), indent=1))
    (folder / backup.UNFINISHED).unlink()
    return files


def commands(
    run: Run, environment: Mapping[str, Any], read: Sequence[DatasetVersion], of_cells: Sequence[CellsFile]
) -> list[str]:
    """Return shell commands that make the run from an empty graph; files stand there as FILE_ and their checksum."""
    lines = [
        "#!/bin/sh",
        f"# How {run.id} came about, with regkg {run.code}.",
        "# Where the graph and the runs still are: regkg runs reproduce " + run.id,
        "# Else from an empty graph, each FILE_... being the file with that sha256:",
        "set -e",
    ]
    for version in sorted(read, key=lambda v: (v.derived, bool(v.looked_up), v.since, v.dataset)):
        lines += [f"# {version.dataset}: {version.loader}, hash {version.hash}", _load(version)]
    if of_cells:
        lines.append(_shell("load", "cells", *(f"FILE_{f.sha256}" for f in of_cells), "--name", run.cells))
    lines.append("regkg release publish")
    request = environment.get("request", {})
    if request.get("parent") and request.get("warm"):
        lines.append(f"# it started from the weights of {request['parent']}, which `regkg retrain` does")
    if request.get("without"):
        lines.append(f"# it left out {', '.join(request['without'])}, as `regkg retrain --without` does")
    return [*lines, _train(run, request)]


def crate(
    run: Run,
    environment: Mapping[str, Any],
    read: Sequence[DatasetVersion],
    of_cells: Sequence[CellsFile],
    files: Mapping[str, File],
) -> Entity:
    """Return the JSON-LD document."""
    evidence = [_evidence(version) for version in read]
    inputs = [*evidence, *(_cells_entity(file) for file in of_cells)]
    described = [_file(name, file) for name, file in sorted(files.items())]
    results = [_ref(e) for e in described if e["@id"] not in (RUN, COMMANDS)]
    root: Entity = {
        "@id": "./",
        "@type": "Dataset",
        "name": f"regkg run {run.id}",
        "description": f"{run.model} trained on cells {run.cells!r} with the evidence of release {run.release}",
        "datePublished": run.finished_at or run.started_at,
        "license": "as the evidence and the cells allow; see the licence of each object of the run",
        "hasPart": [_ref(entity) for entity in described],
        "mentions": [{"@id": f"#{quote(run.id)}"}],
    }
    action: Entity = {
        "@id": f"#{quote(run.id)}",
        "@type": "CreateAction",
        "name": f"training of {run.id}",
        "description": f"configuration {run.config_hash}, seed {run.seed}, {run.members} members: {RUN}",
        "startTime": run.started_at,
        "endTime": run.finished_at,
        "actionStatus": {"@id": "http://schema.org/CompletedActionStatus"},
        "instrument": {"@id": "#regkg"},
        "object": [_ref(entity) for entity in inputs],
        "result": results,
    }
    versions = environment.get("versions", {})
    program: Entity = {
        "@id": "#regkg",
        "@type": "SoftwareApplication",
        "name": "regkg",
        "version": run.code,
        "softwareRequirements": [f"{name}=={version}" for name, version in sorted(versions.items())],
    }
    about: Entity = {
        "@id": CRATE,
        "@type": "CreativeWork",
        "conformsTo": {"@id": "https://w3id.org/ro/crate/1.1"},
        "about": {"@id": "./"},
    }
    return {"@context": CONTEXT, "@graph": [about, root, action, program, *inputs, *described]}


def _ref(entity: Entity) -> Entity:
    return {"@id": entity["@id"]}


def _file(name: str, file: File) -> Entity:
    suffix = name[name.rfind(".") :]
    kind = {"encodingFormat": FORMATS[suffix]} if suffix in FORMATS else {}
    size = {"contentSize": str(file.bytes), "sha256": file.sha256}
    return {"@id": quote(name), "@type": "File", "name": name, **size, **kind}


def _evidence(version: DatasetVersion) -> Entity:
    stated = {"license": version.licence, "citation": version.citation}
    return {
        "@id": f"#dataset-{quote(version.dataset)}",
        "@type": "Dataset",
        "name": version.dataset,
        "version": f"release {version.since}",
        "identifier": version.hash,
        "description": f"{sum(version.rows.values()):,} rows by {version.loader}, parameters {version.parameters}; "
        f"sha256 of its files: {'; or '.join(version.sha256) or 'derived from the graph'}",
        **{name: value for name, value in stated.items() if value},
    }


def _cells_entity(file: CellsFile) -> Entity:
    return {
        "@id": f"#cells-{quote(file.name)}-{quote(file.modality)}",
        "@type": "CreativeWork",
        "name": f"{file.modality} of cells {file.name}",
        "description": f"{file.shape[0]:,} cells by {file.shape[1]:,} features, assembly {file.assembly}",
        "sha256": file.sha256,
    }


def _cells(store: Store, run: Run) -> list[CellsFile]:
    """Return the files that the run read; those that are registered under the name today, where they are the same."""
    try:
        registered = cells(store, run.cells)
    except NotFound:
        return []
    recorded = runs.environment(store, run.id).get("cells", {})
    return [file for file in registered if recorded.get(file.modality) == file.sha256]


def _load(version: DatasetVersion) -> str:
    parameters = json.loads(version.parameters)
    lifted_from = parameters.pop("lifted_from", None)
    if lifted_from:
        parameters["assembly"] = lifted_from  # what the files are of; the chain leads to the graph's
    files = [] if version.derived or not version.sha256 else version.sha256[0].split()
    stated = {"dataset": version.dataset, **parameters, "licence": version.licence, "citation": version.citation}
    return _shell("load", version.source, *(f"FILE_{digest}" for digest in files), *_options(stated))


def _train(run: Run, request: Mapping[str, Any]) -> str:
    if run.derived:
        return _shell("runs", "targets", run.parent, *_options(run.config))
    reading = {k: v for k, v in request.get("reading", {}).items() if k != "likelihoods"}
    likelihoods = request.get("reading", {}).get("likelihoods") or {}
    cells = {"cells": run.cells, **reading} if run.cells != NO_CELLS else {}
    words = ["train", run.model, *_options(cells)]
    words += [word for pair in sorted(likelihoods.items()) for word in ("--likelihood", "=".join(pair))]
    for name in ("edge_types", "held_out"):
        words += [word for value in request.get(name, ()) for word in (f"--{name.replace('_', '-')}", value)]
    renamed = {"device": "device", "threads": "threads", "candidates": "candidates_bp"}
    words += _options({option: request.get(name) for option, name in renamed.items()})
    return _shell(*words, *_options({k: v for k, v in run.config.items() if v is not False}))


def _options(values: Mapping[str, Any]) -> list[str]:
    """Return options as the commands take them: nothing for None, a flag for True or False."""
    words: list[str] = []
    for name, value in values.items():
        option = name.replace("_", "-")
        if value is True or value is False:
            words.append(f"--{option}" if value else "--unpaired" if name == "paired" else f"--no-{option}")
        elif value is not None:
            text = str(value)
            words += [f"--{option}", f"FILE_{text[7:]}" if text.startswith("sha256:") else text]
    return words


def _shell(*words: object) -> str:
    return shlex.join(["regkg", *map(str, words)])
