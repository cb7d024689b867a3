"""A release as the arrays a graph model reads: the GuidanceGraph, hashed."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import pyarrow as pa

from kg.errors import Conflict, SchemaError
from kg.evidence.datasets import dataset_versions
from kg.guidance.policy import POLICY, check, check_kind, weigh
from kg.schema import CONTACTS, EDGE_TYPES, EQTL, NODE_TYPES

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

    from kg.guidance.policy import Policy
    from kg.schema import EdgeType
    from kg.store import Store


@dataclass(frozen=True)
class GuidanceGraph:
    """Evidence between features at one release; neither reversed copies nor self loops are in it.

    Attributes:
        vertices: (V,) graph ids, sorted; the order is the row order of every embedding.
        kinds: (V,) node label of each vertex, such as "Gene" or "Peak".
        source, target: (E,) int64 rows of `vertices`.
        weight: (E,) float32 in (0, 1]; policy, see `kg.guidance.policy`.
        sign: (E,) int8, -1 or +1.
        release: number of the release it was read from; 0 when it was made by hand.
        datasets: dataset id -> hash of its rows at that release.
        release_hash: of that release; "" for a draft or when it was made by hand.
        policy: edge type -> how its rows were weighed, for the types that were read.
        genes, hops: ids that it was cut around and how far; none and None for the whole graph.
    """

    vertices: NDArray[np.str_]
    kinds: NDArray[np.str_]
    source: NDArray[np.int64]
    target: NDArray[np.int64]
    weight: NDArray[np.float32]
    sign: NDArray[np.int8]
    release: int = 0
    datasets: Mapping[str, str] = field(default_factory=dict)
    release_hash: str = ""
    policy: Mapping[str, Policy] = field(default_factory=dict)
    genes: tuple[str, ...] = ()
    hops: int | None = None

    def __post_init__(self) -> None:
        wrong = []
        if np.any(self.vertices[:-1] >= self.vertices[1:]):
            wrong.append("vertices are not sorted and unique")
        if len(self.vertices) != len(self.kinds):
            wrong.append("vertices and kinds differ in length")
        if not len(self.source) == len(self.target) == len(self.weight) == len(self.sign):
            wrong.append("edge columns differ in length")
        elif len(self.source) and (
            min(self.source.min(), self.target.min()) < 0
            or max(self.source.max(), self.target.max()) >= len(self.vertices)
        ):
            wrong.append("an edge names a vertex that does not exist")
        if np.any(~((self.weight > 0) & (self.weight <= 1))):
            wrong.append("weights must lie in (0, 1]")
        if np.any(np.abs(self.sign) != 1):
            wrong.append("signs must be -1 or +1")
        if wrong:
            raise SchemaError("not a guidance graph", wrong)

    @property
    def hash(self) -> str:
        """sha256 over vertices and edges; equal graphs have equal hashes."""
        order = np.lexsort((self.sign, self.target, self.source))
        digest = hashlib.sha256("\n".join(self.vertices.tolist()).encode())
        for column in (self.source, self.target, self.weight, self.sign):
            digest.update(np.ascontiguousarray(column[order]).tobytes())
        return digest.hexdigest()

    def between(
        self, left: NDArray[np.str_], right: NDArray[np.str_]
    ) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.float64]]:
        """Return edges between two sets of features, in whichever direction they stand here.

        Returns:
            places among `left`, places among `right`, and sign * weight, each (edges,).
        """
        place = [pd.Index(names).get_indexer(pd.Index(self.vertices)).astype(np.int64) for names in (left, right)]
        ends = self.source, self.target
        i, j = (np.concatenate([own[end] for end in way]) for own, way in zip(place, (ends, ends[::-1]), strict=True))
        kept = (i >= 0) & (j >= 0)
        return i[kept], j[kept], np.tile(self.sign.astype(np.float64) * self.weight, 2)[kept]


HELD_OUT = (CONTACTS.name, EQTL.name)  # what models are tested against; NEAR is there for every pair


def read_guidance(
    store: Store,
    release: int,
    edge_types: Sequence[str],
    *,
    held_out: Sequence[str] = (),
    without: Sequence[str] = (),
    policy: Mapping[str, Policy] = POLICY,
) -> GuidanceGraph:
    """Read the guidance graph of a release: all nodes that the edge types join, and their edges weighted by policy.

    Parallel edges (several datasets or rows) become one per (source, target, sign), of the largest weight.

    Args:
        store: the graph.
        release: its number.
        edge_types: names of those that guide.
        held_out: chromosomes of peaks whose CONTACTS and EQTL rows are left out, so that they can test the model.
        without: datasets whose rows are left out, records of nodes too.
        policy: edge type -> how its rows are weighed.

    Raises:
        Conflict: an edge type is truth or a prediction, which a guidance graph must never hold; or it has no weight
            by the policy, or one outside (0, 1].
        SettingsError: an edge type cannot follow the policy.
    """
    check_kind(edge_types)
    unweighed = sorted(set(edge_types) - set(policy))
    if unweighed:
        raise Conflict(f"{', '.join(unweighed)} has no weight as guidance", f"types with a weight: {', '.join(policy)}")
    check(policy)
    types = [EDGE_TYPES[name] for name in edge_types]
    labels = sorted({label for t in types for label in (t.start, t.end)})
    ids: dict[str, str] = {}
    for label in labels:
        node = NODE_TYPES[label]
        query = f"MATCH (n:{node.node_label}) WHERE EXISTS {{ (n)-[:HAS_RECORD]->(r:{node.record_label}) "
        rows = store.stream(query + f"WHERE {_OPEN} }} RETURN n.id", n=release, without=list(without))
        ids |= dict.fromkeys((row[0] for row in rows), label)
    vertices = np.array(sorted(ids), dtype=np.str_)
    edges = [_read_edges(store, type_, release, vertices, held_out, without, policy) for type_ in types]
    source, target, weight, sign = (np.concatenate(column) for column in zip(*edges, strict=True))
    best = _strongest(source, target, weight, sign)
    read = [v for v in dataset_versions(store, release) if {*labels, *edge_types} & set(v.hashes)]
    hashes = {v.dataset: v.hash for v in read if v.dataset not in without}
    kinds = np.array([ids[v] for v in vertices.tolist()], dtype=np.str_)
    published = store.read("MATCH (r:Release {number: $n}) RETURN r.hash AS hash", n=release)
    return GuidanceGraph(
        vertices,
        kinds,
        source[best],
        target[best],
        weight[best],
        sign[best],
        release,
        hashes,
        release_hash=published[0]["hash"] if published else "",
        policy={type_.name: policy[type_.name] for type_ in types},
    )


_OPEN = "r.since <= $n AND $n < r.until AND NOT r.dataset IN $without"


def _read_edges(
    store: Store,
    type_: EdgeType,
    release: int,
    vertices: NDArray[np.str_],
    held_out: Sequence[str],
    without: Sequence[str],
    policy: Mapping[str, Policy],
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.float32], NDArray[np.int8]]:
    columns = type_.schema.names[2:]
    rows = store.stream(
        f"MATCH (a:{type_.start})-[r:{type_.name}]->(b:{type_.end}) WHERE {_OPEN} "
        f"RETURN a.id, b.id, {', '.join(f'r.{c}' for c in columns)}",
        n=release,
        without=list(without),
    )
    values: list[Any] = list(zip(*rows, strict=True)) or [[] for _ in type_.schema]
    table = pa.table([pa.array(v, f.type) for v, f in zip(values, type_.schema, strict=True)], schema=type_.schema)
    names = [np.array(table[c].to_pylist(), np.str_) for c in ("start_id", "end_id")]
    ends = [np.searchsorted(vertices, name) for name in names]
    kept = np.ones(table.num_rows, bool)
    if without:  # an end that only a dataset left out knows is not a vertex
        kept &= np.all([np.isin(name, vertices) for name in names], axis=0)
    if held_out and type_.name in HELD_OUT:
        kept &= ~np.isin([chrom_of(peak) for peak in names[0].tolist()], list(held_out))
    weight, sign = weigh(type_.name, table, policy)
    return ends[0][kept], ends[1][kept], weight[kept], sign[kept]


def chrom_of(peak: str) -> str:
    """Return the chromosome in a peak's id, assembly:chrom:start-end."""
    return peak.partition(":")[2].rpartition(":")[0]


def _strongest(
    source: NDArray[np.int64], target: NDArray[np.int64], weight: NDArray[np.float32], sign: NDArray[np.int8]
) -> NDArray[np.int64]:
    """Return the positions of one edge per (source, target, sign): the heaviest, in that order."""
    order = np.lexsort((-weight, sign, target, source))
    keys = np.stack([source, target, sign.astype(np.int64)])[:, order]
    first = np.ones(len(order), bool)
    first[1:] = np.any(keys[:, 1:] != keys[:, :-1], axis=0)
    return order[first]
