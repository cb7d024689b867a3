"""The managed Neo4j: its jars, its configuration, and its process."""

from kg.server.managed import DUMP, EXCHANGING, REPLACED, RESTORED, STORE, Endpoint, Server, endpoint

__all__ = [
    "DUMP",
    "EXCHANGING",
    "REPLACED",
    "RESTORED",
    "STORE",
    "Endpoint",
    "Server",
    "endpoint",
]
