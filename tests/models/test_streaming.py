"""Counts on disk: the rows that were asked for, the same training as in memory, reads that a disk can follow."""

from __future__ import annotations

import pickle
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import anndata
import h5py
import numpy as np
import pytest
import scipy.sparse as sp
import torch

from kg.errors import InputError
from models.evaluation.diagnostics import measure
from models.inputs.backed_matrix import BLOCK, StoredCounts, blocks, row_sums
from models.training.loop import Trainer
from models.zoo import glue
from models.zoo.glue.minibatch import TrainingData
from models.zoo.glue.sampling import BlockSampler, CellSampler, paired, unpaired
from models.zoo.glue.streaming import STEPS, StreamedCounts, ahead
from tests.models.toy import Toy, toy

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from models.inputs.backed_matrix import Counts
    from models.inputs.cells import Cells
    from models.zoo.glue.sampling import Draw

SMALL = glue.Config(latent_dim=4, hidden_dim=8, batch_size=32, first_steps=30, second_steps=60)


def drawn(n: int, features: int, density: float = 0.3) -> sp.csr_matrix:
    random = np.random.default_rng(0)
    return sp.csr_matrix(np.where(random.random((n, features)) < density, random.random((n, features)), 0), dtype="f4")


def stored(folder: Path, matrix: Counts | Any, name: str = "some") -> StoredCounts:
    path = folder / f"{name}.h5ad"
    anndata.AnnData(matrix).write_h5ad(path)
    return StoredCounts(str(path), "X", "")


def on_disk(cells: Cells, folder: Path) -> Cells:
    return replace(
        cells,
        modalities={n: replace(m, counts=stored(folder, m.counts, n)) for n, m in cells.modalities.items()},
    )


@pytest.fixture(scope="module")
def world() -> Toy:
    return toy(150, 20)


@pytest.mark.parametrize("dense", [False, True])
def test_rows_of_a_file_are_the_rows_of_the_matrix(tmp_path: Path, dense: bool) -> None:
    matrix = drawn(500, 40)
    stored_counts = stored(tmp_path, matrix.toarray() if dense else matrix)
    rows = np.array([400, 3, 3, 4, 90, 499, 0])
    keep = np.arange(40) % 3 == 1
    order = np.random.default_rng(0).permutation(500)
    assert stored_counts.shape == (500, 40)
    np.testing.assert_array_equal(stored_counts[rows].toarray(), matrix[rows].toarray())
    subset = stored_counts.restrict(keep).restrict(np.arange(keep.sum()) > 2).ordered(order).ordered(order)
    assert subset.shape == (500, keep.sum() - 3)
    expected = matrix[order][order][:, np.flatnonzero(keep)[3:]]
    np.testing.assert_array_equal(subset[rows].toarray(), expected[rows].toarray())
    np.testing.assert_array_equal(subset[np.array([], np.int64)].toarray(), np.zeros((0, subset.shape[1])))
    again = pickle.loads(pickle.dumps(subset))
    np.testing.assert_array_equal(again[rows].toarray(), expected[rows].toarray())
    assert (
        len(
            {
                stored_counts.hash,
                subset.hash,
                stored_counts.restrict(keep).hash,
                replace(stored_counts, digest="x").hash,
            }
        )
        == 4
    )
    assert again.hash == subset.hash


def test_all_rows_come_in_blocks(tmp_path: Path) -> None:
    matrix = drawn(2 * BLOCK + 7, 6)
    parts = list(blocks(stored(tmp_path, matrix)))
    assert [rows.stop - rows.start for rows, _ in parts] == [BLOCK, BLOCK, 7]
    np.testing.assert_array_equal(sp.vstack([part for _, part in parts]).toarray(), matrix.toarray())
    np.testing.assert_allclose(row_sums(stored(tmp_path, matrix)), np.asarray(matrix.sum(1)).ravel(), rtol=1e-6)


def test_a_matrix_by_columns_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="csc_matrix"):
        list(blocks(stored(tmp_path, drawn(5, 5).tocsc())))


