"""Cells in a zarr store: the rows that were asked for, the same training as from an h5ad, and what is refused."""

from __future__ import annotations

import json
import pickle
import shutil
import tracemalloc
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import anndata
import numpy as np
import pytest
import scipy.sparse as sp
import zarr
from zarr.codecs import BloscCodec

from kg.cells import checksum, read_header
from kg.errors import InputError
from models.inputs.backed_matrix import StoredCounts, blocks, row_sums
from models.inputs.read_anndata import _whole
from models.training.loop import Trainer
from models.zoo import glue
from tests.models.test_streaming import SMALL, drawn, on_disk, stored
from tests.models.toy import toy

if TYPE_CHECKING:
    from pathlib import Path

    from models.inputs.backed_matrix import Counts
    from models.inputs.cells import Cells

pytestmark = pytest.mark.filterwarnings("ignore:.*(zarr v[23]|Consolidated metadata).*")  # of writing


def written(path: Path, matrix: Counts | Any, fmt: int = 3) -> Path:
    with anndata.settings.override(zarr_write_format=fmt):
        anndata.AnnData(matrix, uns={"assembly": "hg38"}).write_zarr(path)
    return path


def pieces(path: Path, matrix: sp.csr_matrix, size: int, fmt: int = 3) -> Path:
    """Return a store whose arrays are in chunks of `size` values, as in large stores."""
    written(path, matrix, fmt)
    group: Any = zarr.open_group(str(path), mode="r+")["X"]
    for part in ("data", "indices"):
        values = getattr(matrix, part)
        group.create_array(part, shape=values.shape, chunks=(size,), dtype=values.dtype, overwrite=True)[:] = values
    zarr.consolidate_metadata(str(path))
    return path


@pytest.mark.parametrize("fmt", [2, 3])
@pytest.mark.parametrize("dense", [False, True])
def test_rows_of_a_store_are_the_rows_of_the_matrix(tmp_path: Path, dense: bool, fmt: int) -> None:
    matrix = drawn(500, 40)
    path = written(tmp_path / "some.zarr", matrix.toarray() if dense else matrix, fmt)
    one = StoredCounts(str(path), "X", checksum(path))
    rows, keep = np.array([400, 3, 3, 4, 90, 499, 0]), np.arange(40) % 3 == 1
    order = np.random.default_rng(0).permutation(500)
    assert (one.shape, one.nnz) == ((500, 40), 500 * 40 if dense else matrix.nnz)
    np.testing.assert_array_equal(one[rows].toarray(), matrix[rows].toarray())
    subset = pickle.loads(pickle.dumps(one.restrict(keep).ordered(order)))
    np.testing.assert_array_equal(subset[rows].toarray(), matrix[order][rows][:, keep].toarray())
    np.testing.assert_allclose(row_sums(one), np.asarray(matrix.sum(1)).ravel(), rtol=1e-6)
    header = read_header(path)
    assert (header.cells, len(header.features), header.layers, header.assembly) == (500, 40, (), "hg38")


def test_training_from_a_store_is_training_from_an_h5ad(tmp_path: Path) -> None:
    world = toy(150, 20)
    files = on_disk(world.cells, tmp_path)

    def moved(cells: Cells) -> Cells:
        stores = {
            n: StoredCounts(str(written(tmp_path / f"{n}.zarr", m.counts)), "X", "")
            for n, m in cells.modalities.items()
        }
        return replace(cells, modalities={n: replace(m, counts=stores[n]) for n, m in cells.modalities.items()})

    here, there = (glue.train(world.graph, cells, SMALL, Trainer()) for cells in (files, moved(world.cells)))
    np.testing.assert_array_equal(here.features, there.features)
    for name in world.cells.modalities:
        np.testing.assert_array_equal(here.cells[name], there.cells[name])


