"""Matching of cells of two modalities that are probably of one kind, before anything is trained.

Clusters of each modality are matched by optimal transport, on similar geometry (Gromov-Wasserstein, which reads encoder
inputs alone: Peyre et al. 2016; Demetci et al. 2022) and on linked features that are high together (fused
Gromov-Wasserstein: Vayer et al. 2020, Algorithms 13:212). Guidance counts only as far as it is more informative than
permuted edges. Where it is very informative, cells are not matched at all: training on the graph does that better.
"""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from itertools import product
from typing import TYPE_CHECKING

import numpy as np
import scipy.sparse as sp
from sklearn.cluster import KMeans
from sklearn.exceptions import ConvergenceWarning
from sklearn.metrics import pairwise_distances_argmin
from threadpoolctl import threadpool_limits

from models.evaluation.metrics import metacell_values
from models.training.runtime import count_cores

with warnings.catch_warnings():  # of escapes in its docstrings, when Python first compiles them
    warnings.simplefilter("ignore")
    import ot

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from kg.guidance import GuidanceGraph
    from models.inputs.cells import Cells, Modality

    Floats = NDArray[np.float64]

GROUPS = 12
CLUSTER_NUMBERS = (8, 10, 12, 15, 20, 25)  # numbers of clusters that are matched, each REPEATS times, and averaged
REPEATS = 5
CELLS_EACH = 15  # cells per cluster in the smallest modality, on average, at least
MAX_CELLS = 30_000  # cells of each modality that are clustered; the rest join the nearest cluster
GUIDANCE_WEIGHT = 0.03  # in units of its own spread, against squared differences of relative distances
GUIDANCE_CLUSTERS = 20  # clusters of each modality on which guidance is tested
INFORMATIVE = 1 / 3  # share of the agreement that is not chance; by chance alone it is up to a quarter
SMOOTH = 0.03  # entropy of the plan that a matching starts from, in the units of squared relative distances
PERMUTATIONS = 20  # of the edges, for the agreement expected by chance


@dataclass(frozen=True)
class Clusters:
    """Clusters of the cells of one modality.

    Attributes:
        of: (cells,) cluster of each cell.
        share: (n,) of the cells.
        distances: (n, n) Euclidean distances of the means of encoder inputs, relative to their mean.
        values: (n, features) from `models.evaluation.metrics.metacell_values`.
        means: (n, dims) of encoder inputs.
    """

    of: NDArray[np.int64]
    share: Floats
    distances: Floats
    values: Floats
    means: Floats


def match_cells(graph: GuidanceGraph, cells: Cells, *, seed: int = 0) -> list[NDArray[np.int64]] | None:
    """Return the group of each cell of each modality; groups are numbered as clusters of the anchor.

    A single matching depends on how the cells happened to be clustered, so many are averaged. A cluster then joins the
    anchor's cluster that it is matched with most, relative to what their sizes would give.

    Args:
        graph: its edges between features of the anchor and of another modality are read.
        cells: encoder inputs, and the values of at most `MAX_CELLS` cells of each modality.
        seed: of the clusters and of the choice of cells.

    Returns:
        (cells,) for each modality; -1 in a modality for which the graph is informative enough, and in clusters of the
        anchor that nothing joined; None where the graph is informative for all, or there are too few cells.
    """
    max_clusters = min(len(m.rep) for m in cells.modalities.values()) // CELLS_EACH
    numbers = [n for n in CLUSTER_NUMBERS if n <= max_clusters]
    if max_clusters < GROUPS or not numbers:
        return None
    anchor, *others = (_subsample(modality, seed) for modality in cells.modalities.values())
    informative = [
        is_informative(graph, anchor, other, min(GUIDANCE_CLUSTERS, max_clusters), seed=seed) for other in others
    ]
    if all(informative):
        return None
    anchor_clusters = clusters(anchor, GROUPS, seed=seed)
    first, *rest = cells.modalities.values()
    groups = []
    for modality, other, enough in zip(rest, others, informative, strict=True):
        if enough:
            groups.append(np.full(len(modality.rep), -1))
            continue
        own = clusters(other, GROUPS, seed=seed)
        plan = consensus(graph, anchor, other, (anchor_clusters, own), numbers, seed=seed)
        joins = (plan / np.outer(plan.sum(1), plan.sum(0))).argmax(0)
        groups.append(joins[_nearest(modality.rep, own.means)])
    nearest = _nearest(first.rep, anchor_clusters.means)
    return [np.where(np.isin(nearest, np.concatenate(groups)), nearest, -1), *groups]


def is_informative(graph: GuidanceGraph, anchor: Modality, other: Modality, n: int, *, seed: int = 0) -> bool:
    """Return whether the edges between two modalities tell more about n clusters of each than chance would."""
    sides = clusters(anchor, n, seed=seed), clusters(other, n, seed=seed)
    return agreement(graph, anchor, other, *sides)[1] >= INFORMATIVE


def consensus(
    graph: GuidanceGraph,
    anchor: Modality,
    other: Modality,
    of: tuple[Clusters, Clusters],
    numbers: Sequence[int],
    *,
    seed: int = 0,
) -> Floats:
    """Return (n, n) how much two clusters belong together, averaged over matchings of other clusterings."""
    total = np.zeros((len(of[0].share), len(of[1].share)))
    for n, repeat in product(numbers, range(REPEATS)):
        anchor_clusters, other_clusters = (clusters(side, n, seed=REPEATS * seed + repeat) for side in (anchor, other))
        guidance, _ = agreement(graph, anchor, other, anchor_clusters, other_clusters)
        plan = transport(anchor_clusters, other_clusters, guidance)
        of_anchor, of_other = (
            _within(final.of, tried.of) for final, tried in zip(of, (anchor_clusters, other_clusters), strict=True)
        )
        total += of_anchor @ plan @ of_other.T
    return total / (len(numbers) * REPEATS)


