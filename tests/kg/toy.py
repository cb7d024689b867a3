"""A few genes, peaks and predictions, for the tests of the store and for the children that they kill."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from kg import runs
from kg.evidence.draft import Snapshot, Source, open_draft
from kg.runs.outputs import FeatureEmbedding
from kg.runs.predictions import Predictions
from kg.schema import GENE, NEAR, PEAK, PREDICTED_LINK
from kg.schema.batches import EdgeBatch, NodeBatch

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

    from kg.evidence.row_diff import Changes
    from kg.store import Store

GENES = Source("genes:toy", "genes", licence="CC0", citation="made here")
PEAKS = Source("peaks:toy", "peaks", licence="CC0", citation="made here")
NEARS = Source("proximity:toy", "proximity", derived=True, looked_up=("Gene", "Peak"))
METRICS = {"foscttm": 0.1}
OTHER = Source("links:toy", "links", looked_up=("Gene", "Peak"))


def genes(symbols: Mapping[str, str]) -> NodeBatch:
    n = len(symbols)
    return NodeBatch.build(
        GENE,
        id=list(symbols),
        symbol=list(symbols.values()),
        species="NCBITaxon:9606",
        assembly="GRCh38",
        chrom="chr1",
        start=[1000 * i for i in range(n)],
        end=[1000 * i + 500 for i in range(n)],
        strand="+",
        tss=[1000 * i for i in range(n)],
        biotype="protein_coding",
    )


def peaks(starts: Sequence[int]) -> NodeBatch:
    return NodeBatch.build(
        PEAK,
        id=[peak_id(s) for s in starts],
        assembly="GRCh38",
        chrom="chr1",
        start=list(starts),
        end=[s + 100 for s in starts],
        summit=[s + 50 for s in starts],
    )


def peak_id(start: int) -> str:
    return f"GRCh38:chr1:{start}-{start + 100}"


def near(pairs: Sequence[tuple[int, str]], distance_bp: int = 0) -> EdgeBatch:
    return EdgeBatch.build(
        NEAR,
        start_id=[peak_id(start) for start, _ in pairs],
        end_id=[gene for _, gene in pairs],
        distance_bp=[distance_bp] * len(pairs),
        tss_distance_bp=[distance_bp] * len(pairs),
    )


def snapshot(tag: str) -> Snapshot:
    return Snapshot((tag,), "toy@1")


def load(store: Store, source: Source, batch: NodeBatch | EdgeBatch, tag: str = "one", **options: Any) -> Changes:
    with open_draft(store, "test") as draft:
        return draft.load(source, snapshot(tag), [batch], **options)


def load_world(store: Store) -> None:
    """Three genes, three peaks, and NEAR between the first two."""
    load(store, GENES, genes({"G1": "ALPHA", "G2": "BETA", "G3": "GAMMA"}))
    load(store, PEAKS, peaks([0, 2000, 5000]))
    load(store, NEARS, near([(0, "G1"), (2000, "G2")]))


def vectors() -> NDArray[np.float32]:
    return np.arange(6, dtype=np.float32).reshape(3, 2)


def made(score: float = 0.5) -> Predictions:
    links = EdgeBatch.build(
        PREDICTED_LINK,
        start_id=[peak_id(0), peak_id(2000)],
        end_id=["G1", "G2"],
        score=[score, -score],
        score_kind="cosine",
        p_value=[0.01, 0.9],
        q_value=[0.02, 0.9],
        sign=[1, -1],
        called=[True, False],
    )
    return Predictions([links], FeatureEmbedding(["G1", "G2", peak_id(0)], ["Gene", "Gene", "Peak"], vectors()))


def registered(store: Store, cells: str = "cortex") -> str:
    about = runs.Registration("glue", cells, 1, 0, 1, {"epochs": 3}, "abc", "v1", {"genes:toy": "00"})
    return runs.register(store, about)


def rows_of(store: Store, run_id: str) -> tuple[int, int]:
    links = store.read("MATCH ()-[e:PREDICTED_LINK {run: $run}]->() RETURN count(e) AS n", run=run_id)
    vectors = store.read("MATCH ()-[:HAS_EMBEDDING]->(e:Embedding {run: $run}) RETURN count(e) AS n", run=run_id)
    return links[0]["n"], vectors[0]["n"]
