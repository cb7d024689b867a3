"""Several processes that train one model, each on its share of every minibatch, with averaged gradients.

All of them run the same code with the same seeds, so that all draw the same cells and edges and take the same
decisions; what may differ between them (losses, batch-norm statistics, clusters) is averaged or broadcast by the first.
This is plain `torch.distributed`: gloo on the CPU, nccl on GPUs, one process per GPU, all on one machine.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
import tempfile
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import timedelta
from multiprocessing.connection import wait
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import torch
from torch import distributed

from kg.errors import RegkgError, TrainingError
from kg.progress import SILENT
from models.training.group import Group

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from multiprocessing.connection import Connection

    from models.training.loop import Trainer

T = TypeVar("T")

TIMEOUT = timedelta(days=1)  # that one waits for another; one that has died is noticed at once
LAST_WORDS_S = 10.0  # how long a process whose neighbour has failed waits to hear why


def is_follower() -> bool:
    """Return whether a launcher such as torchrun started this process as other than the first."""
    return _launched() and os.environ["RANK"] != "0"


def launch(fit: Callable[..., T], trainer: Trainer, inputs: Any, config: Any, start: Any = None) -> T:
    """Run `fit(inputs, config, trainer, start)` in `trainer.devices` processes; return what the first of them returns.

    If a launcher such as torchrun has set RANK, WORLD_SIZE, MASTER_ADDR and MASTER_PORT, its processes are used;
    otherwise they are started here, all on this machine.

    Raises:
        TrainingError: another process failed, and all have been stopped.
    """
    if _launched():
        size = int(os.environ["WORLD_SIZE"])
        with _joined(replace(trainer, devices=size), int(os.environ["RANK"]), "env://") as own:
            return fit(inputs, config, own, start)
    result: T = run_in_processes(_fit_in_process, trainer, fit, inputs, config, start)
    return result


def _fit_in_process(trainer: Trainer, fit: Callable[..., Any], inputs: Any, config: Any, start: Any) -> Any:
    return fit(inputs, config, trainer, start)


def _launched() -> bool:
    return {"RANK", "MASTER_ADDR", "MASTER_PORT"} <= os.environ.keys() and int(os.environ.get("WORLD_SIZE", "1")) > 1


def run_in_processes(run: Callable[..., T], trainer: Trainer, *arguments: Any) -> T:
    """Run `run(trainer, *arguments)` in `trainer.devices` processes; return what the first of them returns.

    Args:
        run: a module-level function, so that other processes can import it.
        trainer: sets the number of processes; each gets it with its own device and group.
        arguments: sent to the other processes, which hold copies.

    Raises:
        TrainingError: another process failed, and all have been stopped.
    """
    n = trainer.devices
    if n == 1:
        return run(trainer, *arguments)
    context = multiprocessing.get_context("spawn")
    with tempfile.TemporaryDirectory() as folder:
        meeting = (Path(folder) / "meeting").as_uri()
        pipes = [context.Pipe(duplex=False) for _ in range(1, n)]
        silent = replace(trainer, progress=SILENT, on_epoch=None)
        workers = [
            context.Process(target=_work, args=(run, silent, rank, meeting, sender, arguments), daemon=True)
            for rank, (_, sender) in enumerate(pipes, 1)
        ]
        others = [_Worker(rank, w, pipe) for rank, (w, (pipe, _)) in enumerate(zip(workers, pipes, strict=True), 1)]
        for worker, (_, sender) in zip(workers, pipes, strict=True):
            worker.start()
            sender.close()
        try:
            for other in others:
                other.await_ready()
            with _joined(trainer, 0, meeting) as own:
                return run(own, *arguments)
        except RegkgError:
            raise
        except RuntimeError as error:  # torch's, when a neighbour is gone
            _raise_first(others, error)
            raise
        finally:
            for worker in workers:
                worker.terminate()
                worker.join()


@dataclass(frozen=True)
class _Worker:
    """Another process, as the first sees it."""

    rank: int
    process: Any
    receiver: Connection

    def await_ready(self) -> None:
        wait([self.receiver, self.process.sentinel])
        message = self.last_words()
        if message != "ready":
            raise self.failure(message)

    def last_words(self) -> str | None:
        try:
            return str(self.receiver.recv()) if self.receiver.poll() else None
        except EOFError:
            return None

    def failure(self, message: str | None) -> TrainingError:
        code = self.process.exitcode
        why = message or f"it exited with code {code}" + (
            ", as when memory runs out" if code == -signal.SIGKILL else ""
        )
        return TrainingError(
            f"process {self.rank} of the training failed, so all were stopped: {why}",
            "train with --devices 1, or resume",
        )


def _raise_first(others: Sequence[_Worker], error: RuntimeError) -> None:
    """Raise what another process reported or how it ended, if one failed; rather the cause than its echo."""
    wait([other.receiver for other in others] + [other.process.sentinel for other in others], LAST_WORDS_S)
    failures = []
    for other in others:
        other.process.join(LAST_WORDS_S / len(others))
        message = other.last_words()
        if message or other.process.exitcode:
            failures.append(other.failure(message))
    if failures:
        raise min(failures, key=lambda failure: "onnection" in failure.message) from error


def _work(
    run: Callable[..., Any], trainer: Trainer, rank: int, meeting: str, sender: Connection, arguments: Sequence[Any]
) -> None:
    """Run another process's share; report to the first what went wrong."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is handled by the first process
    try:
        sender.send("ready")
        with _joined(trainer, rank, meeting) as own:
            run(own, *arguments)
    except Exception as error:
        sender.send(f"{type(error).__name__}: {error}")
        raise SystemExit(1) from error


@contextmanager
def _joined(trainer: Trainer, rank: int, meeting: str) -> Iterator[Trainer]:
    """Yield the trainer of one process, which is a member of the group meanwhile."""
    gpu = trainer.device.startswith("cuda")
    if gpu:
        torch.cuda.set_device(rank)
    distributed.init_process_group(
        "nccl" if gpu else "gloo", init_method=meeting, rank=rank, world_size=trainer.devices, timeout=TIMEOUT
    )
    try:
        yield replace(
            trainer,
            device=f"cuda:{rank}" if gpu else trainer.device,
            threads=trainer.threads or max(torch.get_num_threads() // trainer.devices, 1),
            group=Group(rank, trainer.devices),
        )
    finally:
        distributed.destroy_process_group()
