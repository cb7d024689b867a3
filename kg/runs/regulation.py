"""What a run's links and a release say of transcription factors: which genes they could regulate by way of peaks."""

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
"""What counts as a site -> the edge types that say where sites are."""

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
    """All pairs that a run wrote: peak, gene, score, sign, called."""
    columns = ["score", "sign", "called"]
    rows = store.stream(
        f"MATCH (p:{PEAK.label})-[e:{PREDICTED_LINK.name} {{run: $run}}]->(g:{GENE.label}) "
        f"RETURN p.id, g.id, {', '.join(f'e.{c}' for c in columns)}",
        run=run_id,
    )
    return pd.DataFrame(list(rows), columns=["peak", "gene", *columns])


def factor_sites(store: Store, release: int, sites: str, progress: Progress = SILENT) -> dict[str, list[str]]:
    """Factor -> peaks that hold a site of it, by motif hits or ChIP-seq; one factor after another, none held twice.

    Args:
        store: the graph.
        release: whose rows are read.
        sites: a key of `SITES`.
        progress: told of each factor.

    Raises:
        NotFound: the release says of no peak that it holds a site.
    """
    factors = [
        row["id"] for row in store.read(f"MATCH {_FACTORS[sites]} RETURN DISTINCT t.id AS id ORDER BY id", n=release)
    ]
    query = f"MATCH (t:{GENE.label} {{id: $tf}}) MATCH {_WAYS[sites]} RETURN DISTINCT p.id"
    progress.begin(f"reading sites by {sites}", len(factors), "factors")
    found: dict[str, list[str]] = {}
    for tf in factors:
        peaks = [row[0] for row in store.stream(query, tf=tf, n=release)]
        found |= {tf: peaks} if peaks else {}
        progress.advance()
    progress.end(f"{len(found):,} factors with a site")
    if not found:
        needed = " and ".join(t.name for t in SITES[sites])
        raise NotFound(f"release {release} has no {needed} rows", "regkg load motifs, regkg load hits; or chipseq")
    return found


def curated_targets(store: Store, release: int) -> pd.DataFrame:
    """Pairs tf, gene that curators say of, but for those that they only know as repression."""
    rows = store.stream(
        f"MATCH (t:{GENE.label})-[e:{TARGETS.name}]->(g:{GENE.label}) WHERE {_OPEN.format('e')} "
        "AND e.mode <> 'repression' RETURN DISTINCT t.id, g.id",
        n=release,
    )
    return pd.DataFrame(list(rows), columns=["tf", "gene"])
