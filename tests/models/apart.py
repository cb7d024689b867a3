"""Functions that other processes run in tests; they import them by this name, and little else."""

from __future__ import annotations

import os
import signal
from typing import TYPE_CHECKING, Any

import torch

from kg.errors import Diverged, InputError

if TYPE_CHECKING:
    from models.training.loop import Trainer


def train_on(inputs: tuple[Any, Any], config: Any, trainer: Trainer, start: Any = None) -> Any:
    """Train GLUE on a graph and cells."""
    from models.zoo import glue

    return glue.train(*inputs, config, trainer, start)


def fails(trainer: Trainer, how: str) -> None:
    """Fail in the second process while the first waits for it."""
    if trainer.group.rank:
        if how == "killed":
            os.kill(os.getpid(), signal.SIGKILL)
        raise InputError("a broken cell", "fix it")
    trainer.group.mean([torch.zeros(1)])


def diverges(trainer: Trainer) -> None:
    """Fail alike in all processes, naming what each of them computed."""
    loss = torch.zeros(trainer.group.size, 1)
    loss[trainer.group.rank] = 10 + trainer.group.rank
    (mean,) = trainer.group.mean([loss])
    target = torch.tensor([7 - trainer.group.rank])
    trainer.group.broadcast([target])
    raise Diverged(3, [str((mean * trainer.group.size).tolist()), str(target.tolist())], "look")
