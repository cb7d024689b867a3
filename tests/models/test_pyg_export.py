"""Edges for training, the keepvar norm, propagation, HeteroData: against the written rule, edge by edge."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from safetensors import safe_open
from safetensors.torch import load_file, save_file

from kg.errors import ChecksumMismatch, InputError, MissingInput
from kg.guidance import GuidanceGraph
from kg.guidance.policy import POLICY, Policy
from kg.guidance.snapshot import manifest_of
from models.inputs.edges import Edges
from models.inputs.pyg_export import guidance_of, hetero_data, load_pyg, save_pyg
from models.zoo.glue.propagation import Propagation

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

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
    edges = [(i, i, 1.0, 1.0) for i in range(len(kept))]
    for i, j, w, s in zip(graph.source, graph.target, graph.weight, graph.sign, strict=True):
        a, b = str(graph.vertices[i]), str(graph.vertices[j])
        if a in kept and b in kept:
            edges += [
                (kept.index(a), kept.index(b), float(w), float(s)),
                (kept.index(b), kept.index(a), float(w), float(s)),
            ]
    return edges


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


MADE = replace(
    graph_of(["g1", "g2", "p1", "p2"], [("p2", "g1", 1.0, 1), ("p1", "g2", 0.1, -1), ("g1", "g2", 0.25, 1)]),
    release=4,
    release_hash="ab12",
    datasets={"near:a": "0f"},
    policy={"NEAR": POLICY["NEAR"]},
    genes=("g1",),
    hops=2,
)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    save_pyg(hetero_data(MADE), tmp_path / "graph.safetensors")
    return tmp_path / "graph.safetensors"


def rewritten(file: Path, change: Callable[[dict[str, torch.Tensor], dict[str, Any]], None]) -> None:
    with safe_open(file, "pt") as opened:
        header = json.loads(opened.metadata()["regkg"])
    tensors = load_file(file)
    change(tensors, header)
    save_file(tensors, file, metadata={"regkg": json.dumps(header)})


@given(graphs())
def test_hetero_data_can_be_turned_back(case: tuple[GuidanceGraph, list[str]]) -> None:
    graph, _ = case
    again = guidance_of(hetero_data(graph))
    assert again.hash == graph.hash
    assert again.kinds.tolist() == graph.kinds.tolist()


def test_hetero_data_says_which_graph_it_is() -> None:
    manifest = hetero_data(MADE).to("cpu").manifest
    assert manifest == manifest_of(MADE)
    assert (manifest.release, manifest.release_hash, manifest.genes, manifest.hops) == (4, "ab12", ("g1",), 2)
    assert manifest.guidance_hash == MADE.hash
    assert manifest.policy == {"NEAR": Policy("power_decay", "+1")}


def test_a_saved_graph_comes_back_whole(file: Path) -> None:
    data, original = load_pyg(file, POLICY), hetero_data(MADE)
    assert data.manifest == original.manifest
    assert (data.node_types, set(data.edge_types)) == (original.node_types, set(original.edge_types))
    for kind in original.node_types:
        assert (data[kind].name, data[kind].num_nodes) == (original[kind].name, original[kind].num_nodes)
    for edge_type in original.edge_types:
        for name in ("edge_index", "edge_weight", "edge_sign"):
            assert torch.equal(data[edge_type][name], original[edge_type][name])
            assert data[edge_type][name].dtype == original[edge_type][name].dtype
    assert data.validate()
    again = guidance_of(data)
    assert (again.hash, again.release, again.datasets) == (MADE.hash, 4, {"near:a": "0f"})
    assert [p.name for p in file.parent.iterdir()] == [file.name]


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("Peak/guides/Gene/edge_weight", torch.tensor([0.1, 0.5]), "guidance_hash"),
        ("Peak/guides/Gene/edge_weight", torch.tensor([0.1, 1.5]), "weights must lie"),
        ("Peak/guides/Gene/edge_weight", torch.tensor([0.1]), "differ in length"),
        ("Peak/guides/Gene/edge_sign", torch.tensor([1, 1], dtype=torch.int8), "guidance_hash"),
        ("Peak/guides/Gene/edge_index", torch.tensor([[0, 1], [1, 1]]), "guidance_hash"),
        ("Peak/guides/Gene/edge_index", torch.tensor([[0, 1], [1, 9]]), "not a guidance graph"),
        ("Gene/name", torch.tensor(list(b"g1\ng3"), dtype=torch.uint8), "ids"),
        ("Gene/name", torch.tensor([255], dtype=torch.uint8), "not a guidance graph"),
        ("Peak/guides/Gene/edge_index", None, "not a guidance graph"),
        ("Peak/name", None, "not a guidance graph"),
        ("Gene/guides/Gene/edge_sign", None, "not a guidance graph"),
    ],
)
def test_tensors_that_do_not_fit_are_refused(file: Path, name: str, value: torch.Tensor | None, message: str) -> None:
    def change(tensors: dict[str, torch.Tensor], _: dict[str, Any]) -> None:
        del tensors[name]
        tensors.update({} if value is None else {name: value})

    rewritten(file, change)
    with pytest.raises(ChecksumMismatch, match=message) as raised:
        load_pyg(file)
    assert "regkg export graph" in raised.value.hint


def test_other_policies_versions_and_files_are_refused(file: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="weighted by another policy: NEAR by"):
        load_pyg(file, {"NEAR": Policy("one", "+1")})
    rewritten(file, lambda _, header: header.update(format="regkg guidance 2"))
    with pytest.raises(InputError, match="'regkg guidance 2', expected 'regkg guidance 1'"):
        load_pyg(file)
    save_file({"x": torch.zeros(1)}, file)
    with pytest.raises(InputError, match="no manifest"):
        load_pyg(file)
    torch.save({"x": 1}, file)
    with pytest.raises(InputError, match="is not a safetensors file"):
        load_pyg(file)
    with pytest.raises(MissingInput, match="no such file"):
        load_pyg(tmp_path / "nothing.safetensors")


def test_what_is_no_more_the_graph_of_its_manifest_is_not_saved(tmp_path: Path) -> None:
    data = hetero_data(MADE)
    data["Peak", "guides", "Gene"].edge_weight *= 0.5
    with pytest.raises(ChecksumMismatch, match="guidance_hash"):
        save_pyg(data, tmp_path / "x.safetensors")
    assert not list(tmp_path.iterdir())
