"""Weights that let modalities with different cell-type compositions align (Cao & Gao 2022, supplement)."""

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
MOST = 30_000  # cells among which neighbours are sought


def balancing_weights(
    embeddings: Sequence[NDArray[np.float32]],
    batch: Sequence[NDArray[np.int64]] | None = None,
    sizes: Sequence[NDArray[np.int64]] | None = None,
    *,
    seed: int = 0,
) -> list[Float]:
    """Weight of each cell in the discriminator's loss.

    Args:
        embeddings: (cells, m) for each modality, in one space.
        batch: (cells,) code for each modality where batches are shared; each is balanced by itself.
        sizes: how many cells each row of the embeddings stands for; None for one each.
        seed: of the clustering.

    Returns:
        (cells,) for each modality, mean 1 over what rows stand for (in each batch); 0 for clusters that match nothing
        elsewhere.
    """
    if batch is not None:
        weights = [np.empty(len(codes)) for codes in batch]
        for one in np.unique(batch[0]):
            own = [codes == one for codes in batch]
            counts = None if sizes is None else [s[o] for s, o in zip(sizes, own, strict=True)]
            within = balancing_weights([e[o] for e, o in zip(embeddings, own, strict=True)], None, counts, seed=seed)
            for weight, o, found in zip(weights, own, within, strict=True):
                weight[o] = found
        return weights
    clusters = [clusters_of(embedding, seed=seed) for embedding in embeddings]
    means, totals = [], []
    for k, (embedding, cluster) in enumerate(zip(embeddings, clusters, strict=True)):
        n = np.bincount(cluster)
        mean = sp.csr_matrix((np.ones(len(cluster)), (cluster, np.arange(len(cluster))))) @ embedding / n[:, None]
        means.append(mean / np.maximum(np.linalg.norm(mean, axis=1, keepdims=True), 1e-12))
        totals.append(n if sizes is None else np.bincount(cluster, sizes[k]))
    by_cluster = match([a @ b.T for a, b in combinations(means, 2)], totals)
    return [weight[cluster] for weight, cluster in zip(by_cluster, clusters, strict=True)]


def match(cosines: Sequence[Float], sizes: Sequence[NDArray[Any]]) -> list[Float]:
    """Weights of clusters, mean 1 over the cells of each modality.

    Args:
        cosines: a matrix for each pair of modalities, in the order of `itertools.combinations`.
        sizes: cells of each cluster of each modality.
    """
    n = len(sizes)
    joint = np.ones([1] * n)
    for (i, j), cosine in zip(combinations(range(n), 2), cosines, strict=True):
        kept = np.where(cosine < CUTOFF, 0.0, cosine) ** POWER
        joint = joint * kept.reshape([len(sizes[k]) if k in (i, j) else 1 for k in range(n)])
    if not joint.any():  # nothing matches: weights would all be 0, so every cell counts alike
        return [np.ones(len(size)) for size in sizes]
    weights = []
    for k, size in enumerate(sizes):
        weight = joint.sum(axis=tuple(axis for axis in range(n) if axis != k)) / size
        weights.append(weight * size.sum() / (weight * size).sum())
    return weights


def clusters_of(embedding: NDArray[np.float32], *, seed: int = 0) -> NDArray[np.int64]:
    """Cluster of each cell; of more than `MOST` cells a sample is clustered, and each joins the nearest mean by cosine.

    Neighbours of all cells would take time with the square of their number.
    """
    if len(embedding) <= MOST:
        return leiden(embedding, seed=seed)
    seen = np.sort(np.random.default_rng(seed).choice(len(embedding), MOST, replace=False))
    cluster = leiden(embedding[seen], seed=seed)
    member = sp.csr_matrix((np.ones(MOST), (cluster, np.arange(MOST))))
    unit = embedding / np.maximum(np.linalg.norm(embedding, axis=1, keepdims=True), 1e-12)
    mean = member @ unit[seen]
    mean /= np.maximum(np.linalg.norm(mean, axis=1, keepdims=True), 1e-12)
    nearest: NDArray[np.int64] = (unit @ mean.T).argmax(1)
    return np.unique(nearest, return_inverse=True)[1]


def leiden(embedding: NDArray[np.float32], *, seed: int = 0) -> NDArray[np.int64]:
    """Clusters of cells by modularity on the symmetrised 15-nearest-neighbour graph of cosines."""
    nearest = neighbours(embedding, min(NEIGHBOURS, len(embedding) - 1))
    row = np.repeat(np.arange(len(embedding)), nearest.shape[1])
    directed = sp.csr_matrix((np.ones(len(row)), (row, nearest.ravel())), shape=(len(embedding),) * 2)
    ctypes.CDLL(None).srand(seed)  # its refinement draws from libc, which its own random_state does not reach
    labels = Leiden(resolution=1.0).fit_predict(sp.csr_matrix(directed + directed.T))
    return np.unique(labels, return_inverse=True)[1]


def neighbours(embedding: NDArray[np.float32], k: int) -> NDArray[np.int64]:
    """(cells, k) rows of the k most similar other cells by cosine, in no order."""
    unit = embedding / np.maximum(np.linalg.norm(embedding, axis=1, keepdims=True), 1e-12)
    found = np.empty((len(unit), k), np.int64)
    for start in range(0, len(unit), BLOCK):
        near = unit[start : start + BLOCK] @ unit.T
        near[np.arange(len(near)), np.arange(start, start + len(near))] = -np.inf
        found[start : start + BLOCK] = np.argpartition(near, -k, axis=1)[:, -k:]
    return found
