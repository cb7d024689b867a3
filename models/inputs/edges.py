"""Directed edges of a guidance graph, as training uses them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

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
        """Return the edges of `graph` with both ends in `vertices` (in any order), numbered by position there."""
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
