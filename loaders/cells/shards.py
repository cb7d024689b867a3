"""Counts as a folder of Parquet files, read cell by cell and refused by file and row where they do not fit.

The folder holds obs.parquet (column `cell`, the rest are columns of obs), var.parquet (column `feature`) and shards
under any other name, in subfolders too: columns `cell`, `feature`, `value`, a row for each count. Cells stand in the
order of obs.parquet, shards in that of their names (part-2 before part-10), and all rows of a cell in one shard.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from kg.errors import InputError, MalformedRow

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from numpy.typing import NDArray

    Ints = NDArray[np.int64]

ROWS = 1 << 18  # of a shard, decoded at once
MOST = 1 << 24  # whole numbers up to this are exact as float32
COLUMNS = {"cell", "feature", "value"}
_HINT = "see Parquet shards in docs/models/scale.md"


@dataclass(frozen=True)
class CellRows:
    """Some rows of a shard.

    Attributes:
        first: number of the first of them in the shard, from 1.
        cell, feature: (n,) positions in obs and var.
        value: (n,) counts.
    """

    first: int
    cell: Ints
    feature: Ints
    value: NDArray[np.float32]

    def part(self, between: slice) -> CellRows:
        """Return a slice of the rows."""
        return CellRows(
            self.first + (between.start or 0), self.cell[between], self.feature[between], self.value[between]
        )

    def then(self, more: CellRows) -> CellRows:
        """Return these rows and those that follow them."""
        joined = (np.concatenate([getattr(r, n) for r in (self, more)]) for n in ("cell", "feature", "value"))
        return CellRows(self.first, *joined)


@dataclass(frozen=True)
class Shards:
    """A folder of counts, its names read.

    Attributes:
        obs, var: indexed by the unique names of cells and features.
        files: shards, in their order.
    """

    folder: Path
    obs: pd.DataFrame
    var: pd.DataFrame
    files: tuple[Path, ...]

    @property
    def rows(self) -> int:
        """Of all shards, as they say."""
        return sum(_opened(file).metadata.num_rows for file in self.files)

    def name(self, file: Path) -> str:
        """Return the name of a shard as messages show it."""
        return file.relative_to(self.folder.parent).as_posix()


def is_shards(path: Path) -> bool:
    """Return whether this is a folder with Parquet files in it."""
    return path.is_dir() and next(path.rglob("*.parquet"), None) is not None


def read_names(folder: Path) -> Shards:
    """Return obs, var, and which files are shards.

    Raises:
        InputError: a file or column is missing, or there is no shard.
        MalformedRow: a name comes twice or is missing.
    """
    named = {name: folder / f"{name}.parquet" for name in ("obs", "var")}
    files = sorted(set(folder.rglob("*.parquet")) - set(named.values()), key=_natural)
    obs, var = (_names(named[name], column) for name, column in (("obs", "cell"), ("var", "feature")))
    if not files:
        raise InputError(f"{folder}: holds no shard beside obs.parquet and var.parquet", _HINT)
    return Shards(folder, obs, var, tuple(files))


def read_cells(shards: Shards) -> Iterator[CellRows]:
    """Yield all rows, whole cells at a time, the features of a cell ascending.

    Raises:
        MalformedRow: as `loaders.cells.parquet_cells.ready`.
    """
    last, before = -1, ""
    for file in shards.files:
        for rows in _whole_cells(_coded(shards, file)):
            _check_order(shards, file, rows, last, before)
            yield _sorted(shards, file, rows)
            last, before = int(rows.cell[-1]), shards.name(file)


def _whole_cells(batches: Iterator[CellRows]) -> Iterator[CellRows]:
    """Yield the same rows, cut where a cell ends; not empty."""
    held: CellRows | None = None
    for batch in batches:
        rows = batch if held is None else held.then(batch)
        other = np.flatnonzero(rows.cell != rows.cell[-1])
        cut = int(other[-1]) + 1 if len(other) else 0
        if cut:
            yield rows.part(slice(0, cut))
        held = rows.part(slice(cut, None))
    if held is not None:
        yield held


def _coded(shards: Shards, file: Path) -> Iterator[CellRows]:
    """Yield batches with names as positions; not empty."""
    name, first = shards.name(file), 1
    source = _opened(file)
    lost = COLUMNS - set(source.schema_arrow.names)
    if lost:
        raise InputError(f"{name}: has no column {', '.join(sorted(lost))}", _HINT)
    try:
        for batch in source.iter_batches(ROWS, columns=sorted(COLUMNS)):
            if len(batch):
                cell, feature = (
                    _positions(batch[c], n.index) for c, n in (("cell", shards.obs), ("feature", shards.var))
                )
                value = _numbers(batch["value"], name)
                _check_rows(name, first, batch, {"cell": cell < 0, "feature": feature < 0, "value": _no_count(value)})
                yield CellRows(first, cell, feature, value.astype(np.float32))
            first += len(batch)
    except (pa.ArrowException, OSError) as error:
        raise InputError(f"{name}: cannot be read: {error}", "copy or write it again") from error


def _opened(file: Path) -> pq.ParquetFile:
    try:
        # without these, pyarrow reads a whole row group ahead
        return pq.ParquetFile(file, buffer_size=1 << 20, pre_buffer=False)
    except (pa.ArrowException, OSError) as error:
        raise InputError(f"{file}: not a Parquet file: {error}", "copy or write it again") from error


def _positions(column: pa.Array, names: pd.Index) -> Ints:
    """Return where each name stands, -1 for nowhere."""
    encoded = column if pa.types.is_dictionary(column.type) else column.cast(pa.string()).dictionary_encode()
    place = np.append(names.get_indexer(encoded.dictionary.to_pandas()), -1)
    positions: Ints = place[encoded.indices.fill_null(-1).to_numpy(zero_copy_only=False)].astype(np.int64)
    return positions


def _numbers(column: pa.Array, name: str) -> NDArray[np.float64]:
    if not (pa.types.is_integer(column.type) or pa.types.is_floating(column.type)):
        raise InputError(f"{name}: column 'value' holds {column.type}, numbers are needed", _HINT)
    return np.asarray(column.to_numpy(zero_copy_only=False), np.float64)


def _no_count(value: NDArray[np.float64]) -> NDArray[np.bool_]:
    wrong: NDArray[np.bool_] = ~((value >= 0) & (value <= MOST) & (value == np.floor(value)))
    return wrong


def _check_rows(name: str, first: int, batch: pa.RecordBatch, wrong: dict[str, NDArray[np.bool_]]) -> None:
    rules = {
        "cell": "is not in obs.parquet",
        "feature": "is not in var.parquet",
        "value": f"is not a count, a whole number from 0 to {MOST:,}",
    }
    for column, rows in wrong.items():
        if rows.any():
            at = int(rows.argmax())
            raise MalformedRow(name, first + at, column, f"{batch[column][at].as_py()!r} {rules[column]}", _HINT)


def _check_order(shards: Shards, file: Path, rows: CellRows, last: int, before: str) -> None:
    """Refuse cells that do not ascend, or that go on in another shard."""
    name, cells = shards.name(file), shards.obs.index
    if rows.cell[0] == last:
        rule = f"{cells[last]!r} is in {before} too; all rows of a cell stand in one shard"
        raise MalformedRow(name, rows.first, "cell", rule, "are these two cells of the same name?")
    back = np.flatnonzero(np.diff(rows.cell, prepend=last) < 0)
    if len(back):
        at = int(back[0])
        ahead = cells[rows.cell[at - 1] if at else last]
        rule = f"{cells[rows.cell[at]]!r} comes after {ahead!r}, but before it in obs.parquet"
        hint = "sort shards and obs.parquet alike, the rows of a cell together; shards follow each other by their names"
        raise MalformedRow(name, rows.first + at, "cell", rule, hint)


def _sorted(shards: Shards, file: Path, rows: CellRows) -> CellRows:
    """Sort the features of each cell; refuse one that occurs twice."""
    key = rows.cell * len(shards.var) + rows.feature
    order = np.argsort(key, kind="stable")
    twice = np.flatnonzero(np.diff(key[order]) == 0)
    if len(twice):
        at = int(order[twice + 1].min())
        cell, feature = shards.obs.index[rows.cell[at]], shards.var.index[rows.feature[at]]
        rule = f"{feature!r} comes more than once in cell {cell!r}"
        raise MalformedRow(shards.name(file), rows.first + at, "feature", rule, "add the counts up, or drop one")
    return CellRows(rows.first, rows.cell, rows.feature[order], rows.value[order])


def _names(file: Path, column: str) -> pd.DataFrame:
    """Return the table of one file, indexed by a column; what is neither a number nor true or false is text."""
    if not file.is_file():
        raise InputError(f"{file}: is not there", _HINT)
    try:
        frame = _opened(file).read().to_pandas(ignore_metadata=True)
    except (pa.ArrowException, OSError) as error:
        raise InputError(f"{file}: cannot be read: {error}", "copy or write it again") from error
    if column not in frame:
        raise InputError(f"{file}: has no column {column!r}", _HINT)
    names = frame.pop(column)
    for wrong, rule in ((names.isna(), "is missing"), (names.duplicated(), "comes more than once")):
        if wrong.any():
            at = int(wrong.argmax())
            raise MalformedRow(file.name, at + 1, column, f"{names[at]!r} {rule}", "each name once")
    frame = frame.loc[:, [not name.startswith("__index_level_") for name in frame.columns]]
    kept = {name: values if pd.api.types.is_numeric_dtype(values) else _text(values) for name, values in frame.items()}
    return pd.DataFrame(kept, index=frame.index).set_axis(names.astype(str).to_list())


def _text(values: pd.Series[Any]) -> pd.Series[Any]:
    return values.map(str, na_action="ignore").astype("category")


def _natural(file: Path) -> list[tuple[int, int, str]]:
    """Return a sort key that puts part-2 before part-10."""
    return [(1, int(t), "") if t.isdigit() else (0, 0, t) for t in re.split(r"(\d+)", file.as_posix())]
