"""Cells and graph as tensors, and the minibatches gathered from them; no DataLoader, no dense counts."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch

from models.likelihoods import CountMatrix, SparseCounts
from models.pyg import Edges, Propagation

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray
    from torch import Tensor

    from kg.guidance import GuidanceGraph
    from models.cells import Cells

    EdgeBatch = tuple[Tensor, Tensor, Tensor, Tensor]


@dataclass(frozen=True)
class Part:
    """Cells of one modality in a minibatch that share a batch.

    Attributes:
        batch: its code.
        at: rows of the minibatch; None for all of them.
        counts: of these cells.
    """

    batch: int
    at: Tensor | None
    counts: SparseCounts


@dataclass(frozen=True)
class Minibatch:
    """What one step sees.

    Attributes:
        rep: for each modality, (n, dims) encoder inputs.
        parts: for each modality, the counts by batch.
        weight: (modalities * n,) of each cell in the discriminator's loss.
        edges: source, target, sign, present, each (e,).
    """

    rep: Sequence[Tensor]
    parts: Sequence[Sequence[Part]]
    weight: Tensor
    edges: EdgeBatch


class TrainingData:
    """Cells and graph on a device, shared by all members.

    Attributes:
        vertices: (V,) feature ids; those of a modality follow each other, so that slices, not gathers, tell them apart.
        n_features: for each modality, in that order.
        batches: for each modality, names of its batches.
    """

    def __init__(self, graph: GuidanceGraph, cells: Cells, device: str) -> None:
        modalities = list(cells.modalities.values())
        self.cells, self.device = cells, torch.device(device)
        self.names = [m.name for m in modalities]
        self.n_features = [len(m.features) for m in modalities]
        self.vertices = np.concatenate([m.features for m in modalities])
        self.edges = Edges.of(graph, self.vertices)
        self.propagation = Propagation(self.edges, self.device)
        self.rep = [torch.as_tensor(np.ascontiguousarray(m.rep), device=self.device) for m in modalities]
        self.counts = [CountMatrix.of(m.counts, self.device) for m in modalities]
        coded = [np.unique(_batch_names(m.batch, len(m.rep)), return_inverse=True) for m in modalities]
        self.batches = [names.tolist() for names, _ in coded]
        self._batch = [torch.as_tensor(code, device=self.device) for _, code in coded]

    @property
    def sizes(self) -> list[int]:
        """Cells of each modality."""
        return [len(rep) for rep in self.rep]

    def minibatch(self, rows: Sequence[NDArray[np.int64]], weights: Sequence[Tensor], edges: EdgeBatch) -> Minibatch:
        """Gather the given rows of each modality."""
        at = [torch.from_numpy(r).to(self.device) for r in rows]
        return Minibatch(
            [rep[r] for rep, r in zip(self.rep, at, strict=True)],
            [self._parts(k, r) for k, r in enumerate(at)],
            torch.cat([weight[r] for weight, r in zip(weights, at, strict=True)]),
            edges,
        )

    def _parts(self, k: int, rows: Tensor) -> list[Part]:
        if len(self.batches[k]) == 1:
            return [Part(0, None, self.counts[k].take(rows))]
        batch = self._batch[k][rows]
        places = [(int(b), torch.nonzero(batch == b).squeeze(1)) for b in torch.unique(batch)]
        return [Part(b, at, self.counts[k].take(rows[at])) for b, at in places]

    def not_finite(self, rows: Sequence[NDArray[np.int64]]) -> list[str]:
        """Names of those of the given cells whose encoder input or counts are not finite."""
        found = []
        for modality, r in zip(self.cells.modalities.values(), rows, strict=True):
            row_sum = np.asarray(modality.counts[r].sum(axis=1)).ravel()
            found += modality.obs_names[r[~np.isfinite(modality.rep[r].sum(1) + row_sum)]].tolist()
        return list(dict.fromkeys(found))


def _batch_names(batch: NDArray[np.str_] | None, n_cells: int) -> NDArray[np.str_]:
    return np.zeros(n_cells, dtype=np.str_) if batch is None else batch
