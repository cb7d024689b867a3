"""The one training loop: epochs, validation, learning rate, stopping, checkpoints, resume."""

from __future__ import annotations

import math
import time
from contextlib import contextmanager, nullcontext
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
import torch
from torch import Tensor, nn

from kg.errors import Diverged
from kg.progress import SILENT
from models.training import checkpoint
from models.training.group import ALONE, Group
from models.training.runtime import keep_freed_memory
from models.training.weight_averaging import EVERY, Average

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from contextlib import AbstractContextManager
    from pathlib import Path

    from kg.progress import Progress

KEPT = 3  # best states, of which the most recent is restored
THRESHOLD = 1e-4  # relative; a smaller improvement does not count for the learning rate
FACTOR = 0.1  # by which the learning rate drops

Row = dict[str, float]


@dataclass(frozen=True)
class Schedule:
    """How long a stage lasts, and at which learning rates.

    Attributes:
        max_epochs: at most.
        lr: learning rate at the start.
        lr_patience: epochs without improvement before it drops tenfold.
        patience: epochs without improvement before stopping, counted after the first drop; None: no loss is
            followed, and the stage runs for `max_epochs`.
        burnin: epochs at the start that count for neither.
        annealed: last share of the epochs in which the learning rate falls along half a cosine to 0, when no loss
            is followed.
        averaged: what is validated and kept is the average of the weights (`models.training.weight_averaging`), not
            the last ones.
    """

    max_epochs: int
    lr: float
    lr_patience: int = 0
    patience: int | None = None
    burnin: int = 0
    annealed: float = 0.0
    averaged: bool = False

    def rate(self, epoch: int) -> float:
        """Return the learning rate of an epoch (from 1) of an annealed schedule."""
        left = (self.max_epochs - epoch + 1) / max(self.annealed * self.max_epochs, 1.0)
        return self.lr * (1 - math.cos(math.pi * min(left, 1.0))) / 2


class Task(Protocol):
    """What a model hands to the loop."""

    n_steps: int

    @property
    def module(self) -> nn.Module:
        """Everything that is trained."""

    @property
    def optimisers(self) -> Mapping[str, torch.optim.Optimizer]:
        """The optimisers, by name."""

    def steps(self, epoch: int, rng: np.random.Generator) -> Iterator[Mapping[str, Tensor]]:
        """Take the steps of one epoch, yielding the parts of each loss (detached scalars, one named "total")."""

    def validate(self, epoch: int) -> Row:
        """Return the losses on held-out cells; learning rate and stopping follow "total"."""

    def current_cells(self) -> Sequence[str]:
        """Return the names of the cells of the latest step."""


@dataclass
class Plateau:
    """Learning-rate drops and early stopping on one loss."""

    lr_best: float = math.inf
    lr_bad: int = 0
    drops: int = 0
    stop_best: float = math.inf
    stop_bad: int = 0

    def drop_now(self, loss: float, plan: Schedule) -> bool:
        """Return whether the learning rate drops after this epoch."""
        if loss < self.lr_best * (1 - math.copysign(THRESHOLD, self.lr_best)):
            self.lr_best, self.lr_bad = loss, 0
            return False
        self.lr_bad += 1
        if self.lr_bad <= plan.lr_patience:
            return False
        self.lr_bad = 0
        self.drops += 1
        return True

    def stop_now(self, loss: float, plan: Schedule) -> bool:
        """Return whether to stop after this epoch; ask only once the learning rate has dropped."""
        if loss < self.stop_best:
            self.stop_best, self.stop_bad = loss, 0
            return False
        self.stop_bad += 1
        return self.stop_bad >= (plan.patience or 0)


@dataclass
class State:
    """Everything that the next epoch depends on, besides module and optimisers."""

    epoch: int = 0
    finished: bool = False
    seconds: float = 0.0
    train_seconds: float = 0.0
    plateau: Plateau = field(default_factory=Plateau)
    best: list[tuple[float, int]] = field(default_factory=list)
    history: list[Row] = field(default_factory=list)


