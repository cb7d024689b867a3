"""GLUE: cells of unpaired modalities and their features in one space, tied by the guidance graph.

Two kinds of variables are learnt: u for each cell and v for each feature. Features of all modalities share one
graph autoencoder; a cell's counts are explained by the inner products of its u with the v of its modality's
features; a discriminator that guesses the modality from u pulls the modalities together.
Cao & Gao 2022, Nature Biotechnology, doi 10.1038/s41587-022-01284-4.
"""

from __future__ import annotations

import hashlib
import json
import math
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from kg.errors import InputError
from models import metrics
from models.balance import balancing_weights
from models.fit import Fit
from models.layers import DataEncoder, Discriminator, GraphEncoder, NegativeBinomialDecoder, edge_nll, posterior
from models.likelihoods import CountMatrix, SparseCounts
from models.pyg import Edges, Propagation
from models.registry import model
from models.sampling import CellSampler, EdgeSampler
from models.train import Plan, Row, Trainer

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from numpy.typing import NDArray

    from kg.guidance import GuidanceGraph
    from models.cells import Cells

ANCHOR = "rna"
NOISE = 1.5  # standard deviations of burn-in noise on what the discriminator sees
HELD_OUT = 0.1
EVAL_ROWS = 4096


@dataclass(frozen=True)
class Config:
    """Options of a GLUE run; defaults are those of the paper.

    Attributes:
        schedule: "quick", or "published" for the paper's number of epochs and patience.
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
    """Ours: a first stage just long enough for clusters, then the aligned stage with less patience."""
    per_epoch = n_cells * (1 - HELD_OUT) / config.batch_size
    longest = max(8, math.ceil((1500 if first else 4500) / per_epoch))
    burnin = max(2, math.ceil(1500 / per_epoch))
    plan = Plan(longest, config.lr, max(2, longest // 12), max(4, longest // 6), 0 if first else burnin)
    return plan, math.inf if first else float(burnin)


@dataclass(frozen=True)
class Part:
    """Cells of one step that share a batch."""

    batch: int
    at: Tensor | None  # rows of the step's cells; None for all of them
    counts: SparseCounts


@dataclass(frozen=True)
class Step:
    """What one step sees: for each modality, encoder inputs and counts; discriminator weights; edges."""

    rep: Sequence[Tensor]
    parts: Sequence[Sequence[Part]]
    weight: Tensor
    edges: tuple[Tensor, Tensor, Tensor, Tensor]


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
            NegativeBinomialDecoder(len(rows), len(names)) for rows, names in zip(data.rows, data.batches, strict=True)
        )
        self.discriminator = Discriminator([m, *hidden], len(data.rep), config.dropout)
        self.rows = data.rows  # of each modality's features among the vertices

    def encode(self, step: Step) -> list[tuple[Tensor, Tensor]]:
        """Mean and raw spread of u, for each modality."""
        return [encoder(rep) for encoder, rep in zip(self.encoders, step.rep, strict=True)]

    def adversary_loss(self, means: Tensor, weight: Tensor, noise: float) -> Tensor:
        """Weighted cross-entropy of the guessed modality; `noise` in standard deviations of `means`."""
        if noise:
            means = means + noise * means.detach().std(0) * torch.randn_like(means)
        each = len(means) // len(self.rows)
        truth = torch.arange(len(self.rows), device=means.device).repeat_interleave(each)
        return (F.cross_entropy(self.discriminator(means), truth, reduction="none") * weight).mean()

    def vae_loss(self, step: Step, encoded: Sequence[tuple[Tensor, Tensor]]) -> dict[str, Tensor]:
        """Parts of the loss without the adversary; "total" is their weighted sum."""
        config = self.config
        v, v_kl = posterior(*self.graph())
        parts = {"graph_nll": edge_nll(v, *step.edges), "graph_kl": v_kl / len(v) ** 2}
        total = config.graph_weight * len(self.rows) * (parts["graph_nll"] + config.kl_weight * parts["graph_kl"])
        for k, ((mean, raw), decoder, rows) in enumerate(zip(encoded, self.decoders, self.rows, strict=True)):
            u, kl = posterior(mean, raw)
            features = v.index_select(0, rows)
            nll = torch.stack(
                [
                    decoder(u if part.at is None else u[part.at], features, part.counts, part.batch)
                    * (len(part.counts.library) / len(u))
                    for part in step.parts[k]
                ]
            ).sum()
            parts |= {f"nll_{k}": nll, f"kl_{k}": kl / len(u) / len(rows)}
            total = total + nll + config.kl_weight * parts[f"kl_{k}"]
        return {**parts, "total": total}


class TrainingData:
    """Cells and graph as tensors, one for all members."""

    def __init__(self, graph: GuidanceGraph, cells: Cells, config: Config, device: str) -> None:
        self.cells = used_features(graph, cells)
        self.device = torch.device(device)
        self.vertices = self.cells.features
        self.edges = Edges.of(graph, self.vertices)
        self.propagation = Propagation(self.edges, self.device)
        modalities = list(self.cells.modalities.values())
        self.names = [modality.name for modality in modalities]
        self.rep = [torch.as_tensor(np.ascontiguousarray(m.rep), device=self.device) for m in modalities]
        self.counts = [
            CountMatrix(m.counts.indptr, m.counts.indices, m.counts.data, m.counts.shape[1], self.device)
            for m in modalities
        ]
        self.rows = [
            torch.as_tensor(np.searchsorted(self.vertices, m.features), device=self.device) for m in modalities
        ]
        self.batches, self.batch = zip(
            *(_batches(m.batch, len(m.obs_names), self.device) for m in modalities), strict=True
        )

    @property
    def sizes(self) -> list[int]:
        """Cells of each modality."""
        return [len(rep) for rep in self.rep]


def _batches(batch: NDArray[np.str_] | None, n: int, device: torch.device) -> tuple[list[str], Tensor]:
    names, code = np.unique(batch if batch is not None else np.full(n, "one"), return_inverse=True)
    return names.tolist(), torch.as_tensor(code, device=device)


def used_features(graph: GuidanceGraph, cells: Cells) -> Cells:
    """Features that take part: all genes, and of other modalities those that an edge joins to a measured gene.

    Raises:
        InputError: a modality keeps no feature.
    """
    genes = np.isin(graph.vertices, cells[ANCHOR].features)
    reached = np.unique(np.concatenate([graph.source[genes[graph.target]], graph.target[genes[graph.source]]]))
    kept = {}
    for name, modality in cells.modalities.items():
        keep = (
            np.ones(len(modality.features), bool)
            if name == ANCHOR
            else np.isin(modality.features, graph.vertices[reached])
        )
        if not keep.any():
            raise InputError(
                f"no feature of modality {name!r} is linked to a measured gene in release {graph.release}",
                "load peaks and NEAR links of these cells' features, or check their assembly",
            )
        kept[name] = modality.restrict(keep)
    return replace(cells, modalities=kept)


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
            "generator": torch.optim.RMSprop(self.generator, plan.lr),
            "adversary": torch.optim.RMSprop(self.adversary, plan.lr),
        }
        self.seed = seed
        self.latest: list[NDArray[np.int64]] = []

    def steps(self, epoch: int, rng: np.random.Generator) -> Iterator[dict[str, Tensor]]:
        """One epoch of alternating steps: the discriminator, then everything else against it."""
        noise = NOISE * max(1 - (epoch - 1) / self.burnin, 0) if self.burnin else 0.0
        edges = self._edge_batches(rng)
        for rows in self.cells.epoch(rng):
            self.latest = rows
            yield self.step(self.batch(rows, next(edges)), noise)

    def step(self, batch: Step, noise: float) -> dict[str, Tensor]:
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
                for batch in (self.batch(cells, next(edges)) for cells in self.cells.epoch(rng, held=True))
            ]
        return {name: float(torch.stack([row[name] for row in rows]).mean()) for name in rows[0]}

    def current_cells(self) -> list[str]:
        """Names of the cells of the latest step."""
        modalities = self.data.cells.modalities.values()
        return [str(name) for m, rows in zip(modalities, self.latest, strict=True) for name in m.obs_names[rows]]

    def _edge_batches(self, rng: np.random.Generator) -> Iterator[tuple[Tensor, ...]]:
        while True:
            for part in self.edges.epoch(rng):
                yield tuple(torch.from_numpy(a).to(self.data.device) for a in part)

    def batch(self, rows: Sequence[NDArray[np.int64]], edges: Any) -> Step:
        """Gather what a step needs."""
        data = self.data
        at = [torch.from_numpy(r).to(data.device) for r in rows]
        weight = torch.cat([w[r] for w, r in zip(self.weights, at, strict=True)])
        parts = [self._parts(k, r) for k, r in enumerate(at)]
        return Step([rep[r] for rep, r in zip(data.rep, at, strict=True)], parts, weight, edges)

    def _parts(self, k: int, rows: Tensor) -> list[Part]:
        counts = self.data.counts[k]
        if len(self.data.batches[k]) == 1:
            return [Part(0, None, counts.take(rows))]
        batch = self.data.batch[k][rows]
        places = [(int(b), torch.nonzero(batch == b).squeeze(1)) for b in batch.unique()]
        return [Part(b, at, counts.take(rows[at])) for b, at in places]


@torch.no_grad()
def embed_cells(module: Glue, data: TrainingData) -> list[NDArray[np.float32]]:
    """Posterior means of u of all cells, (cells, m) for each modality."""
    was_training = module.training
    module.eval()
    means = [
        torch.cat([encoder(part)[0] for part in rep.split(EVAL_ROWS)]).cpu().numpy()
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
    reads=["NEAR"],
    writes=["PREDICTED_LINK", "HAS_EMBEDDING"],
    cites="doi:10.1038/s41587-022-01284-4",
)
def fit(graph: GuidanceGraph, cells: Cells, config: Config, trainer: Trainer) -> Fit:
    """Train `config.members` models in two stages each and keep their embeddings.

    Args:
        graph: evidence; reversed copies and loops are added here.
        cells: raw counts; `paired` and labels are read by metrics only.
        config: options.
        trainer: device, threads, checkpoints, progress.

    Raises:
        InputError: a modality has no feature in the graph.
        Diverged: a loss is not finite.
        CheckpointRefused: the trainer's directory holds another run.
    """
    data = TrainingData(graph, cells, config, trainer.device)
    identity = {"model": "glue", "graph": graph.hash, "cells": cells_hash(data.cells), "config": asdict(config)}
    features, history, first_cells = [], [], None
    for member in range(config.members):
        module, rows = train_member(data, config, trainer, member, identity)
        features.append(embed_features(module))
        history += [{"member": member, **row} for row in rows]
        if first_cells is None:
            first_cells = embed_cells(module, data)
    return Fit(
        data.vertices,
        np.stack(features),
        dict(zip(data.names, first_cells or [], strict=True)),
        pd.DataFrame(history),
        measure(graph, data.cells, first_cells or [], history),
    )


def train_member(
    data: TrainingData, config: Config, trainer: Trainer, member: int, identity: Mapping[str, Any]
) -> tuple[Glue, list[dict[str, Any]]]:
    """Both stages of one member."""
    plan_for = {"quick": quick_plan, "published": published_plan}[config.schedule]
    seed = config.seed + member
    even = [torch.ones(n, device=data.device) for n in data.sizes]
    history: list[dict[str, Any]] = []
    module, weights = None, even
    for stage in ("first", "second"):
        with trainer.seeded(seed + (stage == "second")):
            fresh = Glue(data, config).to(data.device)
            if module is not None:
                fresh.load_state_dict(module.state_dict())
                weights = balance(module, data, trainer)
            module = fresh
            plan, burnin = plan_for(sum(data.sizes), config, first=stage == "first")
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


def cells_hash(cells: Cells) -> str:
    """sha256 of everything in the cells that training reads."""
    digest = hashlib.sha256()
    for name, m in cells.modalities.items():
        batches = [] if m.batch is None else m.batch.tolist()
        digest.update(json.dumps([name, m.features.tolist(), m.obs_names.tolist(), batches]).encode())
        for array in (m.counts.indptr, m.counts.indices, m.counts.data, m.rep):
            digest.update(np.ascontiguousarray(array).tobytes())
    return digest.hexdigest()
