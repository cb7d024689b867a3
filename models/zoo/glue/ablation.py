"""How much of a pair's score is its own prior: the score again, with the edges of that pair left out.

A feature's mean is linear in what the graph encoder adds up over its edges, mean = W H + b with
H_t = sum over edges s -> t of sign * weight * P_s / sqrt(in-degree of t), so leaving an edge out means taking its
term off the sum and its weight off the in-degree: exact for the trained weights, without training again. What training
has already written into P because of the edge stays there, so this is the part that the edge adds at scoring time.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
import scipy.sparse as sp

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

    from kg.guidance import GuidanceGraph
    from models.inputs.edges import Edges
    from models.zoo.glue.layers import GraphEncoder

    Ints = NDArray[np.int64]
    Floats = NDArray[np.float64]

PAIRS = 100_000  # in a block


@dataclass(frozen=True)
class Linear:
    """A trained graph encoder as arrays.

    Attributes:
        edges: with reversed copies and loops.
        vertices: (V, m) free parameters P.
        weight, bias: (m, m) and (m,) of the mean.
    """

    edges: Edges
    vertices: Floats
    weight: Floats
    bias: Floats

    @classmethod
    def of(cls, encoder: GraphEncoder, edges: Edges) -> Linear:
        """Build it from the module and the edges that the module was made with."""
        arrays = (encoder.vertices, encoder.mean.weight, encoder.mean.bias)
        return cls(edges, *(array.detach().cpu().numpy().astype(np.float64) for array in arrays))

    def means(self, total: Floats, degree: Floats) -> Floats:
        """Return (n, m) embeddings of vertices from their unscaled sums, (n, m), and in-degrees, (n,)."""
        embedded: Floats = (total / np.sqrt(degree)[:, None]) @ self.weight.T + self.bias
        return embedded


def without_edges(encoder: Linear, vertices: NDArray[np.str_], graph: GuidanceGraph) -> Floats:
    """Return (E,) cosines of the ends of each edge of a guidance graph as if no edge joined them; NaN if unknown.

    Args:
        encoder: trained.
        vertices: (V,) ids of its features, in any order.
        graph: the graph that guided it, or that graph before layers of genes were added.
    """
    vertex = pd.Index(vertices).get_indexer(pd.Index(graph.vertices))
    i, j = vertex[graph.source], vertex[graph.target]
    known = (i >= 0) & (j >= 0) & (i != j)
    cosine = np.full(len(i), np.nan)
    cosine[known] = without_own(encoder, i[known], j[known])
    return cosine


def without_own(encoder: Linear, i: Ints, j: Ints) -> Floats:
    """Return (pairs,) cosines of features i and j as if no edge between the two were in the graph.

    Args:
        encoder: trained.
        i, j: (pairs,) different vertices.
    """
    edges, n = encoder.edges, encoder.edges.n_vertices
    weight = edges.weight.astype(np.float64)
    degree = np.bincount(edges.target, weight, minlength=n)
    adjacency = sp.csr_matrix((weight * edges.sign, (edges.target, edges.source)), shape=(n, n))
    total = np.asarray(adjacency @ encoder.vertices)
    own = _Own.of(edges)
    cosine = np.empty(len(i))
    for block in _blocks(len(i)):
        ends = []
        for end, other in ((i[block], j[block]), (j[block], i[block])):
            own_weight, signed = own.between(other, end)
            remaining = total[end] - signed[:, None] * encoder.vertices[other]
            ends.append(encoder.means(remaining, degree[end] - own_weight))
        length = np.linalg.norm(ends[0], axis=1) * np.linalg.norm(ends[1], axis=1)
        cosine[block] = (ends[0] * ends[1]).sum(1) / np.maximum(length, 1e-12)
    return cosine


@dataclass(frozen=True)
class _Own:
    """Directed edges summed by their ends.

    Attributes:
        keys: (n,) source * V + target, sorted.
        weight, signed: (n,) sums of weights, and of weights times signs.
    """

    keys: Ints
    weight: Floats
    signed: Floats
    n_vertices: int

    @classmethod
    def of(cls, edges: Edges) -> _Own:
        keys, place = np.unique(edges.source * np.int64(edges.n_vertices) + edges.target, return_inverse=True)
        weight = edges.weight.astype(np.float64)
        sums: list[Floats] = [np.bincount(place, of).astype(np.float64) for of in (weight, weight * edges.sign)]
        return cls(keys, sums[0], sums[1], edges.n_vertices)

    def between(self, source: Ints, target: Ints) -> tuple[Floats, Floats]:
        """Return the sums for each pair; 0 where no edge joins it."""
        key = source * np.int64(self.n_vertices) + target
        at = np.searchsorted(self.keys, key).clip(max=len(self.keys) - 1)
        known = self.keys[at] == key
        return np.where(known, self.weight[at], 0.0), np.where(known, self.signed[at], 0.0)


def _blocks(n: int) -> Iterator[slice]:
    return (slice(at, min(at + PAIRS, n)) for at in range(0, n, PAIRS))
