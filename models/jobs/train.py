"""The training job from a release to a complete run: check, read, register, train, keep, write back.

It knows only what the model declares (`models.contract`).
"""

from __future__ import annotations

import re
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, replace
from importlib import metadata
from typing import TYPE_CHECKING, Any

import torch

from kg import runs
from kg.cells import cells as registered_cells
from kg.errors import (
    CheckpointRefused,
    MissingInput,
    ParameterError,
    RegkgError,
    TrainingError,
    UnknownDataset,
)
from kg.evidence.datasets import dataset_versions
from kg.evidence.nodes import read_nodes
from kg.parameters import made
from kg.progress import SILENT, Progress
from kg.releases import served
from kg.runs.predictions import run_folder
from kg.schema import PEAK
from models import registry
from models.contract import Reads
from models.inputs.preflight import check_room, silent_cells
from models.inputs.read_anndata import Reading, outgrow_memory
from models.inputs.release_inputs import ReleaseInputs, nodes_read
from models.jobs.environment import code_version, machine
from models.jobs.report import ending as reports
from models.jobs.run_outputs import config_hash, keep_outputs
from models.training.launch import is_follower, launch
from models.training.loop import Trainer

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from kg.runs import Run
    from kg.store import Store
    from models.contract import Model

PACKAGES = ("torch", "torch-geometric", "numpy", "scipy", "anndata", "scikit-network")


@dataclass(frozen=True)
class TrainingRequest:
    """What to train, and on what.

    Attributes:
        model: name in the registry.
        cells: name of a registered set of cells.
        options: of the model's Config; the others keep their defaults.
        reading: how cell files are read.
        device: "auto", "cpu", or "cuda".
        threads: of torch on the CPU; None leaves it to torch.
        devices: processes that train together, one per GPU.
        edge_types: evidence to read; empty for everything that the model reads.
        held_out: chromosomes whose CONTACTS and EQTL rows do not guide, so that they can test the run.
        without: datasets that are left out; such a run is an experiment and never published.
        parent: the run that this one may replace.
        warm: start from the parent's weights, if available.
        experiment: why the run is never published; None for one that may be.
        candidates_bp: peaks up to this far from a gene's start site are scored with it, joined by evidence or not; None
            to score only the pairs that guide.
    """

    model: str
    cells: str
    options: Mapping[str, Any] = field(default_factory=dict)
    reading: Reading = field(default_factory=Reading)
    device: str = "auto"
    threads: int | None = None
    edge_types: tuple[str, ...] = ()
    held_out: tuple[str, ...] = ()
    without: tuple[str, ...] = ()
    parent: str | None = None
    warm: bool = False
    experiment: str | None = None
    devices: int = 1
    candidates_bp: int | None = None

    @classmethod
    def of(cls, recorded: Mapping[str, Any]) -> TrainingRequest:
        """Return the request that a run was registered with, from JSON."""
        lists = {name: tuple(recorded.get(name, ())) for name in ("edge_types", "held_out", "without")}
        return cls(**{**recorded, "reading": Reading(**recorded["reading"]), **lists})


def train(
    store: Store, home: Path, request: TrainingRequest, progress: Progress = SILENT, *, release: int | None = None
) -> Run:
    """Train on a release (default: the one served) and write the predictions back as a complete, unpublished run.

    Its report is drawn last and kept in its folder; if it cannot be drawn, the run is complete all the same.

    Raises:
        ParameterError: an option is unknown or outside its limits; nothing was registered.
        NotFound: there is no such model or set of cells, or nothing is published.
        InputError: the cells are not fit for training; nothing was registered.
        TrainingError: training failed; the run records why, and what was published stays.
    """
    return _train(store, home, request, served(store, release).release, None, progress)


def resume(store: Store, home: Path, run_id: str, progress: Progress = SILENT) -> Run:
    """Finish an interrupted run: from its kept predictions if it got that far, otherwise from its last checkpoint.

    Raises:
        UnknownRun: there is no such run.
        Conflict: it is complete or discarded.
    """
    run = runs.run(store, run_id)
    if (run_folder(home, run_id) / "metrics.json").exists() or run.outcome in {"complete", "discarded"}:
        return _write_back(store, home, run_id, progress)
    environment = runs.environment(store, run_id)
    if "request" not in environment:
        raise TrainingError(f"run {run_id} does not record its request", f"regkg runs discard {run_id}")
    return _train(store, home, TrainingRequest.of(environment["request"]), run.release, run_id, progress)


