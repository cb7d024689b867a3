"""The history of one peak-gene pair over all runs: what each run predicted, on what evidence, and why it changed."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import pandas as pd

from kg import runs
from kg.errors import UnknownGene, UnknownPeak
from kg.run_diff.comparison import compare, join_links
from kg.run_diff.inputs import evidence_between, links, noise_of, settings_between
from kg.schema import EDGE_TYPES, GENE, PEAK, PREDICTED_LINK, Kind
from kg.schema.batches import EdgeBatch

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from kg.runs import Run
    from kg.store import Store

_TYPES = [
    t for t in EDGE_TYPES.values() if (t.start, t.end) == (PEAK.label, GENE.label) and t.kind is not Kind.PREDICTED
]
_PREDICTED = ("score", "stability", "q_value", "sign", "called")
_GENE = f"""
MATCH (g:{GENE.label})-[:HAS_RECORD]->(r:{GENE.record_label}) WHERE g.id = $gene OR r.symbol = $gene
RETURN g.id AS id, head(collect(r.symbol)) AS symbol, max(r.until) AS until ORDER BY until DESC, id LIMIT 1
"""
_ROWS = f"""
MATCH (p:{PEAK.label} {{id: $peak}})-[e:{"|".join(t.name for t in _TYPES)}]->(g:{GENE.label} {{id: $gene}})
RETURN type(e) AS type, e {{.*}} AS row ORDER BY type, e.dataset, e.edge_id, e.since
"""


@dataclass(frozen=True)
class Asserted:
    """An evidence row of the pair itself, as it is in a release.

    Attributes:
        type, dataset, row_id: which row.
        since: the release that brought it.
        columns: its values.
    """

    type: str
    dataset: str
    row_id: str
    since: int
    columns: Mapping[str, Any]


@dataclass(frozen=True)
class Moved:
    """How the pair moved since another run: columns of `RunDiff.rows`, None where a value is missing."""

    since: str
    change: str
    cause: str
    shift: float | None
    spread: float | None
    q: float | None
    dataset: str | None
    hops: int | None
    rows: int | None
    row_change: str | None
    row_type: str | None
    row_id: str | None


@dataclass(frozen=True)
class RunEntry:
    """What one run predicted for the pair.

    Attributes:
        run, slot, release, started_at: which run, on which release.
        published_at: when it was first served, and each time a publication brought it back.
        score, stability, q_value, sign, called: of the pair; None where the run did not score it.
        evidence: rows of the pair at that release, held-out truth included.
        moved: since its parent or, failing that, the previous run of the slot; None for the first run.
    """

    run: str
    slot: str
    release: int
    started_at: str
    published_at: Sequence[str]
    score: float | None
    stability: float | None
    q_value: float | None
    sign: int | None
    called: bool | None
    evidence: Sequence[Asserted] = field(default_factory=tuple)
    moved: Moved | None = None


@dataclass(frozen=True)
class LinkHistory:
    """A pair over all complete runs, oldest first; `edge_id` is that of its predictions."""

    peak: str
    gene: str
    symbol: str
    edge_id: str
    chapters: Sequence[RunEntry]


def link_history(store: Store, home: Path, peak: str, gene: str) -> LinkHistory:
    """Return the history of one pair over all complete runs.

    Args:
        store: the graph.
        home: REGKG_HOME, where runs keep their Parquet.
        peak: id, assembly:chrom:start-end.
        gene: Ensembl id or symbol, from any release.

    Raises:
        UnknownPeak, UnknownGene: no release ever had it.
    """
    genes = store.read(_GENE, gene=gene)
    if not genes:
        raise UnknownGene(f"no release has a gene {gene!r}", "name it by Ensembl id or by symbol")
    if not store.read(f"MATCH (p:{PEAK.label} {{id: $peak}}) RETURN p.id AS id", peak=peak):
        raise UnknownPeak(f"no release has a peak {peak!r}", "peaks are named assembly:chrom:start-end")
    gene_id = genes[0]["id"]
    edge_id = _edge_id(peak, gene_id)
    evidence_rows = store.read(_ROWS, peak=peak, gene=gene_id)
    served = _publications(store)
    entries: list[RunEntry] = []
    earlier: list[Run] = []
    for run in reversed([r for r in runs.runs(store) if r.outcome == "complete"]):
        own_links = links(store, home, run).set_index("edge_id", drop=False)
        predecessor = _before(run, earlier)
        moved = None
        if predecessor is not None:
            moved = _moved(store, predecessor, links(store, home, predecessor), run, own_links, edge_id)
        predicted = {name: _plain(own_links[name].get(edge_id)) for name in _PREDICTED}
        evidence = [_asserted(row) for row in evidence_rows if row["row"]["since"] <= run.release < row["row"]["until"]]
        entries.append(
            RunEntry(
                run.id,
                run.slot,
                run.release,
                run.started_at,
                served.get(run.id, []),
                **predicted,
                evidence=evidence,
                moved=moved,
            )
        )
        earlier.append(run)
    return LinkHistory(peak, gene_id, genes[0]["symbol"], edge_id, entries)


def _edge_id(peak: str, gene: str) -> str:
    blank: dict[str, Any] = {"score": 0.0, "score_kind": "", "p_value": 1.0, "q_value": 1.0, "sign": 1, "called": False}
    return EdgeBatch.build(PREDICTED_LINK, start_id=[peak], end_id=[gene], **blank).edge_ids[0]


def _before(run: Run, earlier: Sequence[Run]) -> Run | None:
    """Return the parent where it is complete, otherwise the last earlier run of the slot."""
    parent = next((r for r in earlier if r.id == run.parent), None)
    return parent or next((r for r in reversed(earlier) if r.slot == run.slot), None)


def _moved(store: Store, a: Run, links_a: pd.DataFrame, b: Run, links_b: pd.DataFrame, edge_id: str) -> Moved | None:
    """Return the pair's row of the diff of two runs; None where neither scored it."""
    both = join_links(links_a, links_b.reset_index(drop=True))
    if not both["edge_id"].eq(edge_id).any():
        return None
    rows = compare(both, noise_of(both, a, b), evidence_between(store, a, b), settings_between(store, a, b)).rows
    row = rows[rows["edge_id"] == edge_id].iloc[0]
    names = ("change", "cause", "shift", "spread", "q", "dataset", "hops", "rows", "row_change", "row_type", "row_id")
    return Moved(a.id, **{name: _plain(row[name]) for name in names})


def _publications(store: Store) -> dict[str, list[str]]:
    """Return for each run when publications began to serve it."""
    began: dict[str, list[str]] = {}
    served_before: set[str] = set()
    for row in store.read("MATCH (p:Publication) RETURN p.runs AS runs, toString(p.at) AS at ORDER BY p.number"):
        serving = set(json.loads(row["runs"]).values())
        for run in serving - served_before:
            began.setdefault(run, []).append(row["at"])
        served_before = serving
    return began


def _asserted(row: Mapping[str, Any]) -> Asserted:
    stored = row["row"]
    names = EDGE_TYPES[row["type"]].schema.names[2:]
    return Asserted(
        row["type"], stored["dataset"], stored["edge_id"], stored["since"], {n: stored.get(n) for n in names}
    )


def _plain(value: Any) -> Any:
    """Return a cell as a plain Python value; a missing one as None."""
    if pd.isna(value):
        return None
    return value.item() if hasattr(value, "item") else value
