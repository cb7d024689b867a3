"""Regulation by transcription factors: which genes a factor could regulate through peaks, from links and a release."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pandas as pd

from kg.errors import NotFound
from kg.progress import SILENT, Progress
from kg.schema import BINDS, GENE, HAS_HIT, MOTIF_OF, PEAK, PREDICTED_LINK, TARGETS, EdgeType

if TYPE_CHECKING:
    from collections.abc import Mapping

    from kg.store import Store

SITES: Mapping[str, tuple[EdgeType, ...]] = {"motifs": (MOTIF_OF, HAS_HIT), "chip": (BINDS,)}
"""Kind of site -> the edge types that locate such sites."""

_OPEN = "{0}.since <= $n AND $n < {0}.until"
_WAYS = {
    "motifs": f"(t:{GENE.label})<-[m:{MOTIF_OF.name}]-()-[h:{HAS_HIT.name}]->(p:{PEAK.label}) "
    f"WHERE {_OPEN.format('m')} AND {_OPEN.format('h')}",
    "chip": f"(t:{GENE.label})-[b:{BINDS.name}]->(p:{PEAK.label}) WHERE {_OPEN.format('b')}",
}
_FACTORS = {
    "motifs": f"(t:{GENE.label})<-[m:{MOTIF_OF.name}]-() WHERE {_OPEN.format('m')}",
    "chip": f"(t:{GENE.label})-[b:{BINDS.name}]->() WHERE {_OPEN.format('b')}",
}


def run_links(store: Store, run_id: str) -> pd.DataFrame:
    """Return all pairs that a run wrote: peak, gene, score, sign, called."""
    columns = ["score", "sign", "called"]
    rows = store.stream(
        f"MATCH (p:{PEAK.label})-[e:{PREDICTED_LINK.name} {{run: $run}}]->(g:{GENE.label}) "
        f"RETURN p.id, g.id, {', '.join(f'e.{c}' for c in columns)}",
        run=run_id,
    )
    return pd.DataFrame(list(rows), columns=["peak", "gene", *columns])


def factor_sites(store: Store, release: int, sites: str, progress: Progress = SILENT) -> dict[str, list[str]]:
    """Return for each factor the peaks that hold a site of it, by motif hits or ChIP-seq, without repeats.

    Args:
        store: the graph.
        release: the release whose rows are read.
        sites: a key of `SITES`.
        progress: where to report each factor.

    Raises:
        NotFound: the release has no sites of this kind.
    """
    factors = [
        row["id"] for row in store.read(f"MATCH {_FACTORS[sites]} RETURN DISTINCT t.id AS id ORDER BY id", n=release)
    ]
    query = f"MATCH (t:{GENE.label} {{id: $tf}}) MATCH {_WAYS[sites]} RETURN DISTINCT p.id"
    progress.begin(f"reading sites by {sites}", len(factors), "factors")
    peaks_by_factor: dict[str, list[str]] = {}
    for tf in factors:
        peaks = [row[0] for row in store.stream(query, tf=tf, n=release)]
        peaks_by_factor |= {tf: peaks} if peaks else {}
        progress.advance()
    progress.end(f"{len(peaks_by_factor):,} factors with a site")
    if not peaks_by_factor:
        needed = " and ".join(t.name for t in SITES[sites])
        raise NotFound(f"release {release} has no {needed} rows", "regkg load motifs, regkg load hits; or chipseq")
    return peaks_by_factor


def curated_targets(store: Store, release: int) -> pd.DataFrame:
    """Return curated pairs (tf, gene), without those known only as repression."""
    rows = store.stream(
        f"MATCH (t:{GENE.label})-[e:{TARGETS.name}]->(g:{GENE.label}) WHERE {_OPEN.format('e')} "
        "AND e.mode <> 'repression' RETURN DISTINCT t.id, g.id",
        n=release,
    )
    return pd.DataFrame(list(rows), columns=["tf", "gene"])
