"""The part of a guidance graph around genes: against networkx on random graphs, and by name on a published world."""

from __future__ import annotations

from typing import TYPE_CHECKING

import networkx as nx
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from kg.errors import ParameterError, UnknownGene
from kg.guidance import GuidanceGraph
from kg.guidance.subgraph import around, gene_ids
from kg.query.plan import run_plan
from kg.query.scope import scope_of
from kg.releases import publish
from tests.kg import toy

if TYPE_CHECKING:
    from kg.store import Store

Edge = tuple[str, str, float, int]


def graph_of(vertices: list[str], edges: list[Edge]) -> GuidanceGraph:
    names = np.array(sorted(vertices), np.str_)
    source, target = (np.searchsorted(names, np.array([edge[i] for edge in edges], np.str_)) for i in (0, 1))
    kinds = np.array(["Gene" if name.startswith("g") else "Peak" for name in names.tolist()], np.str_)
    weight, sign = np.array([w for *_, w, _ in edges], np.float32), np.array([s for *_, s in edges], np.int8)
    return GuidanceGraph(names, kinds, source, target, weight, sign, release=3, datasets={"near": "f00"})


def edges_of(graph: GuidanceGraph) -> set[Edge]:
    ends = (graph.vertices[side].tolist() for side in (graph.source, graph.target))
    return set(zip(*ends, graph.weight.tolist(), graph.sign.tolist(), strict=True))


@st.composite
def cases(draw: st.DrawFn) -> tuple[GuidanceGraph, list[str], int]:
    genes = [f"g{i}" for i in range(draw(st.integers(1, 6)))]
    names = genes + [f"p{i}" for i in range(draw(st.integers(0, 12)))]
    ends = st.tuples(st.sampled_from(names), st.sampled_from(names), st.sampled_from([-1, 1]))
    pairs = sorted(draw(st.sets(ends, max_size=25)))
    edges = [(a, b, (1 + i % 4) / 4, sign) for i, (a, b, sign) in enumerate(pairs)]
    asked = draw(st.lists(st.sampled_from(genes), min_size=1, max_size=3))
    return graph_of(names, edges), asked, draw(st.integers(0, 6))


@given(cases())
def test_it_is_what_networkx_finds(case: tuple[GuidanceGraph, list[str], int]) -> None:
    graph, genes, hops = case
    whole = nx.Graph([(a, b) for a, b, *_ in edges_of(graph)])
    whole.add_nodes_from(graph.vertices.tolist())
    expected = {v for gene in genes for v in nx.single_source_shortest_path_length(whole, gene, cutoff=hops)}
    part = around(graph, genes, hops)
    assert part.vertices.tolist() == sorted(expected)
    assert edges_of(part) == {edge for edge in edges_of(graph) if edge[0] in expected and edge[1] in expected}
    kind_of = dict(zip(graph.vertices.tolist(), graph.kinds.tolist(), strict=True))
    assert part.kinds.tolist() == [kind_of[v] for v in part.vertices.tolist()]
    assert (part.genes, part.hops) == (tuple(sorted(set(genes))), hops)
    assert (part.release, part.datasets) == (3, graph.datasets)


CHAIN = graph_of(["g1", "g2", "g3", "p1", "p2"], [("p1", "g1", 1, 1), ("p1", "g2", 0.5, -1), ("p2", "g2", 1, 1)])


def test_hops_by_hand() -> None:
    found = [around(CHAIN, ["g1"], hops).vertices.tolist() for hops in range(6)]
    whole = ["g1", "g2", "p1", "p2"]
    assert found == [["g1"], ["g1", "p1"], ["g1", "g2", "p1"], whole, whole, whole]
    assert around(CHAIN, ["g1", "g2", "g3"], 10**9).hash == CHAIN.hash


def test_what_cannot_be_cut_is_refused() -> None:
    with pytest.raises(UnknownGene, match="has no gene g7, p1"):
        around(CHAIN, ["g1", "p1", "g7"], 1)
    with pytest.raises(ParameterError, match="negative, got -1"):
        around(CHAIN, ["g1"], -1)


def test_genes_are_named_by_id_or_symbol_and_all_unknown_ones_are_said(store: Store) -> None:
    toy.load_world(store)
    publish(store)
    scope = run_plan(scope_of(1), store)
    assert gene_ids(store, scope, ["BETA", "G1", "G3.2"]) == ["G2", "G1", "G3"]
    with pytest.raises(UnknownGene) as raised:
        gene_ids(store, scope, ["BETTA", "G1", "nothing"])
    assert "'BETTA'" in raised.value.message
    assert "'nothing'" in raised.value.message
    assert "did you mean BETA?" in raised.value.hint
