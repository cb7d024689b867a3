"""Which genes does a transcription factor regulate?"""

from __future__ import annotations

from dataclasses import dataclass

from kg.parameters import param
from kg.query.lookup import GENE_FIELDS, GENES_NAMED, gene_parameters, only_gene
from kg.query.plan import Plan, Query
from kg.query.ranked import ranked_answer, ranked_parameters
from kg.query.registry import Parameters, Result, question
from kg.query.scope import Scope, record, valid
from kg.schema import GENE, PREDICTED_TARGET, TARGETS


@dataclass(frozen=True, kw_only=True)
class TfTargets(Parameters):
    """Which factor, and how much of the answer."""

    tf: str = param("transcription factor: Ensembl id, with or without version, or symbol", example="SPI1")
    limit: int = param("best targets at most", 50, low=1, high=1000)
    called_only: bool = param("only targets that the run called", default=False)


@dataclass(frozen=True)
class FactorTarget:
    """A gene that a run says the factor regulates.

    Attributes:
        gene: Ensembl id without version.
        symbol: for display.
        rank: among all genes for this factor, 1 is best; ties share their mean.
        score: chance that as many random peaks hold at most as many sites as the gene's linked peaks do.
        score_kind: motifs or chip, for what a site is.
        p_value: chance that they hold at least as many.
        q_value: Benjamini-Hochberg over all factors and genes.
        called: q_value is under the run's threshold.
        sign: of the supporting links, +1 or -1; whether the factor itself activates is not known.
        observed: linked peaks with a site of the factor; null where the run did not count sites.
        expected: mean of that number among random peaks of the same lengths; null likewise.
        peaks: ids of those peaks, strongest link first, 100 at most.
        curated: a dataset of curated targets names the pair at this release.
        run: that says so; derived from another run's links.
        edge_id: of the prediction, the same in every run.
        release: the release that the run was made on.
    """

    gene: str
    symbol: str
    rank: float
    score: float
    score_kind: str
    p_value: float
    q_value: float
    called: bool
    sign: int
    observed: int | None
    expected: float | None
    peaks: list[str]
    curated: bool
    run: str
    edge_id: str
    release: int


_OWN = ("rank", "score", "score_kind", "p_value", "q_value", "called", "sign", "observed", "expected", "peaks")
_COLUMNS = {
    "gene": "o.id",
    "symbol": "target.symbol",
    **{name: f"e.{name}" for name in _OWN},
    "peaks": "coalesce(e.peaks, [])",
    "curated": f"EXISTS {{ MATCH (g)-[c:{TARGETS.name}]->(o) WHERE {valid('c')} }}",
    **{name: f"e.{name}" for name in ("run", "edge_id")},
}
# The run is named anew before it is compared, see gene_regulators.
_CYPHER = f"""{GENES_NAMED}
RETURN {GENE_FIELDS}, COLLECT {{
  MATCH (g)-[e:{PREDICTED_TARGET.name}]->(o:{GENE.label})
  WITH e, o, e.run AS run WHERE run IN $runs AND (e.called OR NOT $called_only)
  WITH e, o, {record("o", GENE)} AS target WHERE target IS NOT NULL
  WITH e, o, target ORDER BY e.rank, o.id, e.run LIMIT $limit
  RETURN [{", ".join(_COLUMNS.values())}]
}} AS targets
"""


@question(parameters=TfTargets, row=FactorTarget)
def tf_targets(parameters: TfTargets, scope: Scope) -> Plan[Result]:
    """Which genes does this transcription factor regulate, and by way of which peaks?

    Genes whose linked peaks hold more sites of the factor (motif hits or ChIP-seq) than random peaks would, best rank
    first. Answered by runs of `regkg runs targets`; where none is served there is no row.
    """
    rows = yield Query(_CYPHER, {**gene_parameters(parameters.tf), **ranked_parameters(parameters, scope)})
    row = yield from only_gene(rows, parameters.tf, scope)
    return ranked_answer(row["targets"], _COLUMNS, FactorTarget, parameters, scope, row["gene"])
