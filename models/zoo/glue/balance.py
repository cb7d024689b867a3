"""Weights that let modalities with different cell-type compositions align.

There are two rules, both from clusters of each modality and the cosines of their means. `match` is that of GLUE (Cao &
Gao 2022, supplement). Its weights depend on how finely a modality happens to be clustered: if one has five clusters and
the other two over the same cells, equal compositions get unequal weights, and alignment moves cells to compensate.
`overlap` asks at each cluster how dense each modality is around it, which does not change when a cluster is split.
"""

from __future__ import annotations

import ctypes
from itertools import combinations
from typing import TYPE_CHECKING, Any

import numpy as np
import scipy.sparse as sp
from sknetwork.clustering import Leiden

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    Float = NDArray[np.float64]

NEIGHBOURS = 15
CUTOFF = 0.5  # cosine below which clusters do not match
POWER = 4
BLOCK = 1024
MAX_CELLS = 30_000  # cells among which neighbours are sought


def balancing_weights(
    embeddings: Sequence[NDArray[np.float32]],
    batch: Sequence[NDArray[np.int64]] | None = None,
    sizes: Sequence[NDArray[np.int64]] | None = None,
    *,
    seed: int = 0,
    published: bool = False,
) -> list[Float]:
    """Return the weight of each cell in the discriminator's loss.

    Args:
        embeddings: (cells, m) for each modality, in one space.
        batch: (cells,) batch code for each modality where batches are shared; each batch is balanced by itself.
        sizes: how many cells each row of the embeddings stands for; None for one each.
        seed: of the clustering.
        published: use `match` rather than `overlap`.

    Returns:
        (cells,) for each modality, with mean 1 over the cells that rows stand for (in each batch); 0 for clusters
        without a match in other modalities.
    """
    if batch is not None:
        weights = [np.empty(len(codes)) for codes in batch]
        for code in np.unique(batch[0]):
            own = [codes == code for codes in batch]
            counts = None if sizes is None else [s[mask] for s, mask in zip(sizes, own, strict=True)]
            parts = [e[mask] for e, mask in zip(embeddings, own, strict=True)]
            within = balancing_weights(parts, None, counts, seed=seed, published=published)
            for weight, mask, part_weight in zip(weights, own, within, strict=True):
                weight[mask] = part_weight
        return weights
    clusters = [clusters_of(embedding, seed=seed) for embedding in embeddings]
    means, totals = [], []
    for k, (embedding, cluster) in enumerate(zip(embeddings, clusters, strict=True)):
        n = np.bincount(cluster)
        mean = sp.csr_matrix((np.ones(len(cluster)), (cluster, np.arange(len(cluster))))) @ embedding / n[:, None]
        means.append(mean / np.maximum(np.linalg.norm(mean, axis=1, keepdims=True), 1e-12))
        totals.append(n if sizes is None else np.bincount(cluster, sizes[k]))
    by_cluster = match([a @ b.T for a, b in combinations(means, 2)], totals) if published else overlap(means, totals)
    return [weight[cluster] for weight, cluster in zip(by_cluster, clusters, strict=True)]


def overlap(means: Sequence[Float], sizes: Sequence[NDArray[Any]]) -> list[Float]:
    """Return generalised overlap weights of clusters (Li & Li 2019, Annals of Applied Statistics), mean 1 over cells.

    The density of a modality at a cluster is the share of its cells in clusters similar to it, each weighted by
    cosine ** POWER. The weight of a cluster in its modality k is 1 / p_k over the sum of 1 / p_l of all modalities l
    (for two, the other's share of both densities). Weighted so, all have the same composition, that of their overlap.

    Args:
        means: (clusters, m) of each modality, with unit length.
        sizes: cells of each cluster of each modality.
    """
    weights = []
    for k, own in enumerate(means):
        density = [_kept(own @ mean.T) @ (size / size.sum()) for mean, size in zip(means, sizes, strict=True)]
        with np.errstate(divide="ignore", invalid="ignore"):
            weight = 1 / density[k] / sum(1 / of for of in density)
        weights.append(_of_mean_1(np.nan_to_num(weight), sizes[k]))
    return weights


