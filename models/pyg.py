"""Guidance graphs as PyTorch Geometric sees them."""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import torch
from torch import Tensor

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # it scripts functions on import, which new torch deprecates
    from torch_geometric.data import HeteroData
    from torch_geometric.utils import spmm, to_torch_csr_tensor

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from kg.guidance import GuidanceGraph


@dataclass(frozen=True)
class Edges:
    """Directed edges for training: every guidance edge both ways and one loop on each vertex.

    Attributes:
        source, target: (E,) int64.
        weight: (E,) float32 in (0, 1]; loops 1.
        sign: (E,) float32; loops +1.
        n_vertices: V.
    """

    source: NDArray[np.int64]
    target: NDArray[np.int64]
    weight: NDArray[np.float32]
    sign: NDArray[np.float32]
    n_vertices: int

    @classmethod
    def of(cls, graph: GuidanceGraph, vertices: NDArray[np.str_]) -> Edges:
        """Edges of `graph` with both ends in `vertices` (in any order), numbered by their place there."""
        at = pd.Index(vertices).get_indexer(pd.Index(graph.vertices))
        kept = (at[graph.source] >= 0) & (at[graph.target] >= 0)
        i, j, loop = at[graph.source[kept]], at[graph.target[kept]], np.arange(len(vertices))
        w, s = graph.weight[kept], graph.sign[kept].astype(np.float32)
        one = np.ones(len(vertices), np.float32)
        return cls(
            np.concatenate([i, j, loop]),
            np.concatenate([j, i, loop]),
            np.concatenate([w, w, one]),
            np.concatenate([s, s, one]),
            len(vertices),
        )

    @property
    def norm(self) -> NDArray[np.float32]:
        """(E,) weight / sqrt(weighted in-degree of the target): the sum over edges keeps its variance."""
        degree = np.bincount(self.target, self.weight, minlength=self.n_vertices)
        return (self.weight / np.sqrt(degree[self.target])).astype(np.float32)


class Propagation:
    """The fixed linear map of the graph encoder, with its transpose for the backward pass."""

    def __init__(self, edges: Edges, device: torch.device) -> None:
        self.n_vertices = edges.n_vertices
        index = torch.from_numpy(np.stack([edges.target, edges.source]))
        value = torch.from_numpy(edges.norm * edges.sign)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # sparse CSR is "in beta state"
            size = (edges.n_vertices, edges.n_vertices)
            self.forward = to_torch_csr_tensor(index, value, size).to(device)
            self.backward = to_torch_csr_tensor(index.flip(0), value, size).to(device)

    def __call__(self, x: Tensor) -> Tensor:
        """Sum over incoming edges of sign * norm * x[source]. Shapes: (V, m) -> (V, m)."""
        product: Tensor = _Propagate.apply(x, self.forward, self.backward)
        return product


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


def hetero_data(graph: GuidanceGraph) -> HeteroData:
    """The guidance graph with one node type per kind and one edge type per pair of kinds.

    Nodes carry `name` (ids) and edges `edge_index`, `edge_weight`, `edge_sign`; direction as in the graph,
    without reversed copies or loops (`torch_geometric.transforms.ToUndirected` adds the former).
    """
    data = HeteroData()
    within = np.zeros(len(graph.vertices), np.int64)
    for kind in np.unique(graph.kinds):
        members = np.flatnonzero(graph.kinds == kind)
        within[members] = np.arange(len(members))
        data[str(kind)].name = graph.vertices[members].tolist()
        data[str(kind)].num_nodes = len(members)
    ends = np.stack([graph.kinds[graph.source], graph.kinds[graph.target]], axis=1)
    for head, tail in np.unique(ends, axis=0):
        chosen = np.flatnonzero((ends == (head, tail)).all(1))
        store = data[str(head), "guides", str(tail)]
        store.edge_index = torch.from_numpy(np.stack([within[graph.source[chosen]], within[graph.target[chosen]]]))
        store.edge_weight = torch.from_numpy(graph.weight[chosen])
        store.edge_sign = torch.from_numpy(graph.sign[chosen])
    return data
