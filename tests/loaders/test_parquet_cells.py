"""Parquet shards: the counts that were written, whatever wrote them; and what is refused, by file and row."""

from __future__ import annotations

import tracemalloc
from typing import TYPE_CHECKING, Any

import anndata
import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import scipy.sparse as sp
from hypothesis import given, settings
from hypothesis import strategies as st

from kg.cells import read_header
from kg.errors import InputError, MalformedRow
from loaders.cells import shards
from loaders.cells.parquet_cells import ensure_h5ad

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

Row = tuple[Any, Any, Any]
CELLS, FEATURES = ["a", "b", "c", "d"], ["x", "y", "z"]
GOOD = {"part-0": [("a", "x", 1), ("a", "z", 2), ("b", "y", 3)], "part-1": [("d", "z", 4), ("d", "x", 5)]}


def written(folder: Path, parts: Mapping[str, Sequence[Row]], **more: Any) -> Path:
    folder.mkdir(parents=True)
    pd.DataFrame({"cell": CELLS, **more}).to_parquet(folder / "obs.parquet", index=False)
    pd.DataFrame({"feature": FEATURES}).to_parquet(folder / "var.parquet", index=False)
    for name, rows in parts.items():
        path = folder / f"{name}.parquet"
        path.parent.mkdir(exist_ok=True)
        pd.DataFrame(rows, columns=["cell", "feature", "value"]).to_parquet(path, index=False)
    return folder


def read(folder: Path, kept: Path) -> anndata.AnnData:
    return anndata.read_h5ad(ensure_h5ad(folder, kept))


def test_every_count_is_where_it_was_written(tmp_path: Path) -> None:
    adata = read(written(tmp_path / "rna", GOOD, cell_type=["T", "B", None, "T"], depth=[1, 2, 3, 4]), tmp_path)
    assert adata.X.toarray().tolist() == [[1, 0, 2], [0, 3, 0], [0, 0, 0], [5, 0, 4]]
    assert adata.X.has_sorted_indices
    assert (adata.obs_names.tolist(), adata.var_names.tolist()) == (CELLS, FEATURES)
    assert adata.obs["cell_type"].tolist() == ["T", "B", np.nan, "T"]
    assert adata.obs["depth"].tolist() == [1, 2, 3, 4]
    (out,) = tmp_path.glob("rna-*.h5ad")
    assert read_header(out).cells == 4


def test_the_three_lines_of_the_docs_write_it(tmp_path: Path) -> None:
    counts = sp.csr_matrix(np.random.default_rng(0).poisson(0.4, (30, 7)), dtype=np.float32)
    adata = anndata.AnnData(counts, pd.DataFrame({"cell_type": ["T", "B"] * 15}, index=[f"c{i}" for i in range(30)]))
    folder = tmp_path / "rna"
    folder.mkdir()
    rows = adata.X.tocoo()
    columns = {"cell": adata.obs_names[rows.row], "feature": adata.var_names[rows.col], "value": rows.data}
    pd.DataFrame(columns).to_parquet(folder / "part-0.parquet")
    adata.obs.rename_axis("cell").to_parquet(folder / "obs.parquet")
    adata.var.rename_axis("feature").to_parquet(folder / "var.parquet")
    made = read(folder, tmp_path)
    np.testing.assert_array_equal(made.X.toarray(), counts.toarray())
    pd.testing.assert_frame_equal(made.obs, adata.obs, check_dtype=False, check_categorical=False)


def test_equal_content_is_made_once_other_content_again(tmp_path: Path) -> None:
    folder, copy = (written(tmp_path / name / "rna", GOOD) for name in ("one", "copy"))
    path = ensure_h5ad(folder, tmp_path / "kept")
    before = path.stat().st_mtime_ns
    assert ensure_h5ad(copy, tmp_path / "kept") == path
    assert path.stat().st_mtime_ns == before
    other_folder = written(tmp_path / "other" / "rna", {**GOOD, "part-2": []})
    assert ensure_h5ad(other_folder, tmp_path / "kept") != path
    assert ensure_h5ad(path, tmp_path / "kept") == path  # not a folder


