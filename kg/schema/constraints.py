"""Constraints and indexes of the graph, made from the declared types."""

from __future__ import annotations

from kg.schema.edge_types import EDGE_TYPES, NODE_TYPES
from kg.schema.row_types import Kind


def constraints() -> list[str]:
    """Return Cypher that makes every constraint and index; safe to run again."""
    commands = [
        *(_unique(label, key) for label, key in _BOOKKEEPING.items()),
        *(_unique(t.label, ("id",)) for t in NODE_TYPES.values() if not t.role_of),
    ]
    for node in NODE_TYPES.values():
        commands.append(_unique(node.record_label, ("row_id", "since")))
        commands += [_index(node.record_label, columns) for columns in (("dataset",), *node.indexes)]
    for edge in EDGE_TYPES.values():
        owner = "run" if edge.kind is Kind.PREDICTED else "since"
        commands.append(_unique_edge(edge.name, ("edge_id", owner)))
        commands.append(_index_edge(edge.name, "run" if edge.kind is Kind.PREDICTED else "dataset"))
    commands.append(_index("Embedding", ("run",)))
    return commands


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
