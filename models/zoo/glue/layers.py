"""The networks of GLUE (Cao & Gao 2022, doi 10.1038/s41587-022-01284-4), sized by their arguments."""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from models.zoo.glue import kernels
from models.zoo.glue.likelihoods import EPS

if TYPE_CHECKING:
    from collections.abc import Sequence

    from models.zoo.glue.propagation import Propagation

SLOPE = 0.2  # of LeakyReLU


class _Posterior(torch.autograd.Function):
    """`posterior` on the CPU, by the compiled loops."""

    @staticmethod
    def forward(ctx: Any, mean: Tensor, raw: Tensor, noise: Tensor) -> tuple[Tensor, Tensor]:
        sample, std, slope = (torch.empty_like(noise) for _ in range(3))
        kl = kernels.sample(*(tensor.view(-1).numpy() for tensor in (mean, raw, noise, sample, std, slope)))
        ctx.save_for_backward(mean, noise, std, slope)
        return sample, mean.new_tensor(kl)

    @staticmethod
    def backward(ctx: Any, *outputs: Tensor) -> tuple[Tensor, Tensor, None]:
        d_sample, d_kl = outputs[0].contiguous(), float(outputs[1])
        mean, noise, std, slope = ctx.saved_tensors
        d_raw = torch.empty_like(mean)
        flat = (tensor.view(-1).numpy() for tensor in (noise, std, slope, d_raw))
        kernels.sample_back(d_sample.view(-1).numpy(), np.float32(d_kl), *flat)
        return torch.add(d_sample, mean, alpha=d_kl), d_raw, None


def posterior(mean: Tensor, raw: Tensor) -> tuple[Tensor, Tensor]:
    """Return a reparameterised sample of Normal(mean, softplus(raw) + EPS) and its summed KL from Normal(0, 1).

    Shapes: mean, raw (n, m) -> (n, m), ().
    """
    noise = torch.randn_like(mean)
    if mean.device.type == "cpu" and mean.dtype == torch.float32:
        sample: tuple[Tensor, Tensor] = _Posterior.apply(mean.contiguous(), raw.contiguous(), noise)
        return sample
    std = F.softplus(raw) + EPS
    return torch.addcmul(mean, std, noise), (0.5 * (mean.square() + std.square() - 1) - std.log()).sum()


class Dropout(nn.Module):
    """Dropout whose mask costs 16 random bits an entry; torch's takes five times longer on the CPU.

    The probability is rounded to 1 / 65,536. Shapes: any -> same.
    """

    def __init__(self, probability: float) -> None:
        super().__init__()
        self.below = round(probability * 2**16) - 2**15
        self.scale = 1 / (1 - probability)

    def forward(self, x: Tensor) -> Tensor:
        """Drop entries and scale up the rest, in training."""
        if not self.training:
            return x
        bits = torch.empty(-(-x.numel() // 4), dtype=torch.int64, device=x.device).random_(-(2**63), None)
        kept = bits.view(torch.int16)[: x.numel()].view_as(x) >= self.below
        return x * kept * self.scale


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
        """Return the mean and raw spread of every vertex."""
        hidden = self.graph(self.vertices)  # (V, m)
        return self.mean(hidden), self.spread(hidden)


class DataEncoder(nn.Module):
    """Linear, LeakyReLU, BatchNorm, dropout (in that order), then a linear mean and spread.

    Shapes: (n, dims) -> mean (n, m), raw spread (n, m).
    """

    def __init__(self, widths: Sequence[int], latent_dim: int, dropout: float) -> None:
        super().__init__()
        blocks = [
            nn.Sequential(nn.Linear(i, o), nn.LeakyReLU(SLOPE), nn.BatchNorm1d(o), Dropout(dropout))
            for i, o in pairwise(widths)
        ]
        self.hidden = nn.Sequential(*blocks)
        self.mean = nn.Linear(widths[-1], latent_dim)
        self.spread = nn.Linear(widths[-1], latent_dim)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Return the mean and raw spread of every cell."""
        hidden = self.hidden(x)
        return self.mean(hidden), self.spread(hidden)


class Discriminator(nn.Sequential):
    """Guesses the modality of a cell from the mean of its embedding, and its batch where batches are shared.

    No batch norm. Shapes: (n, m + shared batches) -> (n, modalities).
    """

    def __init__(self, widths: Sequence[int], n_modalities: int, dropout: float) -> None:
        hidden = [[nn.Linear(i, o), nn.LeakyReLU(SLOPE), Dropout(dropout)] for i, o in pairwise(widths)]
        super().__init__(*(layer for block in hidden for layer in block), nn.Linear(widths[-1], n_modalities))


class _EdgeLoss(torch.autograd.Function):
    """`edge_nll` by the compiled loop, which computes its gradient along the way."""

    @staticmethod
    def forward(ctx: Any, v: Tensor, edges: Sequence[Tensor]) -> Tensor:
        grad = torch.zeros_like(v)
        source, target, sign, present = (tensor.numpy() for tensor in edges)
        n_real = int(np.count_nonzero(present))
        n_absent = len(present) - n_real
        kinds = (n_real > 0) + (n_absent > 0)
        real, absent = (1.0 / (max(n, 1) * kinds) for n in (n_real, n_absent))
        loss = kernels.edges(v.detach().numpy(), source, target, sign, present, real, absent, grad.numpy())
        ctx.save_for_backward(grad)
        return v.new_tensor(loss)

    @staticmethod
    def backward(ctx: Any, *outputs: Tensor) -> tuple[Tensor | None, ...]:
        return ctx.saved_tensors[0].mul_(outputs[0]), None


def edge_nll(v: Tensor, source: Tensor, target: Tensor, sign: Tensor, present: Tensor) -> Tensor:
    """Return the balanced negative log-likelihood of sampled edges: means over real and absent ones, averaged.

    Shapes: v (V, m); source, target, sign, present (e,) -> ().
    """
    if v.device.type == "cpu" and v.dtype == torch.float32:
        loss: Tensor = _EdgeLoss.apply(v.contiguous(), (source, target, sign, present))
        return loss
    heads, tails = v.index_select(0, torch.cat([source, target])).chunk(2)
    logit = sign * (heads * tails).sum(1)
    nll = F.binary_cross_entropy_with_logits(logit, present, reduction="none")
    n_real = present.sum()
    real, absent = (
        (nll * present).sum() / n_real.clamp_min(1),
        (nll * (1 - present)).sum() / (len(nll) - n_real).clamp_min(1),
    )
    kinds = (n_real > 0).float() + (n_real < len(nll)).float()
    return (real + absent) / kinds
