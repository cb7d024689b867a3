"""A graph and its home kept aside and brought back, where making them again would take seconds."""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from tests.conftest import empty

if TYPE_CHECKING:
    from pathlib import Path

    from kg.store import Store

# Nodes by their place in the list, since an elementId is given anew.
THAW = """
UNWIND $nodes AS node CREATE (n:$(node.labels)) SET n = node.properties
WITH collect(n) AS made
UNWIND $edges AS edge WITH made[edge.start] AS a, made[edge.end] AS b, edge
CREATE (a)-[r:$(edge.type)]->(b) SET r = edge.properties
"""


@dataclass(frozen=True)
class Frozen:
    """All of a graph but its schema, and a copy of the home that goes with it."""

    nodes: list[dict[str, Any]]
    edges: list[dict[str, Any]]
    home: Path
    copy: Path

    @classmethod
    def of(cls, store: Store, home: Path) -> Frozen:
        """Keep what is there now; the copy lies beside the home."""
        nodes = store.read(
            "MATCH (n) WHERE NOT n:Schema "
            "RETURN elementId(n) AS id, labels(n) AS labels, properties(n) AS properties ORDER BY id"
        )
        place = {node.pop("id"): i for i, node in enumerate(nodes)}
        found = store.read(
            "MATCH (a)-[r]->(b) RETURN elementId(a) AS start, elementId(b) AS end, type(r) AS type, "
            "properties(r) AS properties ORDER BY elementId(r)"
        )
        edges = [{**edge, "start": place[edge["start"]], "end": place[edge["end"]]} for edge in found]
        return cls(nodes, edges, home, shutil.copytree(home, home.with_name(f"{home.name} kept")))

    def thaw(self, store: Store) -> None:
        """Put it in the place of whatever is there."""
        empty(store)
        store.write(THAW, nodes=self.nodes, edges=self.edges)
        shutil.rmtree(self.home, ignore_errors=True)
        shutil.copytree(self.copy, self.home)
