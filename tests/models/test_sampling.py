"""Cells and edges of a training step: what is drawn, how often, and what never is."""

from __future__ import annotations

import numpy as np
import pytest

from models.zoo.glue.sampling import CellSampler, EdgeSampler, WeightedSampler, paired, unpaired
from tests.models.toy import edges_of, random_edges


def test_an_epoch_shows_every_training_cell_and_no_held_out_one() -> None:
    sampler = CellSampler(unpaired([50, 70]), 16, 0.1, np.random.default_rng(0))
    held, train = ([set(c[c >= 0].tolist()) for c in t.T] for t in (sampler.held, sampler.train))
    assert sum(map(len, held)) == 12
    assert [h | t for h, t in zip(held, train, strict=True)] == [set(range(50)), set(range(70))]
    draws = list(sampler.epoch(np.random.default_rng(1)))
    assert len(draws) == sampler.n_batches == round(108 / 16)
    assert all(len(one) == len(other) and abs(len(one) - 16) <= 1 for (one, other), *_ in draws)
    for k in range(2):
        seen = np.concatenate([draw.rows[k] for draw in draws])
        own = np.concatenate([draw.own[k] for draw in draws])
        assert set(seen.tolist()) == train[k]
        assert len(seen) == 108  # own cells once, random ones in place of the other modality's
        assert sorted(seen[own].tolist()) == sorted(train[k])
    assert all((draw.own.sum(0) == 1).all() for draw in draws)
    of_held = [
        np.concatenate([draw.rows[k] for draw in sampler.epoch(np.random.default_rng(2), held=True)]) for k in range(2)
    ]
    assert [set(rows.tolist()) for rows in of_held] == held


def test_a_paired_cell_comes_once_an_epoch_in_all_its_modalities() -> None:
    names = [np.array(n) for n in (["a", "b", "c", "d"], ["d", "x", "a"], ["a", "y"])]
    table = paired(names)
    cells = {tuple(row) for row in table.tolist()}
    assert cells == {(0, 2, 0), (1, -1, -1), (2, -1, -1), (3, 0, -1), (-1, 1, -1), (-1, -1, 1)}
    sampler = CellSampler(table, 3, 0.0, np.random.default_rng(0))
    seen = []
    for rows, own, _ in sampler.epoch(np.random.default_rng(1)):
        seen += [
            tuple(int(r) if o else -1 for r, o in zip(*at, strict=True))
            for at in zip(np.stack(rows).T, own.T, strict=True)
        ]
        assert all((r >= 0).all() and (r < len(n)).all() for r, n in zip(rows, names, strict=True))
    assert sorted(seen) == sorted(cells)


def test_a_modality_without_a_held_out_cell_lends_one() -> None:
    table = unpaired([40, 1])
    for seed in range(5):
        sampler = CellSampler(table, 8, 0.1, np.random.default_rng(seed))
        for held in (False, True):
            assert all((draw.rows[1] == 0).all() for draw in sampler.epoch(np.random.default_rng(1), held=held))


def test_no_absent_edge_is_a_real_one_and_sources_and_signs_are_kept() -> None:
    edges = random_edges(12, 40, 150, 0)
    real = set(zip(edges.source.tolist(), edges.target.tolist(), edges.sign.tolist(), strict=True))
    sampler = EdgeSampler(edges, 10, 4)
    batches = list(sampler.epoch(np.random.default_rng(0)))
    assert len(batches) == 4
    source, target, sign, present = (np.concatenate(column) for column in zip(*batches, strict=True))
    triples = list(zip(source.tolist(), target.tolist(), sign.tolist(), strict=True))
    assert all((triple in real) == bool(p) for triple, p in zip(triples, present, strict=True))
    n_real = round(float(edges.weight.sum()))
    assert present.sum() == n_real
    assert len(present) == 11 * n_real
    kinds = {(i, s) for i, _, s in real}
    assert {(i, s) for i, _, s in triples} <= kinds


def test_real_edges_come_by_weight_and_absent_targets_by_degree() -> None:
    edges = edges_of([(0, 2, 1.0, 1), (0, 3, 0.25, 1), (1, 4, 0.5, 1)], 10)
    rng, real, absent = np.random.default_rng(0), np.zeros((10, 10)), np.zeros(10)
    sampler = EdgeSampler(edges, 10, 1)
    for _ in range(8000):
        for source, target, _, present in sampler.epoch(rng):
            np.add.at(real, (source[present == 1], target[present == 1]), 1)
            lonely = (present == 0) & (source > 4)  # their only real edge is the loop
            np.add.at(absent, target[lonely], 1)
    drawn = np.array([real[0, 2], real[2, 0], real[0, 3], real[1, 4], real[7, 7]])
    np.testing.assert_allclose(drawn / drawn[0], [1, 1, 0.25, 0.5, 1], rtol=0.1)
    np.testing.assert_allclose(absent[:5] / absent.sum(), np.array([2.5, 1.0, 2.0, 0.5, 1.0]) / 7, rtol=0.03)
    assert absent[5:].sum() == 0  # degree counts edges in and out, not loops


@pytest.mark.parametrize("most", [3, 1000])
def test_absent_edges_are_made_from_the_real_ones_of_their_batch(most: int) -> None:
    edges = edges_of([(i, i + 20, 1.0, -1) for i in range(20)], 40)
    batches = list(EdgeSampler(edges, 10, 7, most).epoch(np.random.default_rng(0)))
    assert len(batches) == (27 if most == 3 else 7)
    for source, _, sign, present in batches:
        real, absent = (list(zip(source[present == p], sign[present == p], strict=True)) for p in (1, 0))
        assert absent == [end for end in real for _ in range(10)]


def test_a_graph_of_few_edges_has_as_few_batches() -> None:
    edges = edges_of([(0, 1, 1.0, 1)], 2)
    assert [present.sum() for *_, present in EdgeSampler(edges, 2, 32).epoch(np.random.default_rng(0))] == [1] * 4


def test_a_sign_makes_another_edge() -> None:
    edges = edges_of([(0, 1, 1.0, 1)], 2)
    source, target, sign, present = next(EdgeSampler(edges, 50, 1).epoch(np.random.default_rng(0)))
    assert not ((present == 0) & (sign == 1) & (source != target)).any()


def test_a_complete_graph_gives_up_on_absent_edges() -> None:
    n = 3
    edges = edges_of([(i, j, 1.0, 1) for i in range(n) for j in range(i)], n)
    _, _, _, present = next(EdgeSampler(edges, 10, 1).epoch(np.random.default_rng(0)))
    assert present.all()


@pytest.mark.parametrize("n", [5, 4000])
def test_draws_follow_the_distribution(n: int) -> None:
    probability = np.array([0.5, 0.0, 0.3, 0.2] + [0.0] * 60)
    rng = np.random.default_rng(0)
    drawn = np.concatenate([WeightedSampler(probability).draw(n, rng) for _ in range(40_000 // n)])
    counts = np.bincount(drawn, minlength=64)
    np.testing.assert_allclose(counts / counts.sum(), probability, atol=0.01)