def test_training_from_disk_is_training_in_memory(world: Toy, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("models.zoo.glue.task.CellSampler", BlockSampler)  # so that both draw alike
    streamed = on_disk(world.cells, tmp_path)
    assert TrainingData(world.graph, streamed, "cpu").is_streamed
    here = glue.train(world.graph, world.cells, SMALL, Trainer())
    there = glue.train(world.graph, streamed, SMALL, Trainer())
    np.testing.assert_array_equal(here.features, there.features)
    for name in world.cells.modalities:
        np.testing.assert_array_equal(here.cells[name], there.cells[name])
    same = [name for name in here.metrics if "seconds" not in name]
    assert [here.metrics[n] for n in same] == pytest.approx([there.metrics[n] for n in same], nan_ok=True)


def test_metrics_are_the_same_over_several_blocks(world: Toy, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("models.inputs.backed_matrix.BLOCK", 37)
    rng = np.random.default_rng(0)
    embeddings = [rng.normal(size=(150, 3)).astype(np.float32) for _ in range(2)]
    values = replace(world.cells["atac"], likelihood="normal")
    assert isinstance(values.counts, sp.csr_matrix)
    values.counts.data[::7] = np.nan
    cells = replace(world.cells, modalities={"rna": world.cells["rna"], "atac": values})
    here, there = (measure(world.graph, c, embeddings, [{}]) for c in (cells, on_disk(cells, tmp_path)))
    assert here == pytest.approx(there, nan_ok=True)


def test_what_is_ahead_is_read_once_and_in_a_few_pieces(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    n = 20_000
    matrix = drawn(n, 8)
    streamed = StreamedCounts(stored(tmp_path, matrix), torch.device("cpu"))
    spans: list[int] = []
    span = StoredCounts._span

    def counted(self: StoredCounts, start: int, stop: int) -> sp.csr_matrix:
        spans.append(stop - start)
        return span(self, start, stop)

    monkeypatch.setattr(StoredCounts, "_span", counted)
    sampler = BlockSampler(unpaired([n, 5]), 128, 0.1, np.random.default_rng(0))
    steps = 0
    for draw in ahead(sampler.epoch(np.random.default_rng(1)), [streamed, streamed]):
        rows = torch.from_numpy(draw.rows[0])
        if steps % 20 == 0:
            np.testing.assert_array_equal(streamed.take(rows).dense().numpy(), matrix[draw.rows[0]].toarray())
        assert streamed.held is not None
        assert np.isin(draw.rows[1], streamed.held[0]).all()
        steps += 1
    assert steps == sampler.n_batches > STEPS
    assert np.mean(spans) > 40
    assert sum(spans) < 3 * n


def test_an_error_while_reading_ahead_reaches_the_one_who_trains(tmp_path: Path) -> None:
    matrix = drawn(300, 8)
    stored_counts = stored(tmp_path, matrix)
    with h5py.File(stored_counts.path, "r+") as file:
        del file["X/data"]
    sampler = BlockSampler(unpaired([300]), 10, 0.0, np.random.default_rng(0))
    with pytest.raises(KeyError, match="data"):
        list(ahead(sampler.epoch(np.random.default_rng(1)), [StreamedCounts(stored_counts, torch.device("cpu"))]))


def test_drawn_in_blocks_every_cell_comes_as_often_and_the_held_ones_stay_out() -> None:
    table = unpaired([5000, 700])
    plain, block = (kind(table, 64, 0.1, np.random.default_rng(0)) for kind in (CellSampler, BlockSampler))
    for held, ours, theirs in ((False, block.train, plain.train), (True, block.held, plain.held)):
        assert {*map(tuple, ours.tolist())} == {*map(tuple, theirs.tolist())}
        seen = np.concatenate([draw.rows[0] for draw in block.epoch(np.random.default_rng(1), held=held)])
        cells = ours[:, 0][ours[:, 0] >= 0]
        assert set(seen.tolist()) == set(cells.tolist())
        times = np.bincount(seen)
        assert set(times[np.unique(cells)].tolist()) <= {1, 2}  # stand-ins come once more


def test_drawn_in_blocks_pairs_stay_pairs() -> None:
    names = np.array([f"c{i:04}" for i in range(3000)])
    sampler = BlockSampler(paired([names, names]), 64, 0.1, np.random.default_rng(0))
    draws: Iterator[Draw] = sampler.epoch(np.random.default_rng(1))
    steps = list(draws)
    assert all((draw.rows[0] == draw.rows[1]).all() and draw.own.all() for draw in steps)
    far = [np.ptp(draw.rows[0]) for draw in steps]
    assert np.median(far) > 1000  # not neighbours alone
