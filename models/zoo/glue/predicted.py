"""What a trained model says of a release, as a run writes it."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from kg.files import replaced
from kg.runs.predictions import Predictions
from kg.schema import GENE, PEAK, PREDICTED_LINK
from kg.schema.batches import EdgeBatch
from models.zoo.glue.candidates import beyond, near, places

if TYPE_CHECKING:
    from pathlib import Path

    import pandas as pd
    from numpy.typing import NDArray

    from kg.guidance import GuidanceGraph
    from models.evaluation.feature_correlation import Profiles
    from models.inputs.cells import Cells
    from models.zoo.glue.link_scores import Fit

CANDIDATES = "candidates.parquet"  # in a run's folder: every pair beyond the skeleton, also those not written
_CANDIDATE = pa.schema(
    [("peak", pa.string()), ("gene", pa.string()), ("score", pa.float32()), ("p_value", pa.float32())]
)


def predict(
    graph: GuidanceGraph,
    fit: Fit,
    *,
    seed: int = 0,
    more: pd.DataFrame | None = None,
    seen: Profiles | None = None,
) -> Predictions:
    """Links for every skeleton pair (the peak-gene edges of the guidance graph), embeddings for every known node.

    Args:
        graph: that guided the model.
        fit: trained on it.
        seed: of the permutations.
        more: pairs beyond the skeleton, as `candidates` gives them.
        seen: features over the joint space, for what the cells alone say of each pair.
    """
    links = fit.links(*skeleton(graph), seed=seed)
    own = None if fit.without_prior is None else fit.without_prior[peak_to_gene(graph)][links.index]
    batches = [_batch(links, seen, in_prior=True, without_prior=own)]
    if more is not None:
        batches.append(_batch(more, seen, in_prior=False, without_prior=more["score"].to_numpy()))
    kind_of = dict(zip(graph.vertices.tolist(), graph.kinds.tolist(), strict=True))
    known = [i for i, vertex in enumerate(fit.vertices.tolist()) if vertex in kind_of]
    nodes = fit.vertices[known].tolist()
    return Predictions([EdgeBatch.concat(batches)], nodes, [kind_of[node] for node in nodes], fit.features[0, known])


def _batch(
    links: pd.DataFrame, seen: Profiles | None, *, in_prior: bool, without_prior: NDArray[Any] | None
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


def reaching(cells: Cells, nodes: tuple[pa.Table, pa.Table], window_bp: int) -> Cells:
    """The same cells, where peaks within a window of a measured gene are explained though no edge joins them to it."""
    features = np.unique(np.concatenate([modality.features for modality in cells.modalities.values()]))
    reached = [peaks for peaks, _ in near(*places(*nodes, features), window_bp)]
    return replace(cells, also=features[np.unique(np.concatenate([*reached, np.array([], np.int64)]))])


def candidates(
    graph: GuidanceGraph, fit: Fit, nodes: tuple[pa.Table, pa.Table], window_bp: int, folder: Path, *, seed: int = 0
) -> pd.DataFrame:
    """Pairs beyond the skeleton that are called or among the best of their gene (`models.zoo.glue.candidates.beyond`).

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

        blocks = near(*places(*nodes, fit.vertices), window_bp)
        return beyond(fit, skeleton(graph), blocks, seed=seed, every=every)
