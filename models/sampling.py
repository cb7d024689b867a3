"""Which cells and which edges a training step sees."""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from numpy.typing import NDArray

    from models.pyg import Edges

    Rows = NDArray[np.int64]


class CellSampler:
    """Minibatches with the same number of cells of every modality, as if no cell were paired.

    One epoch goes once through the pooled cells of all modalities; where a place belongs to a cell of
    another modality, a random cell stands in.
    """

    def __init__(self, sizes: Sequence[int], batch_size: int, held_out: float, rng: np.random.Generator) -> None:
        pooled = rng.permutation(sum(sizes))
        n_held = round(held_out * len(pooled))
        bounds = np.cumsum([0, *sizes])
        self.batch_size = batch_size
        self.train, self.held = (self._split(part, bounds) for part in (pooled[n_held:], pooled[:n_held]))

    @staticmethod
    def _split(pooled: Rows, bounds: Rows) -> list[Rows]:
        """Rows of each modality, in order of the modalities."""
        return [pooled[(pooled >= a) & (pooled < b)] - a for a, b in pairwise(bounds.tolist())]

    @property
    def n_batches(self) -> int:
        """Steps of an epoch."""
        return max(1, round(sum(map(len, self.train)) / self.batch_size))

    def epoch(self, rng: np.random.Generator, *, held: bool = False) -> Iterator[list[Rows]]:
        """Yields, for each step, the rows of each modality."""
        own = self.held if held else self.train
        total = sum(map(len, own))
        place = np.repeat(np.arange(len(own)), [len(rows) for rows in own])
        rng.shuffle(place)
        columns = []
        for k, rows in enumerate(own):
            column = rng.choice(rows, total)
            column[place == k] = rng.permutation(rows)
            columns.append(column)
        for part in np.array_split(np.arange(total), max(1, round(total / self.batch_size))):
            yield [column[part] for column in columns]


class EdgeSampler:
    """Real edges in proportion to their weight and, for each, edges that are not there.

    A graph epoch draws round(sum of weights) real edges with replacement and `negatives` false ones each:
    source and sign stay, the target is drawn in proportion to weighted degree (loops left out) until the
    triple is not an edge.
    """

    def __init__(self, edges: Edges, negatives: int, n_batches: int) -> None:
        self.edges, self.negatives, self.n_batches = edges, negatives, n_batches
        self.n_real = round(float(edges.weight.sum()))
        self._real = np.cumsum(edges.weight, dtype=np.float64)
        proper = edges.source != edges.target
        ends = np.concatenate([edges.source[proper], edges.target[proper]])
        degree = np.bincount(ends, np.tile(edges.weight[proper], 2), minlength=edges.n_vertices)
        self._target = np.cumsum(degree if len(ends) else np.ones(edges.n_vertices))
        self._keys = np.unique(self._key(edges.source, edges.target, edges.sign))

    def _key(self, source: Rows, target: Rows, sign: NDArray[np.float32]) -> Rows:
        return (source * self.edges.n_vertices + target) * 2 + (sign > 0)

    def _is_edge(self, key: Rows) -> NDArray[np.bool_]:
        at = np.searchsorted(self._keys, key).clip(max=len(self._keys) - 1)
        found: NDArray[np.bool_] = self._keys[at] == key
        return found

    @staticmethod
    def _draw(cumulative: NDArray[np.float64], n: int, rng: np.random.Generator) -> Rows:
        return np.searchsorted(cumulative, rng.random(n) * cumulative[-1], side="right").clip(max=len(cumulative) - 1)

    def epoch(self, rng: np.random.Generator) -> list[tuple[Rows, Rows, NDArray[np.float32], NDArray[np.float32]]]:
        """Batches of (source, target, sign, present)."""
        real = self._draw(self._real, self.n_real, rng)
        source, sign = (np.tile(a[real], 1 + self.negatives) for a in (self.edges.source, self.edges.sign))
        target = np.concatenate([self.edges.target[real], self._draw(self._target, self.negatives * self.n_real, rng)])
        present = np.zeros(len(source), np.float32)
        present[: self.n_real] = 1
        wrong = np.arange(self.n_real, len(source))
        while len(wrong := wrong[self._is_edge(self._key(source[wrong], target[wrong], sign[wrong]))]):
            target[wrong] = self._draw(self._target, len(wrong), rng)
        parts = np.array_split(rng.permutation(len(source)), self.n_batches)
        return [(source[part], target[part], sign[part], present[part]) for part in parts]