def test_shards_follow_each_other_by_number_and_may_lie_in_folders(tmp_path: Path) -> None:
    parts = {f"deep/part-{10 if c == 'd' else i}": [(c, "y", i + 1)] for i, c in enumerate(CELLS)}
    assert read(written(tmp_path / "rna", parts), tmp_path).X.toarray()[:, 1].tolist() == [1, 2, 3, 4]


@pytest.mark.parametrize("kind", [pa.large_string(), pa.dictionary(pa.int32(), pa.string())])
@pytest.mark.parametrize("value", [pa.uint16(), pa.int64(), pa.float32(), pa.float64()])
def test_any_type_of_text_and_number_will_do(tmp_path: Path, kind: pa.DataType, value: pa.DataType) -> None:
    folder = written(tmp_path / "rna", {})
    columns = list(zip(*GOOD["part-0"], strict=True))
    arrays = [pa.array(columns[0]).cast(kind), pa.array(columns[1]).cast(kind), pa.array(columns[2], value)]
    pq.write_table(pa.table(arrays, ["cell", "feature", "value"]), folder / "part.parquet")
    assert read(folder, tmp_path).X.toarray()[:2].tolist() == [[1, 0, 2], [0, 3, 0]]


@pytest.mark.parametrize(
    ("part", "where", "message"),
    [
        ([("a", "x", 1), ("nobody", "x", 1)], 2, "column 'cell': 'nobody' is not in obs.parquet"),
        ([("a", "x", 1), (None, "x", 1)], 2, "column 'cell': None is not in obs.parquet"),
        ([("a", "q", 1)], 1, "column 'feature': 'q' is not in var.parquet"),
        ([("a", "x", 1.0), ("a", "y", np.nan)], 2, "column 'value': (nan|None) is not a count"),
        ([("a", "x", -1)], 1, "column 'value': -1 is not a count, a whole number from 0 to 16,777,216"),
        ([("a", "x", 0.5)], 1, "column 'value': 0.5 is not a count"),
        ([("a", "x", np.inf)], 1, "column 'value': inf is not a count"),
        ([("a", "x", 2**24 + 1)], 1, "column 'value': 16777217 is not a count"),
        ([("a", "x", 1), ("b", "x", 1), ("b", "y", 1), ("b", "x", 2)], 4, "'x' comes more than once in cell 'b'"),
        ([("b", "x", 1), ("a", "x", 1)], 2, "'a' comes after 'b', but before it in obs.parquet"),
        ([("a", "x", 1), ("b", "x", 1), ("a", "y", 1)], 3, "'a' comes after 'b', but before it"),
    ],
)
@pytest.mark.parametrize("rows", [1, 2, 100])
def test_a_row_that_does_not_fit_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, part: list[Row], where: int, message: str, rows: int
) -> None:
    monkeypatch.setattr(shards, "ROWS", rows)
    folder = written(tmp_path / "rna", {"part-7": part})
    with pytest.raises(MalformedRow, match=rf"rna/part-7\.parquet:{where} .*{message}"):
        ensure_h5ad(folder, tmp_path / "kept")
    assert not list((tmp_path / "kept").iterdir())


def test_a_cell_in_two_shards_is_refused(tmp_path: Path) -> None:
    parts = {"part-0": [("a", "x", 1), ("b", "x", 1)], "part-1": [("b", "y", 1)]}
    with pytest.raises(MalformedRow, match=r"rna/part-1\.parquet:1 column 'cell': 'b' is in rna/part-0\.parquet too"):
        ensure_h5ad(written(tmp_path / "rna", parts), tmp_path)
    parts = {"part-0": [("a", "x", 1), ("b", "x", 1)], "part-1": [("a", "y", 1)]}
    with pytest.raises(MalformedRow, match=r"part-1\.parquet:1 column 'cell': 'a' comes after 'b'"):
        ensure_h5ad(written(tmp_path / "atac", parts), tmp_path)


