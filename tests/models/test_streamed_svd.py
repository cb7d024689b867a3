"""Encoder inputs in flat memory against those of dense matrices."""

from __future__ import annotations

from typing import TYPE_CHECKING

import anndata
import numpy as np
import pandas as pd
import pytest
import scipy.sparse as sp

from kg.errors import InputError
from loaders.simulation.simulate import WorldConfig
from models.inputs import streamed_svd
from models.inputs.backed_matrix import StoredCounts
from models.inputs.preprocess import atac_lsi, rna_pca, value_pca
from models.inputs.read_anndata import ROW, Reading, names_of, outgrow_memory, read_cells
from models.inputs.streamed_svd import Scaled, TfIdf, basis, streamed_lsi, streamed_pca
from tests.models.simulated import files_of, nodes_of, simulated
from tests.models.toy import Toy, toy

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray


@pytest.fixture(scope="module")
def world() -> Toy:
    return toy(400, 60)


def shared(a: NDArray[np.float32], b: NDArray[np.float32], n: int) -> NDArray[np.float64]:
    """Return |correlation| of the first n columns of two sets of components."""
    both = np.corrcoef(a[:, :n], b[:, :n], rowvar=False)
    return np.abs(np.diag(both[:n, n:]))


def test_components_are_those_of_the_dense_matrix(world: Toy) -> None:
    for name, flat, dense in (("rna", streamed_pca, rna_pca), ("atac", streamed_lsi, atac_lsi)):
        counts = world.cells[name].counts
        assert isinstance(counts, sp.csr_matrix)
        ours, theirs = flat(counts, 6), dense(counts, 6)  # that many are real; the rest is noise, of any order
        assert ours.shape == theirs.shape
        assert (shared(ours, theirs, 6) > 0.99).all()


def test_scaling_is_that_of_the_dense_matrix() -> None:
    rng = np.random.default_rng(0)
    dense = rng.poisson(rng.gamma(0.3, 1, (300, 12))).astype(np.float32)
    dense[:, 3] = 0
    dense[:, 5] = np.eye(300)[0] * 500  # clipped
    parts = [sp.csr_matrix(dense[:100]), sp.csr_matrix(dense[100:])]
    scaled = Scaled.of(parts, counted=True)
    total = dense.sum(1, keepdims=True)
    logged = np.log1p(dense / np.maximum(total, 1) * np.median(total[total > 0]))
    spread = logged.std(0, ddof=1)
    expected = np.minimum((logged - logged.mean(0)) / np.where(spread > 0, spread, 1), 10)
    centred = np.concatenate([scaled(p).toarray() for p in parts]) - scaled.mean / scaled.spread
    np.testing.assert_allclose(centred, expected, atol=1e-4)
    assert expected.max() == 10


def test_values_that_were_not_measured_have_the_mean() -> None:
    rng = np.random.default_rng(0)
    dense = np.where(rng.random((200, 8)) < 0.7, rng.normal(1, 1, (200, 8)), 0).astype(np.float32)
    dense[rng.random((200, 8)) < 0.2] = np.nan
    scaled = Scaled.of([sp.csr_matrix(dense)], counted=False)
    filled = np.where(np.isnan(dense), np.nanmean(dense, 0), dense)
    expected = (filled - filled.mean(0)) / filled.std(0, ddof=1)
    centred = scaled(sp.csr_matrix(dense)).toarray() - scaled.mean / scaled.spread
    np.testing.assert_allclose(centred, expected, atol=1e-5)
    ours, theirs = (f(sp.csr_matrix(dense), 7) for f in (_values, value_pca))
    assert (shared(ours, theirs, 7) > 0.999).all()


def _values(counts: sp.csr_matrix, n: int) -> NDArray[np.float32]:
    return streamed_pca(counts, n, counted=False)


@pytest.mark.parametrize("centre", [False, True])
def test_a_basis_is_the_svd(centre: bool) -> None:
    rng = np.random.default_rng(0)
    low = rng.normal(size=(400, 5)) * [9, 7, 5, 3, 2] @ rng.normal(size=(5, 30)) + 1
    matrix = (low + 0.01 * rng.normal(size=low.shape)).astype(np.float32)
    parts = [sp.csr_matrix(part) for part in np.array_split(matrix, 3)]
    vectors, values, mean = basis(parts, 5, centre=centre)
    np.testing.assert_allclose(mean, matrix.mean(0) if centre else 0, atol=1e-5)
    _, expected, theirs = np.linalg.svd(matrix - mean, full_matrices=False)
    np.testing.assert_allclose(values, expected[:5], rtol=1e-4)
    np.testing.assert_allclose(np.abs((vectors * theirs[:5].T).sum(0)), 1, atol=1e-4)


