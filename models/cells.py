"""Cells as a model reads them: raw counts, encoder inputs, feature ids, one `Modality` per assay."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
import scipy.sparse as sp

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray


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
    def features(self) -> NDArray[np.str_]:
        """All feature ids, sorted: the row order of every embedding."""
        return np.unique(np.concatenate([modality.features for modality in self.modalities.values()]))
