"""Cell values that stay on disk: rows of an h5ad or zarr store, read on demand.

Memory holds 8 bytes per cell (where its row begins) and the rows last read, whatever the size of the file.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, fields, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
import scipy.sparse as sp

from kg.cells.anndata_files import SPARSE, open_group
from kg.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import TypeAlias

    from numpy.typing import NDArray

    Counts: TypeAlias = "sp.csr_matrix | StoredCounts"
    Rows = NDArray[np.int64]

GAP = 32  # rows; reading over a smaller gap is faster than starting a new read
BLOCK = 4096  # rows of a pass over everything


@dataclass(frozen=True)
class StoredCounts:
    """A (cells, features) matrix of an h5ad or zarr store: CSR or dense.

    Threads may read concurrently; a pickle holds no values.

    Attributes:
        path: of the file.
        name: of the matrix in it, such as X or layers/counts.
        digest: checksum of the file.
        columns: columns that are kept, ascending; None for all.
        order: row of the file for each cell; None for the order of the file.
    """

    path: str
    name: str
    digest: str
    columns: Rows | None = None
    order: Rows | None = None

    def __reduce__(self) -> tuple[Any, ...]:
        return StoredCounts, tuple(getattr(self, f.name) for f in fields(self))

    @cached_property
    def _node(self) -> Any:
        root = open_group(self.path)
        if self.name not in root:
            raise InputError(f"{self.path}: holds no {self.name}", "put raw counts into X or a layer named 'counts'")
        return root[self.name]

    @cached_property
    def _parts(self) -> tuple[Any, Any]:
        return self._node["data"], self._node["indices"]

    @property
    def _kind(self) -> str:
        return str(self._node.attrs.get("encoding-type", "array"))

    @cached_property
    def _indptr(self) -> Rows | None:
        """Start of each row; None for a dense matrix."""
        kind = self._kind
        if kind not in {"csr_matrix", "array"}:
            raise InputError(
                f"{self.path}: {self.name} is a {kind}, rows are read from a csr_matrix or an array",
                "write the file by rows (scipy's .tocsr()), or train with --no-stream",
            )
        return self._node["indptr"][:].astype(np.int64) if kind == "csr_matrix" else None

    @cached_property
    def _place(self) -> NDArray[np.int32]:
        """New index of each column of the file, -1 where it is dropped."""
        place = np.full(self._full[1], -1, np.int32)
        place[self.columns] = np.arange(self.shape[1], dtype=np.int32)
        return place

    @property
    def _full(self) -> tuple[int, int]:
        node = self._node
        rows, columns = node.attrs["shape"] if self._kind in SPARSE else node.shape
        return int(rows), int(columns)

    @property
    def shape(self) -> tuple[int, int]:
        """Cells, features."""
        rows, columns = self._full
        return rows if self.order is None else len(self.order), columns if self.columns is None else len(self.columns)

    @property
    def nnz(self) -> int:
        """Number of stored entries, including those of dropped columns."""
        return int(self._node["data"].shape[0] if self._kind in SPARSE else np.prod(self._full))

    @property
    def hash(self) -> str:
        """sha256 over everything that determines the values."""
        digest = hashlib.sha256(f"{self.digest} {self.name}".encode())
        for some in (self.columns, self.order):
            digest.update(b"all" if some is None else some.tobytes())
        return digest.hexdigest()

    def restrict(self, keep: NDArray[np.bool_]) -> StoredCounts:
        """Return the same cells with a subset of the features."""
        columns = np.arange(self._full[1]) if self.columns is None else self.columns
        return replace(self, columns=columns[keep])

    def ordered(self, rows: Rows) -> StoredCounts:
        """Return the given cells, in the given order."""
        return replace(self, order=rows if self.order is None else self.order[rows])

    def __getitem__(self, rows: Rows) -> sp.csr_matrix:
        """Return the given rows, in the given order; neighbours on disk are read together."""
        wanted, back = np.unique(rows if self.order is None else self.order[rows], return_inverse=True)
        runs = np.split(wanted, np.flatnonzero(np.diff(wanted) > GAP) + 1) if len(wanted) else []
        none = sp.csr_matrix(np.zeros((0, self.shape[1]), np.float32))
        read = sp.vstack([none, *(self._span(int(r[0]), int(r[-1]) + 1)[r - r[0]] for r in runs)], format="csr")
        return sp.csr_matrix(read[back])

    def _read(self, values: Any, start: int, stop: int) -> Any:
        try:
            return values[start:stop]
        except (OSError, RuntimeError, ValueError) as error:
            raise InputError(f"{self.path}: {self.name} cannot be read: {error}", "copy or write it again") from error

    def _span(self, start: int, stop: int) -> sp.csr_matrix:
        """Return rows start to stop of the file."""
        if self._indptr is None:
            dense = self._read(self._node, start, stop)
            return sp.csr_matrix(dense if self.columns is None else dense[:, self.columns], dtype=np.float32)
        edges = self._indptr[start : stop + 1]
        first, last = int(edges[0]), int(edges[-1])
        value, column = (self._read(part, first, last) for part in self._parts)
        edges = edges - first
        if self.columns is not None:
            column = self._place[column]
            kept = column >= 0
            edges = np.concatenate([[0], np.cumsum(kept)])[edges]
            value, column = value[kept], column[kept]
        return sp.csr_matrix((value.astype(np.float32), column, edges), shape=(stop - start, self.shape[1]))


def blocks(counts: Counts) -> Iterator[tuple[slice, sp.csr_matrix]]:
    """Yield all cells, a few thousand at a time if they are on disk, otherwise all at once."""
    n = counts.shape[0]
    if not isinstance(counts, StoredCounts):
        yield slice(0, n), counts
        return
    for start in range(0, n, BLOCK):
        rows = slice(start, min(start + BLOCK, n))
        yield rows, counts[np.arange(rows.start, rows.stop)]


def restricted(counts: Counts, keep: NDArray[np.bool_]) -> Counts:
    """Return the same cells with a subset of the features."""
    return counts.restrict(keep) if isinstance(counts, StoredCounts) else sp.csr_matrix(counts[:, keep])


def row_sums(counts: Counts) -> NDArray[np.float64]:
    """Return the (cells,) row sums."""
    sums = [np.asarray(block.sum(axis=1, dtype=np.float64)).ravel() for _, block in blocks(counts)]
    return np.concatenate(sums or [np.zeros(0)])
