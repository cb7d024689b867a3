"""A release as the arrays a graph model reads: the GuidanceGraph, hashed."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from kg.errors import SchemaError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray


@dataclass(frozen=True)
class GuidanceGraph:
    """Evidence between features at one release; neither reversed copies nor self loops are in it.

    Attributes:
        vertices: (V,) graph ids, sorted; the order is the row order of every embedding.
        kinds: (V,) node label of each vertex, such as "Gene" or "Peak".
        source, target: (E,) int64 rows of `vertices`.
        weight: (E,) float32 in (0, 1]; policy, see `weigh`.
        sign: (E,) int8, -1 or +1.
        release: number of the release it was read from; 0 when it was made by hand.
        datasets: dataset id -> hash of its rows at that release.
    """

    vertices: NDArray[np.str_]
    kinds: NDArray[np.str_]
    source: NDArray[np.int64]
    target: NDArray[np.int64]
    weight: NDArray[np.float32]
    sign: NDArray[np.int8]
    release: int = 0
    datasets: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        wrong = []
        if np.any(self.vertices[:-1] >= self.vertices[1:]):
            wrong.append("vertices are not sorted and unique")
        if len(self.vertices) != len(self.kinds):
            wrong.append("vertices and kinds differ in length")
        if not len(self.source) == len(self.target) == len(self.weight) == len(self.sign):
            wrong.append("edge columns differ in length")
        elif len(self.source) and (
            min(self.source.min(), self.target.min()) < 0
            or max(self.source.max(), self.target.max()) >= len(self.vertices)
        ):
            wrong.append("an edge names a vertex that is not there")
        if np.any(~((self.weight > 0) & (self.weight <= 1))):
            wrong.append("weights must lie in (0, 1]")
        if np.any(np.abs(self.sign) != 1):
            wrong.append("signs must be -1 or +1")
        if wrong:
            raise SchemaError("not a guidance graph", wrong)

    @property
    def hash(self) -> str:
        """sha256 over vertices and edges; equal graphs have equal hashes."""
        order = np.lexsort((self.sign, self.target, self.source))
        digest = hashlib.sha256("\n".join(self.vertices.tolist()).encode())
        for column in (self.source, self.target, self.weight, self.sign):
            digest.update(np.ascontiguousarray(column[order]).tobytes())
        return digest.hexdigest()


def power_decay(distance_bp: NDArray[np.int64]) -> NDArray[np.float32]:
    """Weight of a NEAR edge: ((d + 1000) / 1000) ** -0.75, 1 for overlap (GLUE, Cao & Gao 2022).

    Args:
        distance_bp: (E,) non-negative distances in base pairs.
    """
    return (((distance_bp + 1000.0) / 1000.0) ** -0.75).astype(np.float32)
