"""Lineage of runs: a network of which run started from which."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kg.errors import Conflict
from kg.runs.records import runs

if TYPE_CHECKING:
    from collections.abc import Sequence

    import networkx as nx

    from kg.runs.records import Run
    from kg.store import Store


def lineage(store: Store) -> nx.DiGraph:
    """Return all runs as nodes (model, slot, release, outcome), and an edge from each parent to its child.

    Raises:
        Conflict: a run is its own ancestor.
    """
    return lineage_of(runs(store))


def lineage_of(recorded: Sequence[Run]) -> nx.DiGraph:
    """Return the network of these runs; parents that are not among them are left out.

    Raises:
        Conflict: a run is its own ancestor.
    """
    import networkx as nx  # noqa: PLC0415 - takes a third of a second to import

    graph = nx.DiGraph()
    for run in recorded:
        graph.add_node(run.id, model=run.model, slot=run.slot, release=run.release, outcome=run.outcome)
    graph.add_edges_from((run.parent, run.id) for run in recorded if run.parent in graph)
    if not nx.is_directed_acyclic_graph(graph):
        cycle = [child for _, child in nx.find_cycle(graph)]
        raise Conflict(
            f"runs are their own ancestors: {' -> '.join([cycle[-1], *cycle])}",
            "parents are set at registration and never change: restore the last good backup",
        )
    return graph
