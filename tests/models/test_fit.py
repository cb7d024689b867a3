"""Links of trained embeddings: cosine, permutation p, Benjamini-Hochberg q, one pair at a time."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
from hypothesis import given
from hypothesis import strategies as st

from models.zoo.glue import link_scores
from models.zoo.glue.link_scores import Trained, greater_p

if TYPE_CHECKING:
    import pytest


def made(features: np.ndarray, vertices: list[str]) -> Trained:
    return Trained(np.array(vertices), features.astype(np.float32), {}, pd.DataFrame(), {})


def slow_bh(p: list[float]) -> list[float]:
    n = len(p)
    order = sorted(range(n), key=lambda i: p[i])
    return [min(p[order[k]] * n / (k + 1) for k in range(order.index(i), n)) for i in range(n)]


@given(st.lists(st.integers(-5, 5), min_size=1, max_size=20), st.lists(st.integers(-5, 5), min_size=1, max_size=20))
def test_p_counts_null_values_that_are_not_below(score: list[int], null: list[int]) -> None:
    expected = [(1 + sum(value >= s for value in null)) / (1 + len(null)) for s in score]
    np.testing.assert_allclose(greater_p(np.array(score, float), np.array(null, float)), expected)


def test_links_by_the_book(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(link_scores, "NULL_SIZE", 60)
    rng = np.random.default_rng(5)
    vertices = [f"v{i:02d}" for i in range(30)]
    features = rng.normal(size=(3, 30, 4)).astype(np.float32)
    features[:, 1] = features[:, 0] + 0.1
    source, target = ["v00", "v07", "v03", "v07", "nobody"], ["v01", "v02", "v00", "v29", "v01"]
    table = made(features, vertices).links(source, target, seed=9)
    assert table["source"].tolist() == source[:4]

    def cosine(a: np.ndarray, b: np.ndarray) -> float:
        return float(a @ b / np.linalg.norm(a) / np.linalg.norm(b))

    pairs = [(vertices.index(a), vertices.index(b)) for a, b in zip(source[:4], target[:4], strict=True)]
    by_member = np.array([[cosine(features[k, i], features[k, j]) for i, j in pairs] for k in range(3)])
    np.testing.assert_allclose(table["score"], by_member.mean(0), atol=1e-6)
    np.testing.assert_allclose(table["stability"], by_member.std(0, ddof=1), atol=1e-6)
    nodes = sorted({i for pair in pairs for i in pair})
    again, null = np.random.default_rng(9), []
    for _ in range(5):  # 5 rounds of 12 values reach 60
        for k in range(3):
            shuffled = dict(zip(nodes, again.permutation(features[k, nodes]), strict=True))
            null += [cosine(shuffled[i], shuffled[j]) for i, j in pairs]
    p = [(1 + sum(value >= s - 1e-6 for value in null)) / (1 + len(null)) for s in by_member.mean(0)]
    np.testing.assert_allclose(table["p"], p)
    np.testing.assert_allclose(table["q"], slow_bh(p))
    assert table["called"].tolist() == [q < 0.05 for q in slow_bh(p)]
    assert table["sign"].tolist() == [1 if s >= 0 else -1 for s in by_member.mean(0)]


def test_true_links_among_noise_are_called_and_noise_is_not() -> None:
    rng = np.random.default_rng(0)
    n = 400
    base = rng.normal(size=(n, 20))
    partner = np.where(
        np.arange(n)[:, None] < 100, base + 0.3 * rng.normal(size=base.shape), rng.normal(size=base.shape)
    )
    vertices = [f"a{i:03d}" for i in range(n)] + [f"b{i:03d}" for i in range(n)]
    table = made(np.concatenate([base, partner])[None], vertices).links(vertices[:n], vertices[n:])
    called = table["called"].to_numpy()
    assert called[:100].all()
    assert called[100:].mean() < 0.05
    assert table["stability"].isna().all()
    assert (table["p"] > 0).all()


def test_no_pair_is_no_row() -> None:
    table = made(np.ones((1, 1, 2)), ["a"]).links(["x"], ["y"])
    assert len(table) == 0
    assert list(table) == ["source", "target", "score", "stability", "p", "q", "sign", "called"]
