"""GLUE on a GPU against the same on the CPU. Left out where there is none; REGKG_REQUIRE=gpu makes that a failure."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest
import torch

from models.evaluation.metrics import auroc
from models.training.loop import Schedule, Trainer
from models.zoo import glue
from models.zoo.glue.minibatch import TrainingData
from tests.conftest import skip_unless_required
from tests.models.toy import Toy, toy

if TYPE_CHECKING:
    from torch import Tensor

pytestmark = pytest.mark.gpu
SMALL = glue.Config(latent_dim=8, hidden_dim=16, batch_size=64, dropout=0.0)


@pytest.fixture(scope="module")
def world() -> Toy:
    if not torch.cuda.is_available():
        skip_unless_required("gpu", "torch sees no GPU")
    return toy(200, 30)


def losses_and_gradients(world: Toy, device: str) -> dict[str, Tensor]:
    """Return those of one step from the same weights, cells and edges, without noise."""
    data = TrainingData(world.graph, world.cells.linked(world.graph), device)
    with Trainer().seeded(0):
        module = glue.Glue(data, SMALL)
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.add_(0.2 * torch.randn(parameter.shape, generator=torch.Generator().manual_seed(len(parameter))))
    task = glue.GlueTask(
        data, module.to(device), Schedule(1, 0.0), 0.0, [torch.ones(n, device=device) for n in data.sizes], 0
    )
    rng = np.random.default_rng(0)
    batch = task.minibatch(next(task.cells.epoch(rng)), next(task._edge_batches(rng)))
    parts = task.step(batch, 0.0)
    by_name = {name: parameter.grad for name, parameter in module.named_parameters() if parameter.grad is not None}
    return {name: value.detach().cpu() for name, value in {**by_name, **parts}.items()}


def test_a_step_is_that_of_the_cpu(world: Toy, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch, "randn_like", torch.zeros_like)
    ours, theirs = (losses_and_gradients(world, device) for device in ("cuda", "cpu"))
    assert ours.keys() == theirs.keys()
    for name, value in theirs.items():
        np.testing.assert_allclose(ours[name], value, rtol=1e-3, atol=1e-6, err_msg=name)


@pytest.mark.parametrize("fanout", [0, 4])
def test_a_run_finds_the_planted_links(world: Toy, fanout: int) -> None:
    config = glue.Config(latent_dim=16, hidden_dim=32, first_steps=300, second_steps=500, fanout=fanout)
    fit = glue.train(world.graph, world.cells, config, Trainer("cuda"))
    score = fit.links(world.peak.tolist(), world.gene.tolist())["score"].to_numpy()
    assert auroc(world.planted, score) > 0.8
    assert fit.metrics["foscttm"] < 0.15
