"""Counts of minibatches from disk, read ahead by a thread while earlier steps run."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from itertools import islice
from typing import TYPE_CHECKING

import numpy as np
import torch

from models.inputs.backed_matrix import StoredCounts
from models.zoo.glue.likelihoods import CountMatrix

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    import scipy.sparse as sp
    from numpy.typing import NDArray
    from torch import Tensor

    from models.zoo.glue.likelihoods import SparseCounts
    from models.zoo.glue.sampling import Draw

    Held = tuple[NDArray[np.int64], CountMatrix]

STEPS = 64  # read at once; with a block sampler, what they share of the file is read only once or twice


class StreamedCounts:
    """A matrix that stays on disk and returns rows as `CountMatrix` does."""

    def __init__(self, stored: StoredCounts, device: torch.device) -> None:
        self.stored, self.device = stored, device
        self.n_features = stored.shape[1]
        self.held: Held | None = None

    def read(self, rows: NDArray[np.int64]) -> Held:
        """Read the distinct ones of the given rows from disk to the device."""
        rows = np.unique(rows)
        return rows, CountMatrix.of(self.stored[rows], self.device)

    def take(self, rows: Tensor) -> SparseCounts:
        """Return the given rows, in the given order; from disk where they were not read ahead."""
        wanted = rows.cpu().numpy()
        held = self.held
        if held is None or not np.isin(wanted, held[0]).all():
            held = self.read(wanted)
        return held[1].take(torch.from_numpy(np.searchsorted(held[0], wanted)).to(self.device))


def counted(counts: sp.csr_matrix | StoredCounts, device: torch.device) -> CountMatrix | StreamedCounts:
    """Return the matrix on the device, or a reader of rows for one that stays on disk."""
    return StreamedCounts(counts, device) if isinstance(counts, StoredCounts) else CountMatrix.of(counts, device)


def ahead(draws: Iterator[Draw], counts: Sequence[CountMatrix | StreamedCounts]) -> Iterator[Draw]:
    """Yield the same draws; rows on disk are read by the time their draw comes, and the next ones are being read."""
    streamed = [(k, c) for k, c in enumerate(counts) if isinstance(c, StreamedCounts)]
    if not streamed:
        yield from draws
        return

    def load(window: Sequence[Draw]) -> list[Held]:
        return [c.read(np.concatenate([draw.rows[k] for draw in window])) for k, c in streamed]

    with ThreadPoolExecutor(1, "read-ahead") as reader:
        window = list(islice(draws, STEPS))
        pending = reader.submit(load, window)
        while window:
            for (_, matrix), held in zip(streamed, pending.result(), strict=True):
                matrix.held = held
            following = list(islice(draws, STEPS))
            if following:
                pending = reader.submit(load, following)
            yield from window
            window = following
