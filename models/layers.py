"""The networks of GLUE (Cao & Gao 2022, doi 10.1038/s41587-022-01284-4), sized by their arguments."""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING, Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from models.likelihoods import EPS, SparseCounts, log1p_, sparse_nb_nll

if TYPE_CHECKING:
    from collections.abc import Sequence

    from models.pyg import Propagation

SLOPE = 0.2  # of LeakyReLU


class _Posterior(torch.autograd.Function):
    """Sample and KL divergence of Normal(mean, softplus(raw) + EPS), each in closed form and few passes."""

    @staticmethod
    def forward(ctx: Any, mean: Tensor, raw: Tensor, noise: Tensor) -> tuple[Tensor, Tensor]:
        std = softplus(raw).add_(EPS)
        kl = 0.5 * (mean.square().sum() + std.square().sum() - mean.numel()) - std.log().sum()
        ctx.save_for_backward(mean, raw, noise, std)
        return torch.addcmul(mean, std, noise), kl

    @staticmethod
    def backward(ctx: Any, *outputs: Tensor) -> tuple[Tensor | None, ...]:
        d_sample, d_kl = outputs
        mean, raw, noise, std = ctx.saved_tensors
        d_std = torch.sub(std, std.reciprocal()).mul_(d_kl).addcmul_(d_sample, noise)
        return d_sample + d_kl * mean, d_std.mul_(torch.sigmoid(raw)), None


def softplus(x: Tensor) -> Tensor:
    """log(1 + exp(x)), large x included."""
    return log1p_(x.abs().neg_().exp_()).add_(x.clamp_min(0))


def posterior(mean: Tensor, raw: Tensor) -> tuple[Tensor, Tensor]:
    """A reparameterised sample of Normal(mean, softplus(raw) + EPS) and its summed KL from Normal(0, 1).

    Shapes: mean, raw (n, m) -> (n, m), ().
    """
    sample: tuple[Tensor, Tensor] = _Posterior.apply(mean, raw, torch.randn_like(mean))
    return sample


class GraphEncoder(nn.Module):
    """One signed, weighted propagation over the graph, then a linear mean and spread; no nonlinearity.

    H_t = sum over edges s -> t of sign * norm * P_s, with P a free parameter that starts at zero.
    Shapes: () -> mean (V, m), raw spread (V, m).
    """

    def __init__(self, graph: Propagation, latent_dim: int) -> None:
        super().__init__()
        self.graph = graph
        self.vertices = nn.Parameter(torch.zeros(graph.n_vertices, latent_dim))
        self.mean = nn.Linear(latent_dim, latent_dim)
        self.spread = nn.Linear(latent_dim, latent_dim)

    def forward(self) -> tuple[Tensor, Tensor]:
        hidden = self.graph.matmul(self.vertices)  # (V, m)
        return self.mean(hidden), self.spread(hidden)


class DataEncoder(nn.Module):
    """Linear, LeakyReLU, BatchNorm, dropout (in that order), then a linear mean and spread.

    Shapes: (n, dims) -> mean (n, m), raw spread (n, m).
    """

    def __init__(self, widths: Sequence[int], latent_dim: int, dropout: float) -> None:
        super().__init__()
        blocks = [
            nn.Sequential(nn.Linear(i, o), nn.LeakyReLU(SLOPE), nn.BatchNorm1d(o), nn.Dropout(dropout))
            for i, o in pairwise(widths)
        ]
        self.hidden = nn.Sequential(*blocks)
        self.mean = nn.Linear(widths[-1], latent_dim)
        self.spread = nn.Linear(widths[-1], latent_dim)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        hidden = self.hidden(x)
        return self.mean(hidden), self.spread(hidden)


class NegativeBinomialDecoder(nn.Module):
    """Counts from cell and feature embeddings; scale, bias and dispersion of each feature and batch.

    Shapes: u (n, m), v (F, m), counts of n cells of one batch -> () mean negative log-likelihood.
    """

    def __init__(self, n_features: int, n_batches: int) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.zeros(n_batches, n_features))
        self.bias = nn.Parameter(torch.zeros(n_batches, n_features))
        self.log_theta = nn.Parameter(torch.zeros(n_batches, n_features))

    def forward(self, u: Tensor, v: Tensor, counts: SparseCounts, batch: int) -> Tensor:
        w = F.softplus(self.scale[batch])[:, None] * v  # (F, m)
        return sparse_nb_nll(u, w, self.bias[batch], self.log_theta[batch], counts)


class Discriminator(nn.Sequential):
    """Guesses the modality of a cell from the mean of its embedding; no batch norm.

    Shapes: (n, m) -> (n, modalities).
    """

    def __init__(self, widths: Sequence[int], n_modalities: int, dropout: float) -> None:
        hidden = [[nn.Linear(i, o), nn.LeakyReLU(SLOPE), nn.Dropout(dropout)] for i, o in pairwise(widths)]
        super().__init__(*(layer for block in hidden for layer in block), nn.Linear(widths[-1], n_modalities))


def edge_nll(v: Tensor, source: Tensor, target: Tensor, sign: Tensor, present: Tensor) -> Tensor:
    """Balanced negative log-likelihood of sampled edges: mean over real ones and mean over absent ones, averaged.

    Shapes: v (V, m); source, target, sign, present (e,) -> ().
    """
    logit = sign * (v.index_select(0, source) * v.index_select(0, target)).sum(1)
    nll = F.binary_cross_entropy_with_logits(logit, present, reduction="none")
    n_real = present.sum()
    real, absent = (
        (nll * present).sum() / n_real.clamp_min(1),
        (nll * (1 - present)).sum() / (len(nll) - n_real).clamp_min(1),
    )
    kinds = (n_real > 0).float() + (n_real < len(nll)).float()
    return (real + absent) / kinds
