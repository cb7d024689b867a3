"""Why does no answer name this transcription factor for this gene?"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from kg.errors import UnknownGene
from kg.parameters import param
from kg.query.lookup import GENE_FIELDS, GENES_NAMED, gene_parameters, only_gene
from kg.query.plan import Plan, Query, Row
from kg.query.registry import Parameters, Result, question
from kg.query.scope import Scope, record, valid
from kg.schema import (
    ACCESSIBLE_IN,
    BINDS,
    BIOSAMPLE,
    CONTACTS,
    EQTL,
    GENE,
    HAS_HIT,
    MOTIF_OF,
    NEAR,
    PEAK,
    PREDICTED_LINK,
    SUBCLASS_OF,
    TF,
)

if TYPE_CHECKING:
    from collections.abc import Sequence


@dataclass(frozen=True, kw_only=True)
class WhyNot(Parameters):
    """Which factor and gene, and where."""

    tf: str = param("transcription factor: Ensembl id, with or without version, or symbol", example="SPI1")
    gene: str = param("Ensembl id, with or without version, or symbol", example="NCF2")
    biosample: str | None = param(
        "only peaks that are open in this biosample (CURIE or text) or in a kind of it", None, example="CL:0000576"
    )
    limit: int = param("links shown at most", 10, low=1, high=1000)


@dataclass(frozen=True)
class LinkAt:
    """A link to the gene from a peak that the factor may bind."""

    peak: str
    score: float
    q_value: float
    sign: int
    called: bool
    run: str


@dataclass(frozen=True)
class Stage:
    """One stage of the way from a factor to a gene.

    Attributes:
        stage: gene, tf, motif, site, accessible, reach, scored or called, in this order.
        passed: false at the first that fails, which is the last row.
        found: how many there are: genes, motifs, peaks, at last links.
        sentence: the same in words, with what else is known.
        links: of the last two stages, best score first; those called before others at the last.
    """

    stage: str
    passed: bool
    found: int
    sentence: str
    links: list[LinkAt] = field(default_factory=list)


@dataclass
class _Walk:
    """What has been found on the way so far."""

    parameters: WhyNot
    scope: Scope
    gene: Row = field(default_factory=dict)
    tf: Row = field(default_factory=dict)
    sites: Row = field(default_factory=dict)
    links: list[LinkAt] = field(default_factory=list)

    def query(self, cypher: str, **more: Any) -> Query:
        ids = {"gene": self.gene.get("id"), "tf": self.tf.get("id")}
        return Query(cypher, {"release": self.scope.release, "biosample": self.parameters.biosample, **ids, **more})


REACH = (NEAR.name, CONTACTS.name, EQTL.name)  # what models may score a pair by
_GENE = f"{GENES_NAMED} RETURN {GENE_FIELDS}, {record('g', TF)} IS NOT NULL AS is_tf"
_MOTIFS = f"""
MATCH (t:{GENE.label} {{id: $tf}})
RETURN COLLECT {{ MATCH (t)<-[m:{MOTIF_OF.name}]-(o) WHERE {valid("m")} RETURN DISTINCT o.id ORDER BY o.id }} AS motifs,
  COUNT {{ MATCH (t)-[b:{BINDS.name}]->(p) WHERE {valid("b")} RETURN DISTINCT p }} AS bound
