"""Targets of transcription factors: genes linked to more peaks with a site of the factor than expected by chance.

The cis-regulatory ranking of GLUE (Cao & Gao 2022) replaces each linked peak of a gene 1,000 times by a random peak of
about the same length, counts sites, and ranks genes by how many draws their count reaches. Those draws are independent,
so the count is a sum of independent events (Poisson-binomial), whose distribution is computed here exactly: what
infinitely many draws would give, without a seed, and with p-values below 1/1,000.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
import scipy.sparse as sp
from scipy.stats import fisher_exact, rankdata

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Ints = NDArray[np.int64]
    Floats = NDArray[np.float64]

BINS = 500  # quantiles of peak length, at most
MIN_IN_BIN = 50  # peaks: in smaller bins a peak would mostly be replaced by itself
Q_CALLED = 0.05


def rank_targets(gene: Ints, peak: Ints, sites: sp.csr_matrix, lengths: Ints, n_genes: int) -> pd.DataFrame:
    """Rank every pair of factor and gene with at least one linked peak that holds a site.

    Args:
        gene, peak: (links,) ends of the links; no pair twice.
        sites: (peaks, factors) 1 where a peak holds a site of a factor.
        lengths: (peaks,) in base pairs; random peaks are drawn from these peaks.
        n_genes: number of genes that could be targets, linked or not.

    Returns:
        gene, tf (positions); observed (linked peaks with a site) and expected (its mean among random peaks); score
        (chance of at most that many), p (of at least that many), q (Benjamini-Hochberg over `n_genes` x factors), rank
        (of the gene among all for the factor, by decreasing score, ties share their mean), called (q < 0.05).
    """
    sites = sp.csr_matrix((np.ones(sites.nnz), sites.indices, sites.indptr), shape=sites.shape)
    bins = length_bins(lengths)
    chance = _chances(sites, bins)
    order = np.lexsort(
        (bins[peak], gene)
    )  # equal bins in equal order: identical genes get identical numbers, bit by bit
    gene, peak = gene[order], peak[order]
    bounds = np.flatnonzero(np.diff(gene)) + 1
    parts = [_of_gene(peaks, sites, chance[bins[peaks]]) for peaks in np.split(peak, bounds) if len(peaks)]
    of_gene = np.repeat(gene[np.concatenate([[0], bounds])] if len(gene) else gene, [len(p[0]) for p in parts])
    numbers = np.concatenate(parts, axis=1) if parts else np.zeros((5, 0))
    tf, observed = numbers[:2].astype(np.int64)
    expected, p, above = numbers[2:]
    q = adjusted(p, n_genes * sites.shape[1])
    columns = {"gene": of_gene, "tf": tf, "observed": observed, "expected": expected}
    columns |= {"score": 1 - above, "p": p, "q": q}
    return pd.DataFrame({**columns, "rank": _ranks(tf, above), "called": q < Q_CALLED})


def length_bins(lengths: Ints) -> Ints:
    """Return the (peaks,) quantile of each length: at most 500 bins, fewer if lengths are tied or peaks few."""
    n = min(len(np.unique(lengths)), BINS, len(lengths) // MIN_IN_BIN)
    if n < 2:
        return np.zeros(len(lengths), np.int64)
    quantile: Ints = pd.qcut(lengths, n, labels=False, duplicates="drop").astype(np.int64)
    return quantile


def counts_at_least(chance: Floats) -> Floats:
    """Return the tail distribution of a sum of independent events: row k is the chance of at least k of them.

    Args:
        chance: (n, columns) of each event.

    Returns:
        (n + 2, columns).
    """
    n, columns = chance.shape
    mass = np.zeros((n + 1, columns))
    mass[0] = 1
    for k, event in enumerate(chance):
        mass[1 : k + 2] = mass[1 : k + 2] * (1 - event) + mass[: k + 1] * event
        mass[0] *= 1 - event
    tail = np.zeros((n + 2, columns))
    tail[:-1] = mass[::-1].cumsum(0)[::-1]  # summed from the small end, so that small chances keep their digits
    return np.minimum(tail, 1)


def adjusted(p: Floats, tests: int) -> Floats:
    """Return Benjamini-Hochberg q-values of some p-values among `tests`, the rest of which are 1."""
    order = np.argsort(p)
    scaled = p[order] * tests / np.arange(1, len(p) + 1)
    q = np.empty_like(p)
    q[order] = np.minimum(np.minimum.accumulate(scaled[::-1])[::-1], 1)
    return q


def agreement(called: pd.DataFrame, curated: pd.DataFrame, genes: NDArray[np.str_]) -> dict[str, float]:
    """Test whether called pairs agree with curated ones, by Fisher's exact test, one-sided.

    The test covers all pairs of a factor with a curated target among `genes` and a gene of `genes` with a curated
    factor: nothing is known about the others.

    Args:
        called: columns tf and gene.
        curated: columns tf and gene, of the factors that were examined only.
        genes: genes that were examined.
    """
    known = curated[curated["gene"].isin(genes)].drop_duplicates()
    tfs, targets = known["tf"].unique(), known["gene"].unique()
    tested_calls = called[called["tf"].isin(tfs) & called["gene"].isin(targets)]
    both = len(tested_calls.merge(known, on=["tf", "gene"]))
    neither = len(tfs) * len(targets) - len(tested_calls) - len(known) + both
    odds, p = fisher_exact(np.array([[both, len(tested_calls) - both], [len(known) - both, neither]]), "greater")
    return {
        "curated_pairs": float(len(known)), "curated_tested": float(len(tfs) * len(targets)),
        "curated_called": float(both), "curated_odds_ratio": float(odds), "curated_fisher_p": float(p),
    }  # fmt: skip


def _chances(sites: sp.csr_matrix, bins: Ints) -> Floats:
    """Return the (bins, factors) share of the peaks of a bin that hold a site."""
    n = int(bins.max(initial=-1)) + 1
    member = sp.csr_matrix((np.ones(len(bins)), (bins, np.arange(len(bins)))), shape=(n, len(bins)))
    size = np.maximum(np.bincount(bins, minlength=n), 1)[:, None]
    share: Floats = (member @ sites).toarray() / size
    return share


def _of_gene(peaks: Ints, sites: sp.csr_matrix, chance: Floats) -> Floats:
    """Return (5, factors with a site here): factor, observed, expected, chance of at least as many and of more."""
    counts = np.asarray(sites[peaks].sum(axis=0)).ravel().astype(np.int64)
    tf = np.flatnonzero(counts)
    observed, of_tf = counts[tf], np.arange(len(tf))
    tail = counts_at_least(chance[:, tf])
    return np.stack([tf, observed, chance[:, tf].sum(0), tail[observed, of_tf], tail[observed + 1, of_tf]])


def _ranks(tf: Ints, above: Floats) -> Floats:
    """Return the rank of each row among those of its factor; genes without a site in a linked peak rank last."""
    ranks = np.empty(len(tf))
    order = np.argsort(tf, kind="stable")
    for rows in np.split(order, np.flatnonzero(np.diff(tf[order])) + 1):
        ranks[rows] = rankdata(above[rows])
    return ranks
