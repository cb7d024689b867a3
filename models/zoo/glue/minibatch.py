"""Cells and graph as tensors, and the minibatches gathered from them; no DataLoader, no dense counts."""

from __future__ import annotations

from copy import copy
from dataclasses import dataclass
from itertools import permutations
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
import torch

from models.inputs.edges import Edges
from models.zoo.glue.propagation import Propagation
from models.zoo.glue.streaming import StreamedCounts, ahead, counted

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from numpy.typing import NDArray
    from torch import Tensor

    from kg.guidance import GuidanceGraph
    from models.inputs.cells import Cells
    from models.zoo.glue.likelihoods import SparseCounts
    from models.zoo.glue.sampling import Draw

    EdgeBatch = tuple[Tensor, Tensor, Tensor, Tensor]


@dataclass(frozen=True)
class Part:
    """Cells of one modality in a minibatch that share a batch.

    Attributes:
        batch: its code.
        at: rows of the minibatch; None for all of them.
        counts: of these cells, or their other values.
    """

    batch: int
    at: Tensor | None
    counts: SparseCounts


@dataclass(frozen=True)
class Cross:
    """Cells of a minibatch whose values in one modality are explained from elsewhere.

    Attributes:
        source: the modality whose u explains them; None for the mean over the modalities that have the cell.
        target: the modality whose values are explained.
        parts: those values by batch.
    """

    source: int | None
    target: int
    parts: Sequence[Part]


@dataclass(frozen=True)
class Pairing:
    """Which rows of a minibatch are one cell.

    Attributes:
        own: (modalities, n) bool; row i of two modalities is one cell where both are true.
        crosses: the values that are explained across modalities.
    """

    own: Tensor
    crosses: Sequence[Cross]


@dataclass(frozen=True)
class Minibatch:
    """The cells and edges of one training step.

    Attributes:
        rep: for each modality, (n, dims) encoder inputs.
        parts: for each modality, the values by batch.
        weight: (modalities * n,) of each cell in the discriminator's loss.
        batch: (modalities * n,) code of the batch of each cell; read where batches are shared.
        label: (modalities * n,) code of the label of each cell, -1 for none; read where labels supervise.
        edges: source, target, sign, present, each (e,).
        pairing: None where cells are taken as unpaired.
    """

    rep: Sequence[Tensor]
    parts: Sequence[Sequence[Part]]
    weight: Tensor
    batch: Tensor
    label: Tensor
    edges: EdgeBatch
    pairing: Pairing | None = None


