"""What does our model say of a gene's peaks, beside other programs and evidence?"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import groupby
from typing import Any

from kg.parameters import param
from kg.query.lookup import GENE_FIELDS, GENES_NAMED, gene_parameters, only_gene
from kg.query.plan import Plan, Query
from kg.query.registry import Parameters, Result, question
from kg.query.scope import Scope, record, valid
from kg.schema import CONTACTS, EQTL, EXTERNAL_LINK, NEAR, PEAK, PERTURBS, PREDICTED_LINK


@dataclass(frozen=True, kw_only=True)
class CompareLinks(Parameters):
    """Which gene, and how much of the answer."""

    gene: str = param("Ensembl id, with or without version, or symbol", example="NCF2")
    limit: int = param("peaks at most", 50, low=1, high=1000)


@dataclass(frozen=True)
class Support:
    """What one source says of a pair.

    Attributes:
        dataset: that says so.
        by: the program of an external link, the score of a contact, the kind of an eQTL.
        biosample: CURIE or text; empty when it is not known.
        score: of its best row; scores of different sources cannot be compared.
        score_kind: what the score is.
        passes: whether the score reaches the program's threshold; null where none is stated.
        rows: how many it has of the pair, such as several elements, baits or variants.
    """

    dataset: str
    by: str
    biosample: str
    score: float
    score_kind: str
    passes: bool | None
    rows: int


@dataclass(frozen=True)
class LinkCompared:
    """A peak that a run, another program or evidence links to the gene.

    Attributes:
        peak: id, assembly:chrom:start-end.
        chrom, start, end: of the peak, 0-based half-open.
        distance_bp: from the gene by the rule of the NEAR dataset; 0 when they overlap; null where there is none.
        score: of the best served run; null where none looked at the pair.
        q_value: of that run.
        sign: of that run, +1 activates, -1 represses.
        called: that run called the link.
        in_prior: evidence that guided that run joins the pair; false where it was only near enough to be tried.
        run: that says so.
        external: what other programs say.
        contacts: that the peak touches the gene's promoter.
        eqtl: variants in the peak that go with the gene's expression.
        perturbed: CRISPRi found an effect of the peak on the gene (true), or none (false); null where nobody tried.
    """

    peak: str
    chrom: str
    start: int
    end: int
    distance_bp: int | None
    score: float | None
    q_value: float | None
    sign: int | None
    called: bool | None
    in_prior: bool | None
    run: str | None
    external: list[Support]
    contacts: list[Support]
    eqtl: list[Support]
    perturbed: bool | None


_BY = {EXTERNAL_LINK.name: "model", CONTACTS.name: "score_kind", EQTL.name: "kind"}
_EVIDENCE = [*_BY, PERTURBS.name]
_OURS = ("run", "score", "score_kind", "q_value", "sign", "called", "in_prior")
_EDGE = ", ".join(f".{c}" for c in (*_OURS, "dataset", "biosample", "threshold", "model"))
# Runs are named anew before they are compared, see gene_regulators.
_CYPHER = f"""{GENES_NAMED}
RETURN {GENE_FIELDS}, COLLECT {{
  MATCH (p:{PEAK.label})-[e:{"|".join([PREDICTED_LINK.name, *_EVIDENCE])}]->(g)
  WITH p, e, e.run AS run
  WHERE run IN $runs OR (type(e) <> '{PREDICTED_LINK.name}' AND {valid("e")})
  WITH p, collect(e {{{_EDGE}, .kind, .significant, type: type(e)}}) AS edges
  WITH p, edges, {record("p", PEAK)} AS peak WHERE peak IS NOT NULL
  WITH p, peak, edges, head(COLLECT {{
    MATCH (p)-[n:{NEAR.name}]->(g) WHERE {valid("n")} RETURN n.distance_bp ORDER BY n.dataset LIMIT 1
  }}) AS distance_bp
  RETURN [p.id, peak.chrom, peak.start, peak.end, distance_bp, edges]
}} AS peaks
"""


@question(parameters=CompareLinks, row=LinkCompared)
def compare_links(parameters: CompareLinks, scope: Scope) -> Plan[Result]:
    """What do we, other programs and evidence say of the peaks around this gene?

    One row a peak that a served run looked at, or that an external link, a contact, an eQTL or a CRISPRi test links to
    the gene; our best score first, then those that no run looked at. CRISPRi is shown to be compared with, it trains
    nothing.
    """
    rows = yield Query(_CYPHER, {**gene_parameters(parameters.gene), "release": scope.release, "runs": scope.run_ids})
    row = yield from only_gene(rows, parameters.gene, scope)
    links = sorted((_compared(*peak) for peak in row["peaks"]), key=_order)
    return Result(links[: parameters.limit], row["gene"], truncated=len(links) > parameters.limit)


def _order(link: LinkCompared) -> tuple[bool, float, str]:
    return link.score is None, -(link.score or 0.0), link.peak


def _compared(
    peak: str, chrom: str, start: int, end: int, distance_bp: int | None, edges: list[dict[str, Any]]
) -> LinkCompared:
    predicted = [e for e in edges if e["type"] == PREDICTED_LINK.name]
    best: dict[str, Any] = min(predicted, key=lambda e: (-e["score"], e["run"]), default={})
    tested = [e["significant"] for e in edges if e["type"] == PERTURBS.name]
    supports = {name: _supports([e for e in edges if e["type"] == name], by) for name, by in _BY.items()}
    return LinkCompared(
        peak=peak,
        chrom=chrom,
        start=start,
        end=end,
        distance_bp=distance_bp,
        **{name: best.get(name) for name in ("score", "q_value", "sign", "called", "run")},
        in_prior=best["in_prior"] is not False if best else None,
        external=supports[EXTERNAL_LINK.name],
        contacts=supports[CONTACTS.name],
        eqtl=supports[EQTL.name],
        perturbed=any(tested) if tested else None,
    )


def _supports(edges: list[dict[str, Any]], by: str) -> list[Support]:
    """Return one for each source; of several rows the best score counts."""

    def source(edge: dict[str, Any]) -> tuple[str, str, str, str]:
        return edge["dataset"], edge[by], edge["biosample"], edge["score_kind"]

    supports = []
    for (dataset, said_by, biosample, kind), group in groupby(sorted(edges, key=source), key=source):
        rows = list(group)
        best = max(rows, key=lambda e: (e["score"], e["threshold"] is not None))
        passes = None if best["threshold"] is None else best["score"] >= best["threshold"]
        supports.append(Support(dataset, said_by, biosample, best["score"], kind, passes, len(rows)))
    return supports