def test_a_basis_from_some_cells_serves_all(world: Toy, monkeypatch: pytest.MonkeyPatch) -> None:
    counts = {name: m.counts for name, m in world.cells.modalities.items()}
    whole = streamed_pca(counts["rna"], 3), streamed_lsi(counts["atac"], 3)
    monkeypatch.setattr(streamed_svd, "MOST", 256)
    monkeypatch.setattr(streamed_svd, "TOGETHER", 8)
    some = streamed_pca(counts["rna"], 3), streamed_lsi(counts["atac"], 3)
    for a, b in zip(whole, some, strict=True):
        assert len(a) == len(b) == 400
        assert (shared(a, b, 3) > 0.97).all()


def test_inverse_frequencies_of_parts_are_those_of_the_whole() -> None:
    counts = sp.csr_matrix(np.array([[1, 0, 2], [0, 0, 3], [4, 0, 0]], np.float32))
    np.testing.assert_allclose(TfIdf.of([counts[:1], counts[1:]]).idf, [3 / 5, 3, 3 / 5])


def test_files_are_read_alike_from_disk_and_in_memory(tmp_path: Path) -> None:
    config = WorldConfig(cells=150, genes=120, seed=3)
    drawn, _, here = simulated(config, tmp_path, Reading(stream=False))
    streamed = read_cells(files_of(tmp_path), *nodes_of(drawn), Reading(stream=True))
    assert streamed.paired == here.paired
    for name, from_disk in streamed.modalities.items():
        in_memory = here[name]
        assert isinstance(from_disk.counts, StoredCounts)
        assert (from_disk.features == in_memory.features).all()
        assert (from_disk.obs_names == in_memory.obs_names).all()
        rows = np.arange(len(from_disk.obs_names))
        np.testing.assert_array_equal(from_disk.counts[rows].toarray(), in_memory.counts[rows].toarray())
        # a cell's LSI is scaled by all its 100 components, of which most are noise here
        assert (shared(from_disk.rep, in_memory.rep, 2) > (0.9 if name == "atac" else 0.99)).all()


def test_pairs_in_another_order_are_brought_into_one(tmp_path: Path) -> None:
    drawn, _, here = simulated(WorldConfig(cells=150, genes=120, seed=3), tmp_path, Reading(stream=False))
    path = tmp_path / "atac.h5ad"
    adata = anndata.read_h5ad(path)
    adata.obs_names = anndata.read_h5ad(tmp_path / "rna.h5ad").obs_names
    adata[np.random.default_rng(0).permutation(adata.n_obs)].copy().write_h5ad(path)
    streamed = read_cells(files_of(tmp_path), *nodes_of(drawn), Reading(stream=True))
    assert (streamed["atac"].obs_names == here["rna"].obs_names).all()
    rows = np.arange(len(here["atac"].obs_names))
    np.testing.assert_array_equal(streamed["atac"].counts[rows].toarray(), here["atac"].counts[rows].toarray())


def test_bad_values_on_disk_are_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("models.inputs.backed_matrix.BLOCK", 40)
    drawn, _, _ = simulated(WorldConfig(cells=150, genes=120, seed=3), tmp_path, Reading(stream=False))
    path = tmp_path / "rna.h5ad"
    adata = anndata.read_h5ad(path)
    adata.X.data[:2], adata.X.data[-1] = 0.5, -1
    first, last = adata.obs_names[[0, -1]]
    adata.write_h5ad(path)
    messages = []
    for stream in (False, True):
        with pytest.raises(InputError) as caught:
            read_cells(files_of(tmp_path), *nodes_of(drawn), Reading(stream=stream))
        messages.append(caught.value.message)
    assert messages[0] == messages[1]
    assert f"1 values of X are negative, in 1 cells ({last})" in messages[0]
    assert f"2 values of X are not integers, in 1 cells ({first})" in messages[0]


def test_what_memory_would_not_hold_is_streamed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    simulated(WorldConfig(cells=150, genes=120, seed=3), tmp_path, Reading(stream=False))
    files = files_of(tmp_path)
    assert not outgrow_memory(files, Reading())
    monkeypatch.setattr("models.inputs.read_anndata.MOST_MEMORY", 1e-9)
    assert outgrow_memory(files, Reading())


def test_names_are_kept(tmp_path: Path) -> None:
    adata = anndata.AnnData(sp.csr_matrix(np.eye(3, dtype="f4")), obs=pd.DataFrame(index=["a", "b", "c"]))
    adata.write_h5ad(tmp_path / "x.h5ad")
    assert names_of(str(tmp_path / "x.h5ad")).obs[ROW].to_dict() == {"a": 0, "b": 1, "c": 2}
