"""An exported guidance graph behind PyTorch Geometric's stores, and a sampler of neighbours for them.

    store = GuidanceStore(read_snapshot(path)[0])
    loader = NodeLoader((store, store), neighbour_sampler(store, [8, 4]), input_nodes="Gene", batch_size=128)

A batch is `HeteroData` with, for each node, `vertex` (index in `graph.vertices`) and, for each edge, its index `e_id`
in `store.weight` and `store.sign`. PyTorch Geometric's own samplers need pyg-lib or torch-sparse, compiled packages
without a wheel for many machines; where one is installed, `neighbour_sampler` returns theirs.
"""

from __future__ import annotations

import warnings
from collections import defaultdict
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from kg.errors import InputError

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # it scripts functions on import, which new torch deprecates
    from torch_geometric.data import FeatureStore, GraphStore
    from torch_geometric.data.feature_store import TensorAttr
    from torch_geometric.data.graph_store import EdgeAttr, EdgeLayout
    from torch_geometric.sampler import BaseSampler, HeteroSamplerOutput, NeighborSampler
    from torch_geometric.typing import WITH_PYG_LIB, WITH_TORCH_SPARSE

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray
    from torch import Tensor
    from torch_geometric.sampler import EdgeSamplerInput, NodeSamplerInput

    from kg.guidance import GuidanceGraph

    EdgeType = tuple[str, str, str]

FORWARD, BACK = "guides", "guided_by"
VERTEX = "vertex"


class GuidanceStore(FeatureStore, GraphStore):  # type: ignore[misc]
    """Nodes by kind and edges by kinds of their ends, both ways, as in `hetero_data` after `ToUndirected`.

    Attributes:
        vertex: kind -> (n,) index of each node in `graph.vertices`.
        weight, sign: edge type -> (e,) values of each edge, sorted by target.
    """

    def __init__(self, graph: GuidanceGraph) -> None:
        FeatureStore.__init__(self)
        GraphStore.__init__(self)
        self.vertex = {str(kind): torch.from_numpy(np.flatnonzero(graph.kinds == kind)) for kind in set(graph.kinds)}
        within = np.zeros(len(graph.vertices), np.int64)
        for members in self.vertex.values():
            within[members] = np.arange(len(members))
        self.edges: dict[EdgeType, tuple[Tensor, Tensor]] = {}
        self.weight: dict[EdgeType, Tensor] = {}
        self.sign: dict[EdgeType, Tensor] = {}
        ways = ((FORWARD, graph.source, graph.target), (BACK, graph.target, graph.source))
        for name, source, target in ways:
            heads, tails = graph.kinds[source], graph.kinds[target]
            for head, tail in {*zip(heads.tolist(), tails.tolist(), strict=True)}:
                chosen = np.flatnonzero((heads == head) & (tails == tail))
                chosen = chosen[np.argsort(within[target[chosen]], kind="stable")]
                degree = np.bincount(within[target[chosen]], minlength=len(self.vertex[tail]))
                kind = (head, name, tail)
                start = np.concatenate([[0], np.cumsum(degree)])
                self.edges[kind] = torch.from_numpy(within[source[chosen]]), torch.from_numpy(start)
                self.weight[kind] = torch.from_numpy(graph.weight[chosen])
                self.sign[kind] = torch.from_numpy(graph.sign[chosen])

    def get_all_tensor_attrs(self) -> list[TensorAttr]:
        """Return the one attribute that nodes have."""
        return [TensorAttr(kind, VERTEX) for kind in self.vertex]

    def _get_tensor(self, attr: TensorAttr) -> Tensor | None:
        own = self.vertex.get(attr.group_name)
        return own if own is None or attr.index is None else own[attr.index]

    def _get_tensor_size(self, attr: TensorAttr) -> tuple[int, ...]:
        return tuple(self.vertex[attr.group_name].shape)

    def get_all_edge_attrs(self) -> list[EdgeAttr]:
        """Return the edge types, each as CSC."""
        return [EdgeAttr(kind, EdgeLayout.CSC, size=self.size(kind)) for kind in self.edges]

    def _get_edge_index(self, edge_attr: EdgeAttr) -> tuple[Tensor, Tensor] | None:
        return self.edges.get(edge_attr.edge_type) if edge_attr.layout == EdgeLayout.CSC else None

    def size(self, kind: EdgeType) -> tuple[int, int]:
        """Return the numbers of nodes at both ends."""
        return len(self.vertex[kind[0]]), len(self.vertex[kind[2]])

    def _put_tensor(self, tensor: Any, attr: TensorAttr) -> bool:
        del tensor, attr
        return False  # a snapshot is read-only

    def _remove_tensor(self, attr: TensorAttr) -> bool:
        del attr
        return False

    def _put_edge_index(self, edge_index: Any, edge_attr: EdgeAttr) -> bool:
        del edge_index, edge_attr
        return False

    def _remove_edge_index(self, edge_attr: EdgeAttr) -> bool:
        del edge_attr
        return False


