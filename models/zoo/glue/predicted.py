"""What a trained model says of a release, as a run writes it."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from kg.files import replaced
from kg.progress import SILENT, Progress
from kg.schema import GENE, PEAK, PREDICTED_LINK
from kg.schema.batches import EdgeBatch
from models.blocks.windows import pairs_in_window, places
from models.contract import CellAnnotation, CellEmbedding, FeatureEmbedding, ScoredPairs
from models.evaluation.feature_correlation import profiles
from models.evaluation.label_transfer import transferred
from models.zoo.glue.candidates import select_candidates

if TYPE_CHECKING:
    from pathlib import Path

    import pandas as pd
    from numpy.typing import NDArray

    from kg.guidance import GuidanceGraph
    from models.contract import Inputs, Output
    from models.evaluation.feature_correlation import FeatureProfiles
    from models.inputs.cells import Cells
    from models.zoo.glue.link_scores import Trained

CANDIDATES = "candidates.parquet"  # in a run's folder: every pair beyond the skeleton, also those not written
_CANDIDATE = pa.schema(
    [("peak", pa.string()), ("gene", pa.string()), ("score", pa.float32()), ("p_value", pa.float32())]
)


def outputs_of(
    inputs: Inputs, cells: Cells, trained: Trained, *, seed: int = 0, progress: Progress = SILENT
) -> tuple[Output, ...]:
    """All that a trained model says of a release.

    Args:
        inputs: that it was trained on.
        cells: of these, as they were trained on.
        trained: the embeddings.
        seed: of the permutations.
        progress: told of the candidates.
    """
    graph, more, window = inputs.guidance, None, inputs.candidates_bp
    if window is not None:
        progress.begin("scoring candidates")
        nodes = inputs.nodes(GENE), inputs.nodes(PEAK)
        inputs.folder.mkdir(parents=True, exist_ok=True)
        more = candidates(graph, trained, nodes, window, inputs.folder, seed=seed)
        progress.end(f"{len(more):,} kept beyond the skeleton")
    seen = profiles(cells, trained.cells) if cells.modalities.keys() <= trained.cells.keys() else None
    links = predicted_links(graph, trained, seed=seed, more=more, seen=seen)
    every = None if window is None else CANDIDATES
    return (ScoredPairs(links, every), embedding_of(graph, trained), *cell_outputs(cells, trained))


def cell_outputs(cells: Cells, trained: Trained) -> list[Output]:
    """The cells of each modality, the labels that their file gave, and those carried from the anchor's cells."""
    made: list[Output] = []
    carried = transferred(cells, trained.cells)
    for name, modality in cells.modalities.items():
        rows = np.searchsorted(trained.vertices, modality.features).clip(max=len(trained.vertices) - 1)
        known = trained.vertices[rows] == modality.features
        vectors = trained.features[0, rows[known]]
        made.append(CellEmbedding(name, modality.obs_names, trained.cells[name], modality.features[known], vectors))
        if modality.labels is not None:
            made.append(CellAnnotation(name, modality.obs_names, "label", modality.labels))
        if name in carried:
            made.append(CellAnnotation(name, modality.obs_names, "transferred_label", *carried[name]))
    return made


def embedding_of(graph: GuidanceGraph, trained: Trained) -> FeatureEmbedding:
    """Vectors of every trained feature that is a node of the graph, by the first member."""
    kind_of = dict(zip(graph.vertices.tolist(), graph.kinds.tolist(), strict=True))
    known = [i for i, vertex in enumerate(trained.vertices.tolist()) if vertex in kind_of]
    ids = trained.vertices[known].tolist()
    return FeatureEmbedding(ids, [kind_of[node] for node in ids], trained.features[0, known])


