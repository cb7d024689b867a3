"""A folder of Parquet shards becomes an h5ad that training reads row by row; made once, in memory of a batch."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import anndata
import h5py
import numpy as np

from kg.files import folder_sha256, replaced
from kg.progress import SILENT, Progress
from loaders.cells.shards import Shards, is_shards, read_cells, read_names

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

STRETCH = 1 << 16  # values of a piece of the h5ad


def ensure_h5ad(path: Path, kept: Path, progress: Progress = SILENT) -> Path:
    """Return the path, or for a folder of shards the h5ad that is made of it, once for equal content.

    Args:
        path: h5ad, zarr store, or folder of shards.
        kept: folder of the h5ad that are made.
        progress: counts rows.

    Raises:
        MalformedRow: a row does not fit: an unknown name, a value that is not a count, a feature twice in a cell, a
            cell in two shards, or out of order.
        InputError: a file or column is missing.
    """
    if not is_shards(path):
        return path
    digest = folder_sha256(path, "*.parquet")
    out = kept / f"{path.resolve().name}-{digest[:12]}.h5ad"
    if not out.exists():
        kept.mkdir(parents=True, exist_ok=True)
        with replaced(out) as temporary:
            write_h5ad(read_names(path), temporary, digest, progress)
    return out


def write_h5ad(shards: Shards, out: Path, digest: str, progress: Progress = SILENT) -> None:
    """Write a CSR of float32, features of a cell ascending, without zeros; memory holds a batch, a cell, and the names.

    Raises:
        MalformedRow: as `ensure_h5ad`.
    """
    adata = anndata.AnnData(obs=shards.obs, var=shards.var, uns={"parquet_sha256": digest})
    adata.write_h5ad(out)
    lengths = np.zeros(adata.n_obs, np.int64)
    progress.begin(f"reading {shards.folder.name}", shards.rows, "rows")
    with h5py.File(out, "r+") as file:
        group = file.create_group("X")
        group.attrs.update({"encoding-type": "csr_matrix", "encoding-version": "0.1.0", "shape": adata.shape})
        data, indices = (
            group.create_dataset(name, (0,), dtype, maxshape=(None,), chunks=(STRETCH,))
            for name, dtype in (("data", np.float32), ("indices", np.int32))
        )
        for rows in read_cells(shards):
            kept = rows.value > 0
            cells, counts = np.unique(rows.cell[kept], return_counts=True)
            lengths[cells] = counts
            _append(data, rows.value[kept])
            _append(indices, rows.feature[kept])
            progress.advance(len(kept))
        group["indptr"] = np.concatenate([[0], np.cumsum(lengths)])
    progress.end(f"{int(lengths.sum()):,} counts of {adata.n_obs:,} cells and {adata.n_vars:,} features")


def _append(to: Any, values: NDArray[Any]) -> None:
    n = len(to)
    to.resize((n + len(values),))
    to[n:] = values
