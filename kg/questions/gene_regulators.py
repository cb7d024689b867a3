"""Which peaks regulate a gene?"""

from __future__ import annotations

from dataclasses import dataclass

from kg.parameters import param
from kg.query.link_rows import LINK_COLUMNS, LinkParameters, LinkRow
from kg.query.lookup import GENE_FIELDS, GENES_NAMED, gene_parameters, only_gene
from kg.query.plan import Plan, Query
from kg.query.ranked import ranked_answer, ranked_parameters
from kg.query.registry import Result, question
from kg.query.scope import Scope, record, valid
from kg.schema import NEAR, PEAK, PREDICTED_LINK


@dataclass(frozen=True, kw_only=True)
class GeneRegulators(LinkParameters):
    """Which gene, and how much of the answer."""

    gene: str = param("Ensembl id, with or without version, or symbol", example="NCF2")


@dataclass(frozen=True)
class _PeakEnd:
    """The peak of a link.

    Attributes:
        peak: id, assembly:chrom:start-end.
        chrom, start, end: of the peak, 0-based half-open.
    """

    peak: str
    chrom: str
    start: int
    end: int


@dataclass(frozen=True)
class Regulator(LinkRow, _PeakEnd):
    """A peak that a run links to the gene."""


# Lists, not maps: the driver reads them twice as fast. The run is named anew before it is compared, which keeps the
# planner from the index on runs: it takes that for tiny when a run has just been written.
_COLUMNS = {
    "peak": "p.id",
    **{name: f"peak.{name}" for name in ("chrom", "start", "end")},
    **LINK_COLUMNS,
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