def _train(
    store: Store, home: Path, request: TrainingRequest, release: int, run_id: str | None, progress: Progress
) -> Run:
    model = registry.get(request.model)
    config = check_request(store, model, request, release)
    request = _resolve_streaming(store, model, request)
    inputs = _inputs(store, home, model, request, release, progress)
    _check_room(model, inputs, config, home, progress)
    start = _start(store, home, model, request, inputs, progress, required=run_id is not None)
    request = replace(request, warm=start is not None)
    device = _device(request.device, request.devices)
    if is_follower():  # another process of a launcher such as torchrun registers and writes
        launch(model.fit, Trainer(device, request.threads), inputs, config, start)
        raise SystemExit(0)
    if run_id is None:
        run_id = runs.register(store, _registration(store, model, request, config, inputs))
    else:
        runs.take_over(store, run_id, "running")
    progress.say(f"run {run_id}: {request.model} on release {release}, {device}")
    inputs.folder = run_folder(home, run_id)
    trainer = Trainer(device, request.threads, inputs.folder / "checkpoints", progress, devices=request.devices)
    with ending(store, run_id):
        if request.devices > 1:
            inputs.materialise()
        fit = launch(model.fit, trainer, inputs, config, start)
        keep_outputs(store, home, run_id, request.model, inputs, config, fit)
    return _write_back(store, home, run_id, progress)


def _write_back(store: Store, home: Path, run_id: str, progress: Progress) -> Run:
    run = runs.write_back(store, home, run_id, progress)
    reports.end_with_report(store, home, run_id, progress)
    return run


@contextmanager
def ending(store: Store, run_id: str) -> Iterator[None]:
    """Record whatever ends a run early, so that no run is left `running` without a process.

    Raises:
        TrainingError: memory ran out, on the CPU or on a GPU.
    """
    try:
        yield
    except KeyboardInterrupt:
        runs.finish(store, run_id, "running", note=f"stopped; `regkg runs resume {run_id}` continues it")
        raise
    except RegkgError as error:
        runs.finish(store, run_id, "failed", note=error.message)
        raise
    except (MemoryError, torch.OutOfMemoryError) as error:
        where = "the GPU" if isinstance(error, torch.OutOfMemoryError) else "this machine"
        message = f"run {run_id} ran out of memory on {where}: {error or type(error).__name__}"
        runs.finish(store, run_id, "failed", note=message)
        raise TrainingError(
            message, "use a smaller --batch-size, or --stream; `regkg runs resume` continues the run"
        ) from error
    except BaseException as error:
        runs.finish(store, run_id, "failed", note=f"unexpected {type(error).__name__}: {error}")
        raise


def check_request(store: Store, model: Model, request: TrainingRequest, release: int) -> Any:
    """Return the model's configuration; refuse an impossible request before anything is read or registered.

    Raises:
        ParameterError: invalid options, all listed at once.
        TrainingError: the model does not read a requested edge type.
        UnknownDataset: a dataset to leave out is not in the release.
    """
    config = made(model.config, request.options)
    needs, invalid = model.needs, []
    if not re.fullmatch(r"auto|cpu|cuda(:\d+)?", request.device):
        invalid.append(f"device is {request.device!r}: must be auto, cpu or cuda")
    if request.threads is not None and request.threads < 1:
        invalid.append(f"threads is {request.threads}: must be at least 1")
    if request.devices < 1 or (request.devices > 1 and not needs.devices):
        invalid.append(f"devices is {request.devices}: {model.name} trains in one process" if request.devices > 1 else
                     f"devices is {request.devices}: must be at least 1")  # fmt: skip
    if request.candidates_bp is not None and (request.candidates_bp < 1 or not needs.candidates):
        invalid.append(
            f"candidates is {request.candidates_bp}: "
            + (
                "must be at least 1 base pair"
                if needs.candidates
                else f"{model.name} scores no pairs beyond the evidence"
            )
        )
    if request.held_out and request.parent is None:  # a successor keeps its parent's
        known = {str(chrom) for chrom in read_nodes(store, PEAK, release)["chrom"].unique().to_pylist()}
        invalid += [
            f"held_out is {c!r}: release {release} has no peak there" for c in sorted({*request.held_out} - known)
        ]
    if invalid:
        raise ParameterError("parameters are not valid", invalid)
    unread = sorted(set(request.edge_types) - set(model.reads))
    if unread:
        raise TrainingError(f"{model.name} does not read {', '.join(unread)}", f"choose from {', '.join(model.reads)}")
    missing = set(request.without) - {v.dataset for v in dataset_versions(store, release)}
    if missing:
        raise UnknownDataset(f"release {release} has no dataset {', '.join(sorted(missing))}", "regkg datasets")
    return config


