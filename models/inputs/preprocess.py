"""Low-dimensional inputs of the data encoders, computed once from raw counts.

The decoders always see raw counts; only the encoders read these (as in the preprocessing of GLUE's published
benchmarks: Cao & Gao 2022, doi 10.1038/s41587-022-01284-4).
"""

from __future__ import annotations

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray
from sklearn.decomposition import PCA
from sklearn.utils.extmath import randomized_svd

Float32 = NDArray[np.float32]

MAX_SCALED = 10.0  # so that a gene seen in three cells does not dominate a component
LSI_POWER_ITERATIONS = 15


def rna_pca(counts: sp.csr_matrix, n_components: int, *, seed: int = 0) -> Float32:
    """Return principal components of scaled log counts.

    Args:
        counts: raw UMI counts, (cells, genes).
        n_components: at most; lowered to min(shape) - 1.
        seed: of the randomised solver, used only for more than 5,000 genes.

    Returns:
        (cells, n_components) float32.
    """
    total = np.asarray(counts.sum(axis=1)).ravel()
    target = float(np.median(total[total > 0]))
    scaled = sp.diags(target / np.maximum(total, 1.0)) @ counts
    dense = np.log1p(scaled.toarray()).astype(np.float32)
    return _components(dense, n_components, seed)


def value_pca(values: sp.csr_matrix, n_components: int, *, seed: int = 0) -> Float32:
    """Return principal components of scaled values, logged if none is negative; unmeasured values count as the mean.

    Args:
        values: such as methylation ratios, (cells, features); NaN means not measured.
        n_components: at most; lowered to min(shape) - 1.
        seed: of the randomised solver, used only for more than 5,000 features.

    Returns:
        (cells, n_components) float32.
    """
    dense = values.toarray().astype(np.float32)
    if not (dense < 0).any():
        np.log1p(dense, out=dense)
    feature_mean = np.nansum(dense, 0) / np.maximum(np.isfinite(dense).sum(0), 1)
    return _components(np.where(np.isnan(dense), feature_mean, dense), n_components, seed)


def _components(dense: Float32, n_components: int, seed: int) -> Float32:
    """Return components of features scaled to variance 1, at most 10 SD above the mean; overwrites `dense`."""
    dense -= dense.mean(axis=0)
    spread = dense.std(axis=0, ddof=1)
    dense /= np.where(spread > 0, spread, 1.0)
    np.minimum(dense, MAX_SCALED, out=dense)
    n = min(n_components, min(dense.shape) - 1)
    solver = "covariance_eigh" if dense.shape[1] <= 5000 else "randomized"
    components = PCA(n, svd_solver=solver, random_state=seed).fit_transform(dense)
    return np.ascontiguousarray(components, dtype=np.float32)


def atac_lsi(counts: sp.csr_matrix, n_components: int, *, seed: int = 0) -> Float32:
    """Return latent semantic indexing: TF-IDF, then the left singular vectors, z-scored within each cell.

    Args:
        counts: raw counts, (cells, peaks).
        n_components: at most; lowered to min(shape) - 1.
        seed: of the randomised SVD.

    Returns:
        (cells, n_components) float32.
    """
    per_cell = np.maximum(np.asarray(counts.sum(axis=1)).ravel(), 1.0)
    per_peak = np.maximum(np.asarray(counts.sum(axis=0)).ravel(), 1.0)
    tf_idf = sp.diags(1.0 / per_cell) @ counts @ sp.diags(counts.shape[0] / per_peak)
    row_sum = np.maximum(np.asarray(tf_idf.sum(axis=1)).ravel(), 1e-12)
    tf_idf = sp.csr_matrix(sp.diags(1e4 / row_sum) @ tf_idf)
    tf_idf.data = np.log1p(tf_idf.data)
    n = min(n_components, min(counts.shape) - 1)
    left, _, _ = randomized_svd(tf_idf, n, n_iter=LSI_POWER_ITERATIONS, random_state=seed)
    left -= left.mean(axis=1, keepdims=True)
    left /= np.maximum(left.std(axis=1, ddof=1, keepdims=True), 1e-12)
    return np.ascontiguousarray(left, dtype=np.float32)
