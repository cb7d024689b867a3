"""Edges for training, the keepvar norm, propagation, HeteroData: against the written rule, edge by edge."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from kg.guidance import GuidanceGraph
from models.pyg import Edges, Propagation, hetero_data

CPU = torch.device("cpu")


def graph_of(vertices: list[str], edges: list[tuple[str, str, float, int]]) -> GuidanceGraph:
    names = np.array(sorted(vertices))
    at = {name: i for i, name in enumerate(names.tolist())}
    return GuidanceGraph(
        names,
        np.array(["Gene" if name.startswith("g") else "Peak" for name in names.tolist()]),
        np.array([at[a] for a, *_ in edges], np.int64),
        np.array([at[b] for _, b, *_ in edges], np.int64),
        np.array([w for *_, w, _ in edges], np.float32),
        np.array([s for *_, s in edges], np.int8),
    )


@st.composite
def graphs(draw: st.DrawFn) -> tuple[GuidanceGraph, list[str]]:
    genes, peaks = [f"g{i}" for i in range(draw(st.integers(1, 4)))], [f"p{i}" for i in range(draw(st.integers(1, 6)))]
    pairs = draw(
        st.sets(st.tuples(st.sampled_from(peaks), st.sampled_from(genes), st.sampled_from([-1, 1])), min_size=1)
    )
    weights = draw(st.lists(st.floats(0.01, 1.0), min_size=len(pairs), max_size=len(pairs)))
    kept = draw(st.permutations(genes + peaks))[: draw(st.integers(1, len(genes + peaks)))]
    return graph_of(genes + peaks, [(a, b, w, s) for (a, b, s), w in zip(sorted(pairs), weights, strict=True)]), kept


def slow_edges(graph: GuidanceGraph, kept: list[str]) -> list[tuple[int, int, float, float]]:
    found = [(i, i, 1.0, 1.0) for i in range(len(kept))]
    for i, j, w, s in zip(graph.source, graph.target, graph.weight, graph.sign, strict=True):
        a, b = str(graph.vertices[i]), str(graph.vertices[j])
        if a in kept and b in kept:
            found += [
                (kept.index(a), kept.index(b), float(w), float(s)),
                (kept.index(b), kept.index(a), float(w), float(s)),
            ]
    return found


@given(graphs())
def test_edges_are_both_ways_with_loops_on_kept_vertices_only(case: tuple[GuidanceGraph, list[str]]) -> None:
    graph, kept = case
    edges = Edges.of(graph, np.array(kept))
    ours = zip(edges.source.tolist(), edges.target.tolist(), edges.weight.tolist(), edges.sign.tolist(), strict=True)
    assert Counter(ours) == Counter(slow_edges(graph, kept))


@given(graphs())
def test_propagation_is_the_sum_over_incoming_edges(case: tuple[GuidanceGraph, list[str]]) -> None:
    graph, kept = case
    edges = Edges.of(graph, np.array(kept))
    x = torch.randn(len(kept), 3, generator=torch.Generator().manual_seed(0), requires_grad=True)
    slow = slow_edges(graph, kept)
    degree = [sum(w for _, j, w, _ in slow if j == t) for t in range(len(kept))]
    expected = torch.zeros(len(kept), 3)
    for i, j, w, s in slow:
        expected[j] = expected[j] + s * w / degree[j] ** 0.5 * x[i]
    ours = Propagation(edges, CPU)(x)
    torch.testing.assert_close(ours, expected)
    up = torch.randn(len(kept), 3, generator=torch.Generator().manual_seed(1))
    torch.testing.assert_close(torch.autograd.grad(ours, x, up)[0], torch.autograd.grad(expected, x, up)[0])


def test_keepvar_of_a_gene_with_two_peaks() -> None:
    edges = Edges.of(
        graph_of(["g", "p1", "p2"], [("p1", "g", 1.0, 1), ("p2", "g", 0.5, 1)]), np.array(["g", "p1", "p2"])
    )
    norm = {
        (i, j): n for i, j, n in zip(edges.source.tolist(), edges.target.tolist(), edges.norm.tolist(), strict=True)
    }
    expected = {
        (1, 0): 0.63246, (2, 0): 0.31623, (0, 1): 0.70711, (0, 2): 0.40825,
        (0, 0): 0.63246, (1, 1): 0.70711, (2, 2): 0.81650,
    }  # fmt: skip
    assert norm == pytest.approx(expected, abs=1e-5)


def test_hetero_data_keeps_direction_weight_and_sign() -> None:
    graph = graph_of(["g1", "g2", "p1", "p2"], [("p1", "g2", 0.5, -1), ("p2", "g1", 1.0, 1), ("g1", "g2", 0.25, 1)])
    data = hetero_data(graph)
    assert data["Gene"].name == ["g1", "g2"]
    assert data["Peak"].num_nodes == 2
    assert data["Peak", "guides", "Gene"].edge_index.tolist() == [[0, 1], [1, 0]]
    assert data["Peak", "guides", "Gene"].edge_weight.tolist() == [0.5, 1.0]
    assert data["Peak", "guides", "Gene"].edge_sign.tolist() == [-1, 1]
    assert data["Gene", "guides", "Gene"].edge_index.tolist() == [[0], [1]]
    assert data.validate()
