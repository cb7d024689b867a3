"""Encoder inputs in constant memory: a basis fitted on some of the cells, then every cell projected, block by block.

These are the quantities of `models.inputs.preprocess` without a dense matrix: the effect of scaling on zeros is the
same in every cell, so it is kept apart from the stored values, and subspace iteration needs only products. With more
than `MOST` cells the basis is fitted on a sample, as for atlases (Cao & Gao 2022, doi 10.1038/s41587-022-01284-4).
"""

from __future__ import annotations

import tempfile
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from models.inputs.backed_matrix import blocks
from models.inputs.preprocess import MAX_SCALED

if TYPE_CHECKING:
    from collections.abc import Sequence

    import scipy.sparse as sp
    from numpy.typing import NDArray

    from models.inputs.backed_matrix import Counts

    Float = NDArray[np.float64]
    Float32 = NDArray[np.float32]

MOST = 50_000  # cells on which a basis is fitted, at most
TOGETHER = 128  # neighbours that are sampled together, so that a disk can keep up
OVERSAMPLED = 10
ITERATIONS = 7  # as in scikit-learn's randomised PCA


@dataclass(frozen=True)
class Scaled:
    """Scaling of log-normalised counts, or other values logged if none is negative, to variance 1 and at most 10.

    Attributes:
        target: total to which counts are normalised; None for other values.
        logged: whether logarithms are taken.
        mean, spread: (features,) mean and standard deviation after that; unmeasured values get the mean.
    """

    target: float | None
    logged: bool
    mean: Float
    spread: Float

    @classmethod
    def of(cls, parts: Sequence[sp.csr_matrix], *, counted: bool) -> Scaled:
        """Fit the scaling to all rows of the parts."""
        total = np.concatenate([_sums(part, 1) for part in parts])
        target = float(np.median(total[total > 0])) if counted else None
        logged = counted or not any((part.data < 0).any() for part in parts)
        raw = cls(target, logged, np.zeros(0), np.zeros(0))
        values = [raw.normalised(part) for part in parts]
        known = len(total) - sum(np.bincount(p.indices[np.isnan(p.data)], minlength=p.shape[1]) for p in values)
        for part in values:
            part.data = np.nan_to_num(part.data)
        mean = sum(_sums(part, 0) for part in values) / np.maximum(known, 1)
        variance = (sum(_sums(part.power(2), 0) for part in values) - known * mean**2) / (len(total) - 1)
        return cls(target, logged, mean, np.where(variance > 1e-12, np.sqrt(np.maximum(variance, 1e-12)), 1.0))

    def normalised(self, part: sp.csr_matrix) -> sp.csr_matrix:
        """Return values before scaling, NaN where not measured."""
        values = part.astype(np.float64)
        if self.target is not None:
            values.data *= np.repeat(self.target / np.maximum(_sums(part, 1), 1.0), np.diff(part.indptr))
        if self.logged:
            values.data = np.log1p(np.maximum(values.data, 0.0))
        return values

    def __call__(self, part: sp.csr_matrix) -> sp.csr_matrix:
        """Return scaled values minus the value of every zero, so that zeros stay zero."""
        values = self.normalised(part)
        mean, spread = self.mean[part.indices], self.spread[part.indices]
        scaled = np.minimum((np.where(np.isnan(values.data), mean, values.data) - mean) / spread, MAX_SCALED)
        values.data = scaled + mean / spread
        return values.astype(np.float32)


@dataclass(frozen=True)
class TfIdf:
    """Logged TF-IDF, each cell at a total of 10,000 before the log.

    Attributes:
        idf: (features,) cells over counts of each feature.
    """

    idf: Float

    @classmethod
    def of(cls, parts: Sequence[sp.csr_matrix]) -> TfIdf:
        """Fit the weights to all rows of the parts."""
        return cls(sum(part.shape[0] for part in parts) / np.maximum(sum(_sums(part, 0) for part in parts), 1.0))

    def __call__(self, part: sp.csr_matrix) -> sp.csr_matrix:
        """Return transformed rows."""
        weighted = part.astype(np.float64)
        weighted.data *= self.idf[part.indices]
        weighted.data *= np.repeat(1e4 / np.maximum(_sums(weighted, 1), 1e-12), np.diff(part.indptr))
        weighted.data = np.log1p(weighted.data)
        return weighted.astype(np.float32)


