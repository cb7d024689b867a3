"""What is known of a stretch of genome?"""

from __future__ import annotations

from dataclasses import dataclass

from kg.parameters import param
from kg.query.lookup import region
from kg.query.plan import Plan, Query
from kg.query.registry import Parameters, Result, question
from kg.query.scope import Scope, record, valid
from kg.schema import EDGE_TYPES, GENE, PEAK, PREDICTED_LINK, EdgeType, Kind


@dataclass(frozen=True, kw_only=True)
class RegionEdges(Parameters):
    """Where, which kinds of edges, and how much of the answer."""

    region: str = param(
        "chrom:start-end, or assembly:chrom:start-end; 0-based half-open", example="chr1:183,550,000-183,620,000"
    )
    limit: int = param("edges at most, in genomic order", 200, low=1, high=1000)
    called_only: bool = param("leave out predictions that the run did not call", default=False)


@dataclass(frozen=True)
class RegionEdge:
    """One edge of a peak that overlaps the region.

    Attributes:
        type: PREDICTED_* is what a model said, all others are evidence.
        peak: id, assembly:chrom:start-end.
        chrom, start, end: of the peak, 0-based half-open.
        gene: Ensembl id without version.
        symbol: for display.
        dataset: that asserts the edge, for evidence.
        run: that predicts it, for predictions.
        score, q_value, sign, called: of a prediction.
        in_prior: of a prediction: evidence that guided the run joins the pair; false where it was only near enough to
            be tried.
        distance_bp: of a NEAR edge.
        edge_id: stays the same from release to release, and for predictions from run to run.
    """

    type: str
    peak: str
    chrom: str
    start: int
    end: int
    gene: str
    symbol: str
    dataset: str | None
    run: str | None
    score: float | None
    q_value: float | None
    sign: int | None
    called: bool | None
    in_prior: bool | None
    distance_bp: int | None
    edge_id: str


def _counts(type_: EdgeType) -> str:
    if type_.kind is Kind.PREDICTED:
        return f"(e:{type_.name} AND said_by IN $runs AND (e.called OR NOT $called_only))"
    return f"(e:{type_.name} AND {valid('e')})"


_TYPES = [t for t in EDGE_TYPES.values() if (t.start, t.end) == (PEAK.label, GENE.label)]
_CYPHER = f"""
MATCH (p:{PEAK.label})-[:HAS_RECORD]->(r:{PEAK.record_label})
WHERE r.chrom = $chrom AND r.start < $end AND r.end > $start AND {valid("r")}
  AND ($assembly IS NULL OR r.assembly = $assembly)
WITH DISTINCT p
WITH p, {record("p", PEAK)} AS peak
MATCH (p)-[e:{"|".join(t.name for t in _TYPES)}]->(g:{GENE.label})
WITH p, peak, e, g, e.run AS said_by WHERE {" OR ".join(_counts(t) for t in _TYPES)}
WITH p, peak, e, g, {record("g", GENE)} AS gene WHERE gene IS NOT NULL
RETURN type(e) AS type, p.id AS peak, peak.chrom AS chrom, peak.start AS start, peak.end AS end, g.id AS gene,
  gene.symbol AS symbol, e.dataset AS dataset, e.run AS run, e.score AS score, e.q_value AS q_value, e.sign AS sign,
  e.called AS called, CASE WHEN e:{PREDICTED_LINK.name} THEN coalesce(e.in_prior, true) END AS in_prior,
  e.distance_bp AS distance_bp, e.edge_id AS edge_id
ORDER BY start, end, peak, gene, type, edge_id, run LIMIT $limit
"""


@question(parameters=RegionEdges, row=RegionEdge)
def region_edges(parameters: RegionEdges, scope: Scope) -> Plan[Result]:
    """Which regulatory edges start from peaks in this stretch of genome, predicted or asserted?

    All edges of every peak that overlaps the region by at least one base, in genomic order.
    """
    where = region(parameters.region)
    rows = yield Query(
        _CYPHER,
        {
            "assembly": where.assembly,
            "chrom": where.chrom,
            "start": where.start,
            "end": where.end,
            "release": scope.release,
            "runs": scope.run_ids,
            "called_only": parameters.called_only,
            "limit": parameters.limit + 1,
        },
    )
    edges = [RegionEdge(**row) for row in rows[: parameters.limit]]
    subject = {"assembly": where.assembly, "chrom": where.chrom, "start": where.start, "end": where.end}
    return Result(edges, subject, truncated=len(rows) > parameters.limit)
