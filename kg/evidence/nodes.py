"""The nodes of a type as a release or the draft has them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pyarrow as pa

if TYPE_CHECKING:
    from kg.schema import NodeType
    from kg.store import Store


def read_nodes(store: Store, type_: NodeType, number: int) -> pa.Table:
    """Read all nodes of a type at a release or draft: id and declared columns, one row per node, sorted by id.

    Where several datasets assert a node, the one whose id sorts first wins.
    """
    columns = [field.name for field in type_.schema][1:]
    rows = store.stream(
        f"MATCH (n:{type_.node_label})-[:HAS_RECORD]->(r:{type_.record_label}) WHERE r.since <= $n AND $n < r.until "
        f"RETURN n.id, {', '.join(f'r.{c}' for c in columns)} ORDER BY n.id, r.dataset",
        n=number,
    )
    unique = list({row[0]: row for row in reversed(list(rows))}.values())[::-1]
    values: list[Any] = list(zip(*unique, strict=True)) if unique else [[] for _ in type_.schema]
    arrays = [pa.array(v, field.type) for v, field in zip(values, type_.schema, strict=True)]
    return pa.table(arrays, schema=type_.schema)


def node_ids(store: Store, type_: NodeType, number: int) -> dict[str, str]:
    """Read the id of every node of a type at a release or draft -> the server's own id of that node.

    The latter holds while nobody removes the node; finding nodes by it takes half the time of their index.
    """
    rows = store.stream(
        f"MATCH (n:{type_.node_label})-[:HAS_RECORD]->(r:{type_.record_label}) "
        "WHERE r.since <= $n AND $n < r.until RETURN n.id, elementId(n)",
        n=number,
    )
    return {row[0]: row[1] for row in rows}
