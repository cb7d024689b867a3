"""What both programs of a comparison are judged by: the same few lines for both (NumPy only)."""

from __future__ import annotations

from typing import Any

import numpy as np

NEIGHBOURS = 15
ROWS = 1024


def quality(rna: Any, atac: Any, labels: Any) -> dict[str, float]:
    """FOSCTTM (all cells, mean of both directions, self counted in the denominator) and label transfer.

    Label transfer: share of ATAC cells whose 15 nearest RNA cells (euclidean) vote for the right label.

    Args:
        rna, atac: (cells, dims) embeddings; row i of both is the same cell.
        labels: (cells,) small integers.
    """
    rna, atac = np.asarray(rna, np.float32), np.asarray(atac, np.float32)
    n, kinds = len(rna), int(labels.max()) + 1
    rna_sq, atac_sq = (rna**2).sum(1), (atac**2).sum(1)
    own = ((rna - atac) ** 2).sum(1)
    closer_rna, closer_atac, right = 0, np.zeros(n), 0
    for at in range(0, n, ROWS):
        rows = slice(at, min(at + ROWS, n))  # a block of ATAC cells against all RNA cells
        squared = atac_sq[rows, None] + rna_sq[None, :] - 2.0 * atac[rows] @ rna.T
        squared[np.arange(rows.stop - at), np.arange(at, rows.stop)] = own[rows]
        closer_atac[rows] = (squared < own[rows, None]).mean(1)
        closer_rna += (squared < own[None, :]).sum()
        near = np.argpartition(squared, NEIGHBOURS, axis=1)[:, :NEIGHBOURS]
        votes = np.zeros((rows.stop - at, kinds))
        np.add.at(votes, (np.arange(rows.stop - at)[:, None], labels[near]), 1)
        right += int((votes.argmax(1) == labels[rows]).sum())
    foscttm = 0.5 * (closer_atac.mean() + closer_rna / n / n)
    return {"foscttm": float(foscttm), "label_transfer": right / n}
