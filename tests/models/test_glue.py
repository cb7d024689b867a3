"""What is particular to GLUE: schedules, burn-in, the parts of its loss, batches, which features take part."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import pytest
import torch
from torch.distributions import Bernoulli, NegativeBinomial, Normal, kl_divergence
from torch.nn import functional

from models.evaluation.metrics import auroc
from models.training.loop import Schedule, Trainer
from models.zoo import glue
from models.zoo.glue.config import SHARED, published_plan, quick_plan
from models.zoo.glue.decoders import NegativeBinomialDecoder
from models.zoo.glue.minibatch import TrainingData
from models.zoo.glue.sampling import Draw
from tests.models.toy import Toy, dense, toy

if TYPE_CHECKING:
    from collections.abc import Sequence

    from models.zoo.glue.minibatch import EdgeBatch

SMALL = glue.Config(latent_dim=4, hidden_dim=8, batch_size=32, dropout=0.0)


@pytest.fixture(scope="module")
def world() -> Toy:
    return toy(80, 12)


def batched(world: Toy) -> Toy:
    rna = world.cells["rna"]
    names = np.array(["a", "b"])[np.arange(len(rna.obs_names)) % 2]
    cells = replace(world.cells, modalities={**world.cells.modalities, "rna": replace(rna, batch=names)})
    return replace(world, cells=cells)


def task_of(world: Toy, config: glue.Config = SMALL, burnin: float = 0.0) -> glue.GlueTask:
    data = TrainingData(world.graph, world.cells.linked(world.graph), "cpu")
    with Trainer().seeded(0):
        module = glue.Glue(data, config)
    return glue.GlueTask(data, module, Schedule(1, config.lr, 1, 1), burnin, [torch.ones(n) for n in data.sizes], 0)


def next_edges(task: glue.GlueTask) -> EdgeBatch:
    return next(task._edge_batches(np.random.default_rng(0)))


def test_published_schedule_of_the_paired_cortex() -> None:
    plan, burnin = published_plan(18_380, glue.Config(), first=False)
    assert (plan.max_epochs, plan.patience, plan.lr_patience, plan.burnin, burnin) == (186, 16, 8, 31, 31)
    first, endless = published_plan(18_380, glue.Config(), first=True)
    assert (first.burnin, endless) == (0, math.inf)
    small, _ = published_plan(10**7, glue.Config(), first=False)
    assert (small.max_epochs, small.patience, small.lr_patience, small.burnin) == (48, 4, 2, 8)


def test_quick_schedule_is_a_number_of_steps() -> None:
    config = glue.Config(first_steps=1000, second_steps=3000)
    for n_cells in (500, 20_000):
        steps = [
            quick_plan(n_cells, config, first=first)[0].max_epochs * n_cells * 0.9 / 128 for first in (True, False)
        ]
        assert steps == pytest.approx([1000, 3000], rel=0.1)


@pytest.mark.parametrize(("burnin", "expected"), [(0.0, [0, 0, 0]), (math.inf, [1.5] * 3), (2.0, [1.5, 0.75, 0])])
def test_burn_in_noise_falls_to_nothing(
    world: Toy, burnin: float, expected: list[float], monkeypatch: pytest.MonkeyPatch
) -> None:
    task = task_of(world, burnin=burnin)
    seen: list[float] = []
    monkeypatch.setattr(task, "step", lambda _batch, noise, *, last: seen.append(noise))
    for epoch in (1, 2, 3):
        next(task.steps(epoch, np.random.default_rng(0)))
    assert seen == pytest.approx(expected)


@pytest.mark.parametrize("with_batches", [False, True])
def test_the_loss_is_the_sum_of_its_parts_as_written(world: Toy, with_batches: bool) -> None:
    world = batched(world) if with_batches else world
    config = replace(SMALL, kl_weight=0.7, graph_weight=0.3)
    task = task_of(world, config)
    module, data = task.module, task.data
    with torch.no_grad():
        for parameter in module.parameters():  # leave the symmetric start
            parameter.add_(0.3 * torch.randn(parameter.shape, generator=torch.Generator().manual_seed(len(parameter))))
    draw = next(task.cells.epoch(np.random.default_rng(0)))
    rows, edges = draw.rows, next(task._edge_batches(np.random.default_rng(0)))
    batch = task.minibatch(draw, edges)
    module.eval()
    with Trainer().seeded(3):
        parts = module.vae_loss(batch, module.encode(batch))
    with Trainer().seeded(3):
        v_mean, v_raw = module.graph()
        q_v = Normal(v_mean, functional.softplus(v_raw) + 1e-7)
        v = q_v.mean + q_v.stddev * torch.randn_like(v_mean)
        prior = Normal(0.0, 1.0)
        source, target, sign, present = edges
        g = -Bernoulli(logits=sign * (v[source] * v[target]).sum(1)).log_prob(present)  # type: ignore[no-untyped-call]
        g_nll = (g[present == 1].mean() + g[present == 0].mean()) / 2
        g_kl = kl_divergence(q_v, prior).sum(1).mean() / len(v)
        total = 0.3 * 2 * (g_nll + 0.7 * g_kl)
        for k, modality in enumerate(data.cells.modalities.values()):
            mean, raw = module.encoders[k](torch.from_numpy(modality.rep[rows[k]]))
            q_u = Normal(mean, functional.softplus(raw) + 1e-7)
            u = q_u.mean + q_u.stddev * torch.randn_like(mean)
            x = torch.from_numpy(modality.counts[rows[k]].toarray())
            features = v[: data.n_features[0]] if k == 0 else v[data.n_features[0] :]
            b = torch.from_numpy(rows[k] % 2) if with_batches and k == 0 else torch.zeros(len(x), dtype=torch.long)
            decoder = module.decoders[k]
            assert isinstance(decoder, NegativeBinomialDecoder)
            logit = functional.softplus(decoder.scale[b]) * (u @ features.T) + decoder.bias[b]
            mu = functional.softmax(logit, 1) * x.sum(1, keepdim=True)
            log_theta = decoder.log_theta[b]
            log_p = NegativeBinomial(log_theta.exp(), logits=(mu + 1e-7).log() - log_theta).log_prob(x)  # type: ignore[no-untyped-call]
            kl = kl_divergence(q_u, prior).sum(1).mean() / x.shape[1]
            torch.testing.assert_close(parts[f"nll_{k}"], -log_p.mean(), rtol=1e-4, atol=1e-5)
            torch.testing.assert_close(parts[f"kl_{k}"], kl, rtol=1e-4, atol=1e-6)
            total = total - log_p.mean() + 0.7 * kl
    torch.testing.assert_close(parts["graph_nll"], g_nll, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(parts["graph_kl"], g_kl, rtol=1e-4, atol=1e-6)
    torch.testing.assert_close(parts["total"], total, rtol=1e-4, atol=1e-5)


def test_adversary_loss_weighs_cells(world: Toy) -> None:
    task = task_of(world)
    module = task.module
    means, weight = torch.randn(10, 4), torch.rand(10)
    batch = replace(task.minibatch(Draw([np.arange(5)] * 2, np.ones((2, 5), bool)), next_edges(task)), weight=weight)
    truth = torch.tensor([0] * 5 + [1] * 5)
    expected = (functional.cross_entropy(module.discriminator(means), truth, reduction="none") * weight).sum() / 10
    torch.testing.assert_close(module.adversary_loss(means, batch, 0.0), expected)


def test_each_half_of_a_step_moves_its_own_half_and_lowers_its_loss(world: Toy) -> None:
    config = replace(SMALL, lr=1e-3)
    task = task_of(world, config)
    rng = np.random.default_rng(0)
    batch = task.minibatch(next(task.cells.epoch(rng)), next(task._edge_batches(rng)))
    module = task.module
    module.encoders.eval()

    def losses() -> tuple[float, float]:
        with torch.no_grad(), Trainer().seeded(1):
            encoded = module.encode(batch)
            means = torch.cat([mean for mean, _ in encoded])
            adversary = module.adversary_loss(means, batch, 0.0)
            return float(adversary), float(module.vae_loss(batch, encoded)["total"] - config.align_weight * adversary)

    before = losses()
    updates: list[str] = []
    plain = task._update

    parts = {"adversary": {"discriminator"}, "cells": {"encoders", "decoders"}, "graph": {"graph"}}

    def watched(name: str, grads: Sequence[torch.Tensor]) -> None:
        state = {k: v.clone() for k, v in module.state_dict().items()}
        plain(name, grads)
        moved = {k.partition(".")[0] for k, v in module.state_dict().items() if not torch.equal(v, state[k])}
        assert moved == parts[name]
        updates.append(name)
        if name == "adversary":
            assert losses()[0] < before[0]

    task._update = watched  # type: ignore[method-assign]
    with Trainer().seeded(1):
        for _ in range(5):
            task.step(batch, 0.0)
    assert updates == ["adversary", "cells", "graph"] * 5
    assert losses()[1] < before[1]


def test_steps_that_share_a_walk_pull_the_graph_by_their_mean(world: Toy, monkeypatch: pytest.MonkeyPatch) -> None:
    """The gradient of the last step against that of the whole loss, written out; nothing moves at a rate of 0."""
    monkeypatch.setattr(torch, "randn_like", torch.zeros_like)
    task = task_of(world, replace(SMALL, lr=0.0, graph_every=3))
    module = task.module.eval()
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.add_(0.2 * torch.randn(parameter.shape, generator=torch.Generator().manual_seed(len(parameter))))
    rng = np.random.default_rng(0)
    edges = next(task._edge_batches(rng))
    batches = [task.minibatch(draw, edges) for draw, _ in zip(task.cells.epoch(rng), range(3), strict=False)]
    v, graph = module.graph_loss(edges)
    cells = [module.cell_loss(batch, module.encode(batch), v)["cells"] for batch in batches]
    expected = torch.autograd.grad(graph["graph"] + sum(cells) / 3, list(module.graph.parameters()))
    for batch, last in zip(batches, (False, False, True), strict=True):
        assert all(parameter.grad is None for parameter in module.graph.parameters())
        task.step(batch, 0.0, last=last)
    for parameter, gradient in zip(module.graph.parameters(), expected, strict=True):
        assert parameter.grad is not None
        torch.testing.assert_close(parameter.grad, gradient)


def test_a_walk_is_shared_within_an_epoch_alone(world: Toy, monkeypatch: pytest.MonkeyPatch) -> None:
    task = task_of(world, replace(SMALL, graph_every=4, batch_size=20))
    ends: list[bool] = []
    monkeypatch.setattr(task, "step", lambda _batch, _noise, *, last: ends.append(last))
    list(task.steps(1, np.random.default_rng(0)))
    assert task.n_steps % 4
    assert [i for i, last in enumerate(ends, 1) if last] == [*range(4, task.n_steps, 4), task.n_steps]


@pytest.mark.parametrize(("option", "most", "every"), [(0, 16384, 1), (0, 2, SHARED), (1, 2, 1), (7, 9999, 7)])
def test_walks_of_big_graphs_alone_are_shared_unless_asked(world: Toy, option: int, most: int, every: int) -> None:
    assert task_of(world, replace(SMALL, graph_every=option, graph_edges=most)).every == every


@pytest.mark.slow
def test_links_are_found_as_well_where_walks_are_shared() -> None:
    world = toy(300, 40)
    config = glue.Config(latent_dim=16, hidden_dim=32, first_steps=200, second_steps=600)
    aurocs = [
        glue.train(world.graph, world.cells, replace(config, graph_every=every), Trainer(threads=1)) for every in (1, 4)
    ]
    plain, shared = (auroc(world.planted, fit.links(world.peak, world.gene)["score"].to_numpy()) for fit in aurocs)
    assert shared > plain - 0.05 > 0.8


def test_validation_is_the_same_for_the_same_weights(world: Toy) -> None:
    task = task_of(world)
    task.module.eval()
    state = torch.get_rng_state()
    assert task.validate(1) == task.validate(2)
    assert torch.equal(torch.get_rng_state(), state)


def test_features_that_no_edge_joins_to_a_gene_are_left_out(world: Toy) -> None:
    atac = world.cells["atac"]
    features = atac.features.copy()
    features[:6] = [f"unmapped:atac:{i}" for i in range(6)]
    rna = world.cells["rna"]
    genes = rna.features.copy()
    genes[-1] = "unmapped:rna:x"  # a gene the graph does not know still trains; its peaks have no gene then
    modalities = {"rna": replace(rna, features=genes), "atac": replace(atac, features=features)}
    linked = replace(world.cells, modalities=modalities).linked(world.graph)
    assert linked["rna"].features.tolist() == genes.tolist()
    assert linked["atac"].features.tolist() == features[6:-6].tolist()
    assert linked["atac"].counts.shape == (80, 60)
    np.testing.assert_array_equal(dense(linked["atac"]), dense(atac)[:, 6:-6])
    assert linked["atac"].rep is atac.rep


def test_planted_links_are_found() -> None:
    world = toy(250, 40)
    config = glue.Config(first_steps=300, second_steps=500, latent_dim=16, hidden_dim=32, seed=70)
    fit = glue.train(world.graph, world.cells, config, Trainer(threads=1))
    links = fit.links(world.gene.tolist(), world.peak.tolist())
    score = links["score"].to_numpy()
    assert np.mean(score[world.planted][:, None] > score[~world.planted][None, :]) > 0.85
    assert links["called"][world.planted].mean() > 3 * links["called"][~world.planted].mean()
    assert fit.metrics["foscttm"] < 0.1
    assert fit.metrics["label_transfer"] > 0.9
    assert fit.metrics["consistency_10"] > 0.05
