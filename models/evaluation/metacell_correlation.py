"""Correlation over metacells, the simplest link score: do a peak and a gene vary together?"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
from scipy.stats import rankdata
from sklearn.cluster import KMeans

from kg.errors import InputError
from models.evaluation.metrics import joint_clusters, metacell_values
from models.training.runtime import count_cores

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import ArrayLike, NDArray

    from models.inputs.cells import Cells

    Ints = NDArray[np.int64]
    Floats = NDArray[np.float64]

METACELLS = 200
CELLS_EACH = 5  # cells per metacell, on average, at least


def assign_metacells(
    cells: Cells, embeddings: Sequence[NDArray[np.float32]] = (), *, seed: int = 0, most: int = METACELLS
) -> list[Ints]:
    """Return the metacell of each cell of each modality: `most` metacells, or fewer where cells are few.

    Paired cells are grouped by what the anchor's encoder reads, its principal components; others by their position in a
    joint space, so that the result owes something to the model that made it.

    Args:
        cells: paired, or in the order of `embeddings`.
        embeddings: (cells, m) of each modality.
        seed: of k-means.
        most: largest number of metacells.

    Raises:
        InputError: the cells are not paired, and there are no embeddings.
    """
    sizes = [len(modality.obs_names) for modality in cells.modalities.values()]
    n = min(most, max(min(sizes) // CELLS_EACH, 1))
    if cells.paired:
        count_cores()
        return [KMeans(n, n_init=1, random_state=seed).fit_predict(cells[cells.anchor].rep)] * len(sizes)
    if [len(embedding) for embedding in embeddings] != sizes:
        raise InputError("the cells are not paired, and the run's folder lacks their h5ad", "restore the run's folder")
    return joint_clusters(embeddings, n, seed=seed)


@dataclass(frozen=True)
class MetacellProfiles:
    """Every feature over metacells, scaled so that products are Spearman correlations.

    Attributes:
        names: of the features, of all modalities one after another.
        values: (metacells, features + 1) ranks of mean 0 and length 1; the last column, and each feature that does not
            vary, is 0.
    """

    names: pd.Index[str]
    values: Floats

    @classmethod
    def of(cls, cells: Cells, clusters: Sequence[Ints]) -> MetacellProfiles:
        """Return profiles over the metacells that all modalities have, given the metacell of each cell of each."""
        n = max(int(cluster.max()) for cluster in clusters) + 1
        in_all = np.all([np.bincount(cluster, minlength=n) > 0 for cluster in clusters], axis=0)
        modalities = list(cells.modalities.values())
        scaled = [scaled_ranks(metacell_values(m, c, n)[in_all]) for m, c in zip(modalities, clusters, strict=True)]
        names = pd.Index(np.concatenate([modality.features for modality in modalities]))
        return cls(names, np.concatenate([*scaled, np.zeros((int(in_all.sum()), 1))], axis=1))

    def columns(self, names: ArrayLike) -> NDArray[np.intp]:
        """Return the column of each feature; for one that was not measured the last column, which does not vary."""
        columns: NDArray[np.intp] = self.names.get_indexer(pd.Index(np.asarray(names, dtype=str)))
        return columns

    def correlation(self, first: ArrayLike, second: ArrayLike) -> Floats:
        """Return (pairs,) Spearman correlations; 0 where an end does not vary."""
        i, j = self.columns(first), self.columns(second)
        correlations: Floats = np.einsum("cp,cp->p", self.values[:, i], self.values[:, j])
        return correlations


def correlation(cells: Cells, clusters: Sequence[Ints], peak: Sequence[str], gene: Sequence[str]) -> Floats:
    """Return (pairs,) Spearman correlations over metacells that all modalities have; 0 where an end does not vary.

    Args:
        cells: whose first modality measures the genes.
        clusters: metacell of each cell of each modality.
        peak, gene: (pairs,) feature ids; one that was not measured does not vary.
    """
    return MetacellProfiles.of(cells, clusters).correlation(peak, gene)


def scaled_ranks(values: Floats) -> Floats:
    """Return the ranks of each column, of mean 0 and length 1 (0 if constant): products are Spearman correlations."""
    rank = rankdata(values, axis=0)
    rank -= rank.mean(0)
    length = np.sqrt(np.square(rank).sum(0))
    scaled: Floats = rank / np.where(length > 0, length, 1.0)
    return scaled
