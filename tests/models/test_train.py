"""The training loop with a task small enough to follow by hand."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn

from kg.errors import CheckpointRefused, Diverged
from models.training.loop import KEPT, Plateau, Row, Schedule, Trainer
from models.training.weight_averaging import POWER

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

STEADY = Schedule(max_epochs=8, lr=0.1, lr_patience=99, patience=99)


class Scripted:
    """Learns nothing of use; its validation losses are told beforehand."""

    n_steps = 2

    def __init__(self, losses: Sequence[float], lr: float = 0.1) -> None:
        self.losses = losses
        with Trainer().seeded(0):
            self.module = nn.Sequential(nn.Linear(3, 2), nn.BatchNorm1d(2))
        self.optimisers = {"one": torch.optim.RMSprop(self.module.parameters(), lr)}
        self.seen: list[int] = []

    def steps(self, epoch: int, rng: np.random.Generator) -> Iterator[dict[str, Tensor]]:
        for _ in range(self.n_steps):
            x = torch.from_numpy(rng.normal(size=(4, 3)).astype(np.float32)) + torch.rand(4, 3)
            loss = self.module(x).square().sum() - self.module[0](x).sum()
            self.optimisers["one"].zero_grad()
            loss.backward()
            self.optimisers["one"].step()
            yield {"total": loss.detach()}
        self.seen.append(epoch)

    def validate(self, epoch: int) -> Row:
        assert not self.module.training
        return {"total": self.losses[epoch - 1]}

    def current_cells(self) -> list[str]:
        return ["cell-7"]


def run(task: Scripted, plan: Schedule, folder: Path | None = None, *, stop_after: int = 0) -> list[Row]:
    class Killed(Exception):  # noqa: N818
        pass

    def kill(_stage: str, _task: object, row: Row) -> None:
        if row["epoch"] == stop_after:
            raise Killed

    trainer = Trainer(directory=folder, on_epoch=kill if stop_after else None, checkpoint_s=0)
    with trainer.seeded(5):
        try:
            return trainer.train(task, plan, "stage", 5, {"model": "scripted"})
        except Killed:
            return []


def weights(task: Scripted) -> Tensor:
    return torch.cat([t.double().flatten() for t in task.module.state_dict().values()])


@given(st.lists(st.sampled_from([1.0, 0.99995, 0.9998, 0.9, 1.2]), min_size=1, max_size=30), st.integers(0, 3))
def test_learning_rate_drops_when_torch_would_drop_it(losses: list[float], patience: int) -> None:
    optimiser = torch.optim.SGD([torch.zeros(1, requires_grad=True)], 1.0)
    torch_scheduler = torch.optim.lr_scheduler.ReduceLROnPlateau(optimiser, patience=patience)
    ours, rate = Plateau(), 1.0
    for loss in losses:
        torch_scheduler.step(loss)
        rate *= 0.1 if ours.drop_now(loss, Schedule(1, 1.0, patience, 1)) else 1.0
        if optimiser.param_groups[0]["lr"] > 1e-6:  # torch stops dropping near 1e-8
            assert rate == pytest.approx(optimiser.param_groups[0]["lr"])


def test_stopping_counts_from_the_first_drop_and_restores_the_latest_of_the_best() -> None:
    losses = [5, 5, 5, 5, 4, 3, 3.5, 2, 2.5, 2.2, 2.4, 2.6, 9, 9, 9, 9]
    task, kept = Scripted(losses), {}
    plan = Schedule(max_epochs=50, lr=0.1, lr_patience=1, patience=4, burnin=1)
    trainer = Trainer(on_epoch=lambda _stage, task, row: kept.update({row["epoch"]: weights(task)}))
    with trainer.seeded(0):
        history = trainer.train(task, plan, "stage", 0, {})
    # epoch 1 is burn-in; 2 sets the best, 3 and 4 are bad, so the rate drops after 4; the best of 4..12 is 2.0 at 8
    assert [row["lr"] for row in history[:5]] == pytest.approx([0.1] * 4 + [0.01])
    assert len(history) == 12
    assert KEPT == 3  # 2.0 at 8, 2.2 at 10, 2.4 at 11
    assert torch.equal(weights(task), kept[11])


def test_an_annealed_plan_runs_its_course() -> None:
    plan = Schedule(max_epochs=8, lr=0.4, annealed=0.5)
    rates = [row["lr"] for row in run(Scripted([1.0] * 8), plan)]
    expected = [0.4] * 4 + [0.4 * (1 + math.cos(math.pi * k / 4)) / 2 for k in range(4)]
    assert rates == pytest.approx(expected)
    assert rates[-1] > 0


def test_a_plan_that_follows_no_loss_keeps_its_rate_whatever_happens() -> None:
    rows = run(Scripted([5.0, 6, 7, 8, 9]), Schedule(max_epochs=5, lr=0.1))
    assert [row["lr"] for row in rows] == [0.1] * 5


def test_an_averaged_plan_walks_as_ever_and_keeps_the_average() -> None:
    plan = Schedule(max_epochs=6, lr=0.1)
    plain, averaged = Scripted([1.0] * 6), Scripted([1.0] * 6)
    walked, seen = [], []
    averaged.validate = lambda _epoch: seen.append(weights(averaged)) or {"total": 1.0}  # type: ignore[assignment]
    plain.validate = lambda _epoch: walked.append(weights(plain)) or {"total": 1.0}  # type: ignore[assignment]
    rows = [run(task, p) for task, p in ((plain, plan), (averaged, replace(plan, averaged=True)))]
    assert [row["train_total"] for row in rows[0]] == [row["train_total"] for row in rows[1]]
    share = np.array([math.comb(k + POWER, POWER) for k in range(6)], float)  # n ** POWER, as its recurrence has it
    expected = sum(s * w for s, w in zip(share / share.sum(), walked, strict=True))
    kept = ~np.isin(np.arange(len(expected)), len(expected) - 1)  # all but how many batches the norm has seen
    np.testing.assert_allclose(weights(averaged)[kept], expected[kept], rtol=1e-5)
    assert torch.equal(weights(averaged), seen[-1])  # what was validated is what is kept
    assert not torch.allclose(weights(averaged)[kept], weights(plain)[kept], rtol=1e-3)


@pytest.mark.parametrize("stop_after", [1, 5, 7, 8])
@pytest.mark.parametrize(
    "plan", [Schedule(max_epochs=8, lr=0.1, lr_patience=1, patience=9), Schedule(max_epochs=8, lr=0.1, averaged=True)]
)
def test_killed_and_resumed_is_bit_equal_to_unbroken(tmp_path: Path, plan: Schedule, stop_after: int) -> None:
    losses = [4.0, 5, 5, 3, 4, 4, 4, 4]
    unbroken = Scripted(losses)
    expected = run(unbroken, plan)
    run(Scripted(losses), plan, tmp_path, stop_after=stop_after)
    again = Scripted(losses)
    resumed = run(again, plan, tmp_path)
    assert again.seen == list(range(stop_after + 1, 9))
    assert torch.equal(weights(again), weights(unbroken))
    timeless = [[{k: v for k, v in row.items() if "seconds" not in k} for row in rows] for rows in (resumed, expected)]
    assert timeless[0] == timeless[1]


def test_a_finished_stage_is_not_trained_again(tmp_path: Path) -> None:
    first = Scripted([1.0] * 8)
    run(first, STEADY, tmp_path)
    second = Scripted([1.0] * 8)
    assert len(run(second, STEADY, tmp_path)) == 8
    assert second.seen == []
    assert torch.equal(weights(first), weights(second))


def test_another_plan_is_refused(tmp_path: Path) -> None:
    run(Scripted([1.0] * 8), STEADY, tmp_path)
    with pytest.raises(CheckpointRefused, match="plan is"):
        run(Scripted([1.0] * 8), Schedule(max_epochs=9, lr=0.1, lr_patience=99, patience=99), tmp_path)


def test_divergence_names_step_and_cells_and_leaves_the_checkpoint(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run(Scripted([1.0] * 8), STEADY, tmp_path, stop_after=3)
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    task = Scripted([1.0] * 8)
    monkeypatch.setattr(task.optimisers["one"], "step", lambda: next(task.module.parameters()).data.fill_(math.nan))
    with pytest.raises(Diverged, match="cell-7") as caught:
        run(task, STEADY, tmp_path)
    assert caught.value.step == 3 * 2 + 2
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before


def test_seeds_and_threads_stay_inside() -> None:
    state, threads = torch.get_rng_state(), torch.get_num_threads()
    with Trainer(threads=threads + 1).seeded(1):
        first = torch.rand(3)
        assert torch.get_num_threads() == threads + 1
    with Trainer().seeded(1):
        assert torch.equal(torch.rand(3), first)
    assert torch.equal(torch.get_rng_state(), state)
    assert torch.get_num_threads() == threads
