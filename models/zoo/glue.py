"""GLUE: cells of unpaired modalities and their features in one space, tied by the guidance graph.

Two kinds of variables are learnt: u for each cell and v for each feature. Features of all modalities share one
graph autoencoder; a cell's counts are explained by the inner products of its u with the v of its modality's
features; a discriminator that guesses the modality from u pulls the modalities together.
Cao & Gao 2022, Nature Biotechnology, doi 10.1038/s41587-022-01284-4.
"""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from models import metrics
from models.balance import balancing_weights
from models.fit import Fit
from models.layers import DataEncoder, Discriminator, GraphEncoder, NegativeBinomialDecoder, edge_nll, posterior
from models.minibatch import TrainingData
from models.registry import model
from models.sampling import CellSampler, EdgeSampler
from models.train import Plan, Row, Trainer

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from numpy.typing import NDArray

    from kg.guidance import GuidanceGraph
    from models.cells import Cells
    from models.minibatch import EdgeBatch, Minibatch
    from models.warm import Start

ANCHOR = "rna"
BURNIN = 1 / 3  # of the second stage, in the quick schedule
ANNEALED = 1 / 4  # likewise
WARM = 1 / 3  # of the second stage's steps, where a run starts from another's weights; it has no first stage
NOISE = 1.5  # standard deviations of burn-in noise on what the discriminator sees
HELD_OUT = 0.1
EVAL_ROWS = 4096


@dataclass(frozen=True)
class Config:
    """Options of a GLUE run; defaults are those of the paper, but for the schedule.

    Attributes:
        schedule: "quick", a fixed number of steps; or "published", the paper's number of epochs and its patience.
        first_steps, second_steps: of each stage in the quick schedule, rounded to epochs; the other ignores them.
        members: models with seeds seed, seed + 1, ...; links average over them.
        seed: of the first member.
        latent_dim, hidden_dim, hidden_layers, dropout: of the networks.
        kl_weight, graph_weight, align_weight: of the parts of the loss; the data term has weight 1.
        lr: learning rate of RMSprop.
        batch_size: cells of each modality in a step.
        negatives: absent edges drawn for each real one.
        graph_batches: parts of a graph epoch.
    """

    schedule: str = "quick"
    first_steps: int = 3000
    second_steps: int = 6000
    members: int = 1
    seed: int = 0
    latent_dim: int = 50
    hidden_dim: int = 256
    hidden_layers: int = 2
    dropout: float = 0.2
    kl_weight: float = 1.0
    graph_weight: float = 0.02
    align_weight: float = 0.05
    lr: float = 2e-3
    batch_size: int = 128
    negatives: int = 10
    graph_batches: int = 32


def published_plan(n_cells: int, config: Config, *, first: bool) -> tuple[Plan, float]:
    """The paper's plan and its burn-in, from the number of cells of all modalities.

    4,000 burn-in, 24,000 maximal, 2,000 patience and 1,000 learning-rate patience iterations at a learning rate
    of 0.002, in epochs and at least 8, 48, 4 and 2 of them.
    """
    per_epoch = n_cells * (1 - HELD_OUT) / config.batch_size
    burnin, longest, patience, lr_patience = (
        max(math.ceil(p / config.lr / per_epoch), p) for p in (8, 48, 4, 2)
    )  # fmt: skip
    plan = Plan(longest, config.lr, lr_patience, patience, 0 if first else burnin)
    return plan, math.inf if first else float(burnin)


def quick_plan(n_cells: int, config: Config, *, first: bool) -> tuple[Plan, float]:
    """Ours: a fixed number of steps a stage under an annealed learning rate, known before it starts.

    The first stage only has to give clusters for the balancing weights; the second does the rest.
    """
    per_epoch = n_cells * (1 - HELD_OUT) / config.batch_size
    longest = max(round((config.first_steps if first else config.second_steps) / per_epoch), 1)
    plan = Plan(longest, config.lr, annealed=0.0 if first else ANNEALED)
    return plan, math.inf if first else longest * BURNIN


