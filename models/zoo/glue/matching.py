"""Which cells of two modalities are probably of one kind, before anything is trained.

Clusters of each modality are matched by optimal transport: those that lie to each other alike (Gromov-Wasserstein,
which reads encoder inputs alone: Peyre et al. 2016; Demetci et al. 2022) and whose linked features are high together
(fused Gromov-Wasserstein: Vayer et al. 2020, Algorithms 13:212). Guidance is heard as far as it says more than permuted
edges would. Where it says a lot, cells are not matched at all: training on the graph itself does that better.
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
TRIED = (8, 10, 12, 15, 20, 25)  # numbers of clusters that are matched, each TRIES times, and averaged
TRIES = 5
CELLS_EACH = 15  # of a cluster in the smallest modality, on average and at least
MOST = 30_000  # cells of each modality that are looked at; the rest join the nearest cluster
TOLD = 0.03  # weight of guidance, in units of its own spread, beside squared differences of relative distances
ASKED = 20  # clusters of each modality that the graph is asked of
ENOUGH = 1 / 3  # share of what it says of them that is not chance; by chance it is up to a quarter
SMOOTH = 0.03  # entropy of the plan that a matching starts from, in the same units as relative distances squared
PERMUTED = 20  # times, to see what edges say by chance


@dataclass(frozen=True)
class Clusters:
    """Clusters of the cells of one modality.

    Attributes:
        of: (cells,) cluster of each cell.
        share: (n,) of the cells.
        apart: (n, n) Euclidean distances of the means of encoder inputs, over their mean.
        values: (n, features) as `models.evaluation.metrics.metacell_values` has them.
        means: (n, dims) of encoder inputs.
    """

    of: NDArray[np.int64]
    share: Floats
    apart: Floats
    values: Floats
    means: Floats


def groups(graph: GuidanceGraph, cells: Cells, *, seed: int = 0) -> list[NDArray[np.int64]] | None:
    """Group of each cell of each modality; its number is that of a cluster of the anchor.

    One matching hangs on how the cells happened to be clustered, so that many are averaged. A cluster then joins the
    anchor's cluster that it is matched with most beyond what their sizes would give.

    Args:
        graph: its edges between features of the anchor and of another modality are read.
        cells: encoder inputs, and of at most `MOST` cells of each modality the values.
        seed: of the clusters and of the cells looked at.

    Returns:
        (cells,) for each modality; -1 in one that the graph says enough of, and in clusters of the anchor that nothing
        joined; None where the graph says enough of all, or cells are too few to tell groups apart.
    """
    most = min(len(m.rep) for m in cells.modalities.values()) // CELLS_EACH
    numbers = [n for n in TRIED if n <= most]
    if most < GROUPS or not numbers:
        return None
    anchor, *others = (_some(modality, seed) for modality in cells.modalities.values())
    told = [says_enough(graph, anchor, other, min(ASKED, most), seed=seed) for other in others]
    if all(told):
        return None
    its = clusters(anchor, GROUPS, seed=seed)
    first, *rest = cells.modalities.values()
    found = []
    for modality, other, enough in zip(rest, others, told, strict=True):
        if enough:
            found.append(np.full(len(modality.rep), -1))
            continue
        own = clusters(other, GROUPS, seed=seed)
        plan = consensus(graph, anchor, other, (its, own), numbers, seed=seed)
        joins = (plan / np.outer(plan.sum(1), plan.sum(0))).argmax(0)
        found.append(joins[_nearest(modality.rep, own.means)])
    nearest = _nearest(first.rep, its.means)
    return [np.where(np.isin(nearest, np.concatenate(found)), nearest, -1), *found]


def says_enough(graph: GuidanceGraph, anchor: Modality, other: Modality, n: int, *, seed: int = 0) -> bool:
    """Whether the edges between two modalities say more of n clusters of each than chance would."""
    sides = clusters(anchor, n, seed=seed), clusters(other, n, seed=seed)
    return agreement(graph, anchor, other, *sides)[1] >= ENOUGH


def consensus(
    graph: GuidanceGraph,
    anchor: Modality,
    other: Modality,
    asked: tuple[Clusters, Clusters],
    numbers: Sequence[int],
    *,
    seed: int = 0,
) -> Floats:
    """(n, n) how much two clusters belong together, mean over matchings of other clusters of the same cells."""
    total = np.zeros((len(asked[0].share), len(asked[1].share)))
    for n, again in product(numbers, range(TRIES)):
        its, own = (clusters(side, n, seed=TRIES * seed + again) for side in (anchor, other))
        told, _ = agreement(graph, anchor, other, its, own)
        plan = transport(its, own, told)
        left, right = (_within(whole.of, part.of) for whole, part in zip(asked, (its, own), strict=True))
        total += left @ plan @ right.T
    return total / (len(numbers) * TRIES)


def _within(whole: NDArray[np.int64], part: NDArray[np.int64]) -> Floats:
    """(clusters of one kind, of another) the share of the cells of the latter that lie in the former."""
    both = np.zeros((whole.max() + 1, part.max() + 1))
    np.add.at(both, (whole, part), 1)
    return np.asarray(both / both.sum(0))


def _some(modality: Modality, seed: int) -> Modality:
    if len(modality.rep) <= MOST:
        return modality
    return modality.take(np.sort(np.random.default_rng(seed).choice(len(modality.rep), MOST, replace=False)))


def _nearest(rep: NDArray[np.float32], means: Floats) -> NDArray[np.int64]:
    return np.asarray(pairwise_distances_argmin(rep, means), np.int64)


def clusters(modality: Modality, n: int, *, seed: int = 0) -> Clusters:
    """Up to n clusters of encoder inputs by k-means, the same on any number of cores: a resumed run has them too."""
    count_cores()
    with threadpool_limits(1), warnings.catch_warnings():  # sums of several threads are added in the order they end
        warnings.simplefilter("ignore", ConvergenceWarning)  # fewer distinct cells than n: there are fewer clusters
        found = KMeans(n, n_init=3, random_state=seed).fit(modality.rep)
    held, of = np.unique(found.labels_, return_inverse=True)
    means = found.cluster_centers_[held].astype(np.float64)
    apart = np.linalg.norm(means[:, None] - means[None], axis=2)
    return Clusters(
        of, np.bincount(of) / len(of), apart / max(apart.sum() / max(apart.size - len(apart), 1), 1e-12),
        metacell_values(modality, of, len(held)), means,
    )  # fmt: skip


def agreement(
    graph: GuidanceGraph, anchor: Modality, other: Modality, its_clusters: Clusters, own_clusters: Clusters
) -> tuple[Floats, float]:
    """How much linked features are high together in a cluster of the anchor and one of the other modality.

    Sum over edges of sign * weight * the product of the two values, each in standard deviations over its clusters, less
    what it is when the edges' ends in the other modality are permuted; in units of its own spread, and shrunk by the
    share of its variance that permuting does not explain, so that edges that say nothing are not heard.

    Returns:
        (n, n), and that share: 0 for edges that say no more than chance, towards 1 for many that are right.
    """
    i, j, weight = graph.between(anchor.features, other.features)
    mine, theirs = _standardised(its_clusters), _standardised(own_clusters)

    def summed(j: NDArray[np.int64]) -> Floats:
        edges = sp.csr_matrix((weight, (i, j)), shape=(mine.shape[1], theirs.shape[1]))
        return np.asarray(mine @ np.asarray(edges @ theirs.T))

    rng = np.random.default_rng(0)
    null = np.array([summed(rng.permutation(j)) for _ in range(PERMUTED)])
    beyond, noise = summed(j) - null.mean(0), null.var(0, ddof=1).mean()
    signal = np.square(beyond).mean()
    share = max(0.0, float(1 - noise / signal)) if signal > 0 else 0.0
    return (share / np.sqrt(signal) * beyond if share else np.zeros_like(beyond)), share


def _standardised(clusters: Clusters) -> Floats:
    values = clusters.values - clusters.share @ clusters.values
    spread = np.sqrt(clusters.share @ values**2)
    standard: Floats = values / np.where(spread > 0, spread, 1.0)
    return standard


def transport(anchor: Clusters, other: Clusters, told: Floats) -> Floats:
    """(n, n) share of all cells that lie in a cluster of the anchor and belong to one of the other modality.

    From independence the search ends in the nearest local optimum, which for clusters that lie in tight clumps is often
    a wrong one. It starts from plans of the smoothed problem instead, which has few others: of guidance and geometry,
    and of geometry alone, since smoothing makes weak guidance louder. The better end counts.
    """
    shares = anchor.share, other.share
    ends = [
        ot.gromov.fused_gromov_wasserstein(
            -TOLD * told, anchor.apart, other.apart, *shares, alpha=0.5, G0=_smooth(anchor, other, heard), log=True
        )
        for heard in (told, np.zeros_like(told))
    ]
    best: Floats = min(ends, key=lambda end: float(end[1]["fgw_dist"]))[0]
    return best


def _smooth(anchor: Clusters, other: Clusters, told: Floats) -> Floats | None:
    """The plan without entropy that lies nearest to one with it, roughly; None if that did not converge."""
    shares = anchor.share, other.share
    plan = ot.gromov.entropic_fused_gromov_wasserstein(
        -TOLD * told, anchor.apart, other.apart, *shares,
        alpha=0.5, epsilon=SMOOTH, max_iter=20, numItermax=100, stopThr=1e-4, warn=False,
    )  # fmt: skip
    start: Floats | None = ot.emd(*shares, -plan / np.outer(*shares)) if np.isfinite(plan).all() else None
    return start
