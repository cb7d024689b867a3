"""Correlation of two features over the joint space, from the cells alone.

Each feature's values (logarithms of normalised counts, other values as they are) are fitted by a linear function of a
cell's position in the joint space; a pair's score is the correlation of its two functions over all cells of all
modalities. The guidance graph plays no part beyond having helped to align the cells. Unlike a correlation over
metacells, it needs no paired cells, and noise is averaged over all cells rather than those of a metacell.
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

RIDGE = 0.1  # variance, where the prior of a cell's position has 1: directions in which cells vary less tell little


@dataclass(frozen=True)
class FeatureProfiles:
    """Features as linear functions over the joint space.

    Attributes:
        features: (F,) ids, of all modalities.
        unit: (F, m) such that the product of two rows is the correlation of their functions; 0 for a flat function.
    """

    features: NDArray[np.str_]
    unit: Floats

    def correlation(self, source: Sequence[str], target: Sequence[str]) -> Floats:
        """Return (pairs,) correlations of two features' functions; NaN if either is unmeasured, 0 if flat."""
        names = pd.Index(self.features)
        i, j = (names.get_indexer(pd.Index(np.asarray(side, dtype=str))) for side in (source, target))
        products = np.einsum("pm,pm->p", self.unit[i], self.unit[j])
        return np.where((i >= 0) & (j >= 0), products, np.nan)


def profiles(cells: Cells, embeddings: Mapping[str, NDArray[np.float32]]) -> FeatureProfiles:
    """Fit every feature of every modality by a linear function over the joint space.

    Args:
        cells: whose values are fitted; those on disk are read in blocks, twice if they are counts.
        embeddings: modality -> (cells, m) positions in the joint space.
    """
    positions = {name: np.asarray(embeddings[name], np.float64) for name in cells.modalities}
    fitted = [_slopes(modality, positions[name]) for name, modality in cells.modalities.items()]
    covariance = np.atleast_2d(np.cov(np.concatenate(list(positions.values())).T))
    root = np.linalg.cholesky(
        covariance + 1e-9 * np.eye(len(covariance))
    )  # correlation of functions is the angle of these
    scaled = np.concatenate(fitted) @ root
    length = np.linalg.norm(scaled, axis=1, keepdims=True)
    names = np.concatenate([modality.features for modality in cells.modalities.values()])
    return FeatureProfiles(names, scaled / np.where(length > 0, length, 1.0))


def _slopes(modality: Modality, positions: Floats) -> Floats:
    """Return (features, m) slopes of the ridge regression of each feature; unmeasured values count as the mean."""
    positions = positions - positions.mean(0)
    n, m = positions.shape
    cross_product, missing, total, known = (np.zeros((len(modality.features), width)) for width in (m, m, 1, 1))
    size = row_sums(modality.counts) if modality.is_counted else np.ones(n)
    median_size = np.median(size[size > 0]) if (size > 0).any() else 1.0
    for rows, block in blocks(modality.counts):
        gaps, values = _gaps_and_values(
            block, median_size / np.maximum(size[rows], 1.0) if modality.is_counted else None
        )
        cross_product += values.T @ positions[rows]
        missing += gaps.T @ positions[rows]
        total += np.asarray(values.sum(axis=0)).reshape(-1, 1)
        known += values.shape[0] - np.asarray(gaps.sum(axis=0)).reshape(-1, 1)
    cross_product += total / np.maximum(known, 1.0) * missing
    slopes: Floats = np.linalg.solve(positions.T @ positions / n + RIDGE * np.eye(m), cross_product.T / n).T
    return slopes


def _gaps_and_values(block: sp.csr_matrix, scale: Floats | None) -> tuple[sp.csr_matrix, sp.csr_matrix]:
    """Return where values are missing, and the values with 0 there; log(1 + scaled) of counts, given a scale."""
    gap = np.isnan(block.data)
    data = np.where(gap, 0.0, block.data)
    if scale is not None:
        data = np.log1p(data * np.repeat(scale, np.diff(block.indptr)))
    row = np.repeat(np.arange(block.shape[0]), np.diff(block.indptr))[gap]
    gaps = sp.csr_matrix((np.ones(len(row)), (row, block.indices[gap])), block.shape)
    return gaps, sp.csr_matrix((data, block.indices, block.indptr), block.shape)
