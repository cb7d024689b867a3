"""The networks of GLUE and their loss."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from models.zoo.glue.decoders import DECODERS
from models.zoo.glue.layers import DataEncoder, Discriminator, GraphEncoder, edge_nll, posterior

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import numpy as np
    from numpy.typing import NDArray

    from models.zoo.glue.config import Config
    from models.zoo.glue.minibatch import EdgeBatch, Minibatch, Pairing, Part, TrainingData

EVAL_ROWS = 4096


class Glue(nn.Module):
    """The networks and their loss.

    L = sum_k [nll(x_k | u, v) + KL(q(u_k))] + lambda_G K [nll(edges | v) + KL(q(v))] - lambda_A L_D

    plus, if requested, terms for labels and pairs.

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
        """Adopt weights of the same shape: all but the first layer of a discriminator that sees batches only now."""
        own, theirs = self.state_dict(), other.state_dict()
        taken = {n: v for n, v in theirs.items() if n in own and v.shape == own[n].shape}
        self.load_state_dict(own | taken)

    def encode(self, step: Minibatch) -> list[tuple[Tensor, Tensor]]:
        """Return the mean and raw spread of u, for each modality."""
        return [encoder(rep) for encoder, rep in zip(self.encoders, step.rep, strict=True)]

    def adversary_loss(self, means: Tensor, step: Minibatch, noise: float) -> Tensor:
        """Return the weighted cross-entropy of the guessed modality; `noise` is in standard deviations of `means`."""
        if noise:
            means = means + noise * means.detach().std(0) * torch.randn_like(means)
        if self.n_batches:
            means = torch.cat([means, F.one_hot(step.batch, self.n_batches)], 1)
        each = len(means) // len(self.sizes)
        truth = torch.arange(len(self.sizes), device=means.device).repeat_interleave(each)
        return (F.cross_entropy(self.discriminator(means), truth, reduction="none") * step.weight).mean()

    def graph_loss(self, edges: EdgeBatch) -> tuple[Tensor, dict[str, Tensor]]:
        """Return a sample of v, and the graph's parts of the loss; "graph" is their weighted sum."""
        config = self.config
        v, kl = posterior(*self.graph())
        parts = {"graph_nll": edge_nll(v, *edges), "graph_kl": kl / len(v) ** 2}
        weight = config.graph_weight * len(self.sizes)
        return v, {**parts, "graph": weight * (parts["graph_nll"] + config.kl_weight * parts["graph_kl"])}

    def cell_loss(self, step: Minibatch, encoded: Sequence[tuple[Tensor, Tensor]], v: Tensor) -> dict[str, Tensor]:
        """Return the parts of the loss from cells; "cells" is their weighted sum."""
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
        """Return the parts of the loss without the adversary; "total" is their weighted sum."""
        v, graph = self.graph_loss(step.edges)
        return self.together(graph, self.cell_loss(step, encoded, v))

    @staticmethod
    def together(graph: Mapping[str, Tensor], cells: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Return the parts of the loss from both sides, and "total"."""
        parts = {name: value for name, value in {**graph, **cells}.items() if name not in {"graph", "cells"}}
        return {**parts, "total": graph["graph"] + cells["cells"]}

    def nll(self, k: int, u: Tensor, features: Tensor, parts: Sequence[Part]) -> Tensor:
        """Return the mean over all measured values of modality k, whose batches have decoders of their own."""
        measured = max(sum(part.counts.measured for part in parts), 1)
        each = [
            self.decoders[k](u if part.at is None else u[part.at], features, part.counts, part.batch)
            * (part.counts.measured / measured)
            for part in parts
        ]
        return torch.stack(each).sum()

    def label_loss(self, means: Sequence[Tensor], step: Minibatch) -> Tensor:
        """Return the cross-entropy of the labels of those cells that have one."""
        assert self.classifier is not None  # noqa: S101 - asked for only where there is one
        labelled = step.label >= 0
        guess = self.classifier(torch.cat(list(means))[labelled])
        return F.cross_entropy(guess, step.label[labelled], reduction="sum") / labelled.sum().clamp_min(1)

    def pair_losses(self, u: Tensor, features: Sequence[Tensor], pairing: Pairing) -> dict[str, Tensor]:
        """Return the losses of paired cells. Shapes: u (modalities, n, m), features (F_k, m) of each."""
        own = pairing.own[..., None]
        mean = (u * own).sum(0) / own.sum(0)
        losses = {"joint_cross": u.new_zeros(()), "real_cross": u.new_zeros(())}
        for cross in pairing.crosses:
            name, source = ("joint_cross", mean) if cross.source is None else ("real_cross", u[cross.source])
            losses[name] = losses[name] + self.nll(cross.target, source, features[cross.target], cross.parts)
        distances = [
            1 - F.cosine_similarity(of[has], mean[has]).mean()
            for of, has in zip(u, pairing.own, strict=True)
            if has.any()
        ]
        return {**losses, "cosine": torch.stack(distances).sum()}


@torch.no_grad()
def embed_cells(module: Glue, data: TrainingData) -> list[NDArray[np.float32]]:
    """Return posterior means of u of all cells, (cells, m) for each modality."""
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
    """Return posterior means of v of all features, (V, m)."""
    means: NDArray[np.float32] = module.graph()[0].cpu().numpy()
    return means
