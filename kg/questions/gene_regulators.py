"""Which peaks regulate a gene?"""

from __future__ import annotations

from dataclasses import dataclass

from kg.parameters import param
from kg.query.lookup import GENE_FIELDS, GENES_NAMED, gene_parameters, only_gene
from kg.query.plan import Plan, Query
from kg.query.ranked import ranked_answer, ranked_parameters
from kg.query.registry import Parameters, Result, question
from kg.query.scope import Scope, record, valid
from kg.schema import NEAR, PEAK, PREDICTED_LINK


@dataclass(frozen=True, kw_only=True)
class GeneRegulators(Parameters):
    """Which gene, and how much of the answer."""

    gene: str = param("Ensembl id, with or without version, or symbol", example="NCF2")
    limit: int = param("best links at most", 50, low=1, high=1000)
    called_only: bool = param("only links that the run called", default=False)


@dataclass(frozen=True)
class Regulator:
    """A peak that a run links to the gene.

    Attributes:
        peak: id, assembly:chrom:start-end.
        chrom, start, end: of the peak, 0-based half-open.
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

    peak: str
    chrom: str
    start: int
    end: int
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


# Lists, not maps: the driver reads them twice as fast. The run is named anew before it is compared, which keeps the
# planner from the index on runs: it takes that for tiny when a run has just been written.
_COLUMNS = {
    "peak": "p.id",
    **{name: f"peak.{name}" for name in ("chrom", "start", "end")},
    **{name: f"e.{name}" for name in ("score", "score_kind", "q_value", "sign", "called", "stability")},
    "in_prior": "coalesce(e.in_prior, true)",
    **{name: f"e.{name}" for name in ("without_prior", "from_cells")},
    **{name: f"near.{name}" for name in ("distance_bp", "tss_distance_bp")},
    **{name: f"e.{name}" for name in ("run", "edge_id")},
}
_CYPHER = f"""{GENES_NAMED}
RETURN {GENE_FIELDS}, COLLECT {{
  MATCH (p:{PEAK.label})-[e:{PREDICTED_LINK.name}]->(g)
  WITH p, e, e.run AS run WHERE run IN $runs AND (e.called OR NOT $called_only)
  WITH p, e, {record("p", PEAK)} AS peak WHERE peak IS NOT NULL
  WITH p, e, peak ORDER BY e.score DESC, p.id, e.run LIMIT $limit
  WITH p, e, peak, head(COLLECT {{
    MATCH (p)-[n:{NEAR.name}]->(g) WHERE {valid("n")} RETURN n ORDER BY n.dataset LIMIT 1
  }}) AS near
  RETURN [{", ".join(_COLUMNS.values())}]
}} AS links
"""


@question(parameters=GeneRegulators, row=Regulator)
def gene_regulators(parameters: GeneRegulators, scope: Scope) -> Plan[Result]:
    """Which peaks regulate this gene, how surely, in which direction and from how far?

    Links that a model predicted between open-chromatin peaks and the gene, best score first. Every pair
    that the model looked at is there, so a weak score is an answer too; `called` marks those that pass.
    """
    rows = yield Query(_CYPHER, {**gene_parameters(parameters.gene), **ranked_parameters(parameters, scope)})
    row = yield from only_gene(rows, parameters.gene, scope)
    return ranked_answer(row["links"], _COLUMNS, Regulator, parameters, scope, row["gene"])
