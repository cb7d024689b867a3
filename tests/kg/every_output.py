"""A run with an output of every kind that the graph holds rows of."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from kg import runs
from kg.evidence.draft import Source
from kg.releases import publish
from kg.runs import predictions
from kg.runs.outputs import CellAnnotation, CellMatrix, Contacts, FeatureEmbedding, GraphNames
from kg.runs.predictions import Predictions
from kg.schema import BIOSAMPLE, CELLS, PREDICTED_CONTACT
from kg.schema.batches import EdgeBatch, NodeBatch
from tests.kg import toy

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from kg.runs.outputs import Output
    from kg.store import Store

ONTOLOGY = Source("biosamples:toy", "biosamples", licence="CC0", citation="made here")
NAMES = GraphNames("cortex", {"B cell": "CL:0000236", "neuron": "CL:0000540"})
ROWS = {"PREDICTED_CONTACT": 2, "ANNOTATED_AS": 2, "IMPUTED_GENE": 2, "IMPUTED_PEAK": 1}
METRICS = {"spearman": 0.5}
NCF2 = "ENSG00000116701"
GENES = {NCF2: "NCF2", "ENSG00000066336": "SPI1", "ENSG00000010610": "CD4"}
PEAKS = [toy.peak_id(start) for start in (0, 2000, 5000)]


def biosamples() -> NodeBatch:
    return NodeBatch.build(BIOSAMPLE, id=list(NAMES.biosamples.values()), name=list(NAMES.biosamples), ontology="CL")


def publish_world(store: Store, home: Path) -> str:
    """A release, a file of cells and a published run, the first of this graph; its id."""
    toy.load(store, toy.GENES, toy.genes(GENES))
    toy.load(store, toy.PEAKS, toy.peaks([0, 2000, 5000]))
    toy.load(store, toy.NEARS, toy.near([(2000, NCF2)]))
    toy.load(store, ONTOLOGY, biosamples())
    publish(store)
    register_cells(store)
    run = written(store, home, list(GENES), PEAKS)
    runs.publish_run(store, run)
    return run


def register_cells(store: Store) -> None:
    """One file, as `kg.cells.register` writes it."""
    store.write(
        f"MERGE (c:{CELLS} {{id: 'cortex/atac'}}) SET c += $properties, c.registered_at = datetime()",
        properties={
            "name": "cortex",
            "modality": "atac",
            "sha256": "00",
            "path": "/cells/atac.h5ad",
            "shape": [4, 3],
            "features_sha256": "01",
            "coverage": 1.0,
            "layers": [],
            "assembly": "GRCh38",
        },
    )


def outputs(folder: Path, genes: Sequence[str], peaks: Sequence[str]) -> list[Output]:
    """Of three genes and three peaks."""
    folder.mkdir(parents=True, exist_ok=True)
    matrix = folder / "imputed.h5ad"
    matrix.write_bytes(b"values by cell")
    contacts = EdgeBatch.build(
        PREDICTED_CONTACT,
        start_id=[peaks[0], peaks[0]],
        end_id=[peaks[1], peaks[2]],
        score=[1.5, -0.25],
        score_kind="log_observed_over_expected",
        resolution_bp=5000,
        distance_bp=[2000, 5000],
        called=[True, False],
    )
    quality = pd.DataFrame(
        {
            "feature": [*genes[:3], peaks[2]],
            "kind": ["Gene", "Gene", "Gene", "Peak"],
            "correlation": [0.75, 0.25, np.nan, 0.5],
            "n": [3, 3, 0, 2],
        }
    )
    return [
        CellAnnotation(
            "atac",
            np.array(["c1", "c2", "c3", "c4"]),
            "transferred_label",
            np.array(["B cell", "neuron", "B cell", "unheard of"]),
            np.array([0.5, 1.0, 1.0, 0.25], np.float32),
        ),
        CellMatrix("atac", "imputed_rna", matrix, quality),
        Contacts(contacts, 5000),
        FeatureEmbedding(
            [*genes[:2], peaks[0]], ["Gene", "Gene", "Peak"], np.array([[1, 0, 0], [1, 1, 0], [0, 0, 1]], np.float32)
        ),
    ]


def kept(store: Store, home: Path, genes: Sequence[str], peaks: Sequence[str]) -> str:
    """Registered, and its outputs kept."""
    run = runs.register(store, runs.Registration("toy", "cortex", 1, 0, 1, {}, "abc", "v1", {}))
    made = Predictions.of(outputs(predictions.run_folder(home, run), genes, peaks), NAMES)
    predictions.keep(home, run, made, METRICS)
    return run


def written(store: Store, home: Path, genes: Sequence[str], peaks: Sequence[str]) -> str:
    """A complete run."""
    return runs.write_back(store, home, kept(store, home, genes, peaks)).id


def counts(store: Store, run: str) -> dict[str, int]:
    """Rows of a run in the graph, by type."""
    rows = store.read("MATCH ()-[e {run: $run}]->() RETURN type(e) AS type, count(e) AS n", run=run)
    return {row["type"]: row["n"] for row in rows}
