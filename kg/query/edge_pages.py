"""Edges of every type, page by page: evidence and predictions as they are at one publication."""

from __future__ import annotations

from collections.abc import Mapping  # noqa: TC003 - the API reads annotations
from dataclasses import dataclass
from typing import Any

from kg.errors import ParameterError
from kg.parameters import check, param
from kg.query.lookup import GENE_FIELDS, GENES_NAMED, gene_parameters, only_gene, only_peak, region
from kg.query.plan import Plan, Query, Row
from kg.query.registry import Parameters
from kg.query.scope import Scope, record, valid
from kg.schema import CELLS, EDGE_TYPES, GENE, NODE_TYPES, OPEN, PEAK, EdgeType, Kind


@dataclass(frozen=True, kw_only=True)
class EdgeParameters(Parameters):
    """Which edges; every condition that is given must hold."""

    type: str | None = param(f"only this type: {', '.join(EDGE_TYPES)}", None, example="PREDICTED_LINK")
    gene: str | None = param(
        "only edges of this gene: Ensembl id, with or without version, or symbol", None, example="NCF2"
    )
    peak: str | None = param("only edges of this peak: assembly:chrom:start-end", None)
    region: str | None = param(
        "only edges of peaks that overlap chrom:start-end, 0-based half-open",
        None,
        example="chr1:183,550,000-183,620,000",
    )
    dataset: str | None = param("only evidence that this dataset asserts", None)
    min_score: float | None = param("only edges that carry a score of at least this", None)
    called: bool | None = param("only predictions that were called (true) or were not (false)", None)
    limit: int = param("edges per page", 100, low=1, high=1000)


@dataclass(frozen=True)
class Edge:
    """One edge.

    Attributes:
        kind: evidence, truth (never used for training) or predicted.
        edge_id: stays the same from release to release, and for predictions from run to run.
        dataset: that asserts it; null for predictions.
        run: that predicts it; null for all others.
        since: the first release that has this row; null for predictions.
        until: the first release that has it no more; null while it is open, and for predictions.
        eco: Evidence and Conclusion Ontology term.
        columns: what the type declares, such as score or distance_bp.
    """

    type: str
    kind: str
    edge_id: str
    start_id: str
    end_id: str
    dataset: str | None
    run: str | None
    since: int | None
    until: int | None
    eco: str
    columns: Mapping[str, Any]


@dataclass(frozen=True)
class Position:
    """The last edge of a page; the next page begins after it."""

    type: str
    edge_id: str
    run: str


@dataclass(frozen=True)
class Page:
    """Edges in the order of type, edge_id and run; `last` is None when there are no more."""

    rows: list[Edge]
    last: Position | None


def edge_page(filters: EdgeParameters, scope: Scope, after: Position | None = None) -> Plan[Page]:
    """Return one page.

    Raises:
        ParameterError: an unknown type, a region that is none, or a limit that is too large.
        UnknownGene, UnknownPeak: the release has none of that name.
    """
    check(filters)
    types = _types(filters)
    if after is not None:
        types = types[types.index(EDGE_TYPES[after.type]) :]
    parameters = {**(yield from _anchors(filters, scope)), "runs": scope.run_ids, "release": scope.release}
    parameters |= {"dataset": filters.dataset, "min_score": filters.min_score, "called": filters.called}
    edges: list[Edge] = []
    for type_ in types:
        here = after if after is not None and after.type == type_.name else Position(type_.name, "", "")
        limits = {"after": here.edge_id, "after_run": here.run, "limit": filters.limit + 1 - len(edges)}
        rows = yield Query(_cypher(filters, type_), {**parameters, **limits})
        edges += [_edge(type_, row) for row in rows]
        if len(edges) > filters.limit:
            last = edges[filters.limit - 1]
            return Page(edges[: filters.limit], Position(last.type, last.edge_id, last.run or ""))
    return Page(edges, None)


def _types(filters: EdgeParameters) -> list[EdgeType]:
    """Return the types that can hold an edge that is asked for, in declared order."""
    if filters.type is not None and filters.type not in EDGE_TYPES:
        raise ParameterError(f"no edge type is called {filters.type!r}", hint=f"the types are {', '.join(EDGE_TYPES)}")
    needs = {"score": filters.min_score, "called": filters.called}
    ends = {GENE.label: filters.gene, PEAK.label: filters.peak or filters.region}
    return [
        t
        for t in EDGE_TYPES.values()
        if filters.type in {None, t.name}
        and not (filters.dataset and t.kind is Kind.PREDICTED)
        and all(value is None or column in t.schema.names for column, value in needs.items())
        and all(name is None or label in {t.start, t.end} for label, name in ends.items())
    ]


