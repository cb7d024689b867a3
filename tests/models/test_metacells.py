"""Metacells: what they sum, whose weights they give, and that a run through them is as good in fewer steps."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import pytest
import scipy.sparse as sp

from kg.errors import InputError
from models.evaluation import diagnostics
from models.training.loop import Trainer
from models.zoo import glue
from models.zoo.glue import balance
from models.zoo.glue.balance import balancing_weights, clusters_of
from models.zoo.glue.metacells import metacells
from tests.models.test_streaming import on_disk
from tests.models.toy import Toy, toy

if TYPE_CHECKING:
    from pathlib import Path

CONFIG = glue.Config(latent_dim=8, hidden_dim=32, batch_size=64, first_steps=200, second_steps=600)


@pytest.fixture(scope="module")
def world() -> Toy:
    return toy(400, 40)


def test_counts_are_summed_and_inputs_averaged(world: Toy, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("models.inputs.backed_matrix.BLOCK", 70)
    batch = np.array(["a", "b", "a", "a"])[np.arange(400) % 4]
    rna = replace(world.cells["rna"], batch=batch)
    cells = replace(world.cells, modalities={**world.cells.modalities, "rna": rna})
    here, there = metacells(cells, 30), metacells(on_disk(cells, tmp_path), 30)
    for name, of, same, size in zip(("rna", "atac"), here.of, there.of, here.sizes, strict=True):
        modality, few = cells[name], here.cells[name]
        np.testing.assert_array_equal(of, same)
        assert 20 <= len(few.obs_names) <= 31
        assert size.min() >= 1
        assert size.sum() == 400
        assert isinstance(modality.counts, sp.csr_matrix)
        dense = modality.counts.toarray()
        for i in range(len(size)):
            np.testing.assert_allclose(few.counts[np.array([i])].toarray()[0], dense[of == i].sum(0))
            np.testing.assert_allclose(few.rep[i], modality.rep[of == i].mean(0), atol=1e-5)
        labels = modality.labels
        assert labels is not None
        assert few.labels is not None
        assert np.mean(few.labels[of] == labels) > 0.8
        every = np.arange(len(size))
        np.testing.assert_array_equal(few.counts[every].toarray(), there.cells[name].counts[every].toarray())
    few = here.cells["rna"]
    assert few.batch is not None
    assert (few.batch[here.of[0]] == batch).all()  # none mixes batches
    assert not here.cells.paired


def test_values_that_do_not_add_up_are_refused(world: Toy) -> None:
    atac = replace(world.cells["atac"], likelihood="normal")
    with pytest.raises(InputError, match="atac has no counts"):
        metacells(replace(world.cells, modalities={**world.cells.modalities, "atac": atac}), 10)


def test_weights_by_cells_are_those_of_the_cells() -> None:
    rng = np.random.default_rng(0)
    centre = rng.normal(size=(3, 6)) * 3
    kinds = [rng.integers(3, size=n) for n in (90, 70)]
    few = [(centre[k] + 0.1 * rng.normal(size=(len(k), 6))).astype(np.float32) for k in kinds]
    sizes = [rng.integers(1, 9, len(k)) for k in kinds]
    cells = [np.repeat(e, n, axis=0) for e, n in zip(few, sizes, strict=True)]
    weights = balancing_weights(few, None, sizes)
    for weight, size in zip(weights, sizes, strict=True):
        assert (weight * size).sum() == pytest.approx(size.sum())
    one, other = (_means(e, k) for e, k in zip(few, kinds, strict=True))
    whole = balance.overlap(
        [one, other],
        [np.bincount(np.repeat(k, n)) for k, n in zip(kinds, sizes, strict=True)],
    )
    for weight, expected, kind in zip(weights, whole, kinds, strict=True):
        np.testing.assert_allclose(weight, expected[kind], rtol=1e-5)
    assert len(cells[0]) == sizes[0].sum()


def _means(embedding: np.ndarray, kind: np.ndarray) -> np.ndarray:
    mean = np.stack([embedding[kind == k].mean(0) for k in range(3)])
    return np.asarray(mean / np.linalg.norm(mean, axis=1, keepdims=True))


def test_of_many_cells_a_sample_is_clustered_and_the_rest_join(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(0)
    kind = rng.integers(4, size=900)
    cells = (rng.normal(size=(4, 8))[kind] * 3 + 0.2 * rng.normal(size=(900, 8))).astype(np.float32)
    whole = clusters_of(cells)
    monkeypatch.setattr(balance, "MAX_CELLS", 300)
    some = clusters_of(cells)
    for clusters in (whole, some):
        assert len({*zip(clusters.tolist(), kind.tolist(), strict=True)}) == 4  # one cluster, one kind


def test_a_run_is_judged_by_so_many_cells(world: Toy, monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(0)
    u = rng.normal(size=(400, 4)).astype(np.float32)
    embeddings = [u, u + 0.1 * rng.normal(size=u.shape).astype(np.float32)]
    whole = diagnostics.measure(world.graph, world.cells, embeddings, [{}])
    monkeypatch.setattr(diagnostics, "MAX_CELLS", 200)
    sampled = diagnostics.measure(world.graph, world.cells, embeddings, [{}])
    assert sampled["foscttm"] == pytest.approx(whole["foscttm"], abs=0.02)  # pairs are still pairs
    assert sampled["foscttm"] != whole["foscttm"]


@pytest.mark.slow
def test_a_run_through_metacells_is_as_good_in_fewer_steps(world: Toy) -> None:
    runs = [glue.train(world.graph, world.cells, replace(CONFIG, metacells=n, seed=20), Trainer()) for n in (0, 100)]
    assert set(runs[1].history["stage"]) == {"metacells-first", "metacells-second", "second"}
    whole, few = (run.metrics for run in runs)
    assert few["foscttm"] < whole["foscttm"] + 0.03
    assert few["label_transfer"] > whole["label_transfer"] - 0.05
    steps = []
    for run in runs:
        n_cells = np.where(run.history["stage"].str.startswith("metacells"), 200, 800)
        steps.append(float((n_cells * 0.9 / CONFIG.batch_size).sum()))
    assert steps[1] < 0.75 * steps[0]


def test_a_killed_run_through_metacells_goes_on(world: Toy, tmp_path: Path) -> None:
    class Stop(Exception):  # noqa: N818
        pass

    def stop(stage: str, _task: object, row: dict[str, float]) -> None:
        if stage == "member-0-second" and row["epoch"] == 1:
            raise Stop

    config = replace(CONFIG, metacells=60, first_steps=20, second_steps=80)
    unbroken = glue.train(world.graph, world.cells, config, Trainer())
    with pytest.raises(Stop):
        glue.train(world.graph, world.cells, config, Trainer(directory=tmp_path, checkpoint_s=0, on_epoch=stop))
    resumed = glue.train(world.graph, world.cells, config, Trainer(directory=tmp_path))
    np.testing.assert_array_equal(resumed.features, unbroken.features)
    assert {p.stem for p in tmp_path.glob("*.json")} == {
        "member-0-metacells-first", "member-0-metacells-second", "member-0-second",
    }  # fmt: skip
