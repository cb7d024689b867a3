"""Shared batches, supervising labels, paired cells, and whether an alignment can be believed."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from kg.errors import CheckpointRefused, InputError
from models.evaluation import diagnostics
from models.inputs.cells import Cells
from models.training.loop import Row, Trainer
from models.zoo.glue import model
from models.zoo.glue.balance import balancing_weights
from models.zoo.glue.minibatch import TrainingData
from tests.models.toy import Toy, toy

if TYPE_CHECKING:
    from pathlib import Path

    from models.zoo.glue.link_scores import Trained

SHORT = model.Config(first_steps=24, second_steps=40, hidden_dim=16, latent_dim=8, batch_size=64)
OPTIONS: list[dict[str, Any]] = [{"shared_batches": True}, {"use_labels": True}, {"use_pairs": True}]


@pytest.fixture(scope="module")
def world() -> Toy:
    """Return a world with two batches in both modalities, where a tenth of the cells has no label."""
    toy_world = toy(120, 20)
    batch = np.array(["one", "two"])[np.arange(120) % 2]
    return changed(toy_world, batch=batch, labels=np.where(np.arange(120) % 10 == 0, "", toy_world.cells["rna"].labels))


def changed(world: Toy, **of_each: Any) -> Toy:
    modalities = {name: replace(m, **of_each) for name, m in world.cells.modalities.items()}
    return replace(world, cells=replace(world.cells, modalities=modalities))


def train(world: Toy, config: model.Config = SHORT, trainer: Trainer | None = None) -> Trained:
    return model.train(world.graph, world.cells, config, trainer or Trainer(threads=1))


@pytest.fixture(scope="module")
def plain(world: Toy) -> Trained:
    """Train without any of the options."""
    return train(world)


@pytest.mark.parametrize("options", OPTIONS)
def test_killed_and_resumed_equals_unbroken_with_every_option(
    world: Toy, plain: Trained, options: dict[str, Any], tmp_path: Path
) -> None:
    config, seen = replace(SHORT, **options), []
    expected = train(world, config)

    def kill(_stage: str, _task: object, row: Row) -> None:
        seen.append(row)
        if len(seen) == 9:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train(world, config, Trainer(directory=tmp_path, threads=1, on_epoch=kill, checkpoint_s=0))
    resumed = train(world, config, Trainer(directory=tmp_path, threads=1))
    np.testing.assert_array_equal(resumed.features, expected.features)
    assert not np.array_equal(expected.features, plain.features)  # the option does something


def test_batches_are_balanced_by_themselves() -> None:
    rng = np.random.default_rng(0)
    embeddings = [rng.normal(size=(n, 5)).astype(np.float32) + 1 for n in (90, 120)]
    batch = [rng.integers(2, size=len(e)) for e in embeddings]
    weights = balancing_weights(embeddings, batch)
    for b in range(2):
        alone = balancing_weights([e[c == b] for e, c in zip(embeddings, batch, strict=True)])
        for weight, codes, expected in zip(weights, batch, alone, strict=True):
            np.testing.assert_array_equal(weight[codes == b], expected)
            assert weight[codes == b].mean() == pytest.approx(1)


def test_the_published_schedule_has_the_published_weights(world: Toy, monkeypatch: pytest.MonkeyPatch) -> None:
    calls = []

    def watched(*args: Any, published: bool) -> list[np.ndarray]:
        calls.append(published)
        return balancing_weights(*args, published=published)

    monkeypatch.setattr(model, "balancing_weights", watched)
    data = TrainingData(world.graph, world.cells.linked(world.graph), "cpu")
    for schedule in ("quick", "published"):
        model.balance(model.Glue(data, replace(SHORT, schedule=schedule)).eval(), data, Trainer(threads=1))
    assert calls == [False, True]


def test_a_discriminator_sees_shared_batches_in_the_second_stage_only(world: Toy) -> None:
    widths = {}
    trainer = Trainer(
        threads=1,
        on_epoch=lambda stage, task, _row: widths.update({stage[-6:]: task.module.discriminator[0].in_features}),
    )
    train(world, replace(SHORT, shared_batches=True), trainer)
    assert widths == {"-first": 8, "second": 10}


def test_what_the_cells_have_not_cannot_be_asked_for(world: Toy) -> None:
    rna = world.cells["rna"]
    other_batches = replace(rna, batch=np.full(120, "three"))
    apart = replace(world, cells=replace(world.cells, modalities={**world.cells.modalities, "rna": other_batches}))
    with pytest.raises(InputError, match="rna: three; atac: one, two"):
        train(apart, replace(SHORT, shared_batches=True))
    with pytest.raises(InputError, match="the cells have 0"):
        train(changed(world, labels=None), replace(SHORT, use_labels=True))
    with pytest.raises(InputError, match="no cell is in two modalities"):
        train(replace(world, cells=replace(world.cells, paired=False)), replace(SHORT, use_pairs=True))


def test_metrics_say_that_they_saw_labels(world: Toy, plain: Trained, tmp_path: Path) -> None:
    seen = train(world, replace(SHORT, use_labels=True), Trainer(directory=tmp_path, threads=1))
    assert "label_transfer" in plain.metrics
    assert "label_transfer" not in seen.metrics
    assert "label_transfer_seen" in seen.metrics
    assert (
        train(changed(world, labels=np.roll(world.cells["rna"].labels, 1))).features.tobytes()
        == plain.features.tobytes()
    )
    relabelled = changed(world, labels=np.roll(world.cells["rna"].labels, 1))
    with pytest.raises(CheckpointRefused, match="labels is"):
        train(relabelled, replace(SHORT, use_labels=True), Trainer(directory=tmp_path, threads=1))


@pytest.mark.slow
def test_pairs_bring_cells_together_and_so_do_some_of_them(world: Toy) -> None:
    """Few steps, so that most of what is gained comes from the pairs; a third of the cells share a name."""
    config = replace(SHORT, first_steps=150, second_steps=150, cosine_weight=0.5)
    plain = train(world, config)
    paired = train(world, replace(config, use_pairs=True))
    assert paired.metrics["foscttm"] < plain.metrics["foscttm"] - 0.02
    names = {
        m.name: np.array([f"{'' if i % 3 == 0 else m.name}{i}" for i in range(120)])
        for m in world.cells.modalities.values()
    }
    modalities = {k: replace(m, obs_names=names[k]) for k, m in world.cells.modalities.items()}
    subset = Cells(modalities, paired=False)
    table = model.cell_table(subset, replace(config, use_pairs=True))
    assert ((table >= 0).sum(1) == 2).sum() == 40
    assert len(table) == 200
    fit = model.train(world.graph, subset, replace(config, use_pairs=True), Trainer(threads=1))
    assert diagnostics.metrics.foscttm(*fit.cells.values()) < plain.metrics["foscttm"]


@pytest.mark.slow
def test_cells_of_another_tissue_do_not_mix() -> None:
    """ATAC of a world with other cells and other links, but the same names of features."""
    config = model.Config(first_steps=250, second_steps=400, latent_dim=16, hidden_dim=32)
    own, other = toy(250, 40), toy(250, 40, seed=7)
    strangers = Cells({"rna": own.cells["rna"], "atac": other.cells["atac"]})
    matched = model.train(own.graph, own.cells, config, Trainer(threads=1)).metrics
    unmatched = model.train(own.graph, strangers, config, Trainer(threads=1)).metrics
    assert unmatched["mixing"] < diagnostics.MIXED < matched["mixing"]
    assert matched["consistency_50"] > unmatched["consistency_50"] + 0.2
    assert [diagnostics.verdict(m).kind for m in (matched, unmatched)] == ["aligned", "apart"]


def test_mixing_counts_neighbours_of_other_modalities() -> None:
    rng = np.random.default_rng(0)
    same = [rng.normal(size=(n, 6)).astype(np.float32) for n in (300, 500, 400)]
    assert diagnostics.mixing(same) == pytest.approx(1, abs=0.03)
    assert diagnostics.mixing([same[0] - 50, same[1] + 50]) == 0
    one, two = same[0][:40], same[0][:40] + np.float32(0.3) * rng.normal(size=(40, 6)).astype(np.float32)
    joint = np.concatenate([one, two])
    of = np.repeat([0, 1], 40)
    unit = joint / np.linalg.norm(joint, axis=1, keepdims=True)
    share = []
    for i in range(80):
        near = sorted((j for j in range(80) if j != i), key=lambda j, i=i: -float(unit[i] @ unit[j]))[:30]
        share.append(np.mean(of[near] != of[i]))
    assert diagnostics.mixing([one, two]) == pytest.approx(np.mean(share) / (40 / 79))


@pytest.mark.parametrize(
    ("mixed", "agreed", "kind"), [(0.9, 0.2, "aligned"), (0.9, 0.01, "overcorrected"), (0.2, 0.2, "apart")]
)
def test_mixing_without_agreement_is_overcorrection(mixed: float, agreed: float, kind: str) -> None:
    judged = diagnostics.verdict(
        {"mixing": mixed, "consistency_10": 9.0, "consistency_50": agreed, "consistency_100": 9.0}
    )
    assert judged.kind == kind
    assert judged.sentence.startswith("warning") == (kind == "overcorrected")
