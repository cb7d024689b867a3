"""What can be exported from a release: edges, nodes, the guidance graph, embeddings; streamed from the graph.

A release that is published never changes, so what is read while others write is whole.
"""

from __future__ import annotations

from dataclasses import asdict
from importlib.metadata import version
from itertools import islice
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import pyarrow as pa

from kg.evidence.nodes import read_nodes
from kg.export.content import Content, Frame, described, links, no_nodes, peaks_of, places_of, together
from kg.guidance import read_guidance
from kg.guidance.snapshot import manifest_of
from kg.query.plan import run_plan
from kg.query.scope import one_run, scope_of
from kg.schema import CELLS, EDGE_TYPES, NODE_TYPES, PEAK, Kind

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from kg.guidance import GuidanceGraph
    from kg.query.scope import Scope
    from kg.schema import EdgeType
    from kg.store import Store

ROWS = 50_000  # a table
_FIRST = (("type", pa.string()), ("start_id", pa.string()), ("end_id", pa.string()), ("edge_id", pa.string()))
_SAID = (("dataset", pa.string()), ("run", pa.string()), ("since", pa.int64()))


def about(export: str, scope: Scope, **more: Any) -> dict[str, Any]:
    """Return what every export says about itself."""
    return {
        "export": export,
        "release": scope.release,
        "hash": scope.hash,
        "publication": scope.publication,
        "runs": scope.run_ids,
        "regkg": version("regkg"),
        **more,
    }


def edges(
    store: Store,
    types: Sequence[str] = (),
    *,
    release: int | None = None,
    run: str | None = None,
    called_only: bool = False,
) -> Content:
    """Read edges as they are at a release, with all columns of their types; ordered by type and edge_id.

    Args:
        store: the graph.
        types: names of edge types; none means all.
        release: a published one; by default what is served.
        run: predictions of this complete run alone, instead of all served ones.
        called_only: leave out predictions that the run did not call, and those of types that are not called at all.

    Raises:
        UnknownRelease: nothing is published, or not this.
        UnknownRun: no complete run has this id.
    """
    chosen = [EDGE_TYPES[name] for name in types or EDGE_TYPES]
    scope = run_plan(scope_of(release, run), store)
    known = _nodes(store, scope.release, {label for type_ in chosen for label in (type_.start, type_.end)})
    own = [pa.schema(list(type_.schema)[2:]) for type_ in chosen]
    schema = _columns(_unified(own))
    present = set(known.index)

    def rows() -> Iterator[pa.Table]:
        for type_ in chosen:
            for table in _edges_of(store, type_, scope, called_only=called_only):
                yield _shaped(_whose_ends_are(table, type_, present), schema)

    has_peak = any(PEAK.label in (type_.start, type_.end) for type_ in chosen)
    provenance = about("edges", scope, types=[type_.name for type_ in chosen], called_only=called_only)

    def place(frame: Frame) -> Frame:
        return peaks_of(links(frame), known)

    return Content(provenance, schema, rows(), known, links, place if has_peak else None)


def nodes(store: Store, label: str, *, release: int | None = None) -> Content:
    """Read nodes of a type as they are at a release, with all columns, ordered by id.

    Raises:
        UnknownRelease: nothing is published, or not this.
    """
    type_ = NODE_TYPES[label]
    scope = run_plan(scope_of(release), store)
    table = read_nodes(store, type_, scope.release)
    known = described(type_, table)

    def place(frame: Frame) -> Frame:
        none = pd.Series(np.nan, frame.index)
        return places_of(known, frame["id"], known["name"].reindex(frame["id"]), none)

    somewhere = {"chrom", "start", "end"} <= set(table.schema.names)
    return Content(
        about("nodes", scope, types=[label]),
        table.schema,
        (pa.Table.from_batches([batch]) for batch in table.to_batches(ROWS)),
        known,
        place=place if somewhere else None,
    )


def guidance(store: Store, types: Sequence[str], *, release: int | None = None) -> Content:
    """Read the guidance graph of a release as a model does: weights and signs by policy, nodes without edges too.

    Raises:
        Conflict: a type is truth or a prediction.
        UnknownRelease: nothing is published, or not this.
    """
    scope = run_plan(scope_of(release), store)
    return guidance_graph(store, scope, read_guidance(store, scope.release, types))


def guidance_graph(store: Store, scope: Scope, graph: GuidanceGraph) -> Content:
    """Export a guidance graph that was read at `scope`, or a part of it, with its manifest (`kg.guidance.snapshot`)."""
    known = _nodes(store, scope.release, set(graph.kinds.tolist()))
    schema = pa.schema(
        {"start_id": pa.string(), "end_id": pa.string(), "weight": pa.float32(), "sign": pa.int8()}.items()
    )

    def rows() -> Iterator[pa.Table]:
        for at in range(0, max(len(graph.source), 1), ROWS):
            part = slice(at, at + ROWS)
            start, end = (graph.vertices[side[part]].astype(object) for side in (graph.source, graph.target))
            columns = {"start_id": start, "end_id": end, "weight": graph.weight[part], "sign": graph.sign[part]}
            yield pa.table(columns, schema=schema)

    provenance = {**asdict(manifest_of(graph)), **about("guidance", scope, types=list(graph.policy))}
    return Content(
        provenance,
        schema,
        rows(),
        known.reindex(graph.vertices),
        links,
        lambda f: peaks_of(links(f), known),
        isolated=True,
    )


