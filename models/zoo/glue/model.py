"""GLUE: cells of unpaired modalities and their features in one space, tied by the guidance graph.

Two kinds of variables are learned: u for each cell and v for each feature. Features of all modalities share one
graph autoencoder; a cell's counts are explained by the inner products of its u with the v of its modality's
features; a discriminator that guesses the modality from u pulls the modalities together.
Cao & Gao 2022, Nature Biotechnology, doi 10.1038/s41587-022-01284-4.
"""

from __future__ import annotations

from dataclasses import asdict, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from kg.errors import InputError
from kg.schema import CONTACTS, EQTL, GENE, NEAR, PEAK, PERTURBS, PREDICTED_LINK
from models.contract import (
    Assay,
    Benchmark,
    CellAnnotation,
    CellEmbedding,
    Evidence,
    FeatureEmbedding,
    Fit,
    Metric,
    Needs,
    Reads,
    ScoredPairs,
    TinyWorld,
    model,
)
from models.evaluation.diagnostics import measure, verdict
from models.zoo.glue.ablation import Linear, without_edges
from models.zoo.glue.balance import balancing_weights
from models.zoo.glue.config import FINE, WARM, Config, coarse_config, published_plan, quick_plan, warm_plan
from models.zoo.glue.estimate import estimate
from models.zoo.glue.link_scores import Trained
from models.zoo.glue.matching import match_cells
from models.zoo.glue.metacells import metacells
from models.zoo.glue.minibatch import TrainingData
from models.zoo.glue.network import Glue, embed_cells, embed_features
from models.zoo.glue.predicted import add_candidate_peaks, outputs_of
from models.zoo.glue.task import NOISE, GlueTask, cell_table
from models.zoo.glue.warm import start_of

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

    from kg.guidance import GuidanceGraph
    from models.contract import Inputs
    from models.inputs.cells import Cells
    from models.training.loop import Trainer
    from models.zoo.glue.metacells import Coarse
    from models.zoo.glue.warm import Start

__all__ = ["NOISE", "Config", "Glue", "GlueTask", "cell_table", "embed_cells", "embed_features", "fit", "train"]


@model(
    config=Config,
    needs=Needs(
        evidence=Evidence(guides=(NEAR, CONTACTS, EQTL)),
        assays=(Assay("rna", rep="pca"), Assay("any", rep="lsi")),
        reads=tuple(Reads),
        candidates=True,
        devices=True,
    ),
    writes=(ScoredPairs, PREDICTED_LINK, FeatureEmbedding, CellEmbedding, CellAnnotation),
    gate=(
        Metric("foscttm", higher_is_better=False, same_cells=True),
        Metric("consistency", same_cells=True, pooled=True),
        Benchmark(PREDICTED_LINK, (CONTACTS, EQTL, PERTURBS)),
    ),
    cites="doi:10.1038/s41587-022-01284-4",
    tiny=TinyWorld(options={"first_steps": 24, "second_steps": 40, "hidden_dim": 16, "latent_dim": 8}),
    warm=start_of,
    estimate=estimate,
    report=("consistency", "labels", "embedding", "by_distance", "best_edges", "beyond"),
)
def fit(inputs: Inputs, config: Config, trainer: Trainer, start: Start | None = None) -> Fit:
    """Train on a release and its cells; score the guidance graph's peak-gene pairs, and candidates if requested.

    Args:
        inputs: guidance, genes, peaks and cells.
        config: options.
        trainer: device, threads, checkpoints, progress, and the group of processes.
        start: weights to start from.

    Returns:
        Links, embeddings of features and cells, labels transferred from the anchor; in other processes than the first,
        nothing.

    Raises:
        InputError, Diverged, CheckpointRefused: see `train`.
    """
    nodes = inputs.nodes(GENE), inputs.nodes(PEAK)
    cells = inputs.cells
    if inputs.candidates_bp is not None:
        cells = add_candidate_peaks(cells, nodes, inputs.candidates_bp)
    trained = train(inputs.guidance, cells, config, trainer, start)
    if trainer.group.rank:
        return Fit(())
    outputs = outputs_of(inputs, cells, trained, seed=config.seed, progress=trainer.progress)
    return Fit(outputs, trained.history, trained.metrics)


