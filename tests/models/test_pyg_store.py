"""A guidance graph behind PyTorch Geometric's stores, sampled without its compiled packages."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import torch
from torch_geometric.loader import NodeLoader

from kg.errors import InputError
from kg.guidance.snapshot import read_snapshot, write_snapshot
from models.inputs import pyg_store
from models.inputs.pyg_store import GuidanceStore, NeighbourSampler, neighbour_sampler
from tests.models.toy import toy

if TYPE_CHECKING:
    from kg.guidance import GuidanceGraph


@pytest.fixture(scope="module")
def graph(tmp_path_factory: pytest.TempPathFactory) -> GuidanceGraph:
    """Return the graph as read back from a file."""
    path = tmp_path_factory.mktemp("graph") / "guidance.h5"
    write_snapshot(toy(40, 12).graph, path)
    return read_snapshot(path)[0]


def triples(graph: GuidanceGraph) -> set[tuple[int, int, float, int]]:
    """Return edges both ways, by index in `graph.vertices`."""
    columns = [graph.source.tolist(), graph.target.tolist(), graph.weight.tolist(), graph.sign.tolist()]
    stored = {*zip(*columns, strict=True)}
    return stored | {(j, i, w, s) for i, j, w, s in stored}


def edges_of(store: GuidanceStore, batch: Any) -> list[tuple[int, int, float, int]]:
    edges: list[tuple[int, int, float, int]] = []
    for kind in batch.edge_types:
        part = batch[kind]
        source, target = (
            batch[kind[end]].vertex[ids].tolist() for end, ids in zip((0, 2), part.edge_index, strict=True)
        )
        weight, sign = store.weight[kind][part.e_id].tolist(), store.sign[kind][part.e_id].tolist()
        edges += zip(source, target, weight, sign, strict=True)
    return edges


def test_with_enough_neighbours_a_batch_is_the_neighbourhood(graph: GuidanceGraph) -> None:
    store = GuidanceStore(graph)
    whole = triples(graph)
    loader = NodeLoader((store, store), NeighbourSampler(store, [99, 99]), input_nodes="Gene", batch_size=5)
    seen = 0
    for batch in loader:
        seeds = batch["Gene"].vertex[: batch["Gene"].batch_size].tolist()
        seen += len(seeds)
        once = {t for t in whole if t[1] in seeds}
        near = {t[0] for t in once} - set(seeds)
        expected = once | {t for t in whole if t[1] in near}
        edges = edges_of(store, batch)
        assert len(edges) == len(set(edges))
        assert set(edges) == expected
        nodes = {v for kind in batch.node_types for v in batch[kind].vertex.tolist()}
        assert nodes == set(seeds) | {t[0] for t in expected}
    assert seen == (graph.kinds == "Gene").sum()


def test_of_many_in_edges_each_is_as_likely(graph: GuidanceGraph) -> None:
    store = GuidanceStore(graph)
    sampler = NeighbourSampler(store, [2])
    torch.manual_seed(0)
    times: dict[tuple[int, int, float, int], int] = {}
    for _ in range(400):
        (batch,) = NodeLoader((store, store), sampler, input_nodes=("Gene", torch.tensor([3])), batch_size=1)
        edges = edges_of(store, batch)
        assert len(edges) == len(set(edges)) == 2
        for edge in edges:
            times[edge] = times.get(edge, 0) + 1
    gene = int(store.vertex["Gene"][3])
    assert set(times) == {t for t in triples(graph) if t[1] == gene}
    expected = 800 / len(times)
    assert all(abs(n - expected) < 4.5 * np.sqrt(expected) for n in times.values())


def test_the_seed_of_torch_decides(graph: GuidanceGraph) -> None:
    store = GuidanceStore(graph)
    draws = []
    for seed in (0, 0, 1):
        torch.manual_seed(seed)
        loader = NodeLoader((store, store), NeighbourSampler(store, [2, 1]), input_nodes="Gene", batch_size=4)
        draws.append([edges_of(store, batch) for batch in loader])
    assert draws[0] == draws[1] != draws[2]


def test_edges_are_not_where_this_sampler_starts(graph: GuidanceGraph) -> None:
    with pytest.raises(InputError, match="from nodes"):
        NeighbourSampler(GuidanceStore(graph), [2]).sample_from_edges(None)


def test_where_theirs_can_run_it_is_taken(graph: GuidanceGraph, monkeypatch: pytest.MonkeyPatch) -> None:
    store = GuidanceStore(graph)
    calls = []
    monkeypatch.setattr(pyg_store, "NeighborSampler", lambda data, **said: calls.append((data, said)))
    for installed in (False, True):
        monkeypatch.setattr(pyg_store, "WITH_PYG_LIB", installed)
        monkeypatch.setattr(pyg_store, "WITH_TORCH_SPARSE", False)
        assert isinstance(neighbour_sampler(store, [4, 2]), NeighbourSampler) != installed
    assert calls == [((store, store), {"num_neighbors": [4, 2]})]
