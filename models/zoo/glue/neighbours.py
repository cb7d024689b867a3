"""Sums over in-edges of a big graph from a sample of them, unbiased.

For a vertex with more in-edges than `fanout`, the heaviest half of `fanout` is always summed, its loop first; of the
rest as many are drawn at even distances from a random start, and each counts for those in between. So each is drawn
with probability p and counts 1 / p times, and the mean over draws is the full sum (Horvitz & Thompson 1952). Even
distances over decreasing weights leave little of the variance that independent draws would have.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numba
import numpy as np
import torch
from torch import Tensor

if TYPE_CHECKING:
    from models.inputs.edges import Edges

_compiled = numba.njit(fastmath={"reassoc", "contract", "arcp", "nsz"}, nogil=True, cache=True)


class Neighbours:
    """In-edges by target, the heaviest first.

    Attributes:
        start: (V + 1,) int64, first in-edge of each vertex.
        source, value: (E,) int64 and float32 sign * norm, in that order.
        edge: (E,) int64, original index of each.
        fanout: in-edges of a vertex that are summed, at least 2.
    """

    def __init__(self, edges: Edges, fanout: int, device: torch.device) -> None:
        value = edges.norm * edges.sign
        weight = np.where(edges.source == edges.target, np.inf, np.abs(value))
        order = np.lexsort((-weight, edges.target))
        degree = np.bincount(edges.target, minlength=edges.n_vertices)
        self.fanout, self.device = fanout, device
        self.start, self.source, self.value, self.edge = (
            torch.as_tensor(a, device=device)
            for a in (np.concatenate([[0], np.cumsum(degree)]), edges.source[order], value[order], order)
        )

    def draw(self, vertices: Tensor, offset: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Draw in-edges of some vertices.

        Args:
            vertices: (n,) targets.
            offset: (n,) in [0, 1), where drawing begins for each.

        Returns:
            For each in-edge: index of its vertex among `vertices`, its index here, how often it counts.
        """
        first = self.start[vertices]
        degree = self.start[vertices + 1] - first
        few = degree <= self.fanout
        kept = torch.where(few, degree, self.fanout // 2)
        number = torch.where(few, degree, self.fanout)
        stride = (degree - kept) / (number - kept).clamp_min(1).double()
        at = torch.repeat_interleave(number)
        i = torch.arange(len(at), device=self.device) - (number.cumsum(0) - number)[at] - kept[at]
        drawn = i >= 0
        place = torch.where(drawn, ((i + offset.double()[at]) * stride[at]).long(), i)
        return at, (first + kept)[at] + place, torch.where(drawn, stride[at], 1.0).float()

    def __call__(self, x: Tensor) -> Tensor:
        """Return the sampled sum over in-edges of sign * norm * x[source]. Shapes: (V, m) -> (V, m)."""
        offset = torch.rand(len(x), device=self.device)
        if self.device.type == "cpu":
            summed: Tensor = _Sampled.apply(x, self, offset)
            return summed
        at, place, times = self.draw(torch.arange(len(x), device=self.device), offset)
        return torch.zeros_like(x).index_add_(0, at, (self.value[place] * times)[:, None] * x[self.source[place]])


class _Sampled(torch.autograd.Function):
    """The sampled sum and its transpose, which pass over the same edges without storing them."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, neighbours: Neighbours, offset: Tensor) -> Tensor:
        ctx.of = neighbours, offset
        return _run(_gather, x.detach(), neighbours, offset)

    @staticmethod
    def backward(ctx: Any, *outputs: Tensor) -> tuple[Tensor | None, ...]:
        return _run(_scatter, outputs[0], *ctx.of), None, None


def _run(loop: Any, x: Tensor, neighbours: Neighbours, offset: Tensor) -> Tensor:
    into = torch.zeros_like(x, memory_format=torch.contiguous_format)
    tensors = (x.contiguous(), neighbours.start, neighbours.source, neighbours.value, offset)
    loop(*(tensor.numpy() for tensor in tensors), neighbours.fanout, into.numpy())
    return into


@numba.njit(inline="always")
def _edge(i: Any, first: Any, degree: Any, fanout: Any, offset: Any) -> Any:
    """Return the index of the i-th of the summed in-edges, and how often it counts; as in `Neighbours.draw`."""
    if degree <= fanout:
        return first + i, np.float32(1)
    kept = fanout // 2
    if i < kept:
        return first + i, np.float32(1)
    stride = (degree - kept) / (fanout - kept)
    return first + kept + np.int64((i - kept + np.float64(offset)) * stride), np.float32(stride)


@_compiled
def _gather(x: Any, start: Any, source: Any, value: Any, offset: Any, fanout: Any, into: Any) -> None:
    for vertex in range(len(start) - 1):
        degree = start[vertex + 1] - start[vertex]
        row = into[vertex]
        for i in range(min(degree, fanout)):
            edge, times = _edge(i, start[vertex], degree, fanout, offset[vertex])
            weight, other = value[edge] * times, x[source[edge]]
            for k in range(len(row)):
                row[k] += weight * other[k]


@_compiled
def _scatter(y: Any, start: Any, source: Any, value: Any, offset: Any, fanout: Any, into: Any) -> None:
    for vertex in range(len(start) - 1):
        degree = start[vertex + 1] - start[vertex]
        row = y[vertex]
        for i in range(min(degree, fanout)):
            edge, times = _edge(i, start[vertex], degree, fanout, offset[vertex])
            weight, other = value[edge] * times, into[source[edge]]
            for k in range(len(row)):
                other[k] += weight * row[k]
