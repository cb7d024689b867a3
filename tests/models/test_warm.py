"""Weights carried from run to run: by id, from neighbours, and only where cells are the same."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import pytest
import torch

from kg.errors import MissingInput
from kg.runs.cell_files import write_cell_files
from models.inputs.cells import Cells
from models.training.loop import Trainer
from models.zoo import glue
from models.zoo.glue import warm
from models.zoo.glue.config import Config, warm_plan
from models.zoo.glue.minibatch import TrainingData
from models.zoo.glue.predicted import cell_outputs
from models.zoo.glue.warm import Start, read_start
from tests.models.toy import Toy, guidance, toy

if TYPE_CHECKING:
    from pathlib import Path

    from torch import Tensor

SMALL = Config(first_steps=24, second_steps=48, hidden_dim=16, latent_dim=8, batch_size=64)


@pytest.fixture(scope="module")
def world() -> Toy:
    return toy(120, 20)


@pytest.fixture(scope="module")
def home(world: Toy, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a home with a run called parent, trained on a world that lacks the last three peaks."""
    home = tmp_path_factory.mktemp("home")
    folder = home / "runs" / "parent"
    less = without(world, world.peak[-3:].tolist())
    fit = glue.train(less.graph, less.cells, SMALL, Trainer(threads=1, directory=folder / "checkpoints"))
    write_cell_files(folder, cell_outputs(less.cells, fit), "glue", {})
    return home


def without(world: Toy, peaks: list[str]) -> Toy:
    """Return the world before these peaks' links were known."""
    kept = ~np.isin(world.peak, peaks)
    return replace(world, graph=guidance(world.gene[kept], world.peak[kept]))


def data_of(world: Toy) -> TrainingData:
    return TrainingData(world.graph, world.cells.linked(world.graph), "cpu")


def fresh(data: TrainingData) -> glue.Glue:
    with Trainer().seeded(5):
        return glue.Glue(data, SMALL)


def start_of(home: Path, *, same_cells: bool = True) -> Start:
    return read_start(home, "parent", 1, ["rna", "atac"], same_cells=same_cells)


def state_of(module: glue.Glue) -> dict[str, Tensor]:
    return {name: tensor.clone() for name, tensor in module.state_dict().items()}


def test_the_same_features_get_the_same_weights(world: Toy, home: Path) -> None:
    data = data_of(without(world, world.peak[-3:].tolist()))
    module = fresh(data)
    start = start_of(home)
    assert start.carry(module, data, 0)
    for name, tensor in module.state_dict().items():
        torch.testing.assert_close(tensor, start.members[0][name], rtol=0, atol=0)


def test_features_follow_their_id_and_new_ones_their_neighbours(world: Toy, home: Path) -> None:
    gone = world.peak[10]
    now = without(world, [gone])
    data = data_of(now)
    module, start = fresh(data), start_of(home)
    assert start.carry(module, data, 0)
    ids = np.concatenate([start.features["rna"], start.features["atac"]]).tolist()
    assert gone in ids
    old = dict(zip(ids, start.members[0][warm.VERTICES], strict=True))
    new = dict(zip(data.vertices.tolist(), module.state_dict()[warm.VERTICES], strict=True))
    fresh_peaks = world.peak[-3:].tolist()
    assert set(new) - set(old) == set(fresh_peaks)
    assert old[world.gene[-1]].abs().sum() > 0
    for feature, vector in new.items():  # each new peak has one neighbour, its gene
        torch.testing.assert_close(vector, old.get(feature, old[world.gene[-1]]))
    scale = module.state_dict()["decoders.1.bias"][0]
    before = dict(zip(start.features["atac"].tolist(), start.members[0]["decoders.1.bias"][0], strict=True))
    mean = start.members[0]["decoders.1.bias"].mean()
    for feature, value in zip(data.cells["atac"].features.tolist(), scale, strict=True):
        torch.testing.assert_close(value, before.get(feature, mean))


