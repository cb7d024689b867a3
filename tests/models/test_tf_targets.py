"""Targets of factors: against every way to draw, against draws as GLUE makes them, and SciPy."""

from __future__ import annotations

from itertools import product

import numpy as np
import pandas as pd
import pytest
import scipy.sparse as sp
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import binom, false_discovery_control, rankdata

from models.evaluation import tf_targets
from models.evaluation.tf_targets import adjusted, agreement, counts_at_least, length_bins, rank_targets


def world(seed: int, n_genes: int, n_peaks: int, n_tfs: int, per_gene: int) -> tuple[np.ndarray, ...]:
    rng = np.random.default_rng(seed)
    pairs = [(g, p) for g in range(n_genes) for p in rng.choice(n_peaks, rng.integers(0, per_gene + 1), replace=False)]
    gene, peak = np.array(pairs, np.int64).reshape(-1, 2).T
    sites = (rng.random((n_peaks, n_tfs)) < rng.uniform(0.1, 0.6, n_tfs)).astype(float)
    return gene, peak, sites, rng.choice([200, 300, 300, 500], n_peaks)


@pytest.fixture
def small_bins(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tf_targets, "MIN_IN_BIN", 1)


@pytest.mark.usefixtures("small_bins")
@pytest.mark.parametrize("seed", range(4))
def test_chances_are_those_of_every_way_to_draw(seed: int) -> None:
    gene, peak, sites, lengths = world(seed, 4, 7, 3, 3)
    table = rank_targets(gene, peak, sp.csr_matrix(sites), lengths, 4)
    bins = length_bins(lengths)
    seen = set()
    for row in table.to_dict("records"):
        own = peak[gene == row["gene"]]
        alike = [np.flatnonzero(bins == bins[p]) for p in own]
        ways = [sum(sites[list(drawn), row["tf"]]) for drawn in product(*alike)]
        observed = sites[own, row["tf"]].sum()
        assert row["observed"] == observed
        assert row["expected"] == pytest.approx(np.mean(ways))
        assert row["p"] == pytest.approx(np.mean(np.array(ways) >= observed))
        assert row["score"] == pytest.approx(np.mean(np.array(ways) <= observed))
        seen.add((row["gene"], row["tf"]))
    assert seen == {(g, t) for g in range(4) for t in range(3) if sites[peak[gene == g], t].any()}


@pytest.mark.usefixtures("small_bins")
def test_ranks_are_those_of_many_draws() -> None:
    gene, peak, sites, lengths = world(1, 30, 120, 5, 12)
    bins, rng, draws = length_bins(lengths), np.random.default_rng(0), 4000
    alike = [np.flatnonzero(bins == b) for b in bins[peak]]
    observed = np.zeros((30, 5))
    np.add.at(observed, gene, sites[peak])
    below = np.zeros((30, 5))
    for _ in range(draws):
        drawn = np.zeros((30, 5))
        np.add.at(drawn, gene, sites[[rng.choice(some) for some in alike]])
        below += drawn <= observed  # what searchsorted(sorted draws, observed, side="right") counts
    enrichment = np.where(observed > 0, below, 0)
    table = rank_targets(gene, peak, sp.csr_matrix(sites), lengths, 30)
    at = table["gene"], table["tf"]
    np.testing.assert_allclose(table["score"], enrichment[at] / draws, atol=4 * 0.5 / np.sqrt(draws))
    theirs = np.stack([rankdata(-column) for column in enrichment.T], 1)
    assert np.corrcoef(table["rank"], theirs[at])[0, 1] > 0.99
    assert (table.groupby("tf")["rank"].max() <= (observed > 0).sum(0)).all()


@pytest.mark.usefixtures("small_bins")
def test_genes_alike_share_a_rank() -> None:
    # two bins, half of each with a site: one site in two peaks is beaten with chance 1/4, one in one peak never
    gene, peak = np.array([0, 0, 1, 1, 2]), np.array([0, 3, 2, 1, 0])
    sites = sp.csr_matrix(np.array([[1.0], [0], [1], [0]]))
    table = rank_targets(gene, peak, sites, np.array([10, 10, 99, 99]), 5)
    assert table["gene"].tolist() == [0, 1, 2]
    assert table["score"].tolist() == [0.75, 0.75, 1.0]
    assert table["rank"].tolist() == [2.5, 2.5, 1.0]


def test_bins_are_quantiles_of_at_least_fifty_peaks() -> None:
    lengths = np.random.default_rng(0).integers(200, 900, 2000)
    bins = length_bins(lengths)
    assert bins.max() + 1 == 40
    assert np.bincount(bins).min() >= 35, "ties move an edge by a few"
    order = np.argsort(lengths, kind="stable")
    assert (np.diff(bins[order]) >= 0).all()
    assert set(length_bins(np.full(200, 501))) == {0}
    assert length_bins(np.arange(100_000)).max() + 1 == 500


@given(st.integers(1, 12), st.floats(0.01, 0.99))
def test_equal_chances_are_binomial(n: int, chance: float) -> None:
    tail = counts_at_least(np.full((n, 1), chance))[:, 0]
    np.testing.assert_allclose(tail, binom.sf(np.arange(-1, n + 1), n, chance), rtol=1e-9, atol=1e-300)


@given(st.lists(st.floats(1e-6, 1), min_size=1, max_size=20), st.integers(0, 30))
def test_q_values_count_the_tests_that_are_not_listed(p: list[float], more: int) -> None:
    expected = false_discovery_control(np.array(p + [1.0] * more))[: len(p)]
    np.testing.assert_allclose(adjusted(np.array(p), len(p) + more), expected)


def test_planted_targets_are_called_and_others_are_not() -> None:
    rng = np.random.default_rng(3)
    gene, peak = np.repeat(np.arange(200), 10), rng.permutation(2000)
    sites = rng.random((2000, 8)) < 0.05
    sites[peak[gene < 20], 0] |= rng.random(200) < 0.8  # factor 0 binds most peaks of genes 0 to 19
    table = rank_targets(gene, peak, sp.csr_matrix(sites.astype(float)), rng.integers(200, 900, 2000), 200)
    called = table[table["called"]]
    true = (called["tf"] == 0) & (called["gene"] < 20)
    assert true.sum() >= 15
    assert (~true).sum() <= 2
    assert set(table[(table["tf"] == 0) & (table["rank"] <= 15)]["gene"]) <= set(range(20))


def test_no_link_is_no_target() -> None:
    none = np.array([], np.int64)
    table = rank_targets(none, none, sp.csr_matrix(np.ones((3, 2))), np.array([1, 2, 3]), 4)
    assert len(table) == 0
    assert "rank" in table


def test_agreement_by_hand() -> None:
    genes = np.array(["a", "b", "c", "x"])
    curated = pd.DataFrame({"tf": ["T", "T", "U", "U"], "gene": ["a", "b", "c", "elsewhere"]})
    called = pd.DataFrame({"tf": ["T", "T", "U", "V"], "gene": ["a", "c", "c", "a"]})
    agreed = agreement(called, curated, genes)
    # pairs {T, U} x {a, b, c}: called Ta, Tc, Uc; curated Ta, Tb, Uc; both Ta, Uc; neither Ua, Ub
    assert agreed["curated_pairs"] == 3
    assert agreed["curated_tested"] == 6
    assert agreed["curated_called"] == 2
    assert agreed["curated_odds_ratio"] == pytest.approx(2 * 2 / (1 * 1))
    assert agreed["curated_fisher_p"] == pytest.approx(0.5)  # (C(3,2) C(3,1) + C(3,3)) / C(6,3)
