"""A published world with everything that answers can go wrong on, and the same world as plain dictionaries.

Two releases, two served runs of two slots, a complete run that is not served, a run that is still being
written, nodes asserted by two datasets, two genes of one symbol, a gene and a peak that only release 1 has,
links with equal scores, and links without a NEAR edge.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from kg import runs
from kg.evidence.draft import Snapshot, Source, open_draft
from kg.releases import publish, releases
from kg.runs import predictions
from kg.runs.outputs import FeatureEmbedding
from kg.runs.predictions import Predictions
from kg.schema import GENE, NEAR, PEAK, PREDICTED_LINK
from kg.schema.batches import EdgeBatch, NodeBatch

if TYPE_CHECKING:
    from pathlib import Path

    from kg.store import Store

STATED: dict[str, Any] = {"licence": "CC0", "citation": "made here"}
GENES_A = Source("genes:a", "genes", **STATED)
GENES_B = Source("genes:b", "genes", **STATED)
PEAKS_A = Source("peaks:a", "peaks", **STATED)
PEAKS_B = Source("peaks:b", "peaks", **STATED)
NEAR_A = Source("near:a", "proximity", **STATED)
GENES, PEAKS, DIMS = 14, 40, 5
GONE_GENE, TWINS, SHARED = 13, (3, 4), (0, 1)  # positions of genes with a story


@dataclass
class Published:
    """What the graph holds, by release or by run.

    Attributes:
        genes, peaks: release -> id -> attributes that win there.
        near: release -> (peak, gene) -> distance_bp, tss_distance_bp.
        links: run -> rows of PREDICTED_LINK.
        vectors: run -> node -> its embedding.
        served: ids of the runs served, for the slots glue:cortex and glue:blood.
        unserved, writing: a complete run nobody published, and one that is not complete.
        stale: served runs whose datasets differ in release 2.
    """

    genes: dict[int, dict[str, dict[str, Any]]] = field(default_factory=dict)
    peaks: dict[int, dict[str, dict[str, Any]]] = field(default_factory=dict)
    near: dict[int, dict[tuple[str, str], tuple[int, int]]] = field(default_factory=dict)
    links: dict[str, list[dict[str, Any]]] = field(default_factory=dict)
    vectors: dict[str, dict[str, np.ndarray[Any, Any]]] = field(default_factory=dict)
    served: list[str] = field(default_factory=list)
    unserved: str = ""
    writing: str = ""
    stale: set[str] = field(default_factory=set)


def gene_id(i: int) -> str:
    return f"ENSG{i:011d}"


def peak_id(i: int) -> str:
    chrom, start = f"chr{1 + i % 2}", 500 * i
    return f"GRCh38:{chrom}:{start}-{start + 300}"


def publish_world(store: Store, home: Path) -> Published:
    """Build it through the product's own writers."""
    world, rng = Published(), np.random.default_rng(7)
    pairs = [(p, g) for p in range(PEAKS) for g in range(GENES) if rng.random() < 0.35]
    _release_1(store, world, pairs[::2])
    for cells, used in (("cortex", ["genes:a", "near:a"]), ("blood", ["genes:a"]), ("cortex", ["near:a"])):
        world.served.append(_run(store, home, world, pairs, cells, used, rng))
    world.unserved = world.served.pop()
    for run in world.served:
        runs.publish_run(store, run)
    _release_2(store, world, pairs[::2])
    world.writing = _unfinished(store, pairs, rng)
    world.stale = {world.served[0]}
    return world


def _release_1(store: Store, world: Published, near: list[tuple[int, int]]) -> None:
    kept_genes = [i for i in range(GENES) if i != GONE_GENE]
    _load(store, GENES_A, _genes(kept_genes, "A"))
    _load(store, GENES_B, _genes([*SHARED, GONE_GENE], "B"))
    _load(store, PEAKS_A, _peaks(range(PEAKS - 2)))
    _load(store, PEAKS_B, _peaks([0, PEAKS - 2, PEAKS - 1]))
    kept = [(p, g) for p, g in near if p != PEAKS - 1 and g != GONE_GENE]
    _near(store, world, 1, kept, 10)
    publish(store, "first")
    world.genes[1] = _attributes(_genes(kept_genes, "A")) | _attributes(_genes([GONE_GENE], "B"))
    world.peaks[1] = _attributes(_peaks(range(PEAKS)))


def _release_2(store: Store, world: Published, near: list[tuple[int, int]]) -> None:
    """A gene and a peak go, and distances change; genes:a stays, which is all that the run of `blood` used."""
    _load(store, GENES_B, _genes(SHARED, "B"))
    _load(store, PEAKS_B, _peaks([0, PEAKS - 2]))
    kept = [(p, g) for p, g in near if p != PEAKS - 1 and g != GONE_GENE]
    _near(store, world, 2, kept[:-3], 20)
    publish(store, "second")
    world.genes[2] = {id_: gene for id_, gene in world.genes[1].items() if id_ != gene_id(GONE_GENE)}
    world.peaks[2] = _attributes(_peaks(range(PEAKS - 1)))