"""
# Evidence joins only peaks that the release has, so a site lies in its peak set.
_SITES = f"""
MATCH (t:{GENE.label} {{id: $tf}})
CALL (t) {{
  MATCH (t)<-[m:{MOTIF_OF.name}]-()-[h:{HAS_HIT.name}]->(p:{PEAK.label}) WHERE {valid("m")} AND {valid("h")} RETURN p
  UNION MATCH (t)-[b:{BINDS.name}]->(p:{PEAK.label}) WHERE {valid("b")} RETURN p
}}
"""
_IS_OPEN = f"""CASE
  WHEN $biosample IS NOT NULL THEN EXISTS {{
    MATCH (p)-[a:{ACCESSIBLE_IN.name}]->(:{BIOSAMPLE.label})
      (()-[s:{SUBCLASS_OF.name}]->() WHERE {valid("s")}){{0,30}} (:{BIOSAMPLE.label} {{id: $biosample}})
    WHERE {valid("a")} }}
  WHEN $measured THEN EXISTS {{ MATCH (p)-[a:{ACCESSIBLE_IN.name}]->() WHERE {valid("a")} }}
  ELSE true END"""
_REACHES = f"EXISTS {{ MATCH (p)-[r:{'|'.join(REACH)}]->(:{GENE.label} {{id: $gene}}) WHERE {valid('r')} }}"
_MEASURED = f"RETURN EXISTS {{ MATCH (:{PEAK.label})-[a:{ACCESSIBLE_IN.name}]->() WHERE {valid('a')} }} AS measured"
_COUNTED = f"""{_SITES}
WITH t, p, {_IS_OPEN} AS open
WITH t, p, open, open AND {_REACHES} AS reaches
RETURN t.id AS tf, count(p) AS sites, sum(toInteger(open)) AS open, collect(CASE WHEN reaches THEN p.id END) AS reaching
"""
_NEAREST = f"""{_SITES}
WITH p WHERE {_IS_OPEN}
WITH p, {record("p", PEAK)} AS at WHERE at.chrom = $chrom AND at.assembly = $assembly
RETURN p.id AS peak,
  CASE WHEN $tss < at.start THEN at.start - $tss WHEN $tss >= at.end THEN $tss - at.end + 1 ELSE 0 END AS distance_bp
