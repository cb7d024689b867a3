"""Sampling of the cells and edges that a training step sees."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any, NamedTuple

import numba
import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from models.inputs.edges import Edges

Rows = NDArray[np.int64]

CONTIGUOUS = 64  # cells that are read from disk at once
BLOCKS = 32  # blocks of CONTIGUOUS cells from which those of a step are drawn
HASHED = (1 << 22) - 3  # prime; a table of 4 MB holds a million edges at a quarter full
REDRAWS = 50


class Draw(NamedTuple):
    """The cells of one step.

    Attributes:
        rows: (n,) for each modality.
        own: (modalities, n) whether the cell is the one whose turn it is, rather than a random stand-in.
        whole: rows of the step in all processes, where this is a share of it.
    """

    rows: list[Rows]
    own: NDArray[np.bool_]
    whole: list[Rows] | None = None

    def share(self, places: Rows) -> Draw:
        """Return only the cells at these positions."""
        return Draw([rows[places] for rows in self.rows], self.own[:, places], self.rows)


def unpaired(sizes: Sequence[int]) -> Rows:
    """Return a table of cells with none paired: (cells of all modalities, modalities), -1 where a cell has no row."""
    table = np.full((sum(sizes), len(sizes)), -1)
    ends = np.cumsum(sizes)
    for k, (size, end) in enumerate(zip(sizes, ends, strict=True)):
        table[end - size : end, k] = np.arange(size)
    return table


def paired(names: Sequence[NDArray[np.str_]]) -> Rows:
    """Return a table in which equal names are one cell: (distinct names, modalities), -1 where a cell has no row."""
    every, place = np.unique(np.concatenate(names), return_inverse=True)
    table = np.full((len(every), len(names)), -1)
    for k, at in enumerate(np.split(place, np.cumsum([len(n) for n in names])[:-1])):
        table[at, k] = np.arange(len(at))
    return table


class CellSampler:
    """Minibatches with the same number of cells of every modality.

    One epoch goes once through the cells of all modalities, paired cells counting once; where a modality lacks the
    cell whose turn it is, a random one stands in.
    """

    def __init__(self, table: Rows, batch_size: int, held_out: float, rng: np.random.Generator) -> None:
        pooled = rng.permutation(len(table))
        n_held = round(held_out * len(pooled))
        self.batch_size = batch_size
        self.train, self.held = table[pooled[n_held:]], table[pooled[:n_held]]
        self.every = [column[column >= 0] for column in table.T]

    @property
    def n_batches(self) -> int:
        """Number of steps of an epoch."""
        return max(1, round(len(self.train) / self.batch_size))

    def epoch(self, rng: np.random.Generator, *, held: bool = False) -> Iterator[Draw]:
        """Yield, for each step, the rows of each modality."""
        rows, own = self._order(self.held if held else self.train, rng)
        for part in np.array_split(np.arange(len(rows)), max(1, round(len(rows) / self.batch_size))):
            yield Draw([rows[part, k] for k in range(rows.shape[1])], own[part].T)

    def _order(self, table: Rows, rng: np.random.Generator) -> tuple[Rows, NDArray[np.bool_]]:
        """Return the table's cells in random order, random ones filling the gaps; and where a cell is no stand-in."""
        has = table >= 0
        kinds, kind = np.unique(has[:, ::-1], axis=0, return_inverse=True)  # by the last modality that has them
        place = np.sort(kind)
        rng.shuffle(place)
        rows = np.empty_like(table)
        for k in range(table.shape[1]):
            # a modality with a handful of cells may have none held out
            gaps = ~kinds[place][:, ::-1][:, k]
            rows[gaps, k] = self._stand_ins(table[has[:, k], k] if has[:, k].any() else self.every[k], gaps, rng)
            for j in np.flatnonzero((table.shape[1] - 1 - kinds.argmax(1)) == k):
                cells = table[kind == j]
                cells = cells[self._shuffled(len(cells), rng)]
                rows[place == j] = np.where(cells >= 0, cells, rows[place == j])
        return rows, kinds[place][:, ::-1]

    def _stand_ins(self, cells: Rows, gaps: NDArray[np.bool_], rng: np.random.Generator) -> Rows:
        return rng.choice(cells, len(gaps))[gaps]

    def _shuffled(self, n: int, rng: np.random.Generator) -> Rows:
        return rng.permutation(n)


