"""GLUE: cells of unpaired modalities and their features in one space, tied by the guidance graph.

Two kinds of variables are learnt: u for each cell and v for each feature. Features of all modalities share one
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
import torch.nn.functional as F
from torch import Tensor, nn

from kg.errors import InputError
from models.ablation import Linear, without_edges
from models.balance import balancing_weights
from models.decoders import DECODERS
from models.diagnostics import measure, verdict
from models.fit import Fit
from models.glue_config import FINE, WARM, Config, coarse_config, published_plan, quick_plan, warm_plan
from models.glue_task import NOISE, GlueTask, cell_table
from models.layers import DataEncoder, Discriminator, GraphEncoder, edge_nll, posterior
from models.matching import groups
from models.metacells import metacells
from models.minibatch import TrainingData
from models.parallel import spread
from models.registry import model

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

    from kg.guidance import GuidanceGraph
    from models.cells import Cells
    from models.metacells import Coarse
    from models.minibatch import EdgeBatch, Minibatch, Pairing, Part
    from models.train import Trainer
    from models.warm import Start

__all__ = ["NOISE", "Config", "Glue", "GlueTask", "cell_table", "embed_cells", "embed_features", "fit", "train_member"]

EVAL_ROWS = 4096


class Glue(nn.Module):
    """The networks and their loss.

    L = sum_k [nll(x_k | u, v) + KL(q(u_k))] + lambda_G K [nll(edges | v) + KL(q(v))] - lambda_A L_D

    and, where they are asked for, terms of labels and of pairs.

    Shapes: for each modality k, rep (n, dims_k), values (n, F_k); u (n, m); v (V, m).
    """

    def __init__(self, data: TrainingData, config: Config, *, shared_batches: bool = False) -> None:
        super().__init__()
        self.config = config
        hidden = [config.hidden_dim] * config.hidden_layers
        m = config.latent_dim
        self.graph = GraphEncoder(data.propagation, m)
        self.encoders = nn.ModuleList(DataEncoder([rep.shape[1], *hidden], m, config.dropout) for rep in data.rep)
        self.decoders = nn.ModuleList(
            DECODERS[modality.likelihood](n, len(names))
            for modality, n, names in zip(data.cells.modalities.values(), data.n_features, data.batches, strict=True)
        )
        self.n_batches = len(data.batches[0]) if shared_batches else 0
        self.discriminator = Discriminator([m + self.n_batches, *hidden], len(data.rep), config.dropout)
        self.classifier = nn.Linear(m, len(data.labels)) if config.use_labels else None
        self.sizes = data.n_features  # of each modality, whose features follow each other among the vertices

    def adopt(self, other: Glue) -> None:
        """Take over the weights of the same shape: all but the first of a discriminator that sees batches only now."""
        own, given = self.state_dict(), other.state_dict()
        taken = {n: v for n, v in given.items() if n in own and v.shape == own[n].shape}
        self.load_state_dict(own | taken)

    def encode(self, step: Minibatch) -> list[tuple[Tensor, Tensor]]:
        """Mean and raw spread of u, for each modality."""
        return [encoder(rep) for encoder, rep in zip(self.encoders, step.rep, strict=True)]

    def adversary_loss(self, means: Tensor, step: Minibatch, noise: float) -> Tensor:
        """Weighted cross-entropy of the guessed modality; `noise` in standard deviations of `means`."""
        if noise:
            means = means + noise * means.detach().std(0) * torch.randn_like(means)
        if self.n_batches:
            means = torch.cat([means, F.one_hot(step.batch, self.n_batches)], 1)
        each = len(means) // len(self.sizes)
        truth = torch.arange(len(self.sizes), device=means.device).repeat_interleave(each)
        return (F.cross_entropy(self.discriminator(means), truth, reduction="none") * step.weight).mean()

    def graph_loss(self, edges: EdgeBatch) -> tuple[Tensor, dict[str, Tensor]]:
        """A sample of v, and the graph's parts of the loss; "graph" is their weighted sum."""
        config = self.config
        v, kl = posterior(*self.graph())
        parts = {"graph_nll": edge_nll(v, *edges), "graph_kl": kl / len(v) ** 2}
        weight = config.graph_weight * len(self.sizes)
        return v, {**parts, "graph": weight * (parts["graph_nll"] + config.kl_weight * parts["graph_kl"])}

    def cell_loss(self, step: Minibatch, encoded: Sequence[tuple[Tensor, Tensor]], v: Tensor) -> dict[str, Tensor]:
        """Parts of the loss that come of cells; "cells" is their weighted sum."""
        config = self.config
        by_modality = torch.split(v, self.sizes)
        parts: dict[str, Tensor] = {}
        cells, total = [], v.new_zeros(())
        for k, ((mean, raw), features) in enumerate(zip(encoded, by_modality, strict=True)):
            u, kl = posterior(mean, raw)
            parts |= {f"nll_{k}": self.nll(k, u, features, step.parts[k]), f"kl_{k}": kl / len(u) / len(features)}
            total = total + parts[f"nll_{k}"] + config.kl_weight * parts[f"kl_{k}"]
            cells.append(u)
        if self.classifier is not None:
            parts["labels"] = self.label_loss([mean for mean, _ in encoded], step)
            total = total + config.label_weight * parts["labels"]
        if step.pairing is not None:
            pairs = self.pair_losses(torch.stack(cells), by_modality, step.pairing)
            total = total + sum(getattr(config, f"{name}_weight") * loss for name, loss in pairs.items())
            parts |= pairs
        return {**parts, "cells": total}

    def vae_loss(self, step: Minibatch, encoded: Sequence[tuple[Tensor, Tensor]]) -> dict[str, Tensor]:
        """Parts of the loss without the adversary; "total" is their weighted sum."""
        v, graph = self.graph_loss(step.edges)
        return self.together(graph, self.cell_loss(step, encoded, v))

    @staticmethod
    def together(graph: Mapping[str, Tensor], cells: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Parts of the loss from both sides, and "total"."""
        parts = {name: value for name, value in {**graph, **cells}.items() if name not in {"graph", "cells"}}
        return {**parts, "total": graph["graph"] + cells["cells"]}

    def nll(self, k: int, u: Tensor, features: Tensor, parts: Sequence[Part]) -> Tensor:
        """Mean over all measured values of modality k, whose batches have decoders of their own."""
        measured = max(sum(part.counts.measured for part in parts), 1)
        each = [
            self.decoders[k](u if part.at is None else u[part.at], features, part.counts, part.batch)
            * (part.counts.measured / measured)
            for part in parts
        ]
        return torch.stack(each).sum()

    def label_loss(self, means: Sequence[Tensor], step: Minibatch) -> Tensor:
        """Cross-entropy of the labels of those cells that have one."""
        assert self.classifier is not None  # noqa: S101 - asked for only where there is one
        labelled = step.label >= 0
        guess = self.classifier(torch.cat(list(means))[labelled])
        return F.cross_entropy(guess, step.label[labelled], reduction="sum") / labelled.sum().clamp_min(1)

    def pair_losses(self, u: Tensor, features: Sequence[Tensor], pairing: Pairing) -> dict[str, Tensor]:
        """What is asked of paired cells. Shapes: u (modalities, n, m), features (F_k, m) of each."""
        own = pairing.own[..., None]
        mean = (u * own).sum(0) / own.sum(0)
        losses = {"joint_cross": u.new_zeros(()), "real_cross": u.new_zeros(())}
        for cross in pairing.crosses:
            name, source = ("joint_cross", mean) if cross.source is None else ("real_cross", u[cross.source])
            losses[name] = losses[name] + self.nll(cross.target, source, features[cross.target], cross.parts)
        apart = [
            1 - F.cosine_similarity(of[has], mean[has]).mean()
            for of, has in zip(u, pairing.own, strict=True)
            if has.any()
        ]
        return {**losses, "cosine": torch.stack(apart).sum()}


@torch.no_grad()
def embed_cells(module: Glue, data: TrainingData) -> list[NDArray[np.float32]]:
    """Posterior means of u of all cells, (cells, m) for each modality."""
    was_training = module.training
    module.eval()
    means = [
        torch.cat([encoder(part)[0] for part in torch.split(rep, EVAL_ROWS)]).cpu().numpy()
        for encoder, rep in zip(module.encoders, data.rep, strict=True)
    ]
    module.train(was_training)
    return means


@torch.no_grad()
def embed_features(module: Glue) -> NDArray[np.float32]:
    """Posterior means of v of all features, (V, m)."""
    means: NDArray[np.float32] = module.graph()[0].cpu().numpy()
    return means


@model(
    config=Config,
    modalities=["rna"],
    reads=["NEAR", "CONTACTS", "EQTL"],
    writes=["PREDICTED_LINK", "HAS_EMBEDDING"],
    cites="doi:10.1038/s41587-022-01284-4",
)
def fit(graph: GuidanceGraph, cells: Cells, config: Config, trainer: Trainer, start: Start | None = None) -> Fit:
    """Train `config.members` models in two stages each and keep their embeddings.

    Args:
        graph: evidence; reversed copies and loops are added here.
        cells: raw counts or other values; pairs and labels are read by metrics, by training only with `use_pairs`
            and `use_labels`. Layers of genes among them join the graph here.
        config: options.
        trainer: device, threads, checkpoints, progress.
        start: weights to go on from.

    Raises:
        InputError: a modality has no feature in the graph, or an option asks for what the cells have not.
        Diverged: a loss is not finite.
        CheckpointRefused: the trainer's directory holds another run.
        TrainingError: one of several processes failed.
    """
    return spread(fit_here, trainer, graph, cells, config, start)


def fit_here(trainer: Trainer, graph: GuidanceGraph, cells: Cells, config: Config, start: Start | None) -> Fit:
    """`fit` in one of the trainer's processes; only the first one's measures are of use."""
    asked, graph = graph, cells.guide(graph)
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
        without.append(without_edges(Linear.of(module.graph, data.edges), data.vertices, asked))
        history += [{"member": member, **row} for row in rows]
        if first_cells is None:
            first_cells = embed_cells(module, data)
    order, found = np.argsort(data.vertices), {}
    if not trainer.group.rank:
        found = measure(graph, data.cells, first_cells or [], history, saw_labels=config.use_labels)
        trainer.progress.say(verdict(found).sentence)
    return Fit(
        data.vertices[order],
        np.stack(features)[:, order],
        dict(zip(data.names, first_cells or [], strict=True)),
        pd.DataFrame(history),
        found,
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
    """Both stages of one member, or the second alone where a start or metacells leave the first nothing to do."""
    plan_for = {"quick": quick_plan, "published": published_plan}[config.schedule]
    seed = config.seed + member
    weights = [torch.ones(n, device=data.device) for n in data.sizes]
    history: list[dict[str, Any]] = []
    module, warm = None, False
    if coarse is not None:
        few = TrainingData(data.graph, coarse.cells, trainer.device, config.fanout)
        module, history = train_member(
            few, coarse_config(config), trainer, member, identity, start, prefix="metacells-"
        )
        sizes = balance(module, few, trainer, coarse.sizes)
        weights = [weight[torch.from_numpy(of)] for weight, of in zip(sizes, coarse.of, strict=True)]
    elif start is not None:
        with trainer.seeded(seed):
            module = Glue(data, config, shared_batches=config.shared_batches).to(data.device)
        warm = start.carry(module, data, member)
    for stage in ("second",) if warm or coarse else ("first", "second"):
        seen, asked = led(data, config, trainer) if stage == "first" else (data, config)
        with trainer.seeded(seed + (stage == "second")):
            fresh = Glue(seen, asked, shared_batches=config.shared_batches and stage == "second").to(data.device)
            if module is not None:
                fresh.adopt(module)
                weights = balance(module, data, trainer) if stage == "second" and coarse is None else weights
            module = fresh
            n_cells = len(cell_table(data.cells, config))
            plan, burnin = plan_for(n_cells, config, first=stage == "first")
            if warm or coarse:
                plan, burnin = warm_plan(n_cells, config, FINE if coarse else WARM)
            task = GlueTask(seen, module, plan, burnin, weights, seed + (stage == "second"), trainer.group)
            rows = trainer.train(task, plan, f"member-{member}-{prefix}{stage}", seed, identity)
            history += [{"stage": prefix + stage, **row} for row in rows]
    assert module is not None  # noqa: S101 - two stages ran
    return module.eval(), history


def led(data: TrainingData, config: Config, trainer: Trainer) -> tuple[TrainingData, Config]:
    """What the first stage of the quick schedule sees: where the graph says little, groups of cells as labels.

    Groups are of cells that are probably of one kind. Not where labels or pairs say so already. The second stage sees
    none, and so may leave what was matched wrongly.
    """
    if config.schedule != "quick" or config.use_labels or config.use_pairs or len(data.names) < 2:
        return data, config
    trainer.progress.begin("asking what the graph says of clusters")
    found = [torch.full((n,), -1, dtype=torch.int64, device=data.device) for n in data.sizes]
    if not trainer.group.rank:
        matched = groups(data.graph, data.cells, seed=config.seed)
        found = found if matched is None else [torch.from_numpy(group).to(data.device) for group in matched]
    trainer.group.tell(found)
    said = bool((found[0] < 0).all())
    trainer.progress.end("enough" if said else "little more than chance: cells are first matched by how clusters lie")
    return (data, config) if said else (data.grouped(found), replace(config, use_labels=True))


def check_options(data: TrainingData, config: Config) -> None:
    """Refuse what the cells cannot give.

    Raises:
        InputError: labels, pairs or shared batches are asked for and not there, or a fanout of 1.
    """
    if config.fanout < 0 or config.fanout == 1:
        raise InputError(f"fanout is {config.fanout}", "sum 2 in-edges of a vertex or more; 0 sums all")
    if config.use_labels and len(data.labels) < 2:
        raise InputError(f"labels are to supervise, but the cells have {len(data.labels)}", "name their column of obs")
    if config.use_pairs and (cell_table(data.cells, config) >= 0).sum(1).max() < 2:
        raise InputError("pairs are to be used, but no cell is in two modalities", "give paired cells the same name")
    if config.shared_batches and any(names != data.batches[0] for names in data.batches):
        each = "; ".join(f"{n}: {', '.join(b)}" for n, b in zip(data.names, data.batches, strict=True))
        raise InputError(
            f"batches are said to be shared, but differ: {each}", "name the same batches in every modality"
        )


def balance(
    module: Glue, data: TrainingData, trainer: Trainer, sizes: Sequence[NDArray[np.int64]] | None = None
) -> list[Tensor]:
    """Discriminator weights from clusters of the first stage's embeddings, within each batch where they are shared.

    `sizes` are the cells of each metacell, where weights are to be of cells.
    """
    trainer.progress.begin("balancing weights")
    batch = [code.cpu().numpy() for code in data.batch] if module.config.shared_batches else None
    found = [torch.ones(n, device=data.device) for n in data.sizes]
    if not trainer.group.rank:
        published = module.config.schedule == "published"
        weights = balancing_weights(embed_cells(module, data), batch, sizes, published=published)
        found = [torch.as_tensor(w, dtype=torch.float32, device=data.device) for w in weights]
    trainer.group.tell(found)
    trainer.progress.end()
    return found
