"""A connection to the graph, the leases of its writers, and the guard of free Cypher."""

from kg.store.connection import AsyncStore, Row, Store, connect, connect_async, ensure_schema, open_store

__all__ = [
    "AsyncStore",
    "Row",
    "Store",
    "connect",
    "connect_async",
    "ensure_schema",
    "open_store",
]
