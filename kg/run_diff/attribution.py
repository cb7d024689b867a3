"""Attribute each moved edge to changed evidence: rows at its ends, or rows further away in the guidance graph.

A changed row counts only as far as it changes what a model reads: the weight of its pair in the guidance graph. A
contact whose score changed still has the same weight, and a row next to a heavier row of the same pair was never seen.

The rows of one dataset replace a share of a vertex's neighbourhood: the sum of their weight changes over the vertex's
total weight. The dataset's influence on a vertex is that share plus DAMPING times the weighted mean influence on the
neighbours, in the manner of personalised PageRank started at the rows' ends; its influence on an edge is the sum over
both ends. An edge moves with the end that moves more, so of several datasets the one named is that with the greatest
influence at either end, discounted by DAMPING for each hop to its nearest row.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
import scipy.sparse as sp
from scipy.sparse.csgraph import dijkstra

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from kg.guidance import GuidanceGraph

    Floats = NDArray[np.float64]
    Indices = NDArray[np.int64]

DAMPING = 0.5
REACH = 12  # steps over which influence is followed; DAMPING ** REACH is negligible
SAME = 1e-6  # weights are float32
ROWS = ("type", "dataset", "row_id", "change", "start_id", "end_id", "before", "after")
"""Columns of changed rows; before and after are signed weights by policy, 0 where there is no row."""
NAMED = ("dataset", "influence", "share", "hops", "rows", "type", "row_id", "change", "start_id", "end_id")


@dataclass(frozen=True)
class Evidence:
    """The evidence a model read before and after, and the rows that differ.

    Attributes:
        before, after: the guidance graphs of the two runs.
        rows: columns ROWS.
    """

    before: GuidanceGraph
    after: GuidanceGraph
    rows: pd.DataFrame


def trace(evidence: Evidence, peak: Sequence[str], gene: Sequence[str]) -> pd.DataFrame:
    """Return the dataset that each edge answers to, and its nearest changed rows.

    Args:
        evidence: what changed.
        peak, gene: (edges,) ends.

    Returns:
        (edges,) rows with the columns NAMED: dataset (missing where no changed row can be reached), influence (of
        all datasets), share (of that, the named dataset's), hops (from the edge's ends to the nearest changed row; 0
        at the ends), rows (how many of these there are), and the strongest of them; the pair's own row comes first.
    """
    empty = pd.DataFrame({name: [None] * len(peak) for name in NAMED})
    network = _network(evidence)
    if network.rows.empty or not len(peak):
        return empty
    ends = network.at(peak), network.at(gene)
    hops = np.minimum(*(network.hops[:, end] for end in ends))  # (datasets, edges)
    influence = np.stack([network.influence[:, end] for end in ends])  # (2, datasets, edges)
    mass = influence.max(0) * DAMPING**hops  # 0 where a dataset cannot be reached
    chosen = np.where(np.isfinite(hops), mass, -1.0).argmax(0)
    reached = np.isfinite(hops.min(0))
    edges = np.arange(len(peak))
    total = mass.sum(0)
    named = network.nearest(chosen, *ends)
    named["dataset"] = np.array(network.datasets, dtype=object)[chosen]
    named["influence"] = np.where(np.isfinite(hops), influence.sum(0), 0.0).sum(0)
    named["share"] = mass[chosen, edges] / np.where(total > 0, total, 1)
    named["hops"] = np.where(reached, hops[chosen, edges], -1).astype(np.int64)
    attributed: pd.DataFrame = named[list(NAMED)].where(pd.Series(reached), None)
    return attributed


def strata(named: pd.DataFrame, peak: pd.Series[str], gene: pd.Series[str]) -> Indices:
    """Group edges by how likely they are to have moved, given what `trace` returned for them.

    Returns:
        0 where no changed row reaches the edge, 1 where one does, 2 and 3 for the weaker and the stronger half of
        those with one at their ends, 4 where the strongest is the pair's own.
    """
    hops, influence = (named[name].astype(float).to_numpy() for name in ("hops", "influence"))
    at_ends = hops == 0
    median_influence = np.median(influence[at_ends]) if at_ends.any() else 0.0
    own = at_ends & (named["start_id"].to_numpy() == peak.to_numpy()) & (named["end_id"].to_numpy() == gene.to_numpy())
    strong = at_ends & (influence > median_influence)
    return np.select([own, strong, at_ends, hops > 0], [4, 3, 2, 1], 0).astype(np.int64)


@dataclass(frozen=True)
class _Network:
    """The union of both guidance graphs, with what changed in it.

    Attributes:
        vertices: (V,) ids, sorted.
        datasets: names, sorted.
        rows: those that change a weight, strongest first, with i, j (indices of their ends), d (index of their
            dataset) and strength (by how much).
        influence: (datasets, V).
        hops: (datasets, V) to the nearest end of a changed row; infinite where there is none.
        origin: (datasets, V) that end.
    """

    vertices: NDArray[np.str_]
    datasets: list[str]
    rows: pd.DataFrame
    influence: Floats
    hops: Floats
    origin: Indices

    def at(self, ids: Sequence[str]) -> Indices:
        """Return the index of each vertex (clipped where an id is unknown)."""
        return np.searchsorted(self.vertices, np.asarray(ids, np.str_)).clip(max=len(self.vertices) - 1)

    def nearest(self, d: Indices, i: Indices, j: Indices) -> pd.DataFrame:
        """Return for each edge and dataset the strongest of the nearest rows, and how many there are."""
        nearer = np.where(self.hops[d, i] <= self.hops[d, j], self.origin[d, i], self.origin[d, j])
        other = np.where((self.hops[d, i] == 0) & (self.hops[d, j] == 0), j, nearer)
        rows = self.rows.reset_index(drop=True)
        touching = pd.concat([rows.assign(v=rows["i"], row=rows.index), rows.assign(v=rows["j"], row=rows.index)])
        by_vertex = touching.groupby(["d", "v"])["row"].agg(["min", "size"])  # rows are strongest first
        by_pair = rows.assign(row=rows.index).groupby(["d", "i", "j"])["row"].agg(["min", "size"])
        at_nearer, at_other = (by_vertex.reindex(pd.MultiIndex.from_arrays([d, v])) for v in (nearer, other))
        own = by_pair.reindex(pd.MultiIndex.from_arrays([d, i, j]))
        best_at_ends = np.fmin(at_nearer["min"].to_numpy(), at_other["min"].to_numpy())
        best = np.where(own["min"].notna(), own["min"], best_at_ends)
        counted_twice = np.where(nearer == other, at_nearer["size"], 0) + np.nan_to_num(own["size"].to_numpy())
        count = np.nan_to_num(at_nearer["size"].to_numpy() + at_other["size"].to_numpy() - np.nan_to_num(counted_twice))
        strongest = rows.reindex(np.nan_to_num(best).astype(np.int64)).reset_index(drop=True)
        return strongest.assign(rows=count.astype(np.int64))


def _network(evidence: Evidence) -> _Network:
    graphs = (evidence.before, evidence.after)
    vertices = np.union1d(*(g.vertices for g in graphs))
    rows = _effective(evidence.rows, graphs, vertices)
    datasets = sorted(rows["dataset"].unique())
    rows["d"] = np.searchsorted(np.array(datasets, dtype=object), rows["dataset"]) if len(rows) else []
    before, after = (positive + negative for positive, negative in (_weights(g, vertices) for g in graphs))
    either = before.maximum(after)
    joined = sp.csr_array(either + either.T)
    weight = np.asarray(joined.sum(1), dtype=float).ravel()
    spread = sp.csr_array(sp.diags_array(1 / np.where(weight > 0, weight, 1)) @ joined)
    spreads = [_spread_of(rows[rows["d"] == d], joined, spread, weight) for d in range(len(datasets))]
    columns = [np.stack(c) for c in zip(*spreads, strict=True)] or [np.zeros((0, len(vertices)))] * 3
    return _Network(vertices, datasets, rows, *columns)


def _spread_of(
    rows: pd.DataFrame, joined: sp.csr_array, spread: sp.csr_array, weight: Floats
) -> tuple[Floats, Floats, Indices]:
    """Return a dataset's influence on each vertex, the hops to its nearest row, and the vertex where that row ends."""
    ends = np.concatenate([rows["i"], rows["j"]]).astype(np.int64)
    strength = np.tile(rows["strength"].to_numpy(float), 2)
    term = np.bincount(ends, strength, len(weight)) / np.where(weight > 0, weight, 1)
    influence = term.copy()
    for _ in range(REACH):
        term = DAMPING * (spread @ term)
        influence += term
    hops, _, origin = dijkstra(
        joined, indices=np.unique(ends), unweighted=True, min_only=True, return_predecessors=True
    )
    return influence, hops, origin.astype(np.int64)