def train(graph: GuidanceGraph, cells: Cells, config: Config, trainer: Trainer, start: Start | None = None) -> Trained:
    """Train `config.members` models in two stages each and keep their embeddings.

    Args:
        graph: evidence; reversed copies and loops are added here.
        cells: raw counts or other values; pairs and labels are read by metrics, and by training only with `use_pairs`
            and `use_labels`. Layers of genes among them are added to the graph here.
        config: options.
        trainer: device, threads, checkpoints, progress; only its first process returns metrics.
        start: weights to start from.

    Raises:
        InputError: a modality has no feature in the graph, or an option needs what the cells lack.
        Diverged: a loss is not finite.
        CheckpointRefused: the trainer's directory holds another run.
    """
    evidence, graph = graph, cells.guide(graph)
    data = TrainingData(graph, cells.linked(graph), trainer.device, config.fanout)
    check_options(data, config)
    identity: dict[str, Any] = {"model": "glue", "graph": graph.hash, "cells": data.cells.hash}
    identity["config"] = asdict(config)
    identity |= {"labels": data.cells.labels_hash} if config.use_labels else {}
    identity |= {"paired": cells.paired} if config.use_pairs else {}
    if start is not None:
        identity["start"] = start.run
    coarse = None
    if config.metacells:
        coarse = metacells(data.cells, config.metacells, seed=config.seed, group=trainer.group)
    features, without, history, first_cells = [], [], [], None
    for member in range(config.members):
        module, rows = train_member(data, config, trainer, member, identity, start, coarse)
        features.append(embed_features(module))
        without.append(without_edges(Linear.of(module.graph, data.edges), data.vertices, evidence))
        history += [{"member": member, **row} for row in rows]
        if first_cells is None:
            first_cells = embed_cells(module, data)
    order, metrics = np.argsort(data.vertices), {}
    if not trainer.group.rank:
        metrics = measure(graph, data.cells, first_cells or [], history, saw_labels=config.use_labels)
        trainer.progress.say(verdict(metrics).sentence)
    return Trained(
        data.vertices[order],
        np.stack(features)[:, order],
        dict(zip(data.names, first_cells or [], strict=True)),
        pd.DataFrame(history),
        metrics,
        np.mean(without, axis=0),
    )


def train_member(
    data: TrainingData,
    config: Config,
    trainer: Trainer,
    member: int,
    identity: Mapping[str, Any],
    start: Start | None = None,
    coarse: Coarse | None = None,
    *,
    prefix: str = "",
) -> tuple[Glue, list[dict[str, Any]]]:
    """Train both stages of one member, or only the second where a start or metacells make the first unnecessary."""
    plan_for = {"quick": quick_plan, "published": published_plan}[config.schedule]
    seed = config.seed + member
    weights = [torch.ones(n, device=data.device) for n in data.sizes]
    history: list[dict[str, Any]] = []
    module, warm = None, False
    if coarse is not None:
        pooled = TrainingData(data.graph, coarse.cells, trainer.device, config.fanout)
        module, history = train_member(
            pooled, coarse_config(config), trainer, member, identity, start, prefix="metacells-"
        )
        sizes = balance(module, pooled, trainer, coarse.sizes)
        weights = [weight[torch.from_numpy(of)] for weight, of in zip(sizes, coarse.of, strict=True)]
    elif start is not None:
        with trainer.seeded(seed):
            module = Glue(data, config, shared_batches=config.shared_batches).to(data.device)
        warm = start.carry(module, data, member)
    for stage in ("second",) if warm or coarse else ("first", "second"):
        stage_data, stage_config = initial_labels(data, config, trainer) if stage == "first" else (data, config)
        with trainer.seeded(seed + (stage == "second")):
            new_module = Glue(stage_data, stage_config, shared_batches=config.shared_batches and stage == "second").to(
                data.device
            )
            if module is not None:
                new_module.adopt(module)
                weights = balance(module, data, trainer) if stage == "second" and coarse is None else weights
            module = new_module
            n_cells = len(cell_table(data.cells, config))
            plan, burnin = plan_for(n_cells, config, first=stage == "first")
            if warm or coarse:
                plan, burnin = warm_plan(n_cells, config, FINE if coarse else WARM)
            task = GlueTask(stage_data, module, plan, burnin, weights, seed + (stage == "second"), trainer.group)
            rows = trainer.train(task, plan, f"member-{member}-{prefix}{stage}", seed, identity)
            history += [{"stage": prefix + stage, **row} for row in rows]
    assert module is not None  # noqa: S101 - two stages ran
    return module.eval(), history