def warm_plan(n_cells: int, config: Config) -> tuple[Plan, float]:
    """Of a run that starts from another's weights: the second stage alone, shorter, without burn-in noise."""
    if config.schedule == "published":
        plan, _ = published_plan(n_cells, config, first=False)
        return replace(plan, burnin=0), 0.0
    plan, _ = quick_plan(n_cells, replace(config, second_steps=round(WARM * config.second_steps)), first=False)
    return replace(plan, annealed=1.0), 0.0


class Glue(nn.Module):
    """The networks and their loss.

    L = sum_k [nll(x_k | u, v) + KL(q(u_k))] + lambda_G K [nll(edges | v) + KL(q(v))] - lambda_A L_D

    Shapes: for each modality k, rep (n, dims_k), counts (n, F_k); u (n, m); v (V, m).
    """

    def __init__(self, data: TrainingData, config: Config) -> None:
        super().__init__()
        self.config = config
        hidden = [config.hidden_dim] * config.hidden_layers
        m = config.latent_dim
        self.graph = GraphEncoder(data.propagation, m)
        self.encoders = nn.ModuleList(DataEncoder([rep.shape[1], *hidden], m, config.dropout) for rep in data.rep)
        self.decoders = nn.ModuleList(
            NegativeBinomialDecoder(n, len(names)) for n, names in zip(data.n_features, data.batches, strict=True)
        )
        self.discriminator = Discriminator([m, *hidden], len(data.rep), config.dropout)
        self.sizes = data.n_features  # of each modality, whose features follow each other among the vertices

    def encode(self, step: Minibatch) -> list[tuple[Tensor, Tensor]]:
        """Mean and raw spread of u, for each modality."""
        return [encoder(rep) for encoder, rep in zip(self.encoders, step.rep, strict=True)]

    def adversary_loss(self, means: Tensor, weight: Tensor, noise: float) -> Tensor:
        """Weighted cross-entropy of the guessed modality; `noise` in standard deviations of `means`."""
        if noise:
            means = means + noise * means.detach().std(0) * torch.randn_like(means)
        each = len(means) // len(self.sizes)
        truth = torch.arange(len(self.sizes), device=means.device).repeat_interleave(each)
        return (F.cross_entropy(self.discriminator(means), truth, reduction="none") * weight).mean()

    def vae_loss(self, step: Minibatch, encoded: Sequence[tuple[Tensor, Tensor]]) -> dict[str, Tensor]:
        """Parts of the loss without the adversary; "total" is their weighted sum."""
        config = self.config
        v, v_kl = posterior(*self.graph())
        parts = {"graph_nll": edge_nll(v, *step.edges), "graph_kl": v_kl / len(v) ** 2}
        total = config.graph_weight * len(self.sizes) * (parts["graph_nll"] + config.kl_weight * parts["graph_kl"])
        by_modality = torch.split(v, self.sizes)
        for k, ((mean, raw), decoder, features) in enumerate(zip(encoded, self.decoders, by_modality, strict=True)):
            u, kl = posterior(mean, raw)
            nll = torch.stack(
                [
                    decoder(u if part.at is None else u[part.at], features, part.counts, part.batch)
                    * (len(part.counts.library) / len(u))
                    for part in step.parts[k]
                ]
            ).sum()
            parts |= {f"nll_{k}": nll, f"kl_{k}": kl / len(u) / len(features)}
            total = total + nll + config.kl_weight * parts[f"kl_{k}"]
        return {**parts, "total": total}


