"""Rows on the move: an Arrow table of one declared type, checked when it is made.

A batch that exists is valid: every discrepancy is collected and raised at once as a SchemaError.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cached_property
from hashlib import blake2b
from typing import TYPE_CHECKING, Any, Self

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from kg.errors import SchemaError
from kg.schema.row_types import EdgeType, NodeType

if TYPE_CHECKING:
    from collections.abc import Iterable

HASH_BITS = 128
CONTROL = re.compile(r"[\x00-\x1f]")
_BETWEEN = "\x1f"  # never inside a value: `_discrepancies` refuses control characters


@dataclass(frozen=True)
class Batch:
    """Rows of one declared type; use NodeBatch or EdgeBatch.

    Attributes:
        type: the declared type.
        table: its columns in declared order, without chunks to worry about.
    """

    type: NodeType | EdgeType
    table: pa.Table

    def __post_init__(self) -> None:
        wrong = _discrepancies(self.type, self.table)
        if wrong:
            raise SchemaError(f"rows of {self.type.name} are not valid", wrong)

    @classmethod
    def build(cls, type_: NodeType | EdgeType, **columns: Any) -> Self:
        """Build a batch from columns by name (arrays, lists, or one scalar); missing optional ones are null."""
        unknown = sorted(set(columns) - set(type_.schema.names))
        if unknown:
            raise SchemaError(f"rows of {type_.name} are not valid", [f"column {c!r} is not declared" for c in unknown])
        length = max((len(c) for c in columns.values() if _is_column(c)), default=0)
        arrays = [_array(type_.name, field, columns.get(field.name), length) for field in type_.schema]
        return cls(type_, pa.table(arrays, schema=type_.schema))

    @classmethod
    def concat(cls, batches: Iterable[Batch]) -> Self:
        """Return one batch of all rows; at least one batch, all of one type."""
        parts = list(batches)
        return cls(parts[0].type, pa.concat_tables([b.table for b in parts]).combine_chunks())

    def __len__(self) -> int:
        return int(self.table.num_rows)

    def row_ids(self, dataset: str) -> list[str]:
        """Return each row's identity within the graph: type, ends or id, dataset and key columns; no measurement."""
        keys = ["id"] if isinstance(self.type, NodeType) else ["start_id", "end_id", *self.type.keys]
        return _digests([self.type.name, dataset], [self.table.column(k) for k in keys], len(self))

    def row_hashes(self, dataset: str) -> list[str]:
        """Return the content of each row: identity and all columns; floats as canonical float32."""
        return _digests([self.type.name, dataset], self.table.columns, len(self))


class NodeBatch(Batch):
    """Node records of one NodeType."""

    type: NodeType


class EdgeBatch(Batch):
    """Relationships of one EdgeType."""

    type: EdgeType

    @cached_property
    def edge_ids(self) -> list[str]:
        """Identity without a dataset: what a predicted edge keeps from run to run."""
        return self.row_ids("")


def hash_sum(hashes: Iterable[str], start: int = 0) -> int:
    """Return the order-independent digest of a set of rows: the sum of their hashes modulo 2**128."""
    return (start + sum(int(h, 16) for h in hashes)) % (1 << HASH_BITS)


def _is_column(value: Any) -> bool:
    return not isinstance(value, str | bytes) and hasattr(value, "__len__")


def _array(type_name: str, field: pa.Field, value: Any, length: int) -> pa.Array:
    if not _is_column(value):
        return pa.repeat(pa.scalar(value, field.type), length)
    try:
        array = value if isinstance(value, pa.Array | pa.ChunkedArray) else pa.array(value, from_pandas=True)
        array = array.combine_chunks() if isinstance(array, pa.ChunkedArray) else array
        return array if array.type == field.type else array.cast(field.type)
    except (pa.ArrowInvalid, pa.ArrowTypeError, pa.ArrowNotImplementedError) as error:
        raise SchemaError(f"rows of {type_name} are not valid", [f"column {field.name!r}: {error}"]) from error


def _discrepancies(type_: NodeType | EdgeType, table: pa.Table) -> list[str]:
    if table.schema.names != type_.schema.names:
        return [f"columns are {table.schema.names}, declared are {type_.schema.names}"]
    wrong = []
    for field in type_.schema:
        column = table.column(field.name)
        if column.type != field.type:
            wrong.append(f"column {field.name!r} has type {column.type}, declared is {field.type}")
        elif not field.nullable and column.null_count:
            wrong.append(f"column {field.name!r}: {column.null_count} rows have no value")
        elif pa.types.is_string(column.type):
            bad = pc.sum(pc.match_substring_regex(column, CONTROL.pattern)).as_py()
            wrong += [f"column {field.name!r}: {bad} rows hold control characters"] if bad else []
        elif pa.types.is_floating(column.type):
            bad = pc.sum(pc.invert(pc.is_finite(column))).as_py()
            wrong += [f"column {field.name!r}: {bad} rows are not finite"] if bad else []
    return wrong + ([] if wrong else _interval_discrepancies(table))


def _interval_discrepancies(table: pa.Table) -> list[str]:
    if not {"start", "end"} <= set(table.schema.names):
        return []
    start, end = table.column("start"), table.column("end")
    wrong = []
    if pc.any(pc.less(start, 0)).as_py():
        wrong.append("column 'start': negative positions")
    empty = pc.sum(pc.less_equal(end, start)).as_py()
    return [*wrong, f"column 'end': {empty} rows do not end after their start"] if empty else wrong


def _digests(constants: list[str], columns: list[pa.ChunkedArray], length: int) -> list[str]:
    if length == 0:
        return []
    texts = [_texts(column) for column in columns]
    prefix = blake2b(_BETWEEN.join(constants).encode(), digest_size=HASH_BITS // 8)
    digests = []
    for row in zip(*texts, strict=True):
        digest = prefix.copy()
        digest.update(_BETWEEN.join(row).encode())
        digests.append(digest.hexdigest())
    return digests


def _texts(column: pa.ChunkedArray) -> list[str]:
    """Return values as canonical text: floats by their float32 bits, a missing value as a lone control character."""
    if pa.types.is_floating(column.type):
        # + 0.0 turns -0.0 into 0.0, which compare equal and so must hash equal
        values = np.asarray(column.cast(pa.float32()).fill_null(0).to_numpy(), dtype=np.float32) + np.float32(0)
        bits = pa.array(values.view(np.uint32)).cast(pa.string())
        text = pc.if_else(pc.is_valid(column.combine_chunks()), bits, pa.scalar(None, pa.string()))
    else:
        text = column.cast(pa.string())
    return [str(t) for t in pc.fill_null(text, "\x00").to_pylist()]
