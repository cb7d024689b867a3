"""The part of a guidance graph around some genes."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from kg.errors import ParameterError, UnknownGene
from kg.query.lookup import GENE_FIELDS, GENES_NAMED, gene_parameters, only_gene
from kg.query.plan import Plan, Query, run_plan

if TYPE_CHECKING:
    from collections.abc import Sequence

    from kg.guidance.graph import GuidanceGraph
    from kg.query.scope import Scope
    from kg.store import Store


def gene_ids(store: Store, scope: Scope, names: Sequence[str]) -> list[str]:
    """Return the ids of genes that are named by Ensembl id, with or without version, or by symbol, at a release.

    Raises:
        UnknownGene: the release does not have all of them; all that it lacks are named, with symbols that look alike.
        ParameterError: several genes carry a symbol.
    """
    ids, unknown = [], []
    for name in names:
        try:
            ids.append(run_plan(_gene_id(name, scope), store))
        except UnknownGene as error:
            unknown.append(error)
    if unknown:
        raise UnknownGene("; ".join(e.message for e in unknown), "; ".join(dict.fromkeys(e.hint for e in unknown)))
    return ids


def around(graph: GuidanceGraph, genes: Sequence[str], hops: int) -> GuidanceGraph:
    """Return the induced subgraph of all vertices at most `hops` edges, in either direction, from any of the genes.

    Each hop takes time linear in the edges of `graph`.

    Args:
        graph: the whole.
        genes: graph ids.
        hops: 0 keeps the genes and the edges between them; 1 adds the peaks that guide them, and so on.

    Raises:
        UnknownGene: some are not vertices of the graph.
        ParameterError: hops are negative.
    """
    if hops < 0:
        raise ParameterError(f"hops must not be negative, got {hops}")
    strange = sorted(set(genes) - set(graph.vertices[graph.kinds == "Gene"].tolist()))
    if strange:
        raise UnknownGene(f"the guidance graph has no gene {', '.join(strange)}", "choose edge types that join genes")
    reached = np.isin(graph.vertices, list(genes))
    for _ in range(hops):
        before = reached.sum()
        touched = reached[graph.source] | reached[graph.target]
        reached[graph.source[touched]] = reached[graph.target[touched]] = True
        if reached.sum() == before:
            break
    kept = reached[graph.source] & reached[graph.target]
    row = np.cumsum(reached) - 1
    return replace(
        graph,
        vertices=graph.vertices[reached],
        kinds=graph.kinds[reached],
        source=row[graph.source[kept]],
        target=row[graph.target[kept]],
        weight=graph.weight[kept],
        sign=graph.sign[kept],
        genes=tuple(sorted(set(genes))),
        hops=hops,
    )


def _gene_id(name: str, scope: Scope) -> Plan[str]:
    rows = yield Query(f"{GENES_NAMED} RETURN {GENE_FIELDS}", {**gene_parameters(name), "release": scope.release})
    row = yield from only_gene(rows, name, scope)
    return str(row["gene"]["id"])