def _anchors(filters: EdgeParameters, scope: Scope) -> Plan[dict[str, Any]]:
    """Resolve the names in the filters at the release, as parameters of a query."""
    anchors: dict[str, Any] = {}
    if filters.gene is not None:
        parameters = {**gene_parameters(filters.gene), "release": scope.release}
        rows = yield Query(f"{GENES_NAMED} RETURN {GENE_FIELDS}", parameters)
        anchors["gene"] = (yield from only_gene(rows, filters.gene, scope))["gene"]["id"]
    if filters.peak is not None:
        exists = f"MATCH (p:{PEAK.label} {{id: $peak}}) WHERE {record('p', PEAK)} IS NOT NULL RETURN p.id AS id"
        rows = yield Query(exists, {"peak": filters.peak, "release": scope.release})
        anchors["peak"] = (yield from only_peak(rows, filters.peak, scope))["id"]
    if filters.region is not None:
        where = region(filters.region)
        anchors |= {"assembly": where.assembly, "chrom": where.chrom, "start": where.start, "end": where.end}
    return anchors


def _cypher(filters: EdgeParameters, type_: EdgeType) -> str:
    must = _predicted(type_) if type_.kind is Kind.PREDICTED else [valid("e")]
    must += ["e.dataset = $dataset"] if filters.dataset is not None else []
    must += ["e.score >= $min_score"] if filters.min_score is not None else []
    must += ["e.called = $called"] if filters.called is not None else []
    must += ["$gene IN [a.id, b.id]"] if filters.gene is not None else []
    must += ["$peak IN [a.id, b.id]"] if filters.peak is not None else []
    must += [f"({_inside('a')} OR {_inside('b')})"] if filters.region is not None else []
    return (
        f"{_head(filters, type_)}, e.edge_id AS edge_id, e.run AS run "
        f"WHERE (edge_id > $after OR edge_id = $after AND run > $after_run) AND {' AND '.join(must)} "
        "RETURN a.id AS start_id, b.id AS end_id, e {.*} AS edge ORDER BY edge_id, run LIMIT $limit"
    )


def _head(filters: EdgeParameters, type_: EdgeType) -> str:
    """Return edges (e) and their ends (a, b) by way of what narrows most; all conditions follow.

    Conditions on what a WITH has named anew are not turned into scans of relationship indexes, whose sizes the planner
    does not know when a run or a dataset has just been written.
    """
    anchor = next((_ANCHORS[name] for name in _ANCHORS if getattr(filters, name) is not None), None)
    if anchor is not None:
        return f"{anchor} MATCH (n)-[e:{type_.name}]-() WITH DISTINCT e, startNode(e) AS a, endNode(e) AS b"
    second, condition = ("run", "e.run IN $runs") if type_.kind is Kind.PREDICTED else ("since", "e.since <= $release")
    return (
        f"MATCH (a:{type_.start})-[e:{type_.name}]->(b:{type_.end}) USING INDEX e:{type_.name}(edge_id, {second}) "
        f"WHERE e.edge_id >= $after AND {condition} WITH a, e, b"
    )


def _predicted(type_: EdgeType) -> list[str]:
    """Return the conditions of a prediction: a run may link nodes that the release no longer has; cells are in all."""
    ends = {"a": type_.start, "b": type_.end}
    there = [f"{record(node, NODE_TYPES[label])} IS NOT NULL" for node, label in ends.items() if label != CELLS]
    return ["run IN $runs", *there]


def _inside(node: str) -> str:
    return f"EXISTS {{ ({node})-[:HAS_RECORD]->(r:{PEAK.record_label}) WHERE {_OVERLAPS} }}"


_OVERLAPS = (
    f"r.chrom = $chrom AND r.start < $end AND r.end > $start AND {valid('r')} "
    "AND ($assembly IS NULL OR r.assembly = $assembly)"
)
_ANCHORS = {
    "peak": f"MATCH (n:{PEAK.label} {{id: $peak}})",
    "gene": f"MATCH (n:{GENE.label} {{id: $gene}})",
    "region": f"MATCH (n:{PEAK.label})-[:HAS_RECORD]->(r:{PEAK.record_label}) WHERE {_OVERLAPS} WITH DISTINCT n",
}


def _edge(type_: EdgeType, row: Row) -> Edge:
    stored = row["edge"]
    return Edge(
        type=type_.name,
        kind=type_.kind.value,
        edge_id=stored["edge_id"],
        start_id=row["start_id"],
        end_id=row["end_id"],
        dataset=stored.get("dataset"),
        run=stored.get("run"),
        since=stored.get("since"),
        until=None if stored.get("until") == OPEN else stored.get("until"),
        eco=type_.eco,
        columns={name: stored.get(name) for name in type_.schema.names[2:]},
    )