def match(cosines: Sequence[Float], sizes: Sequence[NDArray[Any]]) -> list[Float]:
    """Return the weights of clusters as in GLUE, mean 1 over the cells of each modality.

    Args:
        cosines: one matrix for each pair of modalities, in the order of `itertools.combinations`.
        sizes: cells of each cluster of each modality.
    """
    n = len(sizes)
    joint = np.ones([1] * n)
    for (i, j), cosine in zip(combinations(range(n), 2), cosines, strict=True):
        joint = joint * _kept(cosine).reshape([len(sizes[k]) if k in (i, j) else 1 for k in range(n)])
    weights = []
    for k, size in enumerate(sizes):
        weight = joint.sum(axis=tuple(axis for axis in range(n) if axis != k)) / size
        weights.append(_of_mean_1(weight, size))
    return weights


def _kept(cosine: Float) -> Float:
    kept: Float = np.where(cosine < CUTOFF, 0.0, cosine) ** POWER
    return kept


def _of_mean_1(weight: Float, size: NDArray[Any]) -> Float:
    """Scale weights to mean 1 over cells; all 1 where all are 0, since nothing would be aligned."""
    total = (weight * size).sum()
    scaled: Float = weight * size.sum() / total if total else np.ones(len(size))
    return scaled


def clusters_of(embedding: NDArray[np.float32], *, seed: int = 0) -> NDArray[np.int64]:
    """Return the cluster of each cell; beyond `MAX_CELLS` cells a sample is clustered, and the rest join the nearest.

    Nearest is by cosine to the means. Finding neighbours of all cells would take time quadratic in their number.
    """
    if len(embedding) <= MAX_CELLS:
        return leiden(embedding, seed=seed)
    sampled = np.sort(np.random.default_rng(seed).choice(len(embedding), MAX_CELLS, replace=False))
    cluster = leiden(embedding[sampled], seed=seed)
    member = sp.csr_matrix((np.ones(MAX_CELLS), (cluster, np.arange(MAX_CELLS))))
    unit = embedding / np.maximum(np.linalg.norm(embedding, axis=1, keepdims=True), 1e-12)
    mean = member @ unit[sampled]
    mean /= np.maximum(np.linalg.norm(mean, axis=1, keepdims=True), 1e-12)
    nearest: NDArray[np.int64] = (unit @ mean.T).argmax(1)
    return np.unique(nearest, return_inverse=True)[1]


def leiden(embedding: NDArray[np.float32], *, seed: int = 0) -> NDArray[np.int64]:
    """Cluster cells by modularity on the symmetrised 15-nearest-neighbour graph of cosines."""
    nearest = neighbours(embedding, min(NEIGHBOURS, len(embedding) - 1))
    row = np.repeat(np.arange(len(embedding)), nearest.shape[1])
    directed = sp.csr_matrix((np.ones(len(row)), (row, nearest.ravel())), shape=(len(embedding),) * 2)
    ctypes.CDLL(None).srand(seed)  # its refinement draws from libc, which its own random_state does not reach
    labels = Leiden(resolution=1.0).fit_predict(sp.csr_matrix(directed + directed.T))
    return np.unique(labels, return_inverse=True)[1]


def neighbours(embedding: NDArray[np.float32], k: int) -> NDArray[np.int64]:
    """Return (cells, k) rows of the k most similar other cells by cosine, unordered."""
    unit = embedding / np.maximum(np.linalg.norm(embedding, axis=1, keepdims=True), 1e-12)
    nearest = np.empty((len(unit), k), np.int64)
    for start in range(0, len(unit), BLOCK):
        near = unit[start : start + BLOCK] @ unit.T
        near[np.arange(len(near)), np.arange(start, start + len(near))] = -np.inf
        nearest[start : start + BLOCK] = np.argpartition(near, -k, axis=1)[:, -k:]
    return nearest