class NeighbourSampler(BaseSampler):  # type: ignore[misc]
    """A sampler of in-edges, uniform without replacement: at most `fanout` per edge type and node, hop by hop.

    It needs only NumPy, and is seeded from torch's generator, so that `torch.manual_seed` applies.
    """

    def __init__(self, store: GuidanceStore, fanouts: Sequence[int]) -> None:
        self.store, self.fanouts = store, list(fanouts)

    def sample_from_nodes(self, index: NodeSamplerInput, **_: Any) -> HeteroSamplerOutput:
        """Sample the neighbourhood of some nodes of one kind."""
        rng = np.random.default_rng(int(torch.randint(2**62, ())))
        nodes = defaultdict(lambda: np.zeros(0, np.int64), {index.input_type: index.node.numpy()})
        seen = dict.fromkeys(self.store.vertex, 0)  # nodes whose in-edges are drawn already
        drawn: dict[EdgeType, list[NDArray[np.int64]]] = {kind: [] for kind in self.store.edges}
        numbers = {kind: [len(nodes[kind])] for kind in self.store.vertex}
        for fanout in self.fanouts:
            hop = {kind: self._draw(kind, nodes[kind[2]], seen[kind[2]], fanout, rng) for kind in self.store.edges}
            seen = {kind: len(nodes[kind]) for kind in seen}
            for kind, (target, edge) in hop.items():
                source = self.store.edges[kind][0].numpy()[edge]
                known = nodes[kind[0]]
                nodes[kind[0]] = np.concatenate([known, np.setdiff1d(source, known)])
                drawn[kind].append(np.stack([source, target, edge]))
            for kind, known in nodes.items():
                numbers[kind].append(len(known) - seen[kind])
        joined = {kind: np.concatenate([*parts, np.zeros((3, 0), np.int64)], axis=1) for kind, parts in drawn.items()}
        return HeteroSamplerOutput(
            node={kind: torch.from_numpy(known) for kind, known in nodes.items()},
            row={kind: torch.from_numpy(_places(nodes[kind[0]], j[0])) for kind, j in joined.items()},
            col={kind: torch.from_numpy(j[1]) for kind, j in joined.items()},
            edge={kind: torch.from_numpy(j[2]) for kind, j in joined.items()},
            num_sampled_nodes=numbers,
            num_sampled_edges={kind: [part.shape[1] for part in parts] for kind, parts in drawn.items()},
            metadata=(index.input_id, index.time),
        )

    def _draw(
        self, kind: EdgeType, nodes: NDArray[np.int64], seen: int, fanout: int, rng: np.random.Generator
    ) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Return the target's index among the nodes and the edge of each drawn in-edge of nodes not yet seen."""
        start = self.store.edges[kind][1].numpy()
        fresh = nodes[seen:]
        degree = start[fresh + 1] - start[fresh]
        target = np.repeat(np.arange(seen, len(nodes)), degree)
        first = np.cumsum(degree) - degree
        edge = np.arange(len(target)) + np.repeat(start[fresh] - first, degree)
        order = np.lexsort((rng.random(len(target)), target))  # each node's in-edges in a random order
        drawn = order[np.arange(len(target)) - np.repeat(first, degree) < fanout]
        return target[drawn], edge[drawn]

    def sample_from_edges(self, index: EdgeSamplerInput, neg_sampling: Any = None) -> HeteroSamplerOutput:
        """Refuse: GLUE's own `EdgeSampler` handles weights and signs.

        Raises:
            InputError: always.
        """
        del index, neg_sampling
        raise InputError(
            "this sampler starts from nodes", "use NodeLoader; for edges, use models.zoo.glue.sampling.EdgeSampler"
        )


def neighbour_sampler(store: GuidanceStore, fanouts: Sequence[int]) -> BaseSampler:
    """Return PyTorch Geometric's sampler where it can run, otherwise ours; fanouts are per node and edge type."""
    if WITH_PYG_LIB or WITH_TORCH_SPARSE:
        return NeighborSampler((store, store), num_neighbors=list(fanouts))
    return NeighbourSampler(store, fanouts)


def _places(known: NDArray[np.int64], wanted: NDArray[np.int64]) -> NDArray[np.int64]:
    order = np.argsort(known)
    return order[np.searchsorted(known, wanted, sorter=order)]
