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


HASHED = (1 << 22) - 3  # prime; a table of 4 MB holds a million edges at a quarter full
REDRAWS = 50


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

    A graph epoch draws round(sum of weights) real edges with replacement and `negatives` absent ones each:
    source and sign stay, the target is drawn in proportion to weighted degree (loops left out) until the
    triple is not an edge. Every batch holds real edges and the absent ones made from them.
    """

    def __init__(self, edges: Edges, negatives: int, n_batches: int) -> None:
        self.edges, self.negatives, self.n_batches = edges, negatives, n_batches
        self.n_real = round(float(edges.weight.sum()))
        self._real = edges.weight / edges.weight.sum(dtype=np.float64)
        proper = edges.source != edges.target
        ends = np.concatenate([edges.source[proper], edges.target[proper]])
        degree = np.bincount(ends, np.tile(edges.weight[proper], 2), minlength=edges.n_vertices)
        self._target = degree / degree.sum() if len(ends) else np.full(edges.n_vertices, 1 / edges.n_vertices)
        self._keys = np.unique(self._key(edges.source, edges.target, edges.sign))
        self._seen = np.zeros(HASHED, bool)
        self._seen[self._keys % HASHED] = True

    def _key(self, source: Rows, target: Rows, sign: NDArray[np.float32]) -> Rows:
        key = source * self.edges.n_vertices
        key += target
        key *= 2
        key += sign > 0
        return key

    def _are_edges(self, key: Rows) -> NDArray[np.int64]:
        """Places of the keys that are edges; a table of hashes spares most of them the search."""
        likely = np.flatnonzero(self._seen[key % HASHED])
        at = np.searchsorted(self._keys, key[likely]).clip(max=len(self._keys) - 1)
        found: Rows = likely[self._keys[at] == key[likely]]
        return found

    @staticmethod
    def _draw(probability: NDArray[np.float64], n: int, rng: np.random.Generator) -> Rows:
        """Independent places; counted rather than searched for when they are many."""
        if n < len(probability) // 4:
            total = np.cumsum(probability)
            found: Rows = np.searchsorted(total, rng.random(n) * total[-1], side="right").clip(max=len(total) - 1)
            return found
        return rng.permutation(np.repeat(np.arange(len(probability)), rng.multinomial(n, probability)))

    def epoch(self, rng: np.random.Generator) -> Iterator[tuple[Rows, Rows, NDArray[np.float32], NDArray[np.float32]]]:
        """Batches of (source, target, sign, present)."""
        reals = np.array_split(self._draw(self._real, self.n_real, rng), self.n_batches)
        absents = np.array_split(self._draw(self._target, self.negatives * self.n_real, rng), self.n_batches)
        for real, absent in zip(reals, absents, strict=True):
            again = np.resize(real, len(absent))
            source, sign = (np.concatenate([a[real], a[again]]) for a in (self.edges.source, self.edges.sign))
            target = np.concatenate([self.edges.target[real], absent])
            present = np.repeat(np.array([1, 0], np.float32), [len(real), len(absent)])
            yield self._redraw(source, target, sign, present, rng)

    def _redraw(
        self,
        source: Rows,
        target: Rows,
        sign: NDArray[np.float32],
        present: NDArray[np.float32],
        rng: np.random.Generator,
    ) -> tuple[Rows, Rows, NDArray[np.float32], NDArray[np.float32]]:
        """Replace targets that make a real edge; in a graph too dense to find another, drop the pair."""
        wrong = np.flatnonzero(present == 0)
        for _ in range(REDRAWS):
            wrong = wrong[self._are_edges(self._key(source[wrong], target[wrong], sign[wrong]))]
            if not len(wrong):
                return source, target, sign, present
            target[wrong] = self._draw(self._target, len(wrong), rng)
        kept = np.isin(np.arange(len(source)), wrong, invert=True)
        return source[kept], target[kept], sign[kept], present[kept]
