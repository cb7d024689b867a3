"""AnnData on disk, h5ad or zarr, opened alike; and whether all of a zarr store is there.

A zarr store is a folder of many files. What a killed writer or an unfinished copy leaves of one reads as zeros, or as
anything at all, so its pieces are looked at before it is believed.
"""

from __future__ import annotations

from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import h5py
import numpy as np

from kg.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

SPARSE = ("csr_matrix", "csc_matrix")
AT_ONCE = 1 << 22  # indices in memory
_AGAIN = "write it again (adata.write_zarr), or copy all of it"
_BLOSC_HEADER = 16  # bytes; the last four say how long the whole is


def open_group(path: str | Path) -> Any:
    """Return the root of an h5ad or, of a folder, of a zarr store (format 2 or 3): an h5py or zarr group."""
    if not Path(path).is_dir():
        return h5py.File(path)
    import zarr  # noqa: PLC0415 - most never need it

    return zarr.open_group(str(path), mode="r")


@contextmanager
def opened(path: str | Path) -> Iterator[Any]:
    """Open the same and close it at the end of the block."""
    group = open_group(path)
    try:
        yield group
    finally:
        if isinstance(group, h5py.File):
            group.close()


def values_in(root: Any) -> list[str]:
    """Return the names of the matrices with a value for each cell and feature, such as X and layers/counts."""
    return [name for name in ("X",) if name in root] + [f"layers/{name}" for name in root.get("layers", ())]


def check_whole(path: Path, root: Any) -> None:
    """Refuse a zarr store of whose values a part is not there; of an h5ad, HDF5 itself knows.

    Of a dense matrix a piece that is missing holds zeros, by the format; it is believed where the store has its
    consolidated metadata, which anndata writes last.

    Raises:
        InputError: with the name of the matrix.
    """
    if isinstance(root, h5py.File):
        return
    finished = root.metadata.consolidated_metadata is not None
    for name in values_in(root):
        lost = _lost(path / name, root[name], finished=finished)
        if lost:
            raise InputError(f"{path}: {name} is half-written: {lost}", _AGAIN)


def _lost(folder: Path, node: Any, *, finished: bool) -> str:
    """Return what is missing of a matrix, in words."""
    if node.attrs.get("encoding-type", "array") not in SPARSE:
        return _cut(folder, node) or ("" if finished else _missing(node))
    parts = {part: node[part] for part in ("data", "indices", "indptr")}
    for part, array in parts.items():
        cut = _cut(folder / part, array)
        if cut:
            return f"{part}: {cut}"
    ends = parts["indptr"][:].astype(np.int64)
    lengths = {int(ends[-1]), *(parts[part].shape[0] for part in ("data", "indices"))}
    if ends[0] or (np.diff(ends) < 0).any() or len(lengths) > 1:
        return "indptr does not fit data and indices"
    if _missing(parts["data"]):
        return f"data: {_missing(parts['data'])}"
    return f"indices: {_missing(parts['indices'])}" if _repeats_zero(parts["indices"], ends) else ""


def _missing(array: Any) -> str:
    lost = array.nchunks - array.nchunks_initialized
    return f"{lost:,} of {array.nchunks:,} pieces are not there" if lost else ""


def _repeats_zero(indices: Any, ends: NDArray[np.int64]) -> bool:
    """Return whether missing pieces are lost and not merely all zero, as where each cell has only the first feature.

    A missing piece reads as zeros, and no cell has the same feature twice.
    """
    if not _missing(indices):
        return False
    for start in range(0, indices.shape[0], AT_ONCE):
        zero = start + np.flatnonzero(indices[start : start + AT_ONCE] == 0)
        if not np.diff(np.searchsorted(ends, zero, side="right")).all():
            return True
    return False


def _cut(folder: Path, array: Any) -> str:
    """Return which piece is shorter than it says; Blosc does not look, and would read whatever memory lies behind."""
    if array.shards is not None or not any("Blosc" in type(codec).__name__ for codec in array.compressors):
        return ""
    for piece in sorted(p for p in folder.rglob("*") if p.is_file() and p.name[0] != "." and p.name != "zarr.json"):
        with piece.open("rb") as file:
            header = file.read(_BLOSC_HEADER)
        if len(header) < _BLOSC_HEADER or int.from_bytes(header[12:], "little") != piece.stat().st_size:
            return f"piece {piece.relative_to(folder)} is cut off"
    return ""
