"""What a model that is trained on a guidance graph and cells must hold, on the toy world."""

from __future__ import annotations

import hashlib
from dataclasses import fields, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from kg.discovery import declared_in
from kg.errors import CheckpointRefused, Diverged, InputError
from models import registry
from models.training.loop import Row, Trainer
from tests.models.toy import Toy, toy

if TYPE_CHECKING:
    from pathlib import Path

    from models.zoo.glue.link_scores import Trained

SMALL = {"first_steps": 24, "second_steps": 40, "hidden_dim": 16, "latent_dim": 8, "batch_size": 64}
pytestmark = pytest.mark.parametrize("name", ["glue"])  # `train` of its package takes graph and cells


class Killed(Exception):  # noqa: N818
    """As a signal would."""


@pytest.fixture(scope="module")
def world() -> Toy:
    return toy(120, 20)


def train(name: str, world: Toy, trainer: Trainer | None = None, **options: Any) -> Trained:
    model = registry.get(name)
    known = {field.name for field in fields(model.config)}
    config = model.config(**{k: v for k, v in {**SMALL, **options}.items() if k in known})
    fit: Trained = declared_in("models.zoo", name, "train")(
        world.graph, world.cells, config, trainer or Trainer(threads=1)
    )
    return fit


def digest(fit: Trained) -> str:
    arrays = [fit.features, *fit.cells.values()]
    return hashlib.sha256(b"".join(array.tobytes() for array in arrays)).hexdigest()


def test_training_lowers_the_loss(name: str, world: Toy) -> None:
    history = train(name, world).history
    assert history["val_total"].iloc[-1] < history["val_total"].iloc[0]
    assert history["train_total"].iloc[-1] < history["train_total"].iloc[0]


def test_shapes_names_and_metrics(name: str, world: Toy) -> None:
    fit = train(name, world, members=2)
    assert fit.vertices.tolist() == sorted(
        [*world.cells["rna"].features.tolist(), *world.cells["atac"].features.tolist()]
    )
    assert fit.features.shape == (2, len(fit.vertices), SMALL["latent_dim"])
    assert {k: v.shape for k, v in fit.cells.items()} == dict.fromkeys(("rna", "atac"), (120, SMALL["latent_dim"]))
    assert np.isfinite(fit.features).all()
    assert 0 <= fit.metrics["foscttm"] <= 1
    assert 0 <= fit.metrics["label_transfer"] <= 1
    assert {"consistency_10", "consistency_100", "val_total"} <= fit.metrics.keys()
    links = fit.links(world.gene.tolist(), world.peak.tolist())
    assert len(links) == len(world.gene)
    assert links["stability"].notna().all()


def test_the_same_seed_gives_the_same_bits_and_another_seed_does_not(name: str, world: Toy) -> None:
    first = digest(train(name, world))
    assert digest(train(name, world)) == first
    assert digest(train(name, world, seed=1)) != first


def test_a_member_is_the_model_of_its_seed(name: str, world: Toy) -> None:
    both = train(name, world, members=2)
    np.testing.assert_array_equal(both.features[1], train(name, world, seed=1).features[0])


def test_saved_loaded_and_predicted_is_equal(name: str, world: Toy, tmp_path: Path) -> None:
    first = train(name, world, Trainer(directory=tmp_path, threads=1))
    epochs: list[Row] = []
    trainer = Trainer(directory=tmp_path, threads=1, on_epoch=lambda _stage, _task, row: epochs.append(row))
    assert digest(train(name, world, trainer)) == digest(first)
    assert not epochs
    with pytest.raises(CheckpointRefused, match="config is"):
        train(name, world, trainer, seed=3)


@pytest.mark.parametrize("kill_at", [1, 5, 8, 12])
def test_killed_and_resumed_equals_unbroken(name: str, world: Toy, tmp_path: Path, kill_at: int) -> None:
    expected, seen = digest(train(name, world)), []

    def kill(_stage: str, _task: object, row: Row) -> None:
        seen.append(row)
        if len(seen) == kill_at:
            raise Killed

    with pytest.raises(Killed):
        train(name, world, Trainer(directory=tmp_path, threads=1, on_epoch=kill, checkpoint_s=0))
    assert digest(train(name, world, Trainer(directory=tmp_path, threads=1))) == expected


def test_what_is_not_finite_is_refused_by_name(name: str, world: Toy) -> None:
    rna = world.cells["rna"]
    rep = rna.rep.copy()
    rep[17] = np.nan
    cells = replace(world.cells, modalities={**world.cells.modalities, "rna": replace(rna, rep=rep)})
    with pytest.raises(Diverged) as caught:
        train(name, replace(world, cells=cells))
    assert caught.value.cells == ("rna-17",)


def test_cells_of_another_assembly_are_refused(name: str, world: Toy) -> None:
    atac = world.cells["atac"]
    lost = replace(atac, features=np.array([f"elsewhere {feature}" for feature in atac.features]))
    cells = replace(world.cells, modalities={**world.cells.modalities, "atac": lost})
    with pytest.raises(InputError, match="'atac' is linked"):
        train(name, replace(world, cells=cells))