class BlockSampler(CellSampler):
    """A `CellSampler` that a disk can keep up with: blocks of neighbours in random order, shuffled among a few blocks.

    Stand-ins go through all cells before any is repeated.
    """

    def __init__(self, table: Rows, batch_size: int, held_out: float, rng: np.random.Generator) -> None:
        super().__init__(table, batch_size, held_out, rng)
        self.train, self.held = (part[np.lexsort(part.T)] for part in (self.train, self.held))

    def _stand_ins(self, cells: Rows, gaps: NDArray[np.bool_], rng: np.random.Generator) -> Rows:
        n = int(gaps.sum())
        rounds = [cells[self._shuffled(len(cells), rng)] for _ in range(-(-n // len(cells)))]
        return np.concatenate([cells[:0], *rounds])[:n]

    def _shuffled(self, n: int, rng: np.random.Generator) -> Rows:
        blocks = np.array_split(np.arange(n), max(n // CONTIGUOUS, 1))
        order = rng.permutation(len(blocks))
        groups = np.array_split(order, max(len(order) // BLOCKS, 1))
        return np.concatenate([rng.permutation(np.concatenate([blocks[b] for b in group])) for group in groups])


class WeightedSampler:
    """Sampling of indices, each with its own probability."""

    def __init__(self, chances: NDArray[np.float64]) -> None:
        self.chances, self.total = chances, np.cumsum(chances)
        steps = np.linspace(0, self.total[-1], len(chances), endpoint=False)
        self.guide = np.searchsorted(self.total, steps, side="right").clip(max=len(chances) - 1)

    def draw(self, n: int, rng: np.random.Generator) -> Rows:
        """Draw independent indices, each the first whose summed chances exceed a random share (Chen & Asau 1974)."""
        indices = np.empty(n, np.int64)
        _find(self.total, self.guide, rng.random(n), indices)
        return indices


@numba.njit(nogil=True, cache=True)
def _find(total: Any, guide: Any, shares: Any, indices: Any) -> None:
    last = len(total) - 1
    for i in range(len(shares)):
        threshold = shares[i] * total[last]
        at = guide[int(shares[i] * len(guide))]
        while at > 0 and total[at - 1] > threshold:
            at -= 1
        while at < last and total[at] <= threshold:
            at += 1
        indices[i] = at


class EdgeSampler:
    """Sampling of real edges in proportion to their weight and, for each, of absent edges.

    A graph epoch draws round(sum of weights) real edges with replacement and `negatives` absent ones each:
    source and sign stay, the target is drawn in proportion to weighted degree (loops left out) until the
    triple is not an edge. Every batch holds real edges and the absent ones made from them; for a graph with more than
    `most` real ones per batch, batches of that size are drawn one at a time.
    """

    def __init__(self, edges: Edges, negatives: int, n_batches: int, most: int = sys.maxsize) -> None:
        self.edges, self.negatives, self.most = edges, negatives, most
        self.n_real = round(float(edges.weight.sum()))
        self.is_big = self.n_real > most * n_batches
        self.n_batches = -(-self.n_real // most) if self.is_big else max(1, min(n_batches, self.n_real))
        self._real = WeightedSampler(edges.weight / edges.weight.sum(dtype=np.float64))
        proper = edges.source != edges.target
        ends = np.concatenate([edges.source[proper], edges.target[proper]])
        degree = np.bincount(ends, np.tile(edges.weight[proper], 2), minlength=edges.n_vertices)
        even = np.full(edges.n_vertices, 1 / edges.n_vertices)
        self._target = WeightedSampler(degree / degree.sum() if len(ends) else even)
        self._keys = np.unique(self._key(edges.source, edges.target, edges.sign))
        self._seen = np.zeros(max(HASHED, 4 * len(self._keys) + 1), bool)
        self._seen[self._keys % len(self._seen)] = True

    def _key(self, source: Rows, target: Rows, sign: NDArray[np.float32]) -> Rows:
        key = source * self.edges.n_vertices
        key += target
        key *= 2
        key += sign > 0
        return key

    def _are_edges(self, key: Rows) -> NDArray[np.int64]:
        """Return the indices of the keys that are edges; a hash table spares most of them the search."""
        likely = np.flatnonzero(self._seen[key % len(self._seen)])
        at = np.searchsorted(self._keys, key[likely]).clip(max=len(self._keys) - 1)
        edges: Rows = likely[self._keys[at] == key[likely]]
        return edges

    def epoch(self, rng: np.random.Generator) -> Iterator[tuple[Rows, Rows, NDArray[np.float32], NDArray[np.float32]]]:
        """Yield batches of (source, target, sign, present)."""
        for real, absent in self._batches(rng):
            again = np.repeat(real, self.negatives)  # adjacent, so that their source is read only once
            source, sign = (np.concatenate([a[real], a[again]]) for a in (self.edges.source, self.edges.sign))
            target = np.concatenate([self.edges.target[real], absent])
            present = np.repeat(np.array([1, 0], np.float32), [len(real), len(absent)])
            yield self._redraw(source, target, sign, present, rng)

    def _batches(self, rng: np.random.Generator) -> Iterator[tuple[Rows, Rows]]:
        """Yield real edges, and targets for absent ones."""
        if self.is_big:
            for _ in range(self.n_batches):
                yield self._real.draw(self.most, rng), self._target.draw(self.negatives * self.most, rng)
            return
        reals = np.array_split(self._real.draw(self.n_real, rng), self.n_batches)
        ends = self.negatives * np.cumsum([len(real) for real in reals])[:-1]
        yield from zip(reals, np.split(self._target.draw(self.negatives * self.n_real, rng), ends), strict=True)

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
            target[wrong] = self._target.draw(len(wrong), rng)
        kept = np.isin(np.arange(len(source)), wrong, invert=True)
        return source[kept], target[kept], sign[kept], present[kept]
