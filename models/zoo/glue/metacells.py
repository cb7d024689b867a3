"""Metacells: nearby cells pooled into one, so that millions of cells are first learned from a few thousand.

This is the recipe for atlases of Cao & Gao 2022 (doi 10.1038/s41587-022-01284-4): k-means on the encoder inputs, counts
summed, inputs averaged; the model is trained on metacells and then, for a shorter time, on all cells.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
import scipy.sparse as sp
import torch
from sklearn.cluster import MiniBatchKMeans

from kg.errors import InputError
from models.inputs.backed_matrix import BLOCK, blocks
from models.training.group import ALONE
from models.training.runtime import count_cores

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from models.inputs.cells import Cells, Modality
    from models.training.group import Group

    Rows = NDArray[np.int64]

FITTED = 50_000  # cells that k-means sees, or 20 per metacell if that is more


@dataclass(frozen=True)
class Coarse:
    """Metacells in place of cells.

    Attributes:
        cells: modalities of metacells, in memory and unpaired.
        of: for each modality, (cells,) metacell of each cell.
    """

    cells: Cells
    of: Sequence[Rows]

    @property
    def sizes(self) -> list[Rows]:
        """Number of cells in each metacell, (metacells,) for each modality."""
        return [np.bincount(member) for member in self.of]


def metacells(cells: Cells, n: int, *, seed: int = 0, group: Group = ALONE) -> Coarse:
    """Pool the cells of each modality into metacells, separately for each modality and batch.

    Args:
        cells: cells whose values are counts.
        n: number of metacells of each modality, at most a third of its cells; batches get their share.
        seed: of k-means.
        group: processes that must agree.

    Raises:
        InputError: values are not counts, so they cannot be summed.
    """
    pooled, of = {}, []
    for name, modality in cells.modalities.items():
        if not modality.is_counted:
            raise InputError(f"{name} has no counts, so metacells cannot sum them", "train without --metacells")
        member = np.zeros(len(modality.rep), np.int64) if group.rank else _clustered(modality, n, seed)
        shared = torch.from_numpy(member)
        group.broadcast([shared])
        of.append(shared.numpy())
        pooled[name] = _summed(modality, of[-1])
    return Coarse(replace(cells, modalities=pooled, paired=False), of)


def _clustered(modality: Modality, n: int, seed: int) -> Rows:
    """Return the metacell of each cell, numbered without gaps."""
    total = len(modality.rep)
    batch = np.zeros(total, np.int64) if modality.batch is None else np.unique(modality.batch, return_inverse=True)[1]
    member, first = np.empty(total, np.int64), 0
    for code in range(int(batch.max()) + 1):
        rows = np.flatnonzero(batch == code)
        share = max(min(round(n * len(rows) / total), len(rows) // 3), 1)
        cluster = np.unique(_nearest(modality.rep, rows, share, seed), return_inverse=True)[1]
        member[rows] = first + cluster
        first += int(cluster.max()) + 1
    return member


def _nearest(rep: NDArray[np.float32], rows: Rows, n: int, seed: int) -> Rows:
    sampled = np.sort(np.random.default_rng(seed).permutation(rows)[: max(FITTED, 20 * n)])
    count_cores()
    means = MiniBatchKMeans(n, batch_size=max(4096, 2 * n), n_init=1, random_state=seed).fit(rep[sampled])
    return np.concatenate([means.predict(rep[rows[at : at + BLOCK]]) for at in range(0, len(rows), BLOCK)])


def _summed(modality: Modality, of: Rows) -> Modality:
    n, total = int(of.max()) + 1, len(of)
    member = sp.csr_matrix((np.ones(total, np.float32), (of, np.arange(total))), shape=(n, total))
    counts = member[:, :0] @ sp.csr_matrix(np.zeros((0, len(modality.features)), np.float32))
    rep = np.zeros((n, modality.rep.shape[1]))
    for rows, block in blocks(modality.counts):
        counts = counts + member[:, rows] @ block
        rep += member[:, rows] @ modality.rep[rows]
    size = np.bincount(of)
    return replace(
        modality,
        counts=sp.csr_matrix(counts),
        rep=(rep / size[:, None]).astype(np.float32),
        obs_names=np.array([f"{modality.name}-metacell-{i}" for i in range(n)]),
        labels=None if modality.labels is None else _commonest(modality.labels, of),
        batch=None if modality.batch is None else _commonest(modality.batch, of),
    )


def _commonest(names: NDArray[np.str_], of: Rows) -> NDArray[np.str_]:
    """Return for each metacell the name that most of its cells have; of ties, the first."""
    known, code = np.unique(names, return_inverse=True)
    times = sp.csr_matrix((np.ones(len(of)), (of, code)), shape=(int(of.max()) + 1, len(known)))
    return known[np.asarray(times.argmax(axis=1)).ravel()]
