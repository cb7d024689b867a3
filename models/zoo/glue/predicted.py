"""The outputs of a trained model on a release, as a run writes them."""

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

CANDIDATES = "candidates.parquet"  # in a run's folder: every pair beyond the skeleton, including those not written
_CANDIDATE = pa.schema(
    [("peak", pa.string()), ("gene", pa.string()), ("score", pa.float32()), ("p_value", pa.float32())]
)


def outputs_of(
    inputs: Inputs, cells: Cells, trained: Trained, *, seed: int = 0, progress: Progress = SILENT
) -> tuple[Output, ...]:
    """Return all outputs of a trained model on a release.

    Args:
        inputs: what it was trained on.
        cells: the cells of these inputs, as they were trained on.
        trained: the embeddings.
        seed: of the permutations.
        progress: where to report the scoring of candidates.
    """
    graph, extra_links, window = inputs.guidance, None, inputs.candidates_bp
    if window is not None:
        progress.begin("scoring candidates")
        nodes = inputs.nodes(GENE), inputs.nodes(PEAK)
        inputs.folder.mkdir(parents=True, exist_ok=True)
        extra_links = score_candidates(graph, trained, nodes, window, inputs.folder, seed=seed)
        progress.end(f"{len(extra_links):,} kept beyond the skeleton")
    feature_profiles = profiles(cells, trained.cells) if cells.modalities.keys() <= trained.cells.keys() else None
    links = predicted_links(graph, trained, seed=seed, candidates=extra_links, feature_profiles=feature_profiles)
    every = None if window is None else CANDIDATES
    return (ScoredPairs(links, every), embedding_of(graph, trained), *cell_outputs(cells, trained))


def cell_outputs(cells: Cells, trained: Trained) -> list[Output]:
    """Return the cells of each modality, the labels in their file, and those transferred from the anchor's cells."""
    outputs: list[Output] = []
    transferred_labels = transferred(cells, trained.cells)
    for name, modality in cells.modalities.items():
        rows = np.searchsorted(trained.vertices, modality.features).clip(max=len(trained.vertices) - 1)
        known = trained.vertices[rows] == modality.features
        vectors = trained.features[0, rows[known]]
        outputs.append(CellEmbedding(name, modality.obs_names, trained.cells[name], modality.features[known], vectors))
        if modality.labels is not None:
            outputs.append(CellAnnotation(name, modality.obs_names, "label", modality.labels))
        if name in transferred_labels:
            outputs.append(CellAnnotation(name, modality.obs_names, "transferred_label", *transferred_labels[name]))
    return outputs


def embedding_of(graph: GuidanceGraph, trained: Trained) -> FeatureEmbedding:
    """Return the vectors of every trained feature that is a node of the graph, from the first member."""
    kind_of = dict(zip(graph.vertices.tolist(), graph.kinds.tolist(), strict=True))
    known = [i for i, vertex in enumerate(trained.vertices.tolist()) if vertex in kind_of]
    ids = trained.vertices[known].tolist()
    return FeatureEmbedding(ids, [kind_of[node] for node in ids], trained.features[0, known])


def predicted_links(
    graph: GuidanceGraph,
    trained: Trained,
    *,
    seed: int = 0,
    candidates: pd.DataFrame | None = None,
    feature_profiles: FeatureProfiles | None = None,
) -> EdgeBatch:
    """Return links for every skeleton pair, that is each peak-gene edge of the guidance graph, and candidates.

    Args:
        graph: the graph that guided the model.
        trained: the embeddings.
        seed: of the permutations.
        candidates: pairs beyond the skeleton, from `score_candidates`.
        feature_profiles: features over the joint space, for the score of each pair from cells alone.
    """
    links = trained.links(*skeleton(graph), seed=seed)
    own = None if trained.without_prior is None else trained.without_prior[peak_to_gene(graph)][links.index]
    batches = [_batch(links, feature_profiles, in_prior=True, without_prior=own)]
    if candidates is not None:
        beyond = candidates["score"].to_numpy()
        batches.append(_batch(candidates, feature_profiles, in_prior=False, without_prior=beyond))
    return EdgeBatch.concat(batches)


def _batch(
    links: pd.DataFrame, feature_profiles: FeatureProfiles | None, *, in_prior: bool, without_prior: NDArray[Any] | None
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
        from_cells=None
        if feature_profiles is None
        else feature_profiles.correlation(links["source"].tolist(), links["target"].tolist()),
        **{name: links[name].to_numpy() for name in ("score", "sign", "stability", "called")},
    )


def count_candidates(folder: Path) -> int | None:
    """Return how many pairs beyond the skeleton a run scored, written or not; None if it did not score any."""
    path = folder / CANDIDATES
    return pq.read_metadata(path).num_rows if path.exists() else None


def skeleton(graph: GuidanceGraph) -> tuple[list[str], list[str]]:
    """Return the peak and the gene of each edge that joins the two."""
    chosen = peak_to_gene(graph)
    return graph.vertices[graph.source[chosen]].tolist(), graph.vertices[graph.target[chosen]].tolist()


def peak_to_gene(graph: GuidanceGraph) -> NDArray[np.bool_]:
    """Return (E,) which edges go from a peak to a gene."""
    chosen: NDArray[np.bool_] = (graph.kinds[graph.source] == PEAK.label) & (graph.kinds[graph.target] == GENE.label)
    return chosen


def add_candidate_peaks(cells: Cells, nodes: tuple[pa.Table, pa.Table], window_bp: int) -> Cells:
    """Return the cells with peaks within a window of a measured gene modelled even if no edge joins them."""
    features = np.unique(np.concatenate([modality.features for modality in cells.modalities.values()]))
    in_window = [peaks for peaks, _ in pairs_in_window(*places(*nodes, features), window_bp)]
    return replace(cells, also=features[np.unique(np.concatenate([*in_window, np.array([], np.int64)]))])


def score_candidates(
    graph: GuidanceGraph, fit: Trained, nodes: tuple[pa.Table, pa.Table], window_bp: int, folder: Path, *, seed: int = 0
) -> pd.DataFrame:
    """Return the pairs beyond the skeleton that are called or among the best of their gene (`select_candidates`).

    Args:
        graph: the graph that guided the model.
        fit: the embeddings.
        nodes: genes and peaks of the release, from `kg.evidence.nodes.read_nodes`.
        window_bp: from the start site of a gene to the nearest base of a peak.
        folder: of the run; every pair is kept there, as Parquet.
        seed: of the permutations, the same as for `predicted_links`.
    """
    with replaced(folder / CANDIDATES) as path, pq.ParquetWriter(path, _CANDIDATE) as writer:

        def every(block: pd.DataFrame) -> None:
            columns: list[Any] = [block[name].to_numpy() for name in ("source", "target", "score", "p")]
            arrays = [pa.array(c, f.type, from_pandas=True) for c, f in zip(columns, _CANDIDATE, strict=True)]
            writer.write_table(pa.table(arrays, schema=_CANDIDATE))

        blocks = pairs_in_window(*places(*nodes, fit.vertices), window_bp)
        return select_candidates(fit, skeleton(graph), blocks, seed=seed, every=every)
