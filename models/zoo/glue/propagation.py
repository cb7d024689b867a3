"""The fixed linear map of the graph encoder: a sparse product and its transpose, sampled where the graph is big."""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from models.zoo.glue.neighbours import Neighbours

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # it scripts functions on import, which new torch deprecates
    from torch_geometric.utils import spmm, to_torch_csr_tensor

if TYPE_CHECKING:
    from models.inputs.edges import Edges

REFRESHED = 16  # steps of training after which all in-edges are summed again, where they are sampled


class Propagation:
    """The fixed linear map of the graph encoder, with its transpose for the backward pass.

    With a `fanout`, steps of training sum but so many in-edges of a vertex, right on average; all else sums all. What
    is summed so is the change of x since all was summed last, some steps ago: the noise is that of a small difference,
    and does not teach neighbours to be alike (control variates of Chen et al. 2018, arXiv 1710.10568).
    """

    def __init__(self, edges: Edges, device: torch.device, fanout: int = 0) -> None:
        self.n_vertices = edges.n_vertices
        self.sampled = Neighbours(edges, fanout, device) if fanout else None
        self.since: tuple[Tensor, Tensor] | None = None  # x when all was summed last in training, and its sum
        self.steps = 0  # that have been taken from it
        index = torch.from_numpy(np.stack([edges.target, edges.source]))
        value = torch.from_numpy(edges.norm * edges.sign)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # sparse CSR is "in beta state"
            size = (edges.n_vertices, edges.n_vertices)
            self.forward = to_torch_csr_tensor(index, value, size).to(device)
            self.backward = to_torch_csr_tensor(index.flip(0), value, size).to(device)

    def __call__(self, x: Tensor) -> Tensor:
        """Sum over incoming edges of sign * norm * x[source]. Shapes: (V, m) -> (V, m)."""
        if self.sampled and torch.is_grad_enabled():
            return self._sampled(self.sampled, x)
        self.since = None
        product: Tensor = _Propagate.apply(x, self.forward, self.backward)
        return product

    def _sampled(self, sampled: Neighbours, x: Tensor) -> Tensor:
        if self.since is None or self.steps == REFRESHED:
            then = x.detach().clone()
            self.since, self.steps = (then, spmm(self.forward, then)), 0
        self.steps += 1
        then, summed = self.since
        return summed + sampled(x - then)


class _Propagate(torch.autograd.Function):
    """A sparse product whose transpose is at hand; torch would make it anew in every backward pass."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, forward: Tensor, backward: Tensor) -> Tensor:
        ctx.transpose = backward
        product: Tensor = spmm(forward, x)
        return product

    @staticmethod
    def backward(ctx: Any, *outputs: Tensor) -> tuple[Tensor, None, None]:
        return spmm(ctx.transpose, outputs[0]), None, None
