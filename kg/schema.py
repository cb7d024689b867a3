"""What exists in the graph, declared once.

Arrow schemas, constraints, indexes, REST models and the reference page are made from these
declarations. Labels and relationship types in Cypher come from here and from nowhere else.
Coordinates are 0-based half-open.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from functools import cached_property

import pyarrow as pa

SCHEMA_VERSION = 1
OPEN = 2_147_483_647  # `until` of a row that nothing has closed


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
    """A node label. `id` is the identity; the other columns are what a dataset says of the node (its record)."""

    label: str
    doc: str
    columns: tuple[Column, ...]
    indexes: tuple[tuple[str, ...], ...] = ()  # over the record's properties

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

_INTERVAL = (
    Column("assembly", pa.string(), "GRCh38, GRCm38, ... (never an alias such as hg38)"),
    Column("chrom", pa.string(), "UCSC style, such as chr1"),
    Column("start", pa.int64(), "0-based"),
    Column("end", pa.int64(), "exclusive"),
)

GENE = NodeType(
    "Gene",
    "A gene; id is the Ensembl id without version. Those that are transcription factors also carry the label TF.",
    (
        Column("symbol", pa.string(), "for display; not an identity"),
        Column("species", pa.string(), "NCBITaxon CURIE, such as NCBITaxon:9606"),
        *_INTERVAL,
        Column("strand", pa.string(), "+ or -"),
        Column("tss", pa.int64(), "0-based position of the first transcribed base, by strand"),
        Column("biotype", pa.string(), "such as protein_coding", required=False),
        Column("version", pa.string(), "Ensembl version of the id, when the file gave one", required=False),
    ),
    indexes=(("symbol",), ("chrom", "start")),
)

PEAK = NodeType(
    "Peak",
    "An open-chromatin peak; id is assembly:chrom:start-end.",
    (
        *_INTERVAL,
        Column("summit", pa.int64(), "0-based position of the summit, when the file gave one", required=False),
    ),
    indexes=(("chrom", "start"),),
)

NEAR = EdgeType(
    "NEAR",
    "The peak lies within a stated window of the gene's body, promoter or both (a derived dataset).",
    "Peak",
    "Gene",
    (
        Column("distance_bp", pa.int64(), "0 when they overlap; touching intervals are 1 apart"),
        Column("tss_distance_bp", pa.int64(), "signed distance from TSS to the peak, along the strand; 0 inside"),
    ),
    eco="ECO:0000203",
)

PREDICTED_LINK = EdgeType(
    "PREDICTED_LINK",
    "A model says that the peak regulates the gene.",
    "Peak",
    "Gene",
    (
        Column("score", pa.float32(), "mean over the run's members"),
        Column("score_kind", pa.string(), "such as cosine"),
        Column("p_value", pa.float32(), "one-sided permutation p"),
        Column("q_value", pa.float32(), "Benjamini-Hochberg over the skeleton"),
        Column("sign", pa.int64(), "-1 or +1"),
        Column("stability", pa.float32(), "standard deviation of the score over members", required=False),
        Column("called", pa.bool_(), "q below the run's threshold"),
    ),
    kind=Kind.PREDICTED,
    eco="ECO:0000213",
)

NODE_TYPES: dict[str, NodeType] = {t.label: t for t in (GENE, PEAK)}
EDGE_TYPES: dict[str, EdgeType] = {t.name: t for t in (NEAR, PREDICTED_LINK)}


def evidence_types() -> list[RowType]:
    """Everything that datasets assert: node records, evidence and truth, in declaration order."""
    return [*NODE_TYPES.values(), *(t for t in EDGE_TYPES.values() if t.kind is not Kind.PREDICTED)]


def row_type(name: str) -> RowType:
    """The declared node or edge type of this name."""
    return NODE_TYPES[name] if name in NODE_TYPES else EDGE_TYPES[name]


def constraints() -> list[str]:
    """Cypher that makes every constraint and index; safe to run again."""
    made = [
        *(_unique(label, key) for label, key in _BOOKKEEPING.items()),
        *(_unique(t.label, ("id",)) for t in NODE_TYPES.values()),
    ]
    for node in NODE_TYPES.values():
        made.append(_unique(node.record_label, ("row_id", "since")))
        made += [_index(node.record_label, columns) for columns in (("dataset",), *node.indexes)]
    for edge in EDGE_TYPES.values():
        owner = "run" if edge.kind is Kind.PREDICTED else "since"
        made.append(_unique_edge(edge.name, ("edge_id", owner)))
        made.append(_index_edge(edge.name, "run" if edge.kind is Kind.PREDICTED else "dataset"))
    made.append(_index("Embedding", ("run",)))
    return made


_BOOKKEEPING: dict[str, tuple[str, ...]] = {
    "Dataset": ("id",),
    "DatasetVersion": ("dataset", "since"),
    "Release": ("number",),
    "Publication": ("number",),
    "Pointer": ("name",),
    "Lease": ("name",),
    "ModelRun": ("id",),
    "Cells": ("id",),
    "Schema": ("name",),
    "Embedding": ("id",),
}


def _unique(label: str, columns: tuple[str, ...]) -> str:
    keys = ", ".join(f"n.{c}" for c in columns)
    name = "_".join(("unique", label, *columns)).lower()
    return f"CREATE CONSTRAINT {name} IF NOT EXISTS FOR (n:{label}) REQUIRE ({keys}) IS UNIQUE"


def _index(label: str, columns: tuple[str, ...]) -> str:
    keys = ", ".join(f"n.{c}" for c in columns)
    name = "_".join(("index", label, *columns)).lower()
    return f"CREATE INDEX {name} IF NOT EXISTS FOR (n:{label}) ON ({keys})"


def _unique_edge(name: str, columns: tuple[str, ...]) -> str:
    keys = ", ".join(f"r.{c}" for c in columns)
    label = "_".join(("unique", name, *columns)).lower()
    return f"CREATE CONSTRAINT {label} IF NOT EXISTS FOR ()-[r:{name}]-() REQUIRE ({keys}) IS UNIQUE"


def _index_edge(name: str, column: str) -> str:
    return f"CREATE INDEX index_{name.lower()}_{column} IF NOT EXISTS FOR ()-[r:{name}]-() ON (r.{column})"
