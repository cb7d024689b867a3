"""Projection of the joint space onto a plane, for looking at and nothing else."""

from __future__ import annotations

from importlib import import_module
from importlib.util import find_spec
from typing import TYPE_CHECKING

import numpy as np
from sklearn.decomposition import PCA

if TYPE_CHECKING:
    from numpy.typing import NDArray


def project(vectors: NDArray[np.float32], *, seed: int = 0) -> tuple[NDArray[np.float32], tuple[str, str]]:
    """Return two coordinates of each cell, and axis labels for them.

    Uses UMAP (McInnes et al. 2018) if umap-learn is installed, otherwise the first two principal components, labelled
    with the share of variance that they hold.

    Args:
        vectors: (cells, m).
        seed: of either.
    """
    if find_spec("umap") is not None:
        umap = import_module("umap")
        return np.asarray(umap.UMAP(random_state=seed).fit_transform(vectors), np.float32), ("UMAP 1", "UMAP 2")
    pca = PCA(2, random_state=seed)
    flat = pca.fit_transform(vectors).astype(np.float32)
    first, second = pca.explained_variance_ratio_
    return flat, (f"PC 1 ({first:.0%} of variance)", f"PC 2 ({second:.0%} of variance)")
