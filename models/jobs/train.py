"""A training job from a release to a complete run: read, check, register, train, keep, write back."""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass, field, replace
from importlib import metadata
from typing import TYPE_CHECKING, Any

import torch

from kg import runs
from kg.cells import cells as registered_cells
from kg.errors import CheckpointRefused, MissingInput, RegkgError, TrainingError, UnknownDataset
from kg.evidence.datasets import dataset_versions
from kg.evidence.nodes import read_nodes
from kg.guidance import read_guidance
from kg.progress import SILENT, Progress
from kg.releases import served
from kg.runs import predictions
from kg.schema import GENE, PEAK
from models import registry
from models.evaluation.feature_correlation import profiles
from models.inputs.preflight import check_room, estimate, silent_cells
from models.inputs.read_anndata import Reading, outgrow_memory, read_cells
from models.jobs.environment import code_version, machine
from models.jobs.run_artifacts import keep_history, write_cells
from models.training.loop import Trainer
from models.zoo.glue.predicted import candidates, predict, reaching
from models.zoo.glue.warm import read_start

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    import pyarrow as pa

    from kg.guidance import GuidanceGraph
    from kg.runs import Run
    from kg.store import Store
    from models.inputs.cells import Cells
    from models.zoo.glue.warm import Start

PACKAGES = ("torch", "torch-geometric", "numpy", "scipy", "anndata", "scikit-network")


@dataclass(frozen=True)
class Request:
    """What to train on what.

    Attributes:
        model: name in the registry.
        cells: name of a registered set of cells.
        options: of the model's Config; the rest keeps its default.
        reading: how the files are read.
        device: "auto", "cpu", or "cuda".
        threads: of torch on the CPU; None leaves it to torch.
        devices: processes that train together, on GPUs one for each.
        edge_types: of the guidance graph; empty for all that the model reads.
        held_out: chromosomes whose CONTACTS and EQTL rows do not guide, so that they can test the run.
        without: datasets that are left out; such a run is an experiment and never published.
        parent: the run that this one may replace.
        warm: start from the parent's weights, where they are to be had.
        experiment: why the run is never published; None for one that may be.
        candidates_bp: peaks so far from a gene's start site are scored with it as well, joined by evidence or not; None
            for the pairs that guide alone.
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
    def of(cls, said: Mapping[str, Any]) -> Request:
        """The request that a run was registered with, from JSON."""
        lists = {name: tuple(said.get(name, ())) for name in ("edge_types", "held_out", "without")}
        return cls(**{**said, "reading": Reading(**said["reading"]), **lists})


def train(
    store: Store, home: Path, request: Request, progress: Progress = SILENT, *, release: int | None = None
) -> Run:
    """Train on a release (default: the one served) and write the predictions back as a complete, unpublished run.

    Raises:
        NotFound: no such model, cells, or nothing is published.
        InputError: the cells are not fit for training; nothing was registered.
        TrainingError: training failed; the run says so and what was published stays.
    """
    return _train(store, home, request, served(store, release).release, None, progress)


def resume(store: Store, home: Path, run_id: str, progress: Progress = SILENT) -> Run:
    """Finish an interrupted run: from its kept predictions if it got that far, else from its last checkpoint.

    Raises:
        UnknownRun: there is none.
        Conflict: it is complete or discarded.
    """
    found = runs.run(store, run_id)
    if (predictions.run_folder(home, run_id) / "metrics.json").exists() or found.outcome in {"complete", "discarded"}:
        return runs.write_back(store, home, run_id, progress)
    asked = runs.environment(store, run_id)
    if "request" not in asked:
        raise TrainingError(f"run {run_id} does not say how it was asked for", f"regkg runs discard {run_id}")
    return _train(store, home, Request.of(asked["request"]), found.release, run_id, progress)


def _train(store: Store, home: Path, request: Request, release: int, run_id: str | None, progress: Progress) -> Run:
    model = registry.get(request.model)
    config = model.config(**request.options)
    request = _decided(store, request)
    edge_types = _edge_types(model, request)
    graph = _guidance(store, request, release, edge_types)
    nodes = read_nodes(store, GENE, release), read_nodes(store, PEAK, release)
    cells = _read(store, request, nodes, progress)
    start = _start(store, home, request, cells, progress, must=run_id is not None)
    request = replace(request, warm=start is not None)
    device = _device(request.device, request.devices)
    _announce(cells, config, home, progress)
    if run_id is None:
        run_id = runs.register(store, _about(request, config, graph, release, edge_types, _files(store, request)))
    else:
        runs.take_over(store, run_id, "running")
    progress.say(f"run {run_id}: {request.model} on release {release}, {device}")
    folder = predictions.run_folder(home, run_id)
    trainer = Trainer(device, request.threads, folder / "checkpoints", progress, devices=request.devices)
    try:
        fit = model.fit(graph, cells, config, trainer, **({} if start is None else {"start": start}))
    except KeyboardInterrupt:
        runs.finish(store, run_id, "running", note=f"stopped; `regkg runs resume {run_id}` goes on")
        raise
    except RegkgError as error:
        runs.finish(store, run_id, "failed", note=error.message)
        raise
    folder.mkdir(parents=True, exist_ok=True)
    write_cells(folder, cells, fit, f"X_{request.model}", _provenance(run_id, request.model, graph, config))
    keep_history(folder, fit.history)
    seed, more = getattr(config, "seed", 0), None
    if request.candidates_bp is not None:
        progress.begin("scoring candidates")
        more = candidates(graph, fit, nodes, request.candidates_bp, folder, seed=seed)
        progress.end(f"{len(more):,} kept beyond the skeleton")
    seen = profiles(cells, fit.cells) if cells.modalities.keys() <= fit.cells.keys() else None
    made = predict(graph, fit, seed=seed, more=more, seen=seen)
    predictions.keep(home, run_id, made, {k: _finite(v) for k, v in fit.metrics.items()})
    return runs.write_back(store, home, run_id, progress)


def _guidance(store: Store, request: Request, release: int, edge_types: tuple[str, ...]) -> GuidanceGraph:
    graph = read_guidance(store, release, edge_types, held_out=request.held_out, without=request.without)
    unread = set(request.without) - {v.dataset for v in dataset_versions(store, release)}
    if unread:
        raise UnknownDataset(f"release {release} has no dataset {', '.join(sorted(unread))}", "regkg datasets")
    return graph


def _start(store: Store, home: Path, request: Request, cells: Cells, progress: Progress, *, must: bool) -> Start | None:
    """The parent's weights; None for a cold start, said plainly unless it `must` be a warm one."""
    if not request.warm or request.parent is None:
        return None
    if not registry.get(request.model).starts_warm:
        progress.say(f"warning: a cold start, {request.model} cannot start from the weights of another run")
        return None
    parent = runs.run(store, request.parent)
    same = runs.environment(store, parent.id).get("cells") == _files(store, request)
    try:
        return read_start(home, parent.id, parent.members, list(cells.modalities), same_cells=same)
    except (MissingInput, CheckpointRefused) as error:
        if must:
            raise
        progress.say(f"warning: a cold start, not from the weights of {parent.id}: {error.message}")
        return None


