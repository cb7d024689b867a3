"""Balancing weights: the worked example, the neighbours one by one, and worlds with known answers."""

from __future__ import annotations

import numpy as np
import pytest

from models.zoo.glue import balance


def test_the_worked_example() -> None:
    cosines = np.array([[0.9, 0.4, 0.1], [0.2, 0.8, 0.6]])
    sizes = [np.array([100, 50]), np.array([80, 20, 50])]
    rna, atac = balance.match([cosines], sizes)
    np.testing.assert_allclose(rna, [0.8233, 1.3533], atol=5e-5)
    np.testing.assert_allclose(atac, [1.0292, 2.5701, 0.3253], atol=5e-5)
    assert (rna * sizes[0]).sum() / sizes[0].sum() == pytest.approx(1)


def test_three_modalities_multiply_over_pairs() -> None:
    rng = np.random.default_rng(0)
    sizes = [np.array([3, 5]), np.array([4, 2, 6]), np.array([7, 1])]
    ab, ac, bc = rng.uniform(0.3, 1, (2, 3)), rng.uniform(0.3, 1, (2, 2)), rng.uniform(0.3, 1, (3, 2))

    def strength(c: float) -> float:
        return c**4 if c >= 0.5 else 0.0

    joint = np.array(
        [
            [[strength(ab[i, j]) * strength(ac[i, k]) * strength(bc[j, k]) for k in range(2)] for j in range(3)]
            for i in range(2)
        ]
    )
    expected = joint.sum((0, 2)) / sizes[1]
    expected *= sizes[1].sum() / (expected * sizes[1]).sum()
    np.testing.assert_allclose(balance.match([ab, ac, bc], sizes)[1], expected)


def unit(rng: np.random.Generator, n: int) -> np.ndarray:
    x = rng.normal(size=(n, 3))
    x = np.abs(x) / np.linalg.norm(x, axis=1, keepdims=True)
    return np.asarray(x)


def test_overlap_weights_of_three_modalities_by_hand() -> None:
    rng = np.random.default_rng(1)
    means, sizes = [unit(rng, n) for n in (4, 2, 5)], [rng.integers(3, 90, n) for n in (4, 2, 5)]

    def density(at: np.ndarray, k: int) -> float:
        cosines = [float(at @ mean) for mean in means[k]]
        return float(sum(c**4 * n for c, n in zip(cosines, sizes[k], strict=True) if c >= 0.5) / sizes[k].sum())

    for k, by_modality in enumerate(balance.overlap(means, sizes)):
        around = [[density(at, of) for of in range(3)] for at in means[k]]
        expected = np.array([1 / p[k] / sum(1 / one for one in p) if min(p) > 0 else 0.0 for p in around])
        expected *= sizes[k].sum() / (expected * sizes[k]).sum()
        np.testing.assert_allclose(by_modality, expected)


def test_overlap_weights_do_not_ask_how_finely_a_modality_is_clustered() -> None:
    rng = np.random.default_rng(2)
    means, sizes = [unit(rng, 3), unit(rng, 3)], [np.array([40, 20, 8]), np.array([10, 30, 60])]
    split = [means[0][[0, 0, 0, 0, 1, 2]], means[1]], [np.array([4, 6, 10, 20, 20, 8]), sizes[1]]
    whole, parts = balance.overlap(means, sizes), balance.overlap(*split)
    np.testing.assert_allclose(parts[0], whole[0][[0, 0, 0, 0, 1, 2]])
    np.testing.assert_allclose(parts[1], whole[1])
    published = [balance.match([m[0] @ m[1].T], s)[1] for m, s in ((means, sizes), split)]
    assert np.abs(published[0] - published[1]).max() > 0.2, "the published rule does, which is why there is another"


def test_modalities_of_one_composition_are_left_as_they_are() -> None:
    mean, size = unit(np.random.default_rng(3), 6), np.array([300, 100, 50, 20, 10, 5])
    np.testing.assert_allclose(balance.overlap([mean, mean], [size, 7 * size]), 1)


def test_clusters_that_match_nothing_weigh_nothing_and_no_match_at_all_changes_nothing() -> None:
    alone = balance.match([np.array([[0.9], [0.1]])], [np.array([10, 10]), np.array([5])])
    np.testing.assert_allclose(alone[0], [2.0, 0.0])
    even = balance.match([np.array([[0.2], [0.1]])], [np.array([10, 10]), np.array([5])])
    np.testing.assert_array_equal(even[0], [1, 1])
    apart, size = [np.eye(4)[:2], np.eye(4)[[1, 2]]], np.array([10, 30])
    np.testing.assert_allclose(balance.overlap(apart, [size, size]), [[0, 4 / 3], [4, 0]])
    np.testing.assert_array_equal(balance.overlap([np.eye(4)[:2], np.eye(4)[2:]], [size, size]), np.ones((2, 2)))


def test_neighbours_are_the_most_similar_others(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(balance, "BLOCK", 8)
    x = np.random.default_rng(0).normal(size=(30, 4)).astype(np.float32)
    nearest = balance.neighbours(x, 5)
    for i in range(30):
        cosine = [(x[i] @ x[j] / np.linalg.norm(x[i]) / np.linalg.norm(x[j]), j) for j in range(30) if j != i]
        assert set(nearest[i].tolist()) == {j for _, j in sorted(cosine)[-5:]}


@pytest.mark.parametrize("published", [False, True])
def test_a_type_rare_in_one_modality_gets_more_weight_there(*, published: bool) -> None:
    rng = np.random.default_rng(0)
    centre = np.eye(3, 8) * 5

    def cells(counts: list[int]) -> tuple[np.ndarray, np.ndarray]:
        kind = np.repeat(np.arange(3), counts)
        return (centre[kind] + 0.3 * rng.normal(size=(len(kind), 8))).astype(np.float32), kind

    (one, kind_one), (other, kind_other) = cells([200, 200, 50]), cells([50, 200, 200])
    first, second = balance.balancing_weights([one, other], published=published)
    assert first.mean() == pytest.approx(1)
    assert second.mean() == pytest.approx(1)
    effective = [[w[k == t].sum() / len(k) for t in range(3)] for w, k in ((first, kind_one), (second, kind_other))]
    np.testing.assert_allclose(effective[0], effective[1], rtol=0.1)  # after weighting, compositions agree
    assert first[kind_one == 2].mean() > 2 * first[kind_one == 0].mean()


def test_clusters_are_the_same_for_the_same_seed() -> None:
    x = np.random.default_rng(0).normal(size=(300, 6)).astype(np.float32)
    np.testing.assert_array_equal(balance.leiden(x, seed=1), balance.leiden(x, seed=1))