class GlueTask:
    """Training of one member in one stage, as the loop in `models.train` drives it."""

    def __init__(
        self, data: TrainingData, module: Glue, plan: Plan, burnin: float, weights: Sequence[Tensor], seed: int
    ) -> None:
        self.data, self.module, self.burnin, self.weights = data, module, burnin, weights
        config = module.config
        self.config = config
        rng = np.random.default_rng([seed, 0])
        self.cells = CellSampler(data.sizes, config.batch_size, HELD_OUT, rng)
        self.edges = EdgeSampler(data.edges, config.negatives, config.graph_batches)
        self.n_steps = self.cells.n_batches
        self.generator = [p for name, p in module.named_parameters() if not name.startswith("discriminator")]
        self.adversary = list(module.discriminator.parameters())
        self.optimisers = {
            "generator": torch.optim.RMSprop(self.generator, plan.lr, foreach=True),
            "adversary": torch.optim.RMSprop(self.adversary, plan.lr, foreach=True),
        }
        self.seed = seed
        self.latest: list[NDArray[np.int64]] = []

    def steps(self, epoch: int, rng: np.random.Generator) -> Iterator[dict[str, Tensor]]:
        """One epoch of alternating steps: the discriminator, then everything else against it."""
        noise = NOISE * max(1 - (epoch - 1) / self.burnin, 0) if self.burnin else 0.0
        edges = self._edge_batches(rng)
        for rows in self.cells.epoch(rng):
            self.latest = rows
            yield self.step(self.data.minibatch(rows, self.weights, next(edges)), noise)

    def step(self, batch: Minibatch, noise: float) -> dict[str, Tensor]:
        """Update the discriminator, then encoders, decoders and graph."""
        module, weight = self.module, self.config.align_weight
        encoded = module.encode(batch)
        means = torch.cat([mean for mean, _ in encoded])
        loss = weight * module.adversary_loss(means.detach(), batch.weight, noise)
        self._update("adversary", self.adversary, loss)
        adversary = module.adversary_loss(means, batch.weight, noise)
        parts = module.vae_loss(batch, encoded)
        self._update("generator", self.generator, parts["total"] - weight * adversary)
        return {name: value.detach() for name, value in parts.items()} | {"adversary": adversary.detach()}

    def _update(self, name: str, parameters: Sequence[Tensor], loss: Tensor) -> None:
        for parameter, grad in zip(parameters, torch.autograd.grad(loss, list(parameters)), strict=True):
            parameter.grad = grad
        self.optimisers[name].step()

    @torch.no_grad()
    def validate(self, epoch: int) -> Row:
        """Losses on held-out cells with the same cells, edges and noise after every epoch."""
        rng = np.random.default_rng([self.seed, 2])
        with torch.random.fork_rng(devices=[self.data.device] if self.data.device.type == "cuda" else []):
            torch.manual_seed(self.seed)
            edges = self._edge_batches(rng)
            rows = [
                self.module.vae_loss(batch, self.module.encode(batch))
                for batch in (
                    self.data.minibatch(cells, self.weights, next(edges)) for cells in self.cells.epoch(rng, held=True)
                )
            ]
        return {name: float(torch.stack([row[name] for row in rows]).mean()) for name in rows[0]}

    def current_cells(self) -> list[str]:
        """Cells of the latest step with values that are not finite, or else all of them."""
        modalities = self.data.cells.modalities.values()
        everyone = (str(name) for m, r in zip(modalities, self.latest, strict=True) for name in m.obs_names[r])
        return self.data.not_finite(self.latest) or list(everyone)

    def _edge_batches(self, rng: np.random.Generator) -> Iterator[EdgeBatch]:
        """Graph epochs without end; each starts anew with an epoch of cells, so that no state outlives one."""
        while True:
            for part in self.edges.epoch(rng):
                source, target, sign, present = (torch.from_numpy(a).to(self.data.device) for a in part)
                yield source, target, sign, present


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
    modalities=["rna", "atac"],
    reads=["NEAR", "CONTACTS", "EQTL"],
    writes=["PREDICTED_LINK", "HAS_EMBEDDING"],
    cites="doi:10.1038/s41587-022-01284-4",
)
def fit(graph: GuidanceGraph, cells: Cells, config: Config, trainer: Trainer, start: Start | None = None) -> Fit:
    """Train `config.members` models in two stages each and keep their embeddings.

    Args:
        graph: evidence; reversed copies and loops are added here.
        cells: raw counts; `paired` and labels are read by metrics only.
        config: options.
        trainer: device, threads, checkpoints, progress.
        start: weights to go on from.

    Raises:
        InputError: a modality has no feature in the graph.
        Diverged: a loss is not finite.
        CheckpointRefused: the trainer's directory holds another run.
    """
    data = TrainingData(graph, cells.linked(graph, ANCHOR), trainer.device)
    identity = {"model": "glue", "graph": graph.hash, "cells": data.cells.hash, "config": asdict(config)}
    if start is not None:
        identity["start"] = start.run
    features, history, first_cells = [], [], None
    for member in range(config.members):
        module, rows = train_member(data, config, trainer, member, identity, start)
        features.append(embed_features(module))
        history += [{"member": member, **row} for row in rows]
        if first_cells is None:
            first_cells = embed_cells(module, data)
    order = np.argsort(data.vertices)
    return Fit(
        data.vertices[order],
        np.stack(features)[:, order],
        dict(zip(data.names, first_cells or [], strict=True)),
        pd.DataFrame(history),
        measure(graph, data.cells, first_cells or [], history),
    )