def predicted_links(
    graph: GuidanceGraph,
    trained: Trained,
    *,
    seed: int = 0,
    more: pd.DataFrame | None = None,
    seen: FeatureProfiles | None = None,
) -> EdgeBatch:
    """Links for every skeleton pair, that is each peak-gene edge of the guidance graph.

    Args:
        graph: that guided the model.
        trained: on it.
        seed: of the permutations.
        more: pairs beyond the skeleton, as `candidates` gives them.
        seen: features over the joint space, for what the cells alone say of each pair.
    """
    links = trained.links(*skeleton(graph), seed=seed)
    own = None if trained.without_prior is None else trained.without_prior[peak_to_gene(graph)][links.index]
    batches = [_batch(links, seen, in_prior=True, without_prior=own)]
    if more is not None:
        batches.append(_batch(more, seen, in_prior=False, without_prior=more["score"].to_numpy()))
    return EdgeBatch.concat(batches)


def _batch(
    links: pd.DataFrame, seen: FeatureProfiles | None, *, in_prior: bool, without_prior: NDArray[Any] | None
) -> EdgeBatch:
    return EdgeBatch.build(
        PREDICTED_LINK,
        start_id=links["source"].to_numpy(dtype=object),
        end_id=links["target"].to_numpy(dtype=object),
        score_kind="cosine",
        p_value=links["p"].to_numpy(),
        q_value=links["q"].to_numpy(),
        in_prior=in_prior,
        without_prior=without_prior,
        from_cells=None if seen is None else seen.correlation(links["source"].tolist(), links["target"].tolist()),
        **{name: links[name].to_numpy() for name in ("score", "sign", "stability", "called")},
    )


def count_candidates(folder: Path) -> int | None:
    """How many pairs beyond the skeleton a run scored, written or not; None where it was not asked to."""
    path = folder / CANDIDATES
    return pq.read_metadata(path).num_rows if path.exists() else None


def skeleton(graph: GuidanceGraph) -> tuple[list[str], list[str]]:
    """Peak and gene of each edge that joins such."""
    chosen = peak_to_gene(graph)
    return graph.vertices[graph.source[chosen]].tolist(), graph.vertices[graph.target[chosen]].tolist()


def peak_to_gene(graph: GuidanceGraph) -> NDArray[np.bool_]:
    """(E,) which edges go from a peak to a gene."""
    chosen: NDArray[np.bool_] = (graph.kinds[graph.source] == PEAK.label) & (graph.kinds[graph.target] == GENE.label)
    return chosen


def add_candidate_peaks(cells: Cells, nodes: tuple[pa.Table, pa.Table], window_bp: int) -> Cells:
    """The same cells, where peaks within a window of a measured gene are explained though no edge joins them to it."""
    features = np.unique(np.concatenate([modality.features for modality in cells.modalities.values()]))
    reached = [peaks for peaks, _ in pairs_in_window(*places(*nodes, features), window_bp)]
    return replace(cells, also=features[np.unique(np.concatenate([*reached, np.array([], np.int64)]))])


def candidates(
    graph: GuidanceGraph, fit: Trained, nodes: tuple[pa.Table, pa.Table], window_bp: int, folder: Path, *, seed: int = 0
) -> pd.DataFrame:
    """Pairs beyond the skeleton that are called or among the best of their gene (`select_candidates`).

    Args:
        graph: that guided the model.
        fit: trained on it.
        nodes: genes and peaks of the release, as `kg.evidence.nodes.read_nodes` gives them.
        window_bp: from the start site of a gene to the nearest base of a peak.
        folder: of the run; every pair is kept there, as Parquet.
        seed: of the permutations, that of `predict`.
    """
    with replaced(folder / CANDIDATES) as path, pq.ParquetWriter(path, _CANDIDATE) as writer:

        def every(block: pd.DataFrame) -> None:
            columns: list[Any] = [block[name].to_numpy() for name in ("source", "target", "score", "p")]
            arrays = [pa.array(c, f.type, from_pandas=True) for c, f in zip(columns, _CANDIDATE, strict=True)]
            writer.write_table(pa.table(arrays, schema=_CANDIDATE))

        blocks = pairs_in_window(*places(*nodes, fit.vertices), window_bp)
        return select_candidates(fit, skeleton(graph), blocks, seed=seed, every=every)
