"""Pairs beyond the skeleton: every trained peak within a window of a gene's start site, a block of genes at a time.

Memory grows with the pairs that are kept, not with those that are scored: p-values have no more levels than the null
has values, so the q-values of all pairs follow from the number of pairs at each level.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from models.zoo.glue.link_scores import Q_CALLED, cosines, tabulated

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from numpy.typing import NDArray

    from models.zoo.glue.link_scores import Trained

    Ints = NDArray[np.int64]

BEST = 5  # pairs of each gene that are kept even when they are not called


def select_candidates(
    fit: Trained,
    skeleton: tuple[Sequence[str], Sequence[str]],
    blocks: Iterator[tuple[Ints, Ints]],
    *,
    seed: int = 0,
    best: int = BEST,
    every: Callable[[pd.DataFrame], None] | None = None,
) -> pd.DataFrame:
    """Return the pairs of the blocks, outside the skeleton, that are called or among the best of their gene.

    The null is the skeleton's (`Trained.links` with the same seed); q is Benjamini-Hochberg over all pairs of the
    blocks, excluding the skeleton's, whose q does not depend on the window.

    Args:
        fit: the trained embeddings.
        skeleton: ids of peaks and genes, (pairs,) each.
        blocks: rows of peaks and genes, all pairs of a gene in one block.
        seed: of the permutations.
        best: number of pairs kept for each gene.
        every: called with all pairs of each block: source, target, score, p.

    Returns:
        The columns of `Trained.links`.
    """
    at, _ = fit.places(*skeleton)
    null = np.sort(fit.null(*at, seed=seed))
    known = np.unique(_keys(at[0], at[1], fit))
    reached = np.zeros(len(null) + 1, np.int64)  # number of pairs by how many null values are at least their score
    kept = []
    for peak, gene in blocks:
        new = ~np.isin(_keys(peak, gene, fit), known)
        i, j = peak[new], gene[new]
        by_member = cosines(fit.unit, i, j)
        score = by_member.mean(0)
        level = len(null) - np.searchsorted(null, score)
        reached += np.bincount(level, minlength=len(reached))
        p = (1 + level) / (1 + len(null))
        if every is not None:
            scored = {"source": fit.vertices[i], "target": fit.vertices[j], "score": score.astype(np.float32), "p": p}
            every(pd.DataFrame(scored))
        rank = _rank_in_gene(j, score)
        chosen = (p < Q_CALLED) | (rank < best)
        kept.append((i[chosen], j[chosen], by_member[:, chosen], level[chosen], rank[chosen]))
    if not kept:
        return tabulated(fit.vertices[:0], fit.vertices[:0], np.zeros((1, 0)), np.zeros(0), np.zeros(0))
    i, j, level, rank = (np.concatenate([part[n] for part in kept]) for n in (0, 1, 3, 4))
    q = _q_of_levels(reached)[level]
    table = tabulated(
        fit.vertices[i],
        fit.vertices[j],
        np.concatenate([part[2] for part in kept], 1),
        (1 + level) / (1 + len(null)),
        q,
    )
    return table[table["called"] | (rank < best)].reset_index(drop=True)


def _q_of_levels(reached: Ints) -> NDArray[np.float64]:
    """Return the Benjamini-Hochberg q at each level k, the number of null values >= score, from the pairs at each."""
    p = (1 + np.arange(len(reached))) / len(reached)
    scaled = p * reached.sum() / np.maximum(np.cumsum(reached), 1)
    scaled[reached == 0] = np.inf  # no pair here could be the last one called
    q: NDArray[np.float64] = np.minimum(np.minimum.accumulate(scaled[::-1])[::-1], 1)
    return q


def _rank_in_gene(gene: Ints, score: NDArray[np.float64]) -> Ints:
    """Return 0 for the best pair of each gene, 1 for the next, ..."""
    order = np.lexsort((-score, gene))
    ordered = gene[order]
    first = np.searchsorted(ordered, ordered)
    rank = np.empty(len(gene), np.int64)
    rank[order] = np.arange(len(gene)) - first
    return rank


def _keys(peak: Ints, gene: Ints, fit: Trained) -> Ints:
    return peak * np.int64(len(fit.vertices)) + gene