def basis(parts: Sequence[sp.csr_matrix], n: int, *, centre: bool, seed: int = 0) -> tuple[Float32, Float, Float]:
    """Return right singular vectors by subspace iteration, signed as in scikit-learn's solvers.

    The largest entry of each is positive or, without centring, that of the left singular vector, since LSI compares the
    components of a cell with each other.

    Args:
        parts: rows of the matrix.
        n: number of vectors.
        centre: whether the mean of each column is subtracted.
        seed: of the starting vectors.

    Returns:
        (features, n) vectors, (n,) singular values, (features,) means that were subtracted.
    """
    rows, columns = sum(part.shape[0] for part in parts), parts[0].shape[1]
    mean = np.zeros(columns)
    if centre:
        mean += sum(_sums(part, 0) for part in parts) / rows
    width = min(n + OVERSAMPLED, rows, columns)
    q = np.random.default_rng(seed).normal(size=(columns, width))
    for _ in range(ITERATIONS + 1):
        q = np.linalg.qr(q)[0]
        narrow = q.astype(np.float32)
        squared = -rows * np.outer(mean, mean @ q)
        for part in parts:
            squared += np.asarray(part.T @ (part @ narrow), np.float64)
        last, q = q, squared
    values, turn = np.linalg.eigh(last.T @ squared)
    vectors = last @ turn[:, ::-1][:, :n]
    rotated = vectors if centre else np.concatenate([part @ vectors for part in parts])
    vectors *= np.sign(rotated[np.abs(rotated).argmax(0), np.arange(n)])
    return vectors.astype(np.float32), np.sqrt(np.maximum(values[::-1][:n], 0.0)), mean


def streamed_pca(counts: Counts, n_components: int, *, counted: bool = True, seed: int = 0) -> Float32:
    """Compute `rna_pca` (`value_pca` for values that are not counts) in constant memory; the result is on disk."""
    parts = _sample(counts, seed)
    transform = Scaled.of(parts, counted=counted)
    n = min(n_components, min(counts.shape) - 1)
    vectors, _, mean = basis([transform(part) for part in parts], n, centre=True, seed=seed)
    offset = (mean @ vectors).astype(np.float32)
    components = _kept(counts.shape[0], n)
    for rows, block in blocks(counts):
        components[rows] = transform(block) @ vectors - offset
    return components


def streamed_lsi(counts: Counts, n_components: int, *, seed: int = 0) -> Float32:
    """Compute `atac_lsi` in constant memory; the result, (cells, n_components), is on disk."""
    parts = _sample(counts, seed)
    transform = TfIdf.of(parts)
    n = min(n_components, min(counts.shape) - 1)
    vectors, values, _ = basis([transform(part) for part in parts], n, centre=False, seed=seed)
    components = _kept(counts.shape[0], n)
    for rows, block in blocks(counts):
        left = transform(block) @ vectors / np.maximum(values, 1e-12)
        left -= left.mean(axis=1, keepdims=True)
        components[rows] = left / np.maximum(left.std(axis=1, ddof=1, keepdims=True), 1e-12)
    return components


def _sample(counts: Counts, seed: int) -> list[sp.csr_matrix]:
    """Return all rows or, of more than `MOST`, blocks of neighbours from all over."""
    n = counts.shape[0]
    if n <= MOST:
        return [block for _, block in blocks(counts)]
    starts = np.arange(0, n - TOGETHER, TOGETHER)
    drawn = np.sort(np.random.default_rng(seed).choice(starts, MOST // TOGETHER, replace=False))
    rows = drawn[:, None] + np.arange(TOGETHER)
    return [counts[block.ravel()] for block in np.array_split(rows, max(len(rows) // 32, 1))]


def _kept(n: int, width: int) -> Float32:
    """Return an array in an unnamed file, which vanishes when nothing refers to it any more."""
    with tempfile.TemporaryFile() as file:
        return np.memmap(file, np.float32, "w+", shape=(n, width))


def _sums(part: sp.csr_matrix, axis: int) -> Float:
    return np.asarray(part.sum(axis=axis, dtype=np.float64)).ravel()
