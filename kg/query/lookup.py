"""Finding what people name: a gene by Ensembl id or symbol, a peak by id, a region by coordinates."""

from __future__ import annotations

import difflib
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from kg.errors import ParameterError, UnknownGene, UnknownPeak
from kg.query.plan import Plan, Query, Row
from kg.query.scope import Scope, record, valid
from kg.schema import GENE, PEAK

if TYPE_CHECKING:
    from collections.abc import Mapping

_VERSION = re.compile(r"\.\d+$")
_INTERVAL = re.compile(r"(?:(?P<assembly>[^:]+):)?(?P<chrom>[^:]+):(?P<start>[\d,]+)-(?P<end>[\d,]+)")

# Rows (g, found) of the genes that $gene_id or $symbol names; callers go on from there.
GENES_NAMED = f"""
WITH COLLECT {{
  MATCH (g:{GENE.label} {{id: $gene_id}}) RETURN g
  UNION
  MATCH (g:{GENE.label})-[:HAS_RECORD]->(r:{GENE.record_label} {{symbol: $symbol}}) WHERE {valid("r")} RETURN g
}} AS named
UNWIND named AS g
WITH g, {record("g", GENE)} AS found
WHERE found IS NOT NULL AND (g.id = $gene_id OR found.symbol = $symbol)
"""
GENE_FIELDS = "found {id: g.id, .symbol, .assembly, .chrom, .start, .end, .strand, .tss} AS gene"
_SYMBOLS_LIKE = f"""
MATCH (r:{GENE.record_label}) WHERE {valid("r")} AND toUpper(left(r.symbol, 1)) = toUpper(left($name, 1))
  AND abs(size(r.symbol) - size($name)) <= 2
RETURN DISTINCT r.symbol AS symbol
"""
_PEAKS_AROUND = f"""
MATCH (p:{PEAK.label})-[:HAS_RECORD]->(r:{PEAK.record_label})
WHERE r.chrom = $chrom AND r.start < $end + 100000 AND r.end > $start - 100000 AND {valid("r")}
RETURN DISTINCT p.id AS id, abs(r.start - $start) AS off ORDER BY off, id LIMIT 3
"""


@dataclass(frozen=True)
class Region:
    """An interval, 0-based half-open; `assembly` is None when it was not given."""

    assembly: str | None
    chrom: str
    start: int
    end: int


def gene_parameters(name: str) -> dict[str, Any]:
    """Return the parameters of GENES_NAMED: an id matches with or without its version, a symbol as it is written."""
    return {"gene_id": _VERSION.sub("", name), "symbol": name}


def only_gene(rows: list[Row], name: str, scope: Scope) -> Plan[Row]:
    """Return the one row that GENES_NAMED found.

    Raises:
        UnknownGene: none, with symbols that look alike.
        ParameterError: several genes carry the symbol.
    """
    if len(rows) == 1:
        return rows[0]
    if rows:
        ids = ", ".join(sorted(row["gene"]["id"] for row in rows))
        raise ParameterError(f"the symbol {name!r} names {len(rows)} genes", hint=f"ask by id: {ids}")
    near = yield Query(_SYMBOLS_LIKE, {"name": name, "release": scope.release})
    symbols = {row["symbol"].upper(): row["symbol"] for row in near}
    alike = [symbols[s] for s in difflib.get_close_matches(name.upper(), sorted(symbols), n=3, cutoff=0.6)]
    hint = f"did you mean {' or '.join(alike)}?" if alike else "genes are named by Ensembl id or by symbol"
    raise UnknownGene(f"no gene has the id or symbol {name!r} at release {scope.release}", hint)


def only_peak(rows: list[Row], name: str, scope: Scope) -> Plan[Row]:
    """Return the one row that a query by peak id found.

    Raises:
        UnknownPeak: none, with the peaks nearest to it.
    """
    if rows:
        return rows[0]
    interval = _INTERVAL.fullmatch(name)
    near = []
    if interval:
        where = _interval(interval)
        near = yield Query(
            _PEAKS_AROUND,
            {"chrom": where.chrom, "start": where.start, "end": where.end, "release": scope.release},
        )
    hint = f"near it: {', '.join(row['id'] for row in near)}" if near else "peaks are named assembly:chrom:start-end"
    raise UnknownPeak(f"no peak has the id {name!r} at release {scope.release}", hint)


def region(text: str) -> Region:
    """Read chrom:start-end or assembly:chrom:start-end, 0-based half-open; commas are fine, chr is added.

    Raises:
        ParameterError: not of this form, or empty, or reversed.
    """
    match = _INTERVAL.fullmatch(text.strip())
    if match is None:
        raise ParameterError(
            f"region {text!r} is not chrom:start-end", hint="write it like chr1:183,550,000-183,620,000"
        )
    parsed = _interval(match)
    if parsed.end <= parsed.start:
        raise ParameterError(f"region {text!r} is empty: end {parsed.end} is not greater than start {parsed.start}")
    return parsed


def _interval(match: re.Match[str]) -> Region:
    parts: Mapping[str, str | None] = match.groupdict()
    chrom = str(parts["chrom"])
    known = chrom if chrom.startswith("chr") else f"chr{'M' if chrom == 'MT' else chrom}"
    start, end = (int(str(parts[name]).replace(",", "")) for name in ("start", "end"))
    return Region(parts["assembly"], known, start, end)