class TrainingData:
    """Cells and graph on a device, shared by all ensemble members.

    Attributes:
        vertices: (V,) feature ids; those of a modality are contiguous, so that slices rather than gathers select them.
        n_features: for each modality, in that order.
        batches: for each modality, names of its batches.
        labels: names of the labels of all modalities.
    """

    def __init__(self, graph: GuidanceGraph, cells: Cells, device: str, fanout: int = 0) -> None:
        modalities = list(cells.modalities.values())
        self.graph, self.cells, self.device = graph, cells, torch.device(device)
        self.names = [m.name for m in modalities]
        self.n_features = [len(m.features) for m in modalities]
        self.vertices = np.concatenate([m.features for m in modalities])
        self.edges = Edges.of(graph, self.vertices)
        self.propagation = Propagation(self.edges, self.device, fanout)
        self.rep = [torch.as_tensor(np.ascontiguousarray(m.rep), device=self.device) for m in modalities]
        self.counts = [counted(m.counts, self.device) for m in modalities]
        batch = [_names(m.batch, len(m.rep)) for m in modalities]
        self.batches = [np.unique(names).tolist() for names in batch]
        self.batch = [self._codes(names, own) for names, own in zip(batch, self.batches, strict=True)]
        label = [_names(m.labels, len(m.rep)) for m in modalities]
        self.labels = np.setdiff1d(np.concatenate(label), [""]).tolist()
        self.label = [self._codes(names, self.labels) for names in label]

    def grouped(self, groups: Sequence[Tensor]) -> TrainingData:
        """Return the same data with other labels: (cells,) codes for each modality."""
        other = copy(self)
        other.label = list(groups)
        other.labels = [str(code) for code in range(max(int(group.max()) for group in groups) + 1)]
        return other

    def _codes(self, names: NDArray[np.str_], known: Sequence[str]) -> Tensor:
        """Return the index of each name among the known ones, -1 for none."""
        return torch.as_tensor(pd.Index(known).get_indexer(pd.Index(names)), device=self.device)

    @property
    def sizes(self) -> list[int]:
        """Cells of each modality."""
        return [len(rep) for rep in self.rep]

    @property
    def is_streamed(self) -> bool:
        """Whether counts are read from disk, in which case neighbours should be drawn together."""
        return any(isinstance(counts, StreamedCounts) for counts in self.counts)

    def ahead(self, draws: Iterator[Draw]) -> Iterator[Draw]:
        """Yield the same draws, with what they need from disk read ahead."""
        return ahead(draws, self.counts)

    def minibatch(self, draw: Draw, weights: Sequence[Tensor], edges: EdgeBatch, *, paired: bool = False) -> Minibatch:
        """Gather the drawn cells of each modality."""
        at = [torch.from_numpy(rows).to(self.device) for rows in draw.rows]

        def gather(of: Sequence[Tensor]) -> Tensor:
            return torch.cat([values[rows] for values, rows in zip(of, at, strict=True)])

        return Minibatch(
            [rep[rows] for rep, rows in zip(self.rep, at, strict=True)],
            [self._parts(k, rows) for k, rows in enumerate(at)],
            gather(weights),
            gather(self.batch),
            gather(self.label),
            edges,
            self._pairing(at, torch.from_numpy(draw.own).to(self.device)) if paired else None,
        )

    def _parts(self, k: int, rows: Tensor, among: Tensor | None = None) -> list[Part]:
        """Return the values of modality k by batch, for the given positions in the minibatch, or for all."""
        if len(self.batches[k]) == 1:
            return [Part(0, among, self.counts[k].take(rows if among is None else rows[among]))]
        places = torch.arange(len(rows), device=self.device) if among is None else among
        batch = self.batch[k][rows[places]]
        by_batch = [(int(b), places[batch == b]) for b in torch.unique(batch)]
        return [Part(b, at, self.counts[k].take(rows[at])) for b, at in by_batch]

    def _pairing(self, at: Sequence[Tensor], own: Tensor) -> Pairing:
        """Explain each modality from the mean u of its cells, and from the u of each other modality that has them."""
        whole = [(None, target, own[target]) for target in range(len(own))]
        across = [(source, target, own[source] & own[target]) for source, target in permutations(range(len(own)), 2)]
        crosses = [
            Cross(source, target, self._parts(target, at[target], torch.nonzero(has).squeeze(1)))
            for source, target, has in [*whole, *across]
            if has.any()
        ]
        return Pairing(own, crosses)

    def not_finite(self, rows: Sequence[NDArray[np.int64]]) -> list[str]:
        """Return the names of the given cells whose encoder input is not finite, or whose values are infinite."""
        names = []
        for modality, r in zip(self.cells.modalities.values(), rows, strict=True):
            values = modality.counts[r]
            if not modality.is_counted:
                values.data = np.nan_to_num(values.data, posinf=np.inf, neginf=-np.inf)
            row_sum = np.asarray(values.sum(axis=1)).ravel()
            names += modality.obs_names[r[~np.isfinite(modality.rep[r].sum(1) + row_sum)]].tolist()
        return list(dict.fromkeys(names))


def _names(names: NDArray[np.str_] | None, n_cells: int) -> NDArray[np.str_]:
    return np.zeros(n_cells, dtype=np.str_) if names is None else names
