"""The plainest of links: do a peak and a gene vary together over metacells?"""

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
CELLS_EACH = 5  # on average, at least


def groups(
    cells: Cells, embeddings: Sequence[NDArray[np.float32]] = (), *, seed: int = 0, most: int = METACELLS
) -> list[Ints]:
    """Metacell of each cell of each modality: `most`, or fewer where cells are few.

    Paired cells are grouped by what the anchor's encoder reads, its principal components; others by their place in a
    joint space, so that what comes of them owes something to the model that made it.

    Args:
        cells: paired, or as `embeddings` has them.
        embeddings: of each modality, (cells, m).
        seed: of k-means.
        most: metacells.

    Raises:
        InputError: cells are not paired, and there are no embeddings.
    """
    sizes = [len(modality.obs_names) for modality in cells.modalities.values()]
    n = min(most, max(min(sizes) // CELLS_EACH, 1))
    if cells.paired:
        count_cores()
        return [KMeans(n, n_init=1, random_state=seed).fit_predict(cells[cells.anchor].rep)] * len(sizes)
    if [len(embedding) for embedding in embeddings] != sizes:
        raise InputError("cells are not paired, and the run's folder does not hold them", "their h5ad are kept there")
    return joint_clusters(embeddings, n, seed=seed)


@dataclass(frozen=True)
class MetacellProfiles:
    """Every feature over metacells, so scaled that products are Spearman correlations.

    Attributes:
        names: of the features, of all modalities one after another.
        values: (metacells, features + 1) ranks of mean 0 and length 1; the last column, and each feature that does not
            vary, is 0.
    """

    names: pd.Index[str]
    values: Floats

    @classmethod
    def of(cls, cells: Cells, clusters: Sequence[Ints]) -> MetacellProfiles:
        """Profiles over the metacells that all modalities have; `clusters` are the metacell of each cell of each."""
        n = max(int(cluster.max()) for cluster in clusters) + 1
        common = np.all([np.bincount(cluster, minlength=n) > 0 for cluster in clusters], axis=0)
        modalities = list(cells.modalities.values())
        scaled = [scaled_ranks(metacell_values(m, c, n)[common]) for m, c in zip(modalities, clusters, strict=True)]
        names = pd.Index(np.concatenate([modality.features for modality in modalities]))
        return cls(names, np.concatenate([*scaled, np.zeros((int(common.sum()), 1))], axis=1))

    def places(self, names: ArrayLike) -> NDArray[np.intp]:
        """Column of each feature; the last one, which does not vary, of one that was not measured."""
        found: NDArray[np.intp] = self.names.get_indexer(pd.Index(np.asarray(names, dtype=str)))
        return found

    def correlation(self, first: ArrayLike, second: ArrayLike) -> Floats:
        """(pairs,) Spearman correlations; 0 where an end does not vary."""
        i, j = self.places(first), self.places(second)
        found: Floats = np.einsum("cp,cp->p", self.values[:, i], self.values[:, j])
        return found


def correlation(cells: Cells, clusters: Sequence[Ints], peak: Sequence[str], gene: Sequence[str]) -> Floats:
    """(pairs,) Spearman correlation over metacells that all modalities have; 0 where an end does not vary.

    Args:
        cells: whose first modality is that of the genes.
        clusters: metacell of each cell of each modality.
        peak, gene: (pairs,) feature ids; one that was not measured does not vary.
    """
    return MetacellProfiles.of(cells, clusters).correlation(peak, gene)


def scaled_ranks(values: Floats) -> Floats:
    """Ranks of each column, of mean 0 and length 1, so that products are Spearman correlations; 0 if constant."""
    rank = rankdata(values, axis=0)
    rank -= rank.mean(0)
    length = np.sqrt(np.square(rank).sum(0))
    scaled: Floats = rank / np.where(length > 0, length, 1.0)
    return scaled
