"""The fixed linear map of the graph encoder: a sparse product and its transpose, sampled for big graphs."""

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

REFRESHED = 16  # training steps after which all in-edges are summed again, where they are sampled


class Propagation:
    """The fixed linear map of the graph encoder, with its transpose for the backward pass.

    With a `fanout`, training steps sum only that many in-edges of a vertex, unbiased; everything else sums all. The
    sampled sum is over the change of x since the last full sum, a few steps ago: its noise is that of a small
    difference, and does not make neighbours alike (control variates of Chen et al. 2018, arXiv 1710.10568).
    """

    def __init__(self, edges: Edges, device: torch.device, fanout: int = 0) -> None:
        self.n_vertices = edges.n_vertices
        self.sampled = Neighbours(edges, fanout, device) if fanout else None
        self.since: tuple[Tensor, Tensor] | None = None  # x at the last full sum in training, and that sum
        self.steps = 0  # taken since then
        index = torch.from_numpy(np.stack([edges.target, edges.source]))
        value = torch.from_numpy(edges.norm * edges.sign)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # sparse CSR is "in beta state"
            size = (edges.n_vertices, edges.n_vertices)
            self.forward = to_torch_csr_tensor(index, value, size).to(device)
            self.backward = to_torch_csr_tensor(index.flip(0), value, size).to(device)

    def __call__(self, x: Tensor) -> Tensor:
        """Return the sum over incoming edges of sign * norm * x[source]. Shapes: (V, m) -> (V, m)."""
        if self.sampled and torch.is_grad_enabled():
            return self._sampled(self.sampled, x)
        self.since = None
        product: Tensor = _Propagate.apply(x, self.forward, self.backward)
        return product

    def _sampled(self, sampled: Neighbours, x: Tensor) -> Tensor:
        if self.since is None or self.steps == REFRESHED:
            reference = x.detach().clone()
            self.since, self.steps = (reference, spmm(self.forward, reference)), 0
        self.steps += 1
        reference, summed = self.since
        return summed + sampled(x - reference)


class _Propagate(torch.autograd.Function):
    """A sparse product with its transpose kept; torch would build it anew in every backward pass."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, forward: Tensor, backward: Tensor) -> Tensor:
        ctx.transpose = backward
        product: Tensor = spmm(forward, x)
        return product

    @staticmethod
    def backward(ctx: Any, *outputs: Tensor) -> tuple[Tensor, None, None]:
        return spmm(ctx.transpose, outputs[0]), None, None
