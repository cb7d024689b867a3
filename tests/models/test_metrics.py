"""Each metric against its formula, cell by cell."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.sparse as sp
from scipy.stats import spearmanr
from sklearn.cluster import KMeans
from sklearn.metrics import roc_auc_score
from sklearn.neighbors import KNeighborsClassifier

from models.evaluation import metrics
from models.inputs.cells import Modality
from tests.models.toy import dense, guidance, toy


def slow_foscttm(x: np.ndarray, y: np.ndarray) -> float:
    n, total = len(x), 0
    for i in range(n):
        own = np.linalg.norm(x[i] - y[i])
        total += sum(np.linalg.norm(x[i] - y[j]) < own for j in range(n) if j != i)
        total += sum(np.linalg.norm(x[j] - y[i]) < own for j in range(n) if j != i)
    return total / (2 * n * n)


@pytest.mark.parametrize("spread", [0.0, 0.1, 1.0, 10.0])
def test_foscttm(spread: float, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(metrics, "BLOCK", 7)
    rng = np.random.default_rng(0)
    x = rng.normal(size=(40, 5)).astype(np.float32)
    y = (x + spread * rng.normal(size=x.shape)).astype(np.float32)
    assert metrics.foscttm(x, y) == pytest.approx(slow_foscttm(x, y), abs=1e-12)


def test_ties_are_not_closer() -> None:
    same = np.ones((10, 3), np.float32)
    assert metrics.foscttm(same, same) == 0


def test_label_transfer_is_a_neighbour_vote() -> None:
    rng = np.random.default_rng(0)
    reference, query = (rng.normal(size=(n, 4)).astype(np.float32) for n in (200, 90))
    labels, truth = (np.array([f"type {i}" for i in rng.integers(3, size=n)]) for n in (200, 90))
    expected = KNeighborsClassifier(15).fit(reference, labels).score(query, truth)
    assert metrics.label_transfer(reference, labels, query, truth) == pytest.approx(expected)


def test_auroc_with_ties() -> None:
    rng = np.random.default_rng(0)
    positive, score = rng.random(300) < 0.2, rng.integers(6, size=300).astype(np.float32)
    assert metrics.auroc(positive, score) == pytest.approx(roc_auc_score(positive, score))
    assert np.isnan(metrics.auroc(np.ones(5, bool), np.arange(5.0)))


def slow_consistency(
    rna: Modality, atac: Modality, joint: np.ndarray, n: int, seed: int
) -> dict[tuple[int, int], float]:
    cluster = KMeans(n, n_init=1, random_state=seed).fit_predict(joint)
    of_rna, of_atac = cluster[: len(rna.obs_names)], cluster[len(rna.obs_names) :]
    common = sorted(set(of_rna) & set(of_atac))
    sums = [np.stack([dense(m)[c == k].sum(0) for k in common]) for m, c in ((rna, of_rna), (atac, of_atac))]
    totals = [[dense(m)[c == k].sum() for k in sorted(set(c))] for m, c in ((rna, of_rna), (atac, of_atac))]
    logs = [np.log1p(s / s.sum(1, keepdims=True) * np.median(t)) for s, t in zip(sums, totals, strict=True)]
    return {
        (i, j): spearmanr(logs[0][:, i], logs[1][:, j])[0]
        for i in range(logs[0].shape[1]) for j in range(logs[1].shape[1])
    }  # fmt: skip


def test_consistency_is_the_weighted_rank_correlation_of_linked_features() -> None:
    world = toy(60, 4)
    rna, atac = world.cells["rna"], world.cells["atac"]
    rng = np.random.default_rng(0)
    shift = rng.normal(size=(60, 3)).astype(np.float32)
    embeddings = [shift, shift + 0.1 * rng.normal(size=(60, 3)).astype(np.float32)]
    scores = metrics.consistency([rna, atac], embeddings, world.graph, seed=3)
    assert set(scores) == {10, 20, 50}
    for n in (10, 20):
        correlation = slow_consistency(rna, atac, np.concatenate(embeddings), n, 3)
        genes, peaks = rna.features.tolist(), atac.features.tolist()
        pairs = [(genes.index(g), peaks.index(p)) for g, p in zip(world.gene, world.peak, strict=True)]
        expected = np.mean([correlation[pair] for pair in pairs])
        assert scores[n] == pytest.approx(expected, abs=1e-6)


def test_consistency_weighs_signs_and_leaves_out_features_that_do_not_vary() -> None:
    counts = sp.csr_matrix(np.array([[9, 1, 3], [5, 5, 3], [2, 8, 3], [1, 9, 3]] * 3, np.float32))
    names = np.array([str(i) for i in range(12)])
    rna = Modality("rna", counts, np.array(["a", "b", "flat"]), np.zeros((12, 1), np.float32), names)
    atac = Modality("atac", counts, np.array(["x", "y", "still"]), np.zeros((12, 1), np.float32), names)
    graph = guidance(np.array(["a", "flat", "elsewhere"]), np.array(["y", "x", "x"]))
    where = np.repeat(np.arange(12.0) % 4, 1)[:, None].astype(np.float32)
    clusters = [(where[:, 0]).astype(np.int64)] * 2
    assert metrics._edge_score([rna, atac], clusters, 4, graph) == pytest.approx(-1.0)