def _effective(
    rows: pd.DataFrame, graphs: tuple[GuidanceGraph, GuidanceGraph], vertices: NDArray[np.str_]
) -> pd.DataFrame:
    """Return the rows that change the weight of their pair, with the size of the change, at most the row's own."""
    i, j = (np.searchsorted(vertices, rows[c].to_numpy(np.str_)).clip(max=len(vertices) - 1) for c in _ENDS)
    before, after = (_weights(g, vertices) for g in graphs)
    change = sp.csr_array(abs(after[0] - before[0]) + abs(after[1] - before[1]))
    of_pair = np.asarray(change[i, j]).ravel() if len(rows) else np.zeros(0)
    own = rows["after"].to_numpy(float) - rows["before"].to_numpy(float)
    kept = rows.assign(i=i, j=j, strength=np.minimum(of_pair, np.abs(own)))
    kept = kept[kept["strength"] > SAME]
    return kept.sort_values(["strength", "row_id"], ascending=[False, True], ignore_index=True)


_ENDS = ("start_id", "end_id")


def _weights(graph: GuidanceGraph, vertices: NDArray[np.str_]) -> list[sp.csr_array]:
    """Return (V, V) weights from source to target, of positive and of negative edges."""
    place = np.searchsorted(vertices, graph.vertices)
    n = len(vertices)
    return [
        sp.csr_array((graph.weight[on].astype(float), (place[graph.source[on]], place[graph.target[on]])), shape=(n, n))
        for on in (graph.sign > 0, graph.sign < 0)
    ]