def _decided(store: Store, request: Request) -> Request:
    """The request, whether to stream decided once, so that a resumed run reads as it began."""
    if request.reading.stream is not None:
        return request
    streams = outgrow_memory(registered_cells(store, request.cells), request.reading)
    return replace(request, reading=replace(request.reading, stream=streams))


def _files(store: Store, request: Request) -> dict[str, str]:
    """Modality -> sha256 of its file of cells."""
    return {file.modality: file.sha256 for file in registered_cells(store, request.cells)}


def _read(store: Store, request: Request, nodes: tuple[pa.Table, pa.Table], progress: Progress) -> Cells:
    files = registered_cells(store, request.cells)
    for file in files:
        file.check_unchanged()
    cells = read_cells(files, *nodes, request.reading, progress)
    return cells if request.candidates_bp is None else reaching(cells, nodes, request.candidates_bp)


def _announce(cells: Cells, config: Any, home: Path, progress: Progress) -> None:
    """Say what training will take, and what is odd; refuse when the disk is too small."""
    needed = estimate(cells, batch_size=config.batch_size, members=config.members, latent_dim=config.latent_dim)
    progress.say(f"training takes {needed}")
    for warning in check_room(needed, home):
        progress.say(warning)
    for name, silent in silent_cells(cells).items():
        if silent:
            progress.say(f"warning: {len(silent):,} cells of {name} have no count, such as {silent[0]}")


def _edge_types(model: registry.Model, request: Request) -> tuple[str, ...]:
    unknown = sorted(set(request.edge_types) - set(model.reads))
    if unknown:
        raise TrainingError(
            f"{model.name} does not read {', '.join(unknown)}", f"it reads {', '.join(model.reads)}, or some of them"
        )
    return tuple(t for t in model.reads if t in (request.edge_types or model.reads))


def _about(
    request: Request,
    config: Any,
    graph: GuidanceGraph,
    release: int,
    edge_types: tuple[str, ...],
    files: Mapping[str, str],
) -> runs.Registration:
    settings = asdict(config)
    versions = {name: metadata.version(name) for name in PACKAGES}
    return runs.Registration(
        model=request.model,
        cells=request.cells,
        release=release,
        seed=settings.get("seed", 0),
        members=settings.get("members", 1),
        config=settings,
        config_hash=_config_hash(config),
        code=code_version(),
        datasets=graph.datasets,
        edge_types=edge_types,
        parent=request.parent,
        experiment=request.experiment or (f"trained without {', '.join(request.without)}" if request.without else None),
        environment={
            "request": asdict(replace(request, options=settings)),
            "versions": versions,
            "cells": files,
            "device": _device(request.device),
            "machine": machine(request.threads),
        },
    )


def _provenance(run_id: str, model: str, graph: GuidanceGraph, config: Any) -> dict[str, str]:
    """What the files of a run say of themselves, wherever they are taken."""
    return {
        "run": run_id,
        "release": str(graph.release),
        "model": model,
        "guidance": graph.hash,
        "config_hash": _config_hash(config),
        "version": metadata.version("regkg"),
    }


def _config_hash(config: Any) -> str:
    return hashlib.sha256(json.dumps(asdict(config), sort_keys=True).encode()).hexdigest()


def _device(asked: str, devices: int = 1) -> str:
    found = torch.cuda.device_count() if torch.cuda.is_available() else 0
    if asked == "auto":
        return "cuda" if found else "cpu"
    if asked.startswith("cuda") and found < devices:
        raise TrainingError(
            f"{devices} of {asked!r} were asked for, torch sees {found} GPUs", "regkg doctor; or --device cpu"
        )
    return asked


def _finite(value: float) -> float | None:
    return float(value) if value == value and abs(value) != float("inf") else None  # noqa: PLR0124 - NaN is no JSON
