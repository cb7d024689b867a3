"""Which genes does a peak regulate?"""

from __future__ import annotations

from dataclasses import dataclass

from kg.parameters import param
from kg.query.lookup import only_peak
from kg.query.plan import Plan, Query
from kg.query.ranked import ranked_answer, ranked_parameters
from kg.query.registry import Parameters, Result, question
from kg.query.scope import Scope, record, valid
from kg.schema import GENE, NEAR, PEAK, PREDICTED_LINK


@dataclass(frozen=True, kw_only=True)
class PeakTargets(Parameters):
    """Which peak, and how much of the answer."""

    peak: str = param(
        "id of the peak, assembly:chrom:start-end, 0-based half-open", example="GRCh38:chr1:183555561-183556061"
    )
    limit: int = param("best links at most", 50, low=1, high=1000)
    called_only: bool = param("only links that the run called", default=False)


@dataclass(frozen=True)
class Target:
    """A gene that a run links to the peak.

    Attributes:
        gene: Ensembl id without version.
        symbol: for display.
        score: mean over the run's members.
        score_kind: what the score is, such as cosine.
        q_value: Benjamini-Hochberg over all pairs that the run looked at.
        sign: +1 activates, -1 represses.
        called: q_value is under the run's threshold.
        stability: standard deviation of the score over members.
        in_prior: evidence that guided the run joins the pair; false where it was only near enough to be tried.
        without_prior: the score without that evidence, all else equal; null where the run did not say.
        from_cells: correlation of peak and gene over the cells, where the run put them; null where it did not say.
        distance_bp: from the gene by the rule of the NEAR dataset; 0 when they overlap; null where there is none.
        tss_distance_bp: from the TSS, signed along the strand; 0 inside the peak.
        run: that says so.
        edge_id: of the link, the same in every run.
        release: the release that the run was trained on.
    """

    gene: str
    symbol: str
    score: float
    score_kind: str
    q_value: float
    sign: int
    called: bool
    stability: float | None
    in_prior: bool
    without_prior: float | None
    from_cells: float | None
    distance_bp: int | None
    tss_distance_bp: int | None
    run: str
    edge_id: str
    release: int


_COLUMNS = {
    "gene": "g.id",
    "symbol": "gene.symbol",
    **{name: f"e.{name}" for name in ("score", "score_kind", "q_value", "sign", "called", "stability")},
    "in_prior": "coalesce(e.in_prior, true)",
    **{name: f"e.{name}" for name in ("without_prior", "from_cells")},
    **{name: f"near.{name}" for name in ("distance_bp", "tss_distance_bp")},
    **{name: f"e.{name}" for name in ("run", "edge_id")},
}
_CYPHER = f"""
MATCH (p:{PEAK.label} {{id: $peak}}) WITH p, {record("p", PEAK)} AS found WHERE found IS NOT NULL
RETURN found {{id: p.id, .assembly, .chrom, .start, .end, .summit}} AS peak, COLLECT {{
  MATCH (p)-[e:{PREDICTED_LINK.name}]->(g:{GENE.label})
  WITH p, e, g, e.run AS run WHERE run IN $runs AND (e.called OR NOT $called_only)
  WITH p, e, g, {record("g", GENE)} AS gene WHERE gene IS NOT NULL
  WITH p, e, g, gene ORDER BY e.score DESC, g.id, e.run LIMIT $limit
  WITH e, g, gene, head(COLLECT {{
    MATCH (p)-[n:{NEAR.name}]->(g) WHERE {valid("n")} RETURN n ORDER BY n.dataset LIMIT 1
  }}) AS near
  RETURN [{", ".join(_COLUMNS.values())}]
}} AS links
"""


@question(parameters=PeakTargets, row=Target)
def peak_targets(parameters: PeakTargets, scope: Scope) -> Plan[Result]:
    """Which genes does this open-chromatin peak regulate, how surely and in which direction?

    Links that a model predicted from the peak, best score first; often not the nearest gene.
    """
    rows = yield Query(_CYPHER, {"peak": parameters.peak, **ranked_parameters(parameters, scope)})
    row = yield from only_peak(rows, parameters.peak, scope)
    return ranked_answer(row["links"], _COLUMNS, Target, parameters, scope, row["peak"])