ORDER BY distance_bp, peak LIMIT 1
"""
_LINKS = f"""
UNWIND $peaks AS id MATCH (p:{PEAK.label} {{id: id}})-[e:{PREDICTED_LINK.name}]->(:{GENE.label} {{id: $gene}})
WITH p, e, e.run AS run WHERE run IN $runs
RETURN p.id AS peak, e.score AS score, e.q_value AS q_value, e.sign AS sign, e.called AS called, run
ORDER BY score DESC, peak, run
"""


@question(parameters=WhyNot, row=Stage)
def why_not(parameters: WhyNot, scope: Scope) -> Plan[Result]:
    """Why is this factor not among the regulators of this gene?

    Walks from the factor to the gene and stops where the way ends: gene and factor known, a motif of the factor (or
    ChIP-seq), a site of it in a peak, such a peak open, near the gene or linked to it by a contact or eQTL, scored by
    a served run, called. Each stage gives its numbers; when none fails the answer is yes, with the links.
    """
    walk, stages = _Walk(parameters, scope), []
    for step in (_known, _factor, _motif, _site, _accessible, _reach, _scored, _called):
        stage: Stage = yield from step(walk)
        stages.append(stage)
        if not stage.passed:
            break
    last = stages[-1]
    about = {"tf": dict(walk.tf) or None, "answer": "yes" if last.passed else "no", "sentence": last.sentence}
    return Result(
        stages, {**(walk.gene or {"id": parameters.gene}), **about}, truncated=len(walk.links) > parameters.limit
    )


def _known(walk: _Walk) -> Plan[Stage]:
    walk.gene, stage = yield from _named(walk, "gene", walk.parameters.gene)
    return stage


def _factor(walk: _Walk) -> Plan[Stage]:
    walk.tf, stage = yield from _named(walk, "tf", walk.parameters.tf)
    if stage.passed and not walk.tf.pop("is_tf"):
        return _fails("tf", f"no dataset says that {walk.tf['symbol']} is a transcription factor")
    return stage


def _named(walk: _Walk, stage: str, name: str) -> Plan[tuple[Row, Stage]]:
    rows = yield walk.query(_GENE, **gene_parameters(name))
    try:
        row = yield from only_gene(rows, name, walk.scope)
    except UnknownGene as error:
        return {}, _fails(stage, f"{error.message}; {error.hint}")
    gene = row["gene"]
    where = f"{gene['chrom']}:{gene['start']:,}-{gene['end']:,}"
    reached = _passes(stage, 1, f"{gene['symbol']} is {gene['id']}, {where}")
    return ({**gene, "is_tf": row["is_tf"]} if stage == "tf" else gene), reached


def _motif(walk: _Walk) -> Plan[Stage]:
    (row,) = yield walk.query(_MOTIFS)
    motifs, bound, symbol = row["motifs"], row["bound"], walk.tf["symbol"]
    chip = f"; ChIP-seq of it overlaps {_count(bound, 'peak')}" if bound else ""
    if motifs:
        shown = ", ".join(motifs[:5]) + (", ..." if len(motifs) > 5 else "")
        return _passes("motif", len(motifs), f"{symbol} has {_count(len(motifs), 'motif')}: {shown}{chip}")
    none = f"no motif is known for {symbol}"
    return Stage("motif", bool(bound), 0, none + (chip or ", and no ChIP-seq of it is loaded"))


def _site(walk: _Walk) -> Plan[Stage]:
    (row,) = yield walk.query(_MEASURED)
    measured = row["measured"]
    rows = yield walk.query(_COUNTED, measured=measured)
    if rows:
        walk.sites, n = {**rows[0], "measured": measured}, rows[0]["sites"]
        return _passes("site", n, f"{_count(n, 'peak')} hold a site of {walk.tf['symbol']}, by motif or ChIP-seq")
    return _fails("site", f"no peak holds a hit of a motif of {walk.tf['symbol']}; were hits loaded?")


def _accessible(walk: _Walk) -> Plan[Stage]:
    yield from ()
    n, of, biosample = walk.sites["open"], walk.sites["sites"], walk.parameters.biosample
    if biosample is None and not walk.sites["measured"]:
        sentence = "the release has no accessibility data, so every peak of its peak set counts as open"
        return _passes("accessible", n, sentence)
    where = biosample or "any biosample"
    return Stage("accessible", n > 0, n, f"{n:,} of the {_count(of, 'peak')} with a site are open in {where}")


def _reach(walk: _Walk) -> Plan[Stage]:
    n, symbol = len(walk.sites["reaching"]), walk.gene["symbol"]
    if n:
        sentence = f"{n:,} of them lie near {symbol}, or a contact or an eQTL links them to it"
        return _passes("reach", n, sentence)
    where = {name: walk.gene[name] for name in ("chrom", "assembly", "tss")}
    nearest = yield walk.query(_NEAREST, measured=walk.sites["measured"], **where)
    sentence = f"none of them lies within the window of {symbol}, and no contact or eQTL links one to it"
    if nearest:
        at = nearest[0]
        return _fails("reach", f"{sentence}; the nearest, {at['peak']}, is {at['distance_bp']:,} bp from its TSS")
    return _fails("reach", f"{sentence}; none lies on {walk.gene['chrom']}")


def _scored(walk: _Walk) -> Plan[Stage]:
    if not walk.scope.runs:
        return _fails("scored", "no run is served; train one, or name one")
    peaks, runs = walk.sites["reaching"], walk.scope.run_ids
    rows = yield walk.query(_LINKS, peaks=peaks, runs=runs)
    walk.links = [LinkAt(**row) for row in rows]
    n, named = len(rows), ", ".join(runs)
    if not n:
        why = "they were not in its cells, or were loaded later"
        return _fails("scored", f"{named} scored none of these peaks with {walk.gene['symbol']}: {why}")
    sentence = f"{_count(n, 'link')} from {_count(len({r['peak'] for r in rows}), 'peak')} were scored by {named}"
    return _passes("scored", n, sentence, walk.links[: walk.parameters.limit])


def _called(walk: _Walk) -> Plan[Stage]:
    yield from ()
    called = [link for link in walk.links if link.called]
    best = (called or walk.links)[0]
    numbers = f"{best.peak}, has score {best.score:.3f} at q {best.q_value:.3g} in {best.run}"
    if called:
        sentence = f"yes: {_count(len(called), 'link')} to {walk.gene['symbol']} called; the best, {numbers}"
        return _passes("called", len(called), sentence, called[: walk.parameters.limit])
    sentence = f"no link passed its run's threshold: the best, {numbers}"
    return _fails("called", sentence, walk.links[: walk.parameters.limit])


def _passes(stage: str, found: int, sentence: str, links: Sequence[LinkAt] = ()) -> Stage:
    return Stage(stage, passed=True, found=found, sentence=sentence, links=list(links))


def _fails(stage: str, sentence: str, links: Sequence[LinkAt] = ()) -> Stage:
    return Stage(stage, passed=False, found=0, sentence=sentence, links=list(links))


def _count(n: int, what: str) -> str:
    return f"{n:,} {what}{'' if n == 1 else 's'}"
