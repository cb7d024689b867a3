"""Transfer of labels from the cells of one modality to those of another, each with a confidence."""

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
MAX_CELLS = 20_000  # cells on either side among which neighbours are sought, drawn at random where there are more
BLOCK = 2048  # query cells at a time; each shares a neighbour with about a thousand others


def transfer_labels(reference: Float32, labels: NDArray[np.str_], query: Float32, k: int = NEIGHBOURS) -> Transferred:
    """Label each query cell by the neighbours that it shares with labelled cells, with a confidence.

    Each cell has its k nearest cells (euclidean, itself among them) in the reference and its k in the query, 2k in
    all. A query cell and a reference cell that share s of them have the similarity s / (4k - s), their Jaccard index.
    The similarities of a query cell are normalised to sum to 1; the cell gets the label with the largest share, and
    that share is the confidence (Cao & Gao 2022, as in scglue 0.4.1; 1: unanimous). Neighbours are sought among at most
    20,000 reference and 20,000 query cells, so that time grows with the query alone.

    Args:
        reference: (R, m) embeddings of cells with a label.
        labels: (R,) their labels.
        query: (Q, m) embeddings in the same space.
        k: number of neighbours; fewer where there are fewer cells.

    Returns:
        (Q,) labels and (Q,) confidence; "" and 0 for a cell that shares no neighbour with a labelled one. Ties go to
        the label that comes first alphabetically.
    """
    k = min(k, len(reference), len(query))
    drawn = sample(len(reference))
    reference, labels, query_sample = reference[drawn], labels[drawn], query[sample(len(query))]
    near = [NearestNeighbors(n_neighbors=k, algorithm="brute").fit(cells) for cells in (reference, query_sample)]
    of_reference, of_query = (
        sp.hstack([index.kneighbors_graph(cells) for index in near], "csr") for cells in (reference, query)
    )
    kinds, code = np.unique(labels, return_inverse=True)
    is_kind = sp.csr_matrix((np.ones(len(code)), (np.arange(len(code)), code)), shape=(len(code), len(kinds)))
    share = np.concatenate(
        [_shares(of_query[at : at + BLOCK], of_reference, is_kind, k) for at in range(0, len(query), BLOCK)]
    )
    confidence = share.max(1)
    return np.where(confidence > 0, kinds[share.argmax(1)], ""), confidence.astype(np.float32)


def sample(n: int) -> NDArray[np.int64]:
    """Return the indices of all n cells, or of MAX_CELLS of them drawn at random, in order."""
    return np.sort(np.random.default_rng(0).permutation(n)[:MAX_CELLS])


def transferred(cells: Cells, embeddings: Mapping[str, Float32]) -> dict[str, Transferred]:
    """Transfer labels from the labelled cells of the anchor to every other modality; empty if there are none."""
    labels = cells[cells.anchor].labels
    if labels is None or not (has := labels != "").any():
        return {}
    reference = embeddings[cells.anchor][has], labels[has]
    return {name: transfer_labels(*reference, embeddings[name]) for name in cells.modalities if name != cells.anchor}


def _shares(
    of_query: sp.csr_matrix, of_reference: sp.csr_matrix, is_kind: sp.csr_matrix, k: int
) -> NDArray[np.float64]:
    """Return (query cells, labels) shares of each query cell's similarity that go to cells of each label."""
    similarity = of_query @ of_reference.T
    similarity.data /= 4 * k - similarity.data
    by_kind: NDArray[np.float64] = (similarity @ is_kind).toarray()
    total: NDArray[np.float64] = by_kind.sum(1, keepdims=True)
    return by_kind / np.maximum(total, np.finfo(np.float64).tiny)