def edge_types_of(model: Model, request: TrainingRequest) -> tuple[str, ...]:
    """Return the names of the edge types that a run reads, in the order of the declaration."""
    return tuple(name for name in model.reads if name in (request.edge_types or model.reads))


def _inputs(
    store: Store, home: Path, model: Model, request: TrainingRequest, release: int, progress: Progress
) -> ReleaseInputs:
    return ReleaseInputs(
        store,
        home,
        release,
        model.needs,
        request.cells,
        request.reading,
        edge_types_of(model, request),
        request.held_out,
        request.without,
        request.candidates_bp,
        progress=progress,
    )


def _start(
    store: Store,
    home: Path,
    model: Model,
    request: TrainingRequest,
    inputs: ReleaseInputs,
    progress: Progress,
    *,
    required: bool,
) -> Any:
    """Return the parent's weights, or None for a cold start, with a warning; if `required`, fail instead."""
    if not request.warm or request.parent is None:
        return None
    if model.warm is None:
        progress.say(f"warning: a cold start, because {request.model} cannot start from the weights of another run")
        return None
    parent = runs.run(store, request.parent)
    same = runs.environment(store, parent.id).get("cells") == _checksums(store, request)
    try:
        return model.warm(home, parent, inputs, same_cells=same)
    except (MissingInput, CheckpointRefused) as error:
        if required:
            raise
        progress.say(f"warning: a cold start, not from the weights of {parent.id}: {error.message}")
        return None


def _resolve_streaming(store: Store, model: Model, request: TrainingRequest) -> TrainingRequest:
    """Return the request with streaming decided once, so that a resumed run reads as it began."""
    if request.reading.stream is not None or Reads.STREAM not in model.needs.reads:
        return request
    streams = outgrow_memory(registered_cells(store, request.cells), request.reading)
    return replace(request, reading=replace(request.reading, stream=streams))


def _checksums(store: Store, request: TrainingRequest) -> dict[str, str]:
    """Return the sha256 of the cell file of each modality."""
    return {file.modality: file.sha256 for file in registered_cells(store, request.cells)}


def _check_room(model: Model, inputs: ReleaseInputs, config: Any, home: Path, progress: Progress) -> None:
    """Report what training will take, and warn about oddities; refuse if the disk is too small."""
    if model.needs.assays:
        silent = silent_cells(inputs.cells)
        for name, cells in silent.items():
            if cells:
                progress.say(f"warning: {len(cells):,} cells of {name} have no counts, such as {cells[0]}")
    if model.estimate is not None:
        needed = model.estimate(inputs, config)
        progress.say(f"training takes {needed}")
        for warning in check_room(needed, home):
            progress.say(warning)


def _registration(
    store: Store, model: Model, request: TrainingRequest, config: Any, inputs: ReleaseInputs
) -> runs.Registration:
    settings = asdict(config)
    edge_types = inputs.edge_types
    node_types = nodes_read(model.needs, edge_types)
    read = {*edge_types, *node_types}
    versions = [v for v in dataset_versions(store, inputs.release) if read & set(v.hashes)]
    return runs.Registration(
        model=request.model,
        cells=request.cells,
        release=inputs.release,
        seed=settings.get("seed", 0),
        members=settings.get("members", 1),
        config=settings,
        config_hash=config_hash(config),
        code=code_version(),
        datasets={v.dataset: v.hash for v in versions if v.dataset not in request.without},
        edge_types=edge_types,
        node_types=node_types,
        parent=request.parent,
        experiment=request.experiment or (f"trained without {', '.join(request.without)}" if request.without else None),
        environment={
            "request": asdict(replace(request, options=settings)),
            "versions": {name: metadata.version(name) for name in PACKAGES},
            "cells": _checksums(store, request) if model.needs.assays else {},
            "device": _device(request.device),
            "machine": machine(request.threads),
        },
    )


def _device(requested: str, devices: int = 1) -> str:
    gpus = torch.cuda.device_count() if torch.cuda.is_available() else 0
    if requested == "auto":
        return "cuda" if gpus else "cpu"
    if requested.startswith("cuda") and gpus < devices:
        raise TrainingError(
            f"{devices} of {requested!r} requested, but torch sees {gpus} GPUs", "regkg doctor; or --device cpu"
        )
    return requested
