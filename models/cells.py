"""Cells as a model reads them: raw counts, encoder inputs, feature ids, one `Modality` per assay."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
import scipy.sparse as sp

from kg.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

    from kg.guidance import GuidanceGraph


@dataclass(frozen=True)
class Modality:
    """One assay of a set of cells.

    Attributes:
        name: such as "rna" or "atac".
        counts: (cells, features) float32 raw counts; what the decoder explains.
        features: (features,) vertex ids of the guidance graph, unique.
        rep: (cells, dims) float32; all that the encoder sees.
        obs_names: (cells,) unique names.
        labels: (cells,) cell types, for metrics only.
        batch: (cells,) batch names; enter the decoder only.
    """

    name: str
    counts: sp.csr_matrix
    features: NDArray[np.str_]
    rep: NDArray[np.float32]
    obs_names: NDArray[np.str_]
    labels: NDArray[np.str_] | None = None
    batch: NDArray[np.str_] | None = None

    def restrict(self, keep: NDArray[np.bool_]) -> Modality:
        """The same cells with a subset of the features; `rep` stays what all features gave."""
        return replace(self, counts=sp.csr_matrix(self.counts[:, keep]), features=self.features[keep])


@dataclass(frozen=True)
class Cells:
    """What is trained on.

    Attributes:
        modalities: name -> Modality, in the order the model keeps.
        paired: row i is the same cell in every modality; read by metrics, never by training.
    """

    modalities: Mapping[str, Modality]
    paired: bool = False

    def __getitem__(self, name: str) -> Modality:
        return self.modalities[name]

    @property
    def hash(self) -> str:
        """sha256 over everything that training reads."""
        digest = hashlib.sha256()
        for m in self.modalities.values():
            batch = None if m.batch is None else m.batch.tolist()
            digest.update(json.dumps([m.name, m.features.tolist(), m.obs_names.tolist(), batch]).encode())
            for array in (m.counts.indptr, m.counts.indices, m.counts.data, m.rep):
                digest.update(np.ascontiguousarray(array).tobytes())
        return digest.hexdigest()

    def linked(self, graph: GuidanceGraph, anchor: str) -> Cells:
        """The same cells with the features that a guided model explains.

        All features of the modality `anchor`, and of the others those that an edge joins to one of its features.

        Raises:
            InputError: a modality keeps no feature.
        """
        known = np.isin(graph.vertices, self[anchor].features)
        ends = np.concatenate([graph.source[known[graph.target]], graph.target[known[graph.source]]])
        reached = graph.vertices[np.unique(ends)]
        kept = {}
        for name, modality in self.modalities.items():
            keep = np.isin(modality.features, reached) | (name == anchor)
            if not keep.any():
                raise InputError(
                    f"no feature of {name!r} is linked to a measured feature of {anchor!r} in release {graph.release}",
                    "load the peaks and links of these cells' features, or check their assembly",
                )
            kept[name] = modality.restrict(keep)
        return replace(self, modalities=kept)
