"""Two processes train as one does."""

from __future__ import annotations

import importlib
import json
import multiprocessing
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest

from kg.errors import Diverged, TrainingError
from models.training.group import Group
from models.training.launch import launch, run_in_processes
from models.training.loop import Trainer
from models.zoo import glue
from tests.models.toy import Toy, toy

if TYPE_CHECKING:
    from collections.abc import Iterator
    from types import ModuleType

    from models.zoo.glue.link_scores import Trained

CONFIG = glue.Config(latent_dim=6, hidden_dim=16, batch_size=32, first_steps=60, second_steps=200)
TWO = Trainer(devices=2, threads=1)


@pytest.fixture
def beside(monkeypatch: pytest.MonkeyPatch) -> None:
    """Make modules next to this one importable by name, here and in other processes."""
    monkeypatch.syspath_prepend(Path(__file__).parent)


@pytest.fixture
def apart(beside: None) -> ModuleType:
    return importlib.import_module("apart")


@pytest.fixture(scope="module")
def world() -> Toy:
    return toy(160, 24)


@pytest.mark.parametrize("size", [1, 2, 3, 7])
@pytest.mark.parametrize("n", [1, 2, 5, 64])
def test_shares_are_of_one_size_and_leave_nothing_out(n: int, size: int) -> None:
    shares = [Group(rank, size).places(n) for rank in range(size)]
    assert {len(share) for share in shares} == {-(-n // size)}
    assert set(np.concatenate(shares).tolist()) == set(range(n))
    assert sum(map(len, shares)) < n + size


@pytest.mark.usefixtures("beside")
def test_gradients_of_two_are_those_of_one(world: Toy) -> None:
    gradients = importlib.import_module("apart_step").gradients
    config = replace(CONFIG, dropout=0.0, graph_batches=4)
    one, two = (run_in_processes(gradients, t, world.graph, world.cells, config) for t in (Trainer(threads=1), TWO))
    assert set(one) == set(two)
    assert {name.partition(".")[0] for name in one} >= {"graph", "encoders", "decoders", "discriminator"}
    for name, expected in one.items():
        np.testing.assert_allclose(two[name], expected, atol=1e-6, err_msg=name)
    assert max(np.abs(g).max() for name, g in one.items() if "/" not in name) > 1e-3


def trained(world: Toy, trainer: Trainer) -> Trained:
    fit: Trained = launch(importlib.import_module("apart").train_on, trainer, (world.graph, world.cells), CONFIG)
    return fit


@pytest.fixture(scope="module")
def unbroken(world: Toy) -> Iterator[Trained]:
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(Path(__file__).parent)
        yield trained(world, TWO)


@pytest.mark.slow
def test_two_processes_train_as_well_as_one(world: Toy, unbroken: Trained) -> None:
    single = glue.train(world.graph, world.cells, CONFIG, Trainer(threads=1))
    assert unbroken.metrics["val_total"] == pytest.approx(single.metrics["val_total"], rel=0.05)
    assert abs(unbroken.metrics["foscttm"] - single.metrics["foscttm"]) < 0.08
    assert len(unbroken.history) == len(single.history)


class Stop(Exception):  # noqa: N818
    """Raised by the test."""


@pytest.mark.usefixtures("beside")
@pytest.mark.slow
def test_a_killed_run_of_two_ends_as_an_unbroken_one(world: Toy, unbroken: Trained, tmp_path: Path) -> None:
    def stop(_stage: str, _task: object, row: dict[str, float]) -> None:
        if row["epoch"] == 3:
            raise Stop

    with pytest.raises(Stop):
        trained(world, replace(TWO, directory=tmp_path, checkpoint_s=0, on_epoch=stop))
    assert not multiprocessing.active_children()
    resumed = trained(world, replace(TWO, directory=tmp_path))
    np.testing.assert_array_equal(resumed.features, unbroken.features)


TORCHRUN = """
import json, torch
from models.training.launch import is_follower, launch
from models.training.loop import Trainer

def fit(inputs, config, trainer, start):
    (mean,) = trainer.group.mean([torch.full((1,), float(trainer.group.rank))])
    return [trainer.group.rank, trainer.group.size, float(mean), inputs]

print(json.dumps([*launch(fit, Trainer(threads=1), "inputs", None), is_follower()]), flush=True)
"""


def test_processes_of_torchrun_are_joined(tmp_path: Path) -> None:
    (tmp_path / "program.py").write_text(TORCHRUN)
    torchrun = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2]), "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [*torchrun, tmp_path / "program.py"], env=environment, capture_output=True, text=True, check=True
    )
    told = sorted(json.loads(line) for line in done.stdout.splitlines())
    assert told == [[0, 2, 0.5, "inputs", False], [1, 2, 0.5, "inputs", True]]


@pytest.mark.parametrize(("how", "message"), [("raised", "InputError: a broken cell"), ("killed", "memory runs out")])
def test_an_error_in_one_process_ends_all_and_is_told(apart: ModuleType, how: str, message: str) -> None:
    with pytest.raises(TrainingError, match=message) as caught:
        run_in_processes(apart.fails, TWO, how)
    assert "process 1" in caught.value.message
    assert "--devices 1" in caught.value.hint
    assert not multiprocessing.active_children()


def test_what_all_processes_find_wrong_is_told_as_it_is(apart: ModuleType) -> None:
    with pytest.raises(Diverged, match=r"\[\[10.0\], \[11.0\]\], \[7\]"):
        run_in_processes(apart.diverges, TWO)
