"""Pairs beyond the skeleton: every trained peak within a window of a gene's start site, a block of genes at a time.

What is held grows with the pairs that are kept, not with those that are scored: p-values have no more levels than the
null has values, so the q-values of all pairs follow from how many pairs reach each level.
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
    """Those pairs of blocks, not in the skeleton, that are called or among the best of their gene.

    The null is the skeleton's (`Trained.links` with the same seed); q is Benjamini-Hochberg over all pairs of the
    blocks, apart from the skeleton's, whose q does not depend on the window.

    Args:
        fit: trained.
        skeleton: peaks and genes, (pairs,) ids each.
        blocks: rows of peaks and genes, all pairs of a gene in one block.
        seed: of the permutations.
        best: pairs of each gene.
        every: given all pairs of each block: source, target, score, p.

    Returns:
        The columns of `Trained.links`.
    """
    at, _ = fit.places(*skeleton)
    null = np.sort(fit.null(*at, seed=seed))
    known = np.unique(_keys(at[0], at[1], fit))
    reached = np.zeros(len(null) + 1, np.int64)  # pairs by how many null values are not below them
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
            told = {"source": fit.vertices[i], "target": fit.vertices[j], "score": score.astype(np.float32), "p": p}
            every(pd.DataFrame(told))
        some = (p < Q_CALLED) | (_place_in_gene(j, score) < best)
        kept.append((i[some], j[some], by_member[:, some], level[some], _place_in_gene(j, score)[some]))
    if not kept:
        return tabulated(fit.vertices[:0], fit.vertices[:0], np.zeros((1, 0)), np.zeros(0), np.zeros(0))
    i, j, level, place = (np.concatenate([part[n] for part in kept]) for n in (0, 1, 3, 4))
    q = _q_of_levels(reached)[level]
    table = tabulated(
        fit.vertices[i],
        fit.vertices[j],
        np.concatenate([part[2] for part in kept], 1),
        (1 + level) / (1 + len(null)),
        q,
    )
    return table[table["called"] | (place < best)].reset_index(drop=True)


def _q_of_levels(reached: Ints) -> NDArray[np.float64]:
    """Benjamini-Hochberg q of a pair that k null values are not below, for each k, from how many pairs have each k."""
    p = (1 + np.arange(len(reached))) / len(reached)
    scaled = p * reached.sum() / np.maximum(np.cumsum(reached), 1)
    scaled[reached == 0] = np.inf  # no pair is there to be the last that is called
    q: NDArray[np.float64] = np.minimum(np.minimum.accumulate(scaled[::-1])[::-1], 1)
    return q


def _place_in_gene(gene: Ints, score: NDArray[np.float64]) -> Ints:
    """0 for the best pair of each gene, 1 for the next, ..."""
    order = np.lexsort((-score, gene))
    ordered = gene[order]
    first = np.searchsorted(ordered, ordered)
    place = np.empty(len(gene), np.int64)
    place[order] = np.arange(len(gene)) - first
    return place


def _keys(peak: Ints, gene: Ints, fit: Trained) -> Ints:
    return peak * np.int64(len(fit.vertices)) + gene