@dataclass
class Trainer:
    """Where and how to train.

    Attributes:
        device: "cpu" or "cuda".
        threads: of torch on the CPU; None leaves them as they are.
        directory: of checkpoints; None keeps none. A run found there is resumed where it stopped.
        progress: where to report.
        on_epoch: called after each epoch with the stage, the task (its module holding the weights that would be kept)
            and the epoch's row; its time is not counted.
        checkpoint_s: seconds between checkpoints, at least.
        devices: processes that train together, each on its share of a minibatch; on GPUs one for each.
        group: these processes; set in each of them by `models.training.launch`.
    """

    device: str = "cpu"
    threads: int | None = None
    directory: Path | None = None
    progress: Progress = SILENT
    on_epoch: Callable[[str, Any, Row], None] | None = None
    checkpoint_s: float = 30.0
    devices: int = 1
    group: Group = ALONE

    @contextmanager
    def seeded(self, seed: int) -> Iterator[None]:
        """Run torch with this seed and thread count inside, and restore its state afterwards."""
        keep_freed_memory()
        threads = torch.get_num_threads()
        cuda = [torch.cuda.current_device()] if self.device.startswith("cuda") else []
        with torch.random.fork_rng(devices=cuda):
            torch.manual_seed(seed)
            torch.set_num_threads(self.threads or threads)
            try:
                yield
            finally:
                torch.set_num_threads(threads)

    def train(self, task: Task, plan: Schedule, stage: str, seed: int, identity: Mapping[str, Any]) -> list[Row]:
        """Train `task` by `plan` inside `seeded`, resuming from a checkpoint of this stage.

        Returns:
            One row per epoch: epoch, lr, seconds so far (train_seconds: of steps alone), train_* and val_* losses.

        Raises:
            Diverged: a loss is not finite; the last checkpoint stays.
            CheckpointRefused: the checkpoint is damaged or of another identity.
        """
        run = _Run(self, task, plan, stage, identity, seed)
        run.resume()
        self.group.barrier()  # no process writes while another still reads
        self.group.broadcast(list(task.module.state_dict().values()))
        state = run.state
        self.progress.begin(stage, plan.max_epochs, "epochs")
        self.progress.advance(state.epoch)
        while not state.finished:
            row = run.epoch()
            self.progress.advance(1, f"loss {row['val_total']:.4f}")
            if self.on_epoch:
                with run.averaged_weights():
                    self.on_epoch(stage, task, row)
        self.progress.end(f"{stage}: {state.epoch} epochs, {state.seconds:.0f} s")
        return state.history


