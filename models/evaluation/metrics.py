"""Metrics of how well modalities are aligned and links are ranked. Each function's docstring has its formula."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import scipy.sparse as sp
from scipy.stats import rankdata
from sklearn.cluster import KMeans

from models.inputs.backed_matrix import blocks
from models.training.runtime import count_cores

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from numpy.typing import NDArray

    from kg.guidance import GuidanceGraph
    from models.inputs.cells import Modality

    Float32 = NDArray[np.float32]

BLOCK = 256  # rows of a distance matrix; four times as many would dominate the memory of a whole run
N_METACELLS = (10, 20, 50, 100, 200)


def foscttm(x: Float32, y: Float32) -> float:
    """Return the fraction of samples closer than the true match, mean of both directions; 0 is best, 0.5 chance.

    This is the mean over i of #{j: |x_i - y_j| < |x_i - y_i|} / N and the same from y, strict, over all N cells
    (Liu et al. 2019, doi 10.4230/LIPIcs.WABI.2019.10). O(N) memory.

    Args:
        x, y: (N, m); row i of both is the same cell.
    """
    own = np.square(x - y, dtype=np.float64).sum(1)
    closer = 0
    for rows, squared in _squared_distances(x, y):
        at = np.arange(rows.start, rows.stop)
        squared[at - rows.start, at] = np.inf  # the true match is never closer than itself
        closer += int((squared < own[rows, None]).sum()) + int((squared < own[None, :]).sum())
    return closer / (2.0 * len(x) ** 2)


def label_transfer(
    reference: Float32, labels: NDArray[np.str_], query: Float32, truth: NDArray[np.str_], k: int = 15
) -> float:
    """Return the share of query cells whose k nearest reference cells (euclidean) vote for their true label."""
    kinds, code = np.unique(labels, return_inverse=True)
    correct, k = 0, min(k, len(reference))
    for rows, squared in _squared_distances(query, reference):
        near = np.argpartition(squared, k - 1, axis=1)[:, :k]
        votes = np.zeros((len(near), len(kinds)))
        np.add.at(votes, (np.arange(len(near))[:, None], code[near]), 1)
        correct += int((kinds[votes.argmax(1)] == truth[rows]).sum())
    return correct / len(query)


def _squared_distances(x: Float32, y: Float32) -> Iterator[tuple[slice, NDArray[np.float64]]]:
    """Yield blocks of rows of x with their squared distances to all of y."""
    x, y = x.astype(np.float64), y.astype(np.float64)
    y_square = np.square(y).sum(1)
    for start in range(0, len(x), BLOCK):
        rows = slice(start, min(start + BLOCK, len(x)))
        part = x[rows]
        yield rows, np.square(part).sum(1)[:, None] + y_square - 2.0 * part @ y.T


def auroc(positive: NDArray[np.bool_], score: NDArray[np.floating]) -> float:
    """Return the chance that a positive outranks a negative, ties counting half (Mann-Whitney); NaN without both."""
    n_positive = int(positive.sum())
    n_negative = len(positive) - n_positive
    if not n_positive or not n_negative:
        return float("nan")
    ranks = rankdata(score)
    return float((ranks[positive].sum() - n_positive * (n_positive + 1) / 2) / (n_positive * n_negative))


def joint_clusters(embeddings: Sequence[Float32], n: int, *, seed: int = 0) -> list[NDArray[np.int64]]:
    """Return the metacell of each cell of each modality, by k-means over all of them."""
    count_cores()
    cluster = KMeans(n, n_init=1, random_state=seed).fit_predict(np.concatenate(embeddings))
    return np.split(cluster, np.cumsum([len(embedding) for embedding in embeddings])[:-1])


def consistency(
    modalities: Sequence[Modality], embeddings: Sequence[Float32], graph: GuidanceGraph, *, seed: int = 0
) -> dict[int, float]:
    """Return the integration consistency: whether linked features vary together over metacells of the joint space.

    Joint k-means makes n metacells; counts are summed, normalised to their median total and log-transformed, other
    values averaged; the score is sum(sign * weight * Spearman) / sum(weight) over edges whose ends both vary (Cao & Gao
    2022). A score above 0.05 is trusted.

    Returns:
        n -> score, for each n in `N_METACELLS` up to the number of cells of the smallest modality.
    """
    smallest = min(len(embedding) for embedding in embeddings)
    return {
        n: _edge_score(modalities, joint_clusters(embeddings, n, seed=seed), n, graph)
        for n in N_METACELLS
        if n <= smallest
    }


def _edge_score(
    modalities: Sequence[Modality], clusters: Sequence[NDArray[np.int64]], n: int, graph: GuidanceGraph
) -> float:
    in_all = np.all([np.bincount(cluster, minlength=n) > 0 for cluster in clusters], axis=0)
    if in_all.sum() < 3:
        return float("nan")
    ranks = [metacell_values(m, cluster, n)[in_all] for m, cluster in zip(modalities, clusters, strict=True)]
    rank = np.concatenate([rankdata(part, axis=0) for part in ranks], axis=1)
    names = np.concatenate([modality.features for modality in modalities])
    order = np.argsort(names)
    column = order[np.searchsorted(names, graph.vertices, sorter=order).clip(max=len(names) - 1)]
    known = names[column] == graph.vertices
    rank = rank - rank.mean(0)
    length = np.sqrt(np.square(rank).sum(0))
    varies = known & (length[column] > 0)
    kept = varies[graph.source] & varies[graph.target] & (graph.source != graph.target)
    if not kept.any():
        return float("nan")
    i, j, weight = column[graph.source[kept]], column[graph.target[kept]], graph.weight[kept]
    correlation = np.einsum("ce,ce->e", rank[:, i], rank[:, j]) / (length[i] * length[j])
    return float((graph.sign[kept] * weight * correlation).sum() / weight.sum())


def metacell_values(modality: Modality, cluster: NDArray[np.int64], n: int) -> NDArray[np.float64]:
    """Return (n, features) values of metacells: log-normalised sums of counts, means of other values.

    A feature that was measured in no cell of a metacell gets its mean over metacells there, which is uninformative.
    """
    member = sp.csr_matrix((np.ones(len(cluster)), (cluster, np.arange(len(cluster)))), shape=(n, len(cluster)))
    if not modality.is_counted:
        return _metacell_means(modality, member)
    total = sum((member[:, rows] @ block).toarray() for rows, block in blocks(modality.counts))
    size = total.sum(1, keepdims=True)
    logged: NDArray[np.float64] = np.log1p(total / np.maximum(size, 1.0) * np.median(size[size > 0]))
    return logged


def _metacell_means(modality: Modality, member: sp.csr_matrix) -> NDArray[np.float64]:
    shape = member.shape[0], len(modality.features)
    missing, known = np.zeros(shape), np.zeros(shape)
    for rows, block in blocks(modality.counts):
        part = block.astype(np.float64)
        part.data = np.isnan(block.data).astype(np.float64)
        missing += (member[:, rows] @ part).toarray()
        part.data = np.nan_to_num(block.data, nan=0.0).astype(np.float64)
        known += (member[:, rows] @ part).toarray()
    with np.errstate(invalid="ignore"):
        mean: NDArray[np.float64] = known / (np.asarray(member.sum(axis=1)) - missing)
    feature_mean = np.nansum(mean, 0) / np.maximum(np.isfinite(mean).sum(0), 1)
    return np.where(np.isnan(mean), feature_mean, mean)