def test_what_is_missing_of_a_folder_is_said(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="holds no shard beside"):
        ensure_h5ad(written(tmp_path / "none", {}), tmp_path)
    for name in ("obs", "var"):
        folder = written(tmp_path / name, GOOD)
        (folder / f"{name}.parquet").unlink()
        with pytest.raises(InputError, match=rf"{name}\.parquet: is not there"):
            ensure_h5ad(folder, tmp_path)
    folder = written(tmp_path / "columns", GOOD)
    pd.DataFrame({"cell": ["a"], "gene": ["x"]}).to_parquet(folder / "part-1.parquet")
    with pytest.raises(InputError, match=r"columns/part-1\.parquet: has no column feature, value"):
        ensure_h5ad(folder, tmp_path)
    pd.DataFrame({"barcode": CELLS}).to_parquet(folder / "obs.parquet")
    with pytest.raises(InputError, match=r"obs\.parquet: has no column 'cell'"):
        ensure_h5ad(folder, tmp_path)
    pd.DataFrame({"cell": ["a", "b", "a"]}).to_parquet(folder / "obs.parquet")
    with pytest.raises(MalformedRow, match=r"obs\.parquet:3 column 'cell': 'a' comes more than once"):
        ensure_h5ad(folder, tmp_path)
    pd.DataFrame({"cell": ["a", None]}).to_parquet(folder / "obs.parquet")
    with pytest.raises(MalformedRow, match=r"obs\.parquet:2 column 'cell': None is missing"):
        ensure_h5ad(folder, tmp_path)


def test_a_shard_that_is_cut_off_or_holds_text_is_refused(tmp_path: Path) -> None:
    folder = written(tmp_path / "rna", GOOD)
    whole = (folder / "part-1.parquet").read_bytes()
    (folder / "part-1.parquet").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(InputError, match=r"part-1\.parquet: not a Parquet file"):
        ensure_h5ad(folder, tmp_path)
    pd.DataFrame([("d", "x", "3")], columns=["cell", "feature", "value"]).to_parquet(folder / "part-1.parquet")
    with pytest.raises(InputError, match="column 'value' holds string, numbers are needed"):
        ensure_h5ad(folder, tmp_path)


def test_memory_is_that_of_a_batch_not_of_the_shards(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shards, "ROWS", 1 << 14)
    n, per = 4_000, 250
    folder = written(tmp_path / "rna", {})
    names = np.array([f"c{i:06}" for i in range(n)])
    features = np.array([f"f{i:03}" for i in range(per)])
    pd.DataFrame({"cell": names}).to_parquet(folder / "obs.parquet")
    pd.DataFrame({"feature": features}).to_parquet(folder / "var.parquet")
    table = pa.table({"cell": np.repeat(names, per), "feature": np.tile(features, n), "value": np.ones(n * per, int)})
    pq.write_table(table, folder / "part-0.parquet")  # one row group
    size = table.nbytes
    del table
    arrow = pa.total_allocated_bytes()
    tracemalloc.start()
    most = 0
    total = 0
    for rows in shards.read_cells(shards.read_names(folder)):
        most = max(most, pa.total_allocated_bytes() - arrow)
        total += int(rows.value.sum())
    traced = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert total == n * per
    assert most + traced < size / 4


@settings(max_examples=40)
@given(
    counts=st.lists(st.lists(st.integers(0, 5), min_size=3, max_size=3), min_size=4, max_size=4),
    cuts=st.sets(st.integers(1, 3)),
    rows=st.integers(1, 6),
    order=st.permutations(range(3)),
)
def test_any_counts_come_back(
    tmp_path_factory: pytest.TempPathFactory, counts: list[list[int]], cuts: set[int], rows: int, order: list[int]
) -> None:
    parts: dict[str, list[Row]] = {"part-0": []}
    for i, cell in enumerate(CELLS):
        if i in cuts:
            parts[f"part-{len(parts)}"] = []
        # a zero is a row or none, by its feature
        parts[f"part-{len(parts) - 1}"] += [(cell, FEATURES[f], counts[i][f]) for f in order if counts[i][f] or f == 1]
    folder = tmp_path_factory.mktemp("any")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(shards, "ROWS", rows)
        adata = read(written(folder / "rna", parts), folder)
    assert adata.X.toarray().tolist() == counts
    assert adata.X.nnz == np.count_nonzero(counts)
