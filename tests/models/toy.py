"""A small paired world whose truth is known: seconds to train on."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import scipy.sparse as sp

from kg.guidance import GuidanceGraph
from models.inputs.cells import Cells, Modality
from models.inputs.edges import Edges
from models.inputs.preprocess import atac_lsi, rna_pca

if TYPE_CHECKING:
    from numpy.typing import NDArray

N_TYPES = 4
TRUE_PEAKS = 3  # of a gene; as many more are near it and do nothing


@dataclass(frozen=True)
class Toy:
    """A guidance graph, cells, and the skeleton with its truth."""

    graph: GuidanceGraph
    cells: Cells
    gene: NDArray[np.str_]
    peak: NDArray[np.str_]
    planted: NDArray[np.bool_]


def toy(n_cells: int = 300, n_genes: int = 80, seed: int = 0) -> Toy:
    """Make genes that follow cell programs; half of the peaks near a gene follow it, the rest another program."""
    rng = np.random.default_rng(seed)
    program = rng.normal(size=(N_TYPES, 6)) * 1.2
    kind = rng.integers(N_TYPES, size=n_cells)
    state = program[kind] + 0.3 * rng.normal(size=(n_cells, 6))
    loading = rng.normal(size=(6, n_genes))
    n_peaks = 2 * TRUE_PEAKS * n_genes
    owner = np.repeat(np.arange(n_genes), 2 * TRUE_PEAKS)
    planted = np.tile(np.arange(2 * TRUE_PEAKS) < TRUE_PEAKS, n_genes)
    own = loading[:, owner] + 0.3 * rng.normal(size=(6, n_peaks))
    peak_loading = np.where(planted, own, rng.normal(size=(6, n_peaks)))
    genes = np.array([f"ENSG{i:05d}" for i in range(n_genes)])
    peaks = np.array([f"toy:chr1:{1000 * i}-{1000 * i + 500}" for i in range(n_peaks)])
    labels = np.array([f"type {k}" for k in kind])
    counts = {"rna": draw(state @ loading, 400, rng), "atac": draw(state @ peak_loading, 800, rng)}
    reps = {"rna": rna_pca(counts["rna"], 20), "atac": atac_lsi(counts["atac"], 20)}
    cells = Cells(
        {
            name: Modality(
                name, counts[name], ids, reps[name], np.array([f"{name}-{i}" for i in range(n_cells)]), labels
            )
            for name, ids in (("rna", genes), ("atac", peaks))
        },
        paired=True,
    )
    return Toy(guidance(genes[owner], peaks), cells, genes[owner], peaks, planted)


def draw(logit: NDArray[np.float64], depth: float, rng: np.random.Generator) -> sp.csr_matrix:
    rate = np.exp(0.7 * logit)
    rate *= depth / rate.sum(1, keepdims=True)
    return sp.csr_matrix(rng.poisson(rate), dtype=np.float32)


def guidance(gene: NDArray[np.str_], peak: NDArray[np.str_]) -> GuidanceGraph:
    vertices = np.unique(np.concatenate([gene, peak]))
    n = len(gene)
    return GuidanceGraph(
        vertices,
        np.where(np.isin(vertices, gene), "Gene", "Peak"),
        np.searchsorted(vertices, peak),
        np.searchsorted(vertices, gene),
        np.ones(n, np.float32),
        np.ones(n, np.int8),
    )


def edges_of(pairs: list[tuple[int, int, float, int]], n_vertices: int) -> Edges:
    both = [*pairs, *((j, i, w, s) for i, j, w, s in pairs), *((i, i, 1.0, 1) for i in range(n_vertices))]
    source, target, weight, sign = zip(*both, strict=True)
    return Edges(
        np.array(source), np.array(target), np.array(weight, np.float32), np.array(sign, np.float32), n_vertices
    )


def random_edges(n_genes: int, n_peaks: int, n: int, seed: int) -> Edges:
    rng = np.random.default_rng(seed)
    keys = rng.choice(n_genes * n_peaks, n, replace=False)
    weights, signs = rng.uniform(0.1, 1, n), rng.choice([-1, 1], n)
    pairs = [
        (int(k) // n_peaks, n_genes + int(k) % n_peaks, float(w), int(s))
        for k, w, s in zip(keys, weights, signs, strict=True)
    ]
    return edges_of(pairs, n_genes + n_peaks)


def dense(modality: Modality) -> NDArray[np.float32]:
    """Return the values as one array, for cells in memory."""
    assert isinstance(modality.counts, sp.csr_matrix)
    values: NDArray[np.float32] = modality.counts.toarray()
    return values
