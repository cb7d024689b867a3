"""Correlation over metacells against SciPy, pair by pair."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import scipy.sparse as sp
from scipy.stats import spearmanr

from kg.errors import InputError
from models.evaluation.metacell_correlation import CELLS_EACH, assign_metacells, correlation
from models.evaluation.metrics import metacell_values
from models.inputs.cells import Cells
from tests.models.toy import toy


def test_it_is_spearman_over_the_metacells() -> None:
    world = toy(n_cells=200, n_genes=20)
    cells = world.cells
    clusters = assign_metacells(cells, seed=3)
    assert all(np.array_equal(clusters[0], cluster) for cluster in clusters), "paired cells share their metacell"
    assert len(np.unique(clusters[0])) == 200 // CELLS_EACH
    correlations = correlation(cells, clusters, world.peak.tolist(), world.gene.tolist())
    rna, atac = (metacell_values(m, c, 40) for m, c in zip(cells.modalities.values(), clusters, strict=True))
    gene = {name: rna[:, i] for i, name in enumerate(cells["rna"].features.tolist())}
    peak = {name: atac[:, i] for i, name in enumerate(cells["atac"].features.tolist())}
    expected = [spearmanr(peak[p], gene[g]).statistic for p, g in zip(world.peak, world.gene, strict=True)]
    np.testing.assert_allclose(correlations, expected, atol=1e-9)
    assert correlations[world.planted].mean() > correlations[~world.planted].mean() + 0.1


def test_what_does_not_vary_or_is_not_there_is_zero() -> None:
    world = toy(n_cells=100, n_genes=10)
    atac = world.cells["atac"]
    counts = atac.counts[np.arange(100)].toarray()
    counts[:, 0] = 0
    silent = replace(atac, counts=sp.csr_matrix(counts))
    cells = Cells({"rna": world.cells["rna"], "atac": silent}, paired=True)
    pairs = [world.peak[0], "nowhere", world.peak[1]], [world.gene[0], world.gene[0], "nobody"]
    assert correlation(cells, assign_metacells(cells), *pairs).tolist() == [0, 0, 0]


def test_unpaired_cells_are_grouped_where_the_model_put_them() -> None:
    world = toy(n_cells=100, n_genes=10)
    cells = replace(world.cells, paired=False)
    with pytest.raises(InputError, match="not paired"):
        assign_metacells(cells)
    rng = np.random.default_rng(0)
    apart = [rng.normal(size=(100, 3)).astype(np.float32) for _ in range(2)]
    rna, atac = assign_metacells(cells, apart)
    assert (len(rna), len(atac)) == (100, 100)
    assert not np.array_equal(rna, atac)
    correlations = correlation(cells, [rna, atac], world.peak[:5].tolist(), world.gene[:5].tolist())
    assert (np.abs(correlations) <= 1 + 1e-12).all()
