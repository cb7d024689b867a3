"""A step of training that other processes take in tests; they import it by this name."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from unittest.mock import patch

import numpy as np
import torch

from models.training.loop import Schedule, Trainer
from models.zoo.glue import Config, Glue
from models.zoo.glue.minibatch import TrainingData
from models.zoo.glue.task import GlueTask

if TYPE_CHECKING:
    from kg.guidance import GuidanceGraph
    from models.inputs.cells import Cells


def gradients(trainer: Trainer, graph: GuidanceGraph, cells: Cells, config: Config) -> dict[str, np.ndarray[Any, Any]]:
    """Return gradients of one step of 32 cells and as many real as absent edges: noise off, batch norm in eval."""
    data = TrainingData(graph, cells.linked(graph), trainer.device)
    with trainer.seeded(0):
        module = Glue(data, config)
        with torch.no_grad():
            for parameter in module.parameters():
                parameter.add_(0.1 * torch.rand(parameter.shape) - 0.05)
    weights = [torch.linspace(0.5, 1.5, n) for n in data.sizes]
    task = GlueTask(data, module, Schedule(1, 0.0), 0.0, weights, 0, trainer.group)
    module.eval()
    rng = np.random.default_rng(0)
    draw = next(task.cells.epoch(rng))
    assert len(draw.rows[0]) == 32
    batch = next(task.edges.epoch(rng))
    even = np.r_[0:20, np.count_nonzero(batch[3]) + np.arange(40)]
    part = [a[even] for a in batch]
    own = task.share_edges(np.asarray(part[3], np.float32)) if trainer.group.size > 1 else np.arange(60)
    source, target, sign, present = (torch.from_numpy(a[own]) for a in part)
    with patch("torch.randn_like", torch.zeros_like):  # the other process draws other noise
        losses = task.step(task.minibatch(task.share(draw), (source, target, sign, present)), 0.0)
    by_name = {name: p.grad.numpy().copy() for name, p in module.named_parameters() if p.grad is not None}
    return by_name | {f"loss/{name}": value.numpy() for name, value in losses.items()}
