"""What a declared node or edge type is: columns with their Arrow types, keys, and the schema of a batch."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from functools import cached_property

import pyarrow as pa


class Kind(Enum):
    """What a relationship says."""

    EVIDENCE = "evidence"
    TRUTH = "truth"  # never in a guidance graph
    PREDICTED = "predicted"


@dataclass(frozen=True)
class Column:
    """One property: its Arrow type, whether it may be missing, what it means."""

    name: str
    type: pa.DataType
    doc: str
    required: bool = True


@dataclass(frozen=True)
class NodeType:
    """A node label. `id` is the identity; the other columns are what a dataset says of the node (its record).

    A type with `role_of` is a second label on nodes of another type, which must be there already.
    """

    label: str
    doc: str
    columns: tuple[Column, ...]
    indexes: tuple[tuple[str, ...], ...] = ()  # over the record's properties
    role_of: str = ""

    @cached_property
    def schema(self) -> pa.Schema:
        """Arrow schema of a batch: id, then the declared columns in order."""
        fields = [pa.field("id", pa.string(), nullable=False)]
        return pa.schema(fields + [pa.field(c.name, c.type, nullable=not c.required) for c in self.columns])

    @property
    def name(self) -> str:
        """The label; edge types have the same attribute."""
        return self.label

    @property
    def node_label(self) -> str:
        """Label under which the node is found, whoever asserts this type of it."""
        return self.role_of or self.label

    @property
    def record_label(self) -> str:
        """Label of the record nodes behind HAS_RECORD."""
        return f"{self.label}Record"


@dataclass(frozen=True)
class EdgeType:
    """A relationship type. `keys` are the columns that belong to an edge's identity beside type, ends and dataset."""

    name: str
    doc: str
    start: str
    end: str
    columns: tuple[Column, ...]
    kind: Kind = Kind.EVIDENCE
    keys: tuple[str, ...] = ()
    eco: str = ""  # Evidence and Conclusion Ontology term of such a row

    @cached_property
    def schema(self) -> pa.Schema:
        """Arrow schema of a batch: start_id, end_id, then the declared columns in order."""
        ends = [pa.field("start_id", pa.string(), nullable=False), pa.field("end_id", pa.string(), nullable=False)]
        return pa.schema(ends + [pa.field(c.name, c.type, nullable=not c.required) for c in self.columns])


RowType = NodeType | EdgeType