def _near(store: Store, world: Published, release: int, pairs: list[tuple[int, int]], step_bp: int) -> None:
    distances = [step_bp * i for i in range(len(pairs))]
    starts, ends = [peak_id(p) for p, _ in pairs], [gene_id(g) for _, g in pairs]
    batch = EdgeBatch.build(
        NEAR, start_id=starts, end_id=ends, distance_bp=distances, tss_distance_bp=[-d for d in distances]
    )
    _load(store, NEAR_A, batch)
    world.near[release] = {(p, g): (d, -d) for p, g, d in zip(starts, ends, distances, strict=True)}


def _run(
    store: Store,
    home: Path,
    world: Published,
    pairs: list[tuple[int, int]],
    cells: str,
    used: list[str],
    rng: np.random.Generator,
) -> str:
    hashes = releases(store)[0].datasets
    about = runs.Registration("glue", cells, 1, 0, 1, {}, "abc", "v1", {d: hashes[d] for d in used})
    run = runs.register(store, about)
    batch = _links(pairs, rng)
    nodes = [gene_id(i) for i in range(GENES - 2)] + [gene_id(GONE_GENE)] + [peak_id(i) for i in range(PEAKS)]
    kinds = ["Gene"] * (GENES - 1) + ["Peak"] * PEAKS
    vectors = rng.normal(size=(len(nodes), DIMS)).astype(np.float32)
    predictions.keep(home, run, Predictions([batch], FeatureEmbedding(nodes, kinds, vectors)), {"foscttm": 0.1})
    runs.write_back(store, home, run)
    rows = batch.table.to_pylist()
    world.links[run] = [{**row, "edge_id": id_, "run": run} for row, id_ in zip(rows, batch.edge_ids, strict=True)]
    world.vectors[run] = dict(zip(nodes, vectors, strict=True))
    return run


def _unfinished(store: Store, pairs: list[tuple[int, int]], rng: np.random.Generator) -> str:
    run = runs.register(store, runs.Registration("glue", "cortex", 2, 0, 1, {}, "abc", "v1", {}))
    made = Predictions([_links(pairs, rng)], FeatureEmbedding([gene_id(0)], ["Gene"], np.ones((1, DIMS), np.float32)))
    predictions.write(store, run, made)
    return run


def _links(pairs: list[tuple[int, int]], rng: np.random.Generator) -> EdgeBatch:
    n = len(pairs)
    q_values = rng.random(n).astype(np.float32)
    return EdgeBatch.build(
        PREDICTED_LINK,
        start_id=[peak_id(p) for p, _ in pairs],
        end_id=[gene_id(g) for _, g in pairs],
        score=rng.integers(-8, 9, n) / 8,  # coarse, so that many are equal
        score_kind="cosine",
        p_value=q_values / 2,
        q_value=q_values,
        sign=rng.choice([-1, 1], n),
        stability=[None if rng.random() < 0.2 else 0.125] * n,
        called=q_values < 0.4,
        in_prior=[(None, True, False)[i % 3] for i in range(n)],
        without_prior=[None if i % 2 else i / 128 for i in range(n)],
        from_cells=[None if i % 5 == 0 else i / 256 for i in range(n)],
    )


def _genes(positions: Any, prefix: str) -> NodeBatch:
    positions = list(positions)
    n = len(positions)
    return NodeBatch.build(
        GENE,
        id=[gene_id(i) for i in positions],
        symbol=["TWIN" if i in TWINS else f"{prefix}GENE{i}.1" if i == 5 else f"{prefix}GENE{i}" for i in positions],
        species="NCBITaxon:9606",
        assembly="GRCh38",
        chrom="chr1",
        start=[1000 * i for i in positions],
        end=[1000 * i + 600 for i in positions],
        strand=["+" if i % 2 else "-" for i in positions],
        tss=[1000 * i for i in positions],
        biotype=["protein_coding"] * n,
    )


def _peaks(positions: Any) -> NodeBatch:
    ids = [peak_id(i) for i in positions]
    starts = [500 * i for i in positions]
    return NodeBatch.build(
        PEAK,
        id=ids,
        assembly="GRCh38",
        chrom=[i.split(":")[1] for i in ids],
        start=starts,
        end=[s + 300 for s in starts],
    )


def _attributes(batch: NodeBatch) -> dict[str, dict[str, Any]]:
    return {row["id"]: row for row in batch.table.to_pylist()}


def _load(store: Store, source: Source, batch: NodeBatch | EdgeBatch) -> None:
    with open_draft(store, "test") as draft:
        draft.load(source, Snapshot((source.dataset,), "toy@1"), [batch])