def train_member(
    data: TrainingData,
    config: Config,
    trainer: Trainer,
    member: int,
    identity: Mapping[str, Any],
    start: Start | None = None,
) -> tuple[Glue, list[dict[str, Any]]]:
    """Both stages of one member, or the second alone where a start leaves the first nothing to do."""
    plan_for = {"quick": quick_plan, "published": published_plan}[config.schedule]
    seed = config.seed + member
    weights = [torch.ones(n, device=data.device) for n in data.sizes]
    history: list[dict[str, Any]] = []
    module, warm = None, False
    if start is not None:
        with trainer.seeded(seed):
            module = Glue(data, config).to(data.device)
        warm = start.carry(module, data, member)
    for stage in ("second",) if warm else ("first", "second"):
        with trainer.seeded(seed + (stage == "second")):
            fresh = Glue(data, config).to(data.device)
            if module is not None:
                fresh.load_state_dict(module.state_dict())
                weights = balance(module, data, trainer) if stage == "second" else weights
            module = fresh
            n_cells = sum(data.sizes)
            plan, burnin = warm_plan(n_cells, config) if warm else plan_for(n_cells, config, first=stage == "first")
            task = GlueTask(data, module, plan, burnin, weights, seed + (stage == "second"))
            rows = trainer.train(task, plan, f"member-{member}-{stage}", seed, identity)
            history += [{"stage": stage, **row} for row in rows]
    assert module is not None  # noqa: S101 - two stages ran
    return module.eval(), history


def balance(module: Glue, data: TrainingData, trainer: Trainer) -> list[Tensor]:
    """Discriminator weights from clusters of the first stage's embeddings."""
    trainer.progress.begin("balancing weights")
    weights = balancing_weights(embed_cells(module, data))
    trainer.progress.end()
    return [torch.as_tensor(w, dtype=torch.float32, device=data.device) for w in weights]


def measure(
    graph: GuidanceGraph, cells: Cells, embeddings: Sequence[NDArray[np.float32]], history: Sequence[Mapping[str, Any]]
) -> dict[str, float]:
    """Metrics of a run: last losses, consistency, and FOSCTTM and label transfer where they can be had."""
    found = {name: float(value) for name, value in history[-1].items() if name.startswith(("train_", "val_"))}
    modalities = list(cells.modalities.values())
    found |= {f"consistency_{n}": s for n, s in metrics.consistency(modalities, embeddings, graph).items()}
    if len(modalities) == 2:
        one, other = modalities
        if cells.paired:
            found["foscttm"] = metrics.foscttm(*embeddings)
        if one.labels is not None and other.labels is not None:
            found["label_transfer"] = metrics.label_transfer(embeddings[0], one.labels, embeddings[1], other.labels)
    return found