class _Run:
    """One stage in progress."""

    def __init__(
        self,
        trainer: Trainer,
        task: Task,
        plan: Schedule,
        stage: str,
        identity: Mapping[str, Any],
        seed: int,
    ) -> None:
        self.trainer, self.task, self.plan, self.seed = trainer, task, plan, seed
        self.rng = np.random.default_rng([seed, 1])
        self.identity = {**identity, "stage": stage, "plan": asdict(plan)}
        self.path = trainer.directory / stage if trainer.directory else None
        self.state = State()
        self.best: dict[int, dict[str, Tensor]] = {}
        self.average = Average(task.module) if plan.averaged else None
        self.saved_at = time.monotonic()

    def epoch(self) -> Row:
        """Run one epoch: steps, validation, schedule, checkpoint."""
        start, state = time.perf_counter(), self.state
        state.epoch += 1
        if self.plan.annealed:
            self._set_lr(self.plan.rate(state.epoch))
        self._seed_rank()
        self.task.module.train()
        sums = self._steps()
        self.task.module.eval()
        self._sync_buffers()
        row: Row = {"epoch": state.epoch, "lr": self._lr()}
        row |= {f"train_{name}": value / self.task.n_steps for name, value in sums.items()}
        state.train_seconds += time.perf_counter() - start
        with self.averaged_weights():
            row |= {f"val_{name}": value for name, value in self.task.validate(state.epoch).items()}
        self._schedule(row["val_total"])
        state.seconds += time.perf_counter() - start
        row |= {"seconds": state.seconds, "train_seconds": state.train_seconds}
        state.history.append(row)
        if state.finished or time.monotonic() - self.saved_at >= self.trainer.checkpoint_s:
            self.save()
        return row

    def _steps(self) -> dict[str, float]:
        sums: dict[str, float] = {}
        for i, parts in enumerate(self.task.steps(self.state.epoch, self.rng)):
            if not math.isfinite(float(parts["total"])):
                step = (self.state.epoch - 1) * self.task.n_steps + i + 1
                raise Diverged(step, self.task.current_cells(), "lower the learning rate, or look at these cells")
            for name, value in parts.items():
                sums[name] = sums.get(name, 0.0) + float(value)
            if self.average and ((i + 1) % EVERY == 0 or i + 1 == self.task.n_steps):
                self.average.take()
        return sums

    def averaged_weights(self) -> AbstractContextManager[None]:
        """Give the module, inside, the weights that would be kept if the stage ended here."""
        return self.average.averaged_weights() if self.average and not self.state.finished else nullcontext()

    def _seed_rank(self) -> None:
        """Seed the other processes differently from the first, whose state a checkpoint keeps."""
        if self.trainer.group.rank:
            words = np.random.SeedSequence([self.seed, self.state.epoch, self.trainer.group.rank])
            torch.manual_seed(int(words.generate_state(1)[0]))

    def _sync_buffers(self) -> None:
        """Average running statistics over all processes."""
        buffers = [buffer for buffer in self.task.module.buffers() if buffer.is_floating_point()]
        for buffer, mean in zip(buffers, self.trainer.group.mean(buffers), strict=True):
            buffer.copy_(mean)

    def _lr(self) -> float:
        return float(next(iter(self.task.optimisers.values())).param_groups[0]["lr"])

    def _set_lr(self, lr: float) -> None:
        for optimiser in self.task.optimisers.values():
            for group in optimiser.param_groups:
                group["lr"] = lr * group.get("times", 1.0)

    def _schedule(self, loss: float) -> None:
        state, plan = self.state, self.plan
        state.finished = state.epoch >= plan.max_epochs
        if plan.patience is not None and state.epoch > plan.burnin:
            if state.plateau.drop_now(loss, plan):
                self._set_lr(self._lr() * FACTOR)
            if state.plateau.drops:
                self._keep(loss)
                state.finished |= state.plateau.stop_now(loss, plan)
        if state.finished and state.best:
            self.task.module.load_state_dict(self.best[max(epoch for _, epoch in state.best)])
        if state.finished and self.average:
            self.average.exchange()

    def _keep(self, loss: float) -> None:
        """Keep this epoch's weights while they are among the best."""
        self.state.best = sorted([*self.state.best, (loss, self.state.epoch)])[:KEPT]
        epochs = {epoch for _, epoch in self.state.best}
        if self.state.epoch in epochs:
            self.best[self.state.epoch] = {k: v.clone() for k, v in self.task.module.state_dict().items()}
        self.best = {epoch: weights for epoch, weights in self.best.items() if epoch in epochs}

    def save(self) -> None:
        """Write a checkpoint, if there is a directory."""
        self.saved_at = time.monotonic()
        if self.path is None or self.trainer.group.rank:
            return
        tensors = {f"module/{k}": v for k, v in self.task.module.state_dict().items()}
        tensors |= {f"best/{e}/{k}": v for e, weights in self.best.items() for k, v in weights.items()}
        if self.average:
            tensors |= {f"average/{k}": v for k, v in self.average.mean.items()}
        tensors["rng/torch"] = torch.get_rng_state()
        if self.trainer.device.startswith("cuda"):
            tensors["rng/cuda"] = torch.cuda.get_rng_state()
        rates = {}
        for name, optimiser in self.task.optimisers.items():
            rates[name] = [group["lr"] for group in optimiser.param_groups]
            for i, entry in optimiser.state_dict()["state"].items():
                tensors |= {f"optimiser/{name}/{i}/{k}": torch.as_tensor(v) for k, v in entry.items()}
        taken = self.average.taken if self.average else 0
        meta = {**asdict(self.state), "rates": rates, "averaged": taken, "rng": self.rng.bit_generator.state}
        checkpoint.save(self.path, tensors, meta, self.identity)

    def resume(self) -> None:
        """Restore a checkpoint of this stage, if there is one."""
        if self.path is None or not checkpoint.exists(self.path):
            return
        tensors, meta = checkpoint.load(self.path, self.identity)
        rates = meta.pop("rates")
        self.rng.bit_generator.state = meta.pop("rng")
        taken = meta.pop("averaged")
        plateau, best = Plateau(**meta.pop("plateau")), [(loss, epoch) for loss, epoch in meta.pop("best")]
        self.state = State(**meta, plateau=plateau, best=best)
        self.task.module.load_state_dict(_below(tensors, "module"))
        self.best = {epoch: _below(tensors, f"best/{epoch}") for _, epoch in best}
        if self.average:
            self.average.taken = taken
            for name, value in _below(tensors, "average").items():
                self.average.mean[name].copy_(value)
        torch.set_rng_state(tensors["rng/torch"])
        if "rng/cuda" in tensors:
            torch.cuda.set_rng_state(tensors["rng/cuda"])
        for name, optimiser in self.task.optimisers.items():
            _restore(optimiser, _below(tensors, f"optimiser/{name}"), rates[name])


def _restore(optimiser: torch.optim.Optimizer, tensors: Mapping[str, Tensor], rates: Sequence[float]) -> None:
    document = optimiser.state_dict()
    for key, tensor in tensors.items():
        index, name = key.split("/")
        document["state"].setdefault(int(index), {})[name] = tensor
    optimiser.load_state_dict(document)
    for group, rate in zip(optimiser.param_groups, rates, strict=True):
        group["lr"] = rate


def _below(tensors: Mapping[str, Tensor], prefix: str) -> dict[str, Tensor]:
    return {name.removeprefix(f"{prefix}/"): t for name, t in tensors.items() if name.startswith(f"{prefix}/")}
