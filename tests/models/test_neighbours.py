"""Sampled sums over in-edges: what is drawn, that they are right on average, and that training takes them."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import pytest
import torch

from kg.errors import InputError
from models.evaluation.metrics import auroc
from models.training.loop import Trainer
from models.zoo import glue
from models.zoo.glue.neighbours import Neighbours
from models.zoo.glue.propagation import REFRESHED, Propagation
from models.zoo.glue.sampling import EdgeSampler
from tests.models.toy import random_edges, toy

if TYPE_CHECKING:
    from torch import Tensor

    from models.inputs.edges import Edges

CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def edges() -> Edges:
    return random_edges(15, 40, 300, 0)  # genes have about 20 in-edges, peaks 7


def full(edges: Edges) -> Tensor:
    dense = np.zeros((edges.n_vertices, edges.n_vertices), np.float32)
    np.add.at(dense, (edges.target, edges.source), edges.norm * edges.sign)
    return torch.from_numpy(dense)


def as_matrix(neighbours: Neighbours, offset: Tensor) -> Tensor:
    n = len(offset)
    at, place, times = neighbours.draw(torch.arange(n), offset)
    matrix = torch.zeros(n, n)
    return matrix.index_put_((at, neighbours.source[place]), neighbours.value[place] * times, accumulate=True)


def test_without_more_neighbours_than_asked_for_the_sum_is_whole(edges: Edges) -> None:
    many = Neighbours(edges, 100, CPU)
    torch.testing.assert_close(as_matrix(many, torch.rand(edges.n_vertices)), full(edges))


@pytest.mark.parametrize("fanout", [2, 3, 8])
def test_the_mean_over_all_starts_is_the_full_sum(edges: Edges, fanout: int) -> None:
    few = Neighbours(edges, fanout, CPU)
    n = 5040  # divides by all numbers of edges that are left to be drawn from
    starts = (torch.arange(n) + 0.5) / n
    mean = sum(as_matrix(few, start.expand(edges.n_vertices)) for start in starts) / n
    torch.testing.assert_close(mean, full(edges), atol=2e-3, rtol=0)


@pytest.mark.parametrize("fanout", [2, 5, 8])
def test_no_vertex_has_more_than_asked_for_and_none_twice(edges: Edges, fanout: int) -> None:
    few = Neighbours(edges, fanout, CPU)
    degree = torch.bincount(torch.from_numpy(edges.target))
    for start in (0.0, 0.4, float(np.nextafter(np.float32(1), np.float32(0)))):
        at, place, times = few.draw(torch.arange(edges.n_vertices), torch.full((edges.n_vertices,), start))
        assert torch.equal(torch.bincount(at), degree.clamp_max(fanout))
        assert len(torch.unique(place)) == len(place)
        assert (few.start[at] <= place).all()
        assert (place < few.start[at + 1]).all()
        counted = torch.zeros(edges.n_vertices).index_add_(0, at, times)
        torch.testing.assert_close(counted, degree.float())  # those that are drawn stand for all
        loops = few.source[place] == at
        assert torch.equal(at[loops], torch.arange(edges.n_vertices))


def test_the_heaviest_are_always_there(edges: Edges) -> None:
    few = Neighbours(edges, 6, CPU)
    for vertex in range(15):
        _, place, times = few.draw(torch.tensor([vertex]), torch.rand(1))
        weight = np.where(edges.source == vertex, np.inf, edges.weight)[edges.target == vertex]
        kept = np.isin(
            np.sort(weight)[-3:], np.where(few.source[place] == vertex, np.inf, edges.weight[few.edge[place]])
        )
        assert kept.all()
        assert times[:3].eq(1).all()


@pytest.mark.parametrize("fanout", [2, 7, 50])
def test_the_compiled_sum_and_its_gradient_are_those_of_the_drawn_edges(edges: Edges, fanout: int) -> None:
    few = Neighbours(edges, fanout, CPU)
    x = torch.randn(edges.n_vertices, 9, requires_grad=True)
    torch.manual_seed(4)
    summed = few(x)
    torch.manual_seed(4)
    matrix = as_matrix(few, torch.rand(edges.n_vertices))
    torch.testing.assert_close(summed, matrix @ x)
    slope = torch.randn(summed.shape)
    (grad,) = torch.autograd.grad(summed, x, slope)
    torch.testing.assert_close(grad, matrix.T @ slope)


def test_many_draws_average_to_the_full_propagation(edges: Edges) -> None:
    torch.manual_seed(0)
    sampled, whole = Neighbours(edges, 6, CPU), Propagation(edges, CPU)
    x = torch.randn(edges.n_vertices, 5)
    draws = torch.stack([sampled(x) for _ in range(4000)])
    error = draws.std(0) / np.sqrt(len(draws))
    assert ((draws.mean(0) - whole(x)).abs() <= 4.5 * error + 1e-5).all()
    assert draws.std(0).max() > 0.01


def test_steps_of_training_are_off_by_what_changed_alone(edges: Edges) -> None:
    torch.manual_seed(0)
    sampled, whole = Propagation(edges, CPU, 4), Propagation(edges, CPU)
    x = torch.randn(edges.n_vertices, 5, requires_grad=True)
    plain = (Neighbours(edges, 4, CPU)(x) - whole(x)).std()
    torch.testing.assert_close(sampled(x), whole(x))  # all is summed at the first step
    errors = []
    for _ in range(REFRESHED - 1):
        with torch.no_grad():
            x += 0.01 * torch.randn(x.shape)
        errors.append(float((sampled(x) - whole(x)).std().detach()))
    assert 0 < errors[0] <= max(errors) < 0.1 * plain
    torch.testing.assert_close(sampled(x), whole(x))  # and again after some
    with torch.no_grad():
        x += 1
        torch.testing.assert_close(sampled(x), whole(x))  # outside training all is summed
    torch.testing.assert_close(sampled(x), whole(x))  # and training begins anew, as a resumed run does


def test_gradients_average_to_the_full_ones_also_between(edges: Edges) -> None:
    torch.manual_seed(0)
    sampled, whole = Propagation(edges, CPU, 4), Propagation(edges, CPU)
    x = torch.randn(edges.n_vertices, 3, requires_grad=True)
    slope = torch.randn(x.shape)
    (expected,) = torch.autograd.grad(whole(x), x, slope)
    draws = torch.stack([torch.autograd.grad(sampled(x), x, slope)[0] for _ in range(4000)])
    error = draws.std(0) / np.sqrt(len(draws))
    assert ((draws.mean(0) - expected).abs() <= 4.5 * error + 1e-5).all()


@pytest.mark.slow
def test_training_on_a_sample_of_neighbours_finds_the_links() -> None:
    world = toy(300, 40)
    config = glue.Config(latent_dim=8, hidden_dim=32, first_steps=100, second_steps=400, fanout=4, graph_edges=20)
    fit = glue.train(world.graph, world.cells, config, Trainer())
    score = fit.links(world.peak, world.gene)["score"].to_numpy()
    whole = glue.train(world.graph, world.cells, replace(config, fanout=0, graph_edges=16384), Trainer())
    expected = whole.links(world.peak, world.gene)["score"].to_numpy()
    assert auroc(world.planted, score) > auroc(world.planted, expected) - 0.05 > 0.6


def test_a_fanout_of_one_is_refused() -> None:
    world = toy(60, 10)
    with pytest.raises(InputError, match="fanout"):
        glue.train(world.graph, world.cells, glue.Config(fanout=1), Trainer())


def test_a_big_graph_has_more_and_not_bigger_batches(edges: Edges) -> None:
    plain, big = EdgeSampler(edges, 3, 4), EdgeSampler(edges, 3, 4, most=10)
    assert (plain.n_batches, big.n_batches) == (4, -(-plain.n_real // 10))
    batches = list(big.epoch(np.random.default_rng(0)))
    assert len(batches) == big.n_batches
    assert {int(present.sum()) for *_, present in batches} == {10}
    assert {len(present) for *_, present in batches} == {40}
    real = {*zip(edges.source.tolist(), edges.target.tolist(), edges.sign.tolist(), strict=True)}
    times = dict.fromkeys(real, 0)
    for seed in range(40):
        for source, target, sign, present in big.epoch(np.random.default_rng(seed)):
            triples = zip(source.tolist(), target.tolist(), sign.tolist(), strict=True)
            for triple, there in zip(triples, present, strict=True):
                assert (triple in real) == bool(there)
                if there:
                    times[triple] += 1
    weight = np.array(
        [times[t] for t in zip(edges.source.tolist(), edges.target.tolist(), edges.sign.tolist(), strict=True)]
    )
    expected = edges.weight / edges.weight.sum() * weight.sum()
    assert (np.abs(weight - expected) < 5 * np.sqrt(expected)).all()
