"""What the cells alone say of a pair: do its two features vary together over the joint space?

Each feature's values (logarithms of normalised counts, other values as they are) are fitted by a linear function of a
cell's place in the joint space; a pair's score is the correlation of its two functions over all cells of all
modalities. The guidance graph has no part in it but for having helped to align the cells. Unlike a correlation over
metacells it needs no pairs of cells, and its noise is averaged over all cells and not over those of a metacell.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
import scipy.sparse as sp

from models.inputs.backed_matrix import blocks, row_sums

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

    from models.inputs.cells import Cells, Modality

    Floats = NDArray[np.float64]

RIDGE = (
    0.1  # variance; the prior of a cell's place has 1, and along directions in which cells differ less little is seen
)


@dataclass(frozen=True)
class FeatureProfiles:
    """Features as linear functions over the joint space.

    Attributes:
        features: (F,) ids, of all modalities.
        unit: (F, m) such that the product of two rows is the correlation of their functions; 0 for one that is flat.
    """

    features: NDArray[np.str_]
    unit: Floats

    def correlation(self, source: Sequence[str], target: Sequence[str]) -> Floats:
        """(pairs,) of the functions of two features each; NaN where one was not measured, 0 where one is flat."""
        names = pd.Index(self.features)
        i, j = (names.get_indexer(pd.Index(np.asarray(side, dtype=str))) for side in (source, target))
        found = np.einsum("pm,pm->p", self.unit[i], self.unit[j])
        return np.where((i >= 0) & (j >= 0), found, np.nan)


def profiles(cells: Cells, embeddings: Mapping[str, NDArray[np.float32]]) -> FeatureProfiles:
    """Fit every feature of every modality.

    Args:
        cells: whose values are fitted; on disk they are read in blocks, twice where they are counts.
        embeddings: modality -> (cells, m) places in the joint space.
    """
    places = {name: np.asarray(embeddings[name], np.float64) for name in cells.modalities}
    fitted = [_slopes(modality, places[name]) for name, modality in cells.modalities.items()]
    spread = np.atleast_2d(np.cov(np.concatenate(list(places.values())).T))
    root = np.linalg.cholesky(spread + 1e-9 * np.eye(len(spread)))  # correlation of functions is the angle of these
    scaled = np.concatenate(fitted) @ root
    length = np.linalg.norm(scaled, axis=1, keepdims=True)
    names = np.concatenate([modality.features for modality in cells.modalities.values()])
    return FeatureProfiles(names, scaled / np.where(length > 0, length, 1.0))


def _slopes(modality: Modality, places: Floats) -> Floats:
    """(features, m) of the ridge regression of each feature on the places; what was not measured is as the mean."""
    places = places - places.mean(0)
    n, m = places.shape
    together, missing, total, known = (np.zeros((len(modality.features), width)) for width in (m, m, 1, 1))
    size = row_sums(modality.counts) if modality.is_counted else np.ones(n)
    usual = np.median(size[size > 0]) if (size > 0).any() else 1.0
    for rows, block in blocks(modality.counts):
        gaps, values = _gaps_and_values(block, usual / np.maximum(size[rows], 1.0) if modality.is_counted else None)
        together += values.T @ places[rows]
        missing += gaps.T @ places[rows]
        total += np.asarray(values.sum(axis=0)).reshape(-1, 1)
        known += values.shape[0] - np.asarray(gaps.sum(axis=0)).reshape(-1, 1)
    together += total / np.maximum(known, 1.0) * missing
    slopes: Floats = np.linalg.solve(places.T @ places / n + RIDGE * np.eye(m), together.T / n).T
    return slopes


def _gaps_and_values(block: sp.csr_matrix, scale: Floats | None) -> tuple[sp.csr_matrix, sp.csr_matrix]:
    """Where a value is not measured, and the values with 0 there: of counts log(1 + scaled), where a scale is given."""
    gap = np.isnan(block.data)
    data = np.where(gap, 0.0, block.data)
    if scale is not None:
        data = np.log1p(data * np.repeat(scale, np.diff(block.indptr)))
    row = np.repeat(np.arange(block.shape[0]), np.diff(block.indptr))[gap]
    gaps = sp.csr_matrix((np.ones(len(row)), (row, block.indices[gap])), block.shape)
    return gaps, sp.csr_matrix((data, block.indices, block.indptr), block.shape)
