"""Labels carried from the cells of one modality to those of another, each with a confidence."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import scipy.sparse as sp
from sklearn.neighbors import NearestNeighbors

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

    from models.inputs.cells import Cells

    Float32 = NDArray[np.float32]
    Transferred = tuple[NDArray[np.str_], NDArray[np.float32]]

NEIGHBOURS = 30
MOST = 20_000  # cells of either side among which neighbours are sought, drawn at random where there are more
BLOCK = 2048  # query cells at a time; each shares a neighbour with some thousand others


def transfer_labels(reference: Float32, labels: NDArray[np.str_], query: Float32, k: int = NEIGHBOURS) -> Transferred:
    """Label of each query cell by the neighbours that it shares with labelled cells, and how sure it is.

    Each cell has its k nearest cells (euclidean, itself among them) in the reference and its k in the query, 2k in
    all. A query cell and a reference cell that share s of them have the similarity s / (4k - s), their Jaccard index.
    The similarities of a query cell are divided by their sum; the label that gets most of them is its own, and that
    share is the confidence (Cao & Gao 2022, as in scglue 0.4.1; 1: all alike). Of more than 20,000 reference or query
    cells, neighbours are sought among so many, so that time grows with the query alone.

    Args:
        reference: (R, m) embeddings of cells with a label.
        labels: (R,) of them.
        query: (Q, m) embeddings in the same space.
        k: neighbours; fewer where there are fewer cells.

    Returns:
        (Q,) labels and (Q,) confidence; "" and 0 for a cell that shares no neighbour with a labelled one. Of labels
        that get equally much, the first by name.
    """
    k = min(k, len(reference), len(query))
    drawn = sample(len(reference))
    reference, labels, found_in = reference[drawn], labels[drawn], query[sample(len(query))]
    near = [NearestNeighbors(n_neighbors=k, algorithm="brute").fit(cells) for cells in (reference, found_in)]
    of_reference, of_query = (
        sp.hstack([found.kneighbors_graph(cells) for found in near], "csr") for cells in (reference, query)
    )
    kinds, code = np.unique(labels, return_inverse=True)
    is_kind = sp.csr_matrix((np.ones(len(code)), (np.arange(len(code)), code)), shape=(len(code), len(kinds)))
    share = np.concatenate(
        [_shares(of_query[at : at + BLOCK], of_reference, is_kind, k) for at in range(0, len(query), BLOCK)]
    )
    confidence = share.max(1)
    return np.where(confidence > 0, kinds[share.argmax(1)], ""), confidence.astype(np.float32)


def sample(n: int) -> NDArray[np.int64]:
    """All of n cells, or MOST of them, in order."""
    return np.sort(np.random.default_rng(0).permutation(n)[:MOST])


def transferred(cells: Cells, embeddings: Mapping[str, Float32]) -> dict[str, Transferred]:
    """Labels of every other modality from the labelled cells of the anchor; empty where the anchor has none."""
    labels = cells[cells.anchor].labels
    if labels is None or not (has := labels != "").any():
        return {}
    reference = embeddings[cells.anchor][has], labels[has]
    return {name: transfer_labels(*reference, embeddings[name]) for name in cells.modalities if name != cells.anchor}


def _shares(
    of_query: sp.csr_matrix, of_reference: sp.csr_matrix, is_kind: sp.csr_matrix, k: int
) -> NDArray[np.float64]:
    """(query cells, labels) share of each query cell's similarity that goes to cells of each label."""
    similarity = of_query @ of_reference.T
    similarity.data /= 4 * k - similarity.data
    by_kind: NDArray[np.float64] = (similarity @ is_kind).toarray()
    total: NDArray[np.float64] = by_kind.sum(1, keepdims=True)
    return by_kind / np.maximum(total, np.finfo(np.float64).tiny)