def initial_labels(data: TrainingData, config: Config, trainer: Trainer) -> tuple[TrainingData, Config]:
    """Return data and options of the first stage of the quick schedule: matched groups where the graph says little.

    Groups hold cells that are probably of one kind and serve as labels, unless labels or pairs supervise already. The
    second stage does not see them, and so can undo wrong matches.
    """
    if config.schedule != "quick" or config.use_labels or config.use_pairs or len(data.names) < 2:
        return data, config
    trainer.progress.begin("testing how much the graph says about clusters")
    groups = [torch.full((n,), -1, dtype=torch.int64, device=data.device) for n in data.sizes]
    if not trainer.group.rank:
        matched = match_cells(data.graph, data.cells, seed=config.seed)
        groups = groups if matched is None else [torch.from_numpy(group).to(data.device) for group in matched]
    trainer.group.broadcast(groups)
    is_informative = bool((groups[0] < 0).all())
    trainer.progress.end(
        "enough" if is_informative else "little more than chance: cells are first matched by cluster geometry"
    )
    return (data, config) if is_informative else (data.grouped(groups), replace(config, use_labels=True))


def check_options(data: TrainingData, config: Config) -> None:
    """Refuse options that the cells do not support.

    Raises:
        InputError: labels, pairs or shared batches are requested but missing, or the fanout is 1.
    """
    if config.fanout < 0 or config.fanout == 1:
        raise InputError(f"fanout is {config.fanout}", "use 2 or more in-edges of a vertex, or 0 for all")
    if config.use_labels and len(data.labels) < 2:
        raise InputError(
            f"use_labels needs 2 labels or more, the cells have {len(data.labels)}", "name their column of obs"
        )
    if config.use_pairs and (cell_table(data.cells, config) >= 0).sum(1).max() < 2:
        raise InputError("use_pairs is set, but no cell is in two modalities", "give paired cells the same name")
    if config.shared_batches and any(names != data.batches[0] for names in data.batches):
        each = "; ".join(f"{n}: {', '.join(b)}" for n, b in zip(data.names, data.batches, strict=True))
        raise InputError(
            f"shared_batches is set, but batches differ: {each}", "name the same batches in every modality"
        )


def balance(
    module: Glue, data: TrainingData, trainer: Trainer, sizes: Sequence[NDArray[np.int64]] | None = None
) -> list[Tensor]:
    """Return discriminator weights from clusters of the first stage's embeddings, within each batch if shared.

    `sizes` are the numbers of cells in each metacell, where weights are meant for cells.
    """
    trainer.progress.begin("balancing weights")
    batch = [code.cpu().numpy() for code in data.batch] if module.config.shared_batches else None
    balanced = [torch.ones(n, device=data.device) for n in data.sizes]
    if not trainer.group.rank:
        published = module.config.schedule == "published"
        weights = balancing_weights(embed_cells(module, data), batch, sizes, published=published)
        balanced = [torch.as_tensor(w, dtype=torch.float32, device=data.device) for w in weights]
    trainer.group.broadcast(balanced)
    trainer.progress.end()
    return balanced
