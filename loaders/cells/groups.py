"""In which share of the cells of each group a feature is seen; h5ad matrices are read piece by piece."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import h5py
import numpy as np
import pandas as pd
from anndata.io import read_elem, sparse_dataset
from scipy import sparse

from kg.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from numpy.typing import NDArray

    Floats = NDArray[np.float64]
    Ints = NDArray[np.int64]

VALUES = 1 << 24  # of the matrix in memory at once


@dataclass(frozen=True)
class Shares:
    """What was counted.

    Attributes:
        groups: (G,) names, sorted.
        cells: (G,) how many.
        share: (G, F) share of the cells with a value above 0, in the order of the file's features.
        unlabelled: cells that are in no group.
    """

    groups: tuple[str, ...]
    cells: Ints
    share: Floats
    unlabelled: int


def shares(path: Path, column: str, only: str = "") -> Shares:
    """Count the cells of an h5ad by a column of obs, or all of them as the group `only` when that is named.

    Raises:
        InputError: there is no such column.
    """
    with h5py.File(path) as file:
        labels = _labels(file["obs"], path.name, column, only)
        codes, groups = pd.factorize(labels, sort=True)
        cells = np.bincount(codes[codes >= 0], minlength=len(groups))
        chosen = np.flatnonzero(codes >= 0)
        # one row a group, 1 where a cell is in it
        ones = np.ones(len(chosen)), (codes[chosen], chosen)
        member = sparse.coo_array(ones, shape=(len(groups), len(codes))).tocsr()
        counted = _counted(file["X"], member)
    return Shares(tuple(map(str, groups)), cells, counted / cells[:, None], int((codes < 0).sum()))


def _labels(obs: h5py.Group, name: str, column: str, only: str) -> pd.Series[str]:
    count = len(obs[obs.attrs["_index"]])
    if only:
        return pd.Series([only] * count, dtype=object)
    there = [str(c) for c in obs.attrs["column-order"]]
    if column not in there:
        problem = f"obs has no column {column!r}" if column else "neither --group nor --biosample is given"
        listed = f"obs has {', '.join(there)}" if there else "obs has no columns"
        raise InputError(
            f"{name}: {problem}", f"{listed}; give --group COLUMN, or --biosample when all cells are of one"
        )
    labels = pd.Series(np.asarray(read_elem(obs[column]), dtype=object))
    return labels.where(labels.notna() & (labels != "")).map(str, na_action="ignore")


def _counted(x: h5py.Group | h5py.Dataset, member: Any) -> Floats:
    """Return (G, F) cells of each group with a value above 0."""
    shape = x.shape if isinstance(x, h5py.Dataset) else sparse_dataset(x).shape
    counted: Floats = np.zeros((member.shape[0], int(shape[1])))
    for cells, features, piece in _pieces(x):
        counted[:, features] += (member[:, cells] @ sparse.csr_array(piece > 0)).toarray()
    return counted


def _pieces(x: h5py.Group | h5py.Dataset) -> Iterator[tuple[slice, slice, Any]]:
    """Yield blocks of rows, or of columns where the matrix is stored by column."""
    if isinstance(x, h5py.Dataset):
        step = max(1, VALUES // max(x.shape[1], 1))
        for at in range(0, x.shape[0], step):
            yield slice(at, at + step), slice(None), x[at : at + step]
        return
    stored = sparse_dataset(x)
    ends = stored.group["indptr"][:]
    by_column = stored.format == "csc"
    at = 0
    while at < len(ends) - 1:
        to = max(at + 1, int(np.searchsorted(ends, ends[at] + VALUES, side="right")) - 1)
        piece = slice(at, to)
        yield (slice(None), piece, stored[:, piece]) if by_column else (piece, slice(None), stored[piece])
        at = to