def embeddings(store: Store, *, release: int | None = None, run: str | None = None) -> Content:
    """Read the vectors of a run's genes and peaks, with what the release says of them; ordered by kind and id.

    Raises:
        ParameterError: several runs are served and none was named.
        UnknownRun: no complete run has this id, or none is served.
    """
    scope = run_plan(scope_of(release, run), store)
    chosen = one_run(scope, "an export of embeddings")
    query = (
        "MATCH (e:Embedding {run: $run}) WITH e ORDER BY e.kind, e.node "
        "RETURN e.kind AS kind, e.node AS node, e.vector AS vector"
    )
    embedded = [(kind, node, np.array(vector, np.float32)) for kind, node, vector in store.stream(query, run=chosen)]
    ids = [node for _, node, _ in embedded]
    vectors = np.stack([vector for _, _, vector in embedded]) if embedded else np.zeros((0, 0), np.float32)
    known = _nodes(store, scope.release, {kind for kind, _, _ in embedded}).reindex(ids)
    # also of those that the release has no more
    known = known.assign(
        label=[kind for kind, _, _ in embedded], name=known["name"].fillna(pd.Series(ids, known.index))
    )
    width = vectors.shape[1]
    schema = pa.schema([("id", pa.string()), ("label", pa.string()), ("vector", pa.list_(pa.float32(), width))])

    def rows() -> Iterator[pa.Table]:
        flat = pa.FixedSizeListArray.from_arrays(pa.array(vectors.ravel()), width)
        yield pa.table([pa.array(ids, pa.string()), pa.array(known["label"], pa.string()), flat], schema=schema)

    provenance = about("embeddings", scope, run=chosen)
    return Content(provenance, schema, rows(), known, vectors=lambda: (ids, vectors))


def _nodes(store: Store, release: int, labels: set[str]) -> Frame:
    """Read all nodes of these labels at a release; sets of cells are in every one."""
    types = [NODE_TYPES[label] for label in sorted(labels - {CELLS})]
    parts = [described(type_, read_nodes(store, type_, release)) for type_ in types]
    return together([*parts, _cells(store)] if CELLS in labels else parts)


def _cells(store: Store) -> Frame:
    """Read files of cells: by id, such as cortex/rna, and their assembly."""
    rows = store.read(f"MATCH (c:{CELLS}) RETURN c.id AS id, c.assembly AS assembly ORDER BY id")
    named = no_nodes().reindex([row["id"] for row in rows])
    return named.assign(label=CELLS, name=named.index, assembly=[row["assembly"] for row in rows])


def _unified(schemas: Sequence[pa.Schema]) -> pa.Schema:
    """Return all columns of several types; one that is text in one type and a number in another is text in all."""
    fields: dict[str, list[pa.Field]] = {}
    for schema in schemas:
        for field in schema:
            fields.setdefault(field.name, []).append(field)
    mixed = {
        name
        for name, same in fields.items()
        if any(pa.types.is_string(f.type) for f in same) and not all(pa.types.is_string(f.type) for f in same)
    }
    plain = [pa.schema([f.with_type(pa.string()) if f.name in mixed else f for f in schema]) for schema in schemas]
    return pa.unify_schemas(plain, promote_options="permissive")


def _edges_of(store: Store, type_: EdgeType, scope: Scope, *, called_only: bool) -> Iterator[pa.Table]:
    """Yield start, end and edge id, the columns of the type, and who says so; in the order of the index on edge ids."""
    names = type_.schema.names[2:]
    if type_.kind is Kind.PREDICTED:
        second, valid = "run", "e.run IN $runs AND (e.called OR NOT $called_only)"
        origin = "null AS dataset, e.run, null AS since"
    else:
        second, valid, origin = "since", "e.since <= $release AND $release < e.until", "e.dataset, null AS run, e.since"
    query = (
        f"MATCH (a:{type_.start})-[e:{type_.name}]->(b:{type_.end}) USING INDEX e:{type_.name}(edge_id, {second}) "
        f"WHERE e.edge_id >= '' AND {valid} WITH a, e, b ORDER BY e.edge_id, e.{second} "
        f"RETURN a.id, b.id, e.edge_id, {''.join(f'e.{c}, ' for c in names)}{origin}"
    )
    schema = pa.schema(list(_columns(list(type_.schema)[2:]))[1:])  # the type is the same in every row
    rows = store.stream(query, release=scope.release, runs=scope.run_ids, called_only=called_only)
    while chunk := list(islice(rows, ROWS)):
        columns = [pa.array(values, field.type) for values, field in zip(zip(*chunk, strict=True), schema, strict=True)]
        yield pa.table(columns, schema=schema).append_column("type", pa.repeat(pa.scalar(type_.name), len(chunk)))


def _columns(own: Iterable[pa.Field]) -> pa.Schema:
    """Return the columns of edges of several types; those of their own may be missing."""
    return pa.schema([*_FIRST, *(field.with_nullable(nullable=True) for field in own), *_SAID])


def _whose_ends_are(table: pa.Table, type_: EdgeType, present: Iterable[str]) -> pa.Table:
    """Keep predictions whose ends the release still has; evidence always has its ends."""
    if type_.kind is not Kind.PREDICTED:
        return table
    ends = zip(table["start_id"].to_pylist(), table["end_id"].to_pylist(), strict=True)
    return table.filter(pa.array([a in present and b in present for a, b in ends], pa.bool_()))


def _shaped(table: pa.Table, schema: pa.Schema) -> pa.Table:
    """Return the table with all columns of the schema; those that the type does not have are empty."""
    missing = pa.scalar(None)
    columns = [
        table[field.name].cast(field.type)
        if field.name in table.schema.names
        else pa.repeat(missing, table.num_rows).cast(field.type)
        for field in schema
    ]
    return pa.table(columns, schema=schema)
