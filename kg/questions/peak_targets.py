"""Which genes does a peak regulate?"""

from __future__ import annotations

from dataclasses import dataclass

from kg.parameters import param
from kg.query.link_rows import LINK_COLUMNS, LinkParameters, LinkRow
from kg.query.lookup import only_peak
from kg.query.plan import Plan, Query
from kg.query.ranked import ranked_answer, ranked_parameters
from kg.query.registry import Result, question
from kg.query.scope import Scope, record, valid
from kg.schema import GENE, NEAR, PEAK, PREDICTED_LINK


@dataclass(frozen=True, kw_only=True)
class PeakTargets(LinkParameters):
    """Which peak, and how much of the answer."""

    peak: str = param(
        "id of the peak, assembly:chrom:start-end, 0-based half-open", example="GRCh38:chr1:183555561-183556061"
    )


@dataclass(frozen=True)
class _GeneEnd:
    """The gene of a link.

    Attributes:
        gene: Ensembl id without version.
        symbol: for display.
    """

    gene: str
    symbol: str


@dataclass(frozen=True)
class Target(LinkRow, _GeneEnd):
    """A gene that a run links to the peak."""


_COLUMNS = {"gene": "g.id", "symbol": "gene.symbol", **LINK_COLUMNS}
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