@pytest.mark.parametrize("fmt", [2, 3])
def test_only_the_pieces_that_hold_the_rows_are_read(tmp_path: Path, fmt: int) -> None:
    matrix = drawn(1000, 40)
    path = pieces(tmp_path / "some.zarr", matrix, 500, fmt)
    rows = np.arange(600, 650)
    first, last = matrix.indptr[600] // 500, (matrix.indptr[650] - 1) // 500
    for part in ("data", "indices"):
        files = [f for f in (path / "X" / part).rglob("*") if f.is_file() and f.name.isdigit()]
        assert len(files) == -(-matrix.nnz // 500)
        for file in files:
            if not first <= int(file.name) <= last:
                file.write_bytes(b"unreadable")
    np.testing.assert_array_equal(StoredCounts(str(path), "X", "")[rows].toarray(), matrix[rows].toarray())


def test_memory_is_that_of_a_block_not_of_the_store(tmp_path: Path) -> None:
    matrix = sp.csr_matrix(sp.random(40_000, 300, 0.1, dtype=np.float32, random_state=0))
    path = pieces(tmp_path / "some.zarr", matrix, 50_000)
    one = StoredCounts(str(path), "X", "")
    total = 0.0
    tracemalloc.start()
    for _, block in blocks(one):
        total += float(block.sum())
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert total == pytest.approx(float(matrix.sum()), rel=1e-5)
    assert peak < (matrix.data.nbytes + matrix.indices.nbytes) / 2


def test_a_store_by_columns_is_refused(tmp_path: Path) -> None:
    path = written(tmp_path / "some.zarr", drawn(5, 5).tocsc())
    with pytest.raises(InputError, match="csc_matrix"):
        list(blocks(StoredCounts(str(path), "X", "")))


@pytest.mark.parametrize("kind", ["h5ad", "zarr"])
def test_without_values_it_is_refused(tmp_path: Path, kind: str) -> None:
    empty = anndata.AnnData(shape=(3, 2))
    path = tmp_path / f"some.{kind}"
    empty.write_h5ad(path) if kind == "h5ad" else empty.write_zarr(path)
    with pytest.raises(InputError, match="holds no values, neither X nor a layer"):
        read_header(path)
    with pytest.raises(InputError, match="holds no X"):
        list(blocks(StoredCounts(str(path), "X", "")))


def test_a_folder_that_is_no_store_is_refused(tmp_path: Path) -> None:
    (tmp_path / "some.zarr").mkdir()
    with pytest.raises(InputError, match="not an AnnData file: No group found"):
        read_header(tmp_path / "some.zarr")
    zarr.create_group(str(tmp_path / "other.zarr"))
    with pytest.raises(InputError, match="not an AnnData file"):
        read_header(tmp_path / "other.zarr")
    path = written(tmp_path / "cut.zarr", drawn(5, 5))
    (path / "zarr.json").write_text((path / "zarr.json").read_text()[:50])
    with pytest.raises(InputError, match="not an AnnData file"):
        read_header(path)


def piece(path: Path, part: str, number: int) -> Path:
    (found,) = (f for f in (path / "X" / part).rglob(str(number)) if f.is_file())
    return found


@pytest.mark.parametrize("fmt", [2, 3])
@pytest.mark.parametrize(
    ("part", "said"),
    [
        ("data", "X is half-written: data: 1 of 12 pieces are not there"),
        ("indices", "X is half-written: indices: 1 of 12 pieces are not there"),
        ("indptr", "X is half-written: indptr does not fit data and indices"),
    ],
)
def test_a_store_that_lacks_a_piece_is_refused(tmp_path: Path, part: str, said: str, fmt: int) -> None:
    matrix = drawn(500, 40)
    path = pieces(tmp_path / "some.zarr", matrix, -(-matrix.nnz // 12), fmt)
    read_header(path)
    piece(path, part, 0 if part == "indptr" else 5).unlink()
    with pytest.raises(InputError, match=said):
        read_header(path)


def test_a_piece_that_was_cut_off_is_refused_where_its_codec_would_not_notice(tmp_path: Path) -> None:
    path = pieces(tmp_path / "some.zarr", drawn(500, 40), 1000)
    group: Any = zarr.open_group(str(path), mode="r+")["X"]
    group.create_array("data", data=group["data"][:], chunks=(1000,), compressors=BloscCodec(), overwrite=True)
    zarr.consolidate_metadata(str(path))
    read_header(path)
    cut = piece(path, "data", 2)
    cut.write_bytes(cut.read_bytes()[:-10])
    with pytest.raises(InputError, match="data: piece c/2 is cut off"):
        read_header(path)


@pytest.mark.parametrize("dense", [False, True])
def test_a_piece_that_cannot_be_unpacked_is_refused_when_it_is_read(tmp_path: Path, dense: bool) -> None:
    matrix = drawn(500, 40)
    path = written(tmp_path / "some.zarr", matrix.toarray() if dense else matrix)
    cut = next(f for f in (path / "X" / ("" if dense else "data") / "c").rglob("0") if f.is_file())
    cut.write_bytes(cut.read_bytes()[:-10])
    with pytest.raises(InputError, match=r"some\.zarr: X cannot be read"):
        list(blocks(StoredCounts(str(path), "X", "")))
    with pytest.raises(InputError, match=r"some\.zarr: cannot be read"):
        _whole(str(path))


def test_zeros_that_zarr_leaves_out_are_no_fault(tmp_path: Path) -> None:
    path = pieces(tmp_path / "first.zarr", sp.csr_matrix(np.ones((30, 1)), dtype=np.float32), 10)
    assert not any((path / "X" / "indices" / "c").glob("*"))
    assert read_header(path).cells == 30
    dense = written(tmp_path / "dense.zarr", np.zeros((30, 4), np.float32))
    assert read_header(dense).cells == 30
    metadata = dense / "zarr.json"
    attributes = json.loads(metadata.read_text())
    del attributes["consolidated_metadata"]
    metadata.write_text(json.dumps(attributes))
    with pytest.raises(InputError, match="1 of 1 pieces are not there"):
        read_header(dense)


def test_the_checksum_is_of_names_and_bytes_not_of_the_order_of_a_listing(tmp_path: Path) -> None:
    path = written(tmp_path / "some.zarr", drawn(50, 4))
    before = checksum(path)
    copied = tmp_path / "copy.zarr"
    copied.mkdir()
    for file in sorted((f for f in path.rglob("*") if f.is_file()), reverse=True):
        (copied / file.relative_to(path)).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(file, copied / file.relative_to(path))
    assert checksum(copied) == before
    chunk = piece(copied, "data", 0)
    chunk.rename(chunk.with_name("1"))
    assert checksum(copied) != before
    chunk.with_name("1").rename(chunk)
    chunk.write_bytes(chunk.read_bytes()[:-1] + b"\0")
    assert checksum(copied) != before


def test_an_h5ad_of_the_same_cells_has_the_same_rows(tmp_path: Path) -> None:
    matrix = drawn(60, 9)
    store = StoredCounts(str(written(tmp_path / "some.zarr", matrix)), "X", "")
    rows = np.arange(60)
    np.testing.assert_array_equal(store[rows].toarray(), stored(tmp_path, matrix)[rows].toarray())