def _within(whole: NDArray[np.int64], part: NDArray[np.int64]) -> Floats:
    """Return (clusters of one kind, of another) the share of the latter's cells that lie in the former."""
    both = np.zeros((whole.max() + 1, part.max() + 1))
    np.add.at(both, (whole, part), 1)
    return np.asarray(both / both.sum(0))


def _subsample(modality: Modality, seed: int) -> Modality:
    if len(modality.rep) <= MAX_CELLS:
        return modality
    return modality.take(np.sort(np.random.default_rng(seed).choice(len(modality.rep), MAX_CELLS, replace=False)))


def _nearest(rep: NDArray[np.float32], means: Floats) -> NDArray[np.int64]:
    return np.asarray(pairwise_distances_argmin(rep, means), np.int64)


def clusters(modality: Modality, n: int, *, seed: int = 0) -> Clusters:
    """Cluster encoder inputs by k-means into up to n clusters, the same on any number of cores, for resumed runs."""
    count_cores()
    with (
        threadpool_limits(1),
        warnings.catch_warnings(),
    ):  # threads would add their sums in the order in which they finish
        warnings.simplefilter("ignore", ConvergenceWarning)  # fewer distinct cells than n give fewer clusters
        kmeans = KMeans(n, n_init=3, random_state=seed).fit(modality.rep)
    used, of = np.unique(kmeans.labels_, return_inverse=True)
    means = kmeans.cluster_centers_[used].astype(np.float64)
    distances = np.linalg.norm(means[:, None] - means[None], axis=2)
    return Clusters(
        of, np.bincount(of) / len(of),
        distances / max(distances.sum() / max(distances.size - len(distances), 1), 1e-12),
        metacell_values(modality, of, len(used)), means,
    )  # fmt: skip


def agreement(
    graph: GuidanceGraph, anchor: Modality, other: Modality, its_clusters: Clusters, own_clusters: Clusters
) -> tuple[Floats, float]:
    """Return how far linked features are high together in a cluster of the anchor and one of the other modality.

    This is the sum over edges of sign * weight * the product of the two values, each standardised over its clusters,
    minus its mean when the edges' ends in the other modality are permuted; in units of its own spread, and multiplied
    by the share of its variance that permuting does not explain, so that uninformative edges have no effect.

    Returns:
        (n, n), and that share: 0 for edges no better than chance, towards 1 for many that are right.
    """
    i, j, weight = graph.between(anchor.features, other.features)
    anchor_values, other_values = _standardised(its_clusters), _standardised(own_clusters)

    def summed(j: NDArray[np.int64]) -> Floats:
        edges = sp.csr_matrix((weight, (i, j)), shape=(anchor_values.shape[1], other_values.shape[1]))
        return np.asarray(anchor_values @ np.asarray(edges @ other_values.T))

    rng = np.random.default_rng(0)
    null = np.array([summed(rng.permutation(j)) for _ in range(PERMUTATIONS)])
    excess, noise = summed(j) - null.mean(0), null.var(0, ddof=1).mean()
    signal = np.square(excess).mean()
    share = max(0.0, float(1 - noise / signal)) if signal > 0 else 0.0
    return (share / np.sqrt(signal) * excess if share else np.zeros_like(excess)), share


def _standardised(clusters: Clusters) -> Floats:
    values = clusters.values - clusters.share @ clusters.values
    spread = np.sqrt(clusters.share @ values**2)
    standard: Floats = values / np.where(spread > 0, spread, 1.0)
    return standard


def transport(anchor: Clusters, other: Clusters, guidance: Floats) -> Floats:
    """Return (n, n) shares of all cells that lie in a cluster of the anchor and belong to one of the other modality.

    Started from independence, the search ends in the nearest local optimum, which is often wrong for clusters in tight
    clumps. It starts instead from solutions of the smoothed problem, which has fewer optima: one from guidance and
    geometry, and one from geometry alone, since smoothing amplifies weak guidance. The better result is returned.
    """
    shares = anchor.share, other.share
    ends = [
        ot.gromov.fused_gromov_wasserstein(
            -GUIDANCE_WEIGHT * guidance,
            anchor.distances,
            other.distances,
            *shares,
            alpha=0.5,
            G0=_smooth(anchor, other, used),
            log=True,
        )
        for used in (guidance, np.zeros_like(guidance))
    ]
    best: Floats = min(ends, key=lambda end: float(end[1]["fgw_dist"]))[0]
    return best


def _smooth(anchor: Clusters, other: Clusters, guidance: Floats) -> Floats | None:
    """Return the entropy-free plan nearest to one with entropy, roughly; None if that did not converge."""
    shares = anchor.share, other.share
    plan = ot.gromov.entropic_fused_gromov_wasserstein(
        -GUIDANCE_WEIGHT * guidance, anchor.distances, other.distances, *shares,
        alpha=0.5, epsilon=SMOOTH, max_iter=20, numItermax=100, stopThr=1e-4, warn=False,
    )  # fmt: skip
    start: Floats | None = ot.emd(*shares, -plan / np.outer(*shares)) if np.isfinite(plan).all() else None
    return start