def test_a_new_feature_is_the_weighted_signed_mean_of_its_known_neighbours(world: Toy) -> None:
    graph = world.graph
    rng = np.random.default_rng(0)
    extra = 30  # a few peaks get a second gene
    peaks = np.searchsorted(graph.vertices, world.peak[:extra])
    genes = np.searchsorted(graph.vertices, rng.permutation(world.gene)[:extra])
    n = len(graph.source) + extra
    graph = replace(
        graph,
        source=np.concatenate([graph.source, peaks]),
        target=np.concatenate([graph.target, genes]),
        weight=rng.uniform(0.1, 1, n).astype(np.float32),
        sign=rng.choice([-1, 1], n).astype(np.int8),
    )
    data = data_of(replace(world, graph=graph))
    old = {v: torch.from_numpy(rng.normal(size=8).astype(np.float32)) for v in data.vertices if rng.random() < 0.7}
    names = {m: np.array([f for f in data.cells[m].features if f in old]) for m in data.names}
    weights = fresh(data).state_dict()
    held = {**weights, warm.VERTICES: torch.stack([old[f] for f in np.concatenate(list(names.values()))])}
    for name, tensor in weights.items():
        if name.startswith(warm.DECODERS):
            held[name] = torch.zeros(tensor.shape[0], len(names[data.names[int(name.split(".")[1])]]))
    module = fresh(data)
    Start("x", names, [held], same_cells=True).carry(module, data, 0)
    for at, feature in enumerate(data.vertices):
        expected = old.get(feature)
        if expected is None:
            total, weight = torch.zeros(8), 0.0
            for s, t, w, sign in zip(
                data.edges.source, data.edges.target, data.edges.weight, data.edges.sign, strict=True
            ):
                if t == at and data.vertices[s] in old:
                    total, weight = total + float(w * sign) * old[data.vertices[s]], weight + float(w)
            expected = total / weight if weight else total
        torch.testing.assert_close(module.state_dict()[warm.VERTICES][at], expected, rtol=1e-5, atol=1e-6)


def test_what_reads_cells_stays_fresh_where_the_cells_are_others(world: Toy, home: Path) -> None:
    data = data_of(without(world, world.peak[-3:].tolist()))
    module = fresh(data)
    before, start = state_of(module), start_of(home, same_cells=False)
    assert not start.carry(module, data, 0)
    for name, tensor in module.state_dict().items():
        ours = name.startswith(("graph.", "decoders."))
        torch.testing.assert_close(tensor, start.members[0][name] if ours else before[name], rtol=0, atol=0)


def test_a_warm_start_has_one_stage_and_begins_where_a_cold_one_gets(world: Toy, home: Path) -> None:
    cold = glue.train(world.graph, world.cells, SMALL, Trainer(threads=1)).history
    begun = glue.train(world.graph, world.cells, SMALL, Trainer(threads=1), start_of(home)).history
    assert set(begun["stage"]) == {"second"}
    plan, burnin = warm_plan(240, SMALL)
    assert (len(begun), burnin, plan.annealed, plan.lr) == (plan.max_epochs, 0.0, 1.0, SMALL.lr / 2)
    second = cold[cold["stage"] == "second"]
    assert len(begun) == round(len(second) / 2)
    assert begun["val_total"].iloc[0] < second["val_total"].iloc[0]


def test_other_cells_take_both_stages(world: Toy, home: Path) -> None:
    cells = Cells({name: replace(m, rep=m.rep[:, :10]) for name, m in world.cells.modalities.items()}, paired=True)
    fit = glue.train(world.graph, cells, SMALL, Trainer(threads=1), start_of(home))
    assert list(dict.fromkeys(fit.history["stage"])) == ["first", "second"]


def test_weights_that_are_not_there_are_said(home: Path) -> None:
    with pytest.raises(MissingInput, match="member-1-second"):
        read_start(home, "parent", 2, ["rna", "atac"], same_cells=True)
    with pytest.raises(MissingInput, match=r"protein\.h5ad"):
        read_start(home, "parent", 1, ["rna", "protein"], same_cells=True)
    with pytest.raises(MissingInput, match="do not match its 20 features"):
        read_start(home, "parent", 1, ["rna"], same_cells=True)
