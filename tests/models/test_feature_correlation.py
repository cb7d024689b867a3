"""What the cells alone say of pairs, against a regression feature by feature."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import anndata
import numpy as np
import pytest
import scipy.sparse as sp
from sklearn.linear_model import Ridge

from models.evaluation.feature_correlation import RIDGE, profiles
from models.evaluation.metrics import auroc
from models.inputs import backed_matrix
from models.inputs.backed_matrix import StoredCounts
from models.inputs.cells import Cells, Modality
from tests.models.toy import toy

if TYPE_CHECKING:
    from pathlib import Path

CELLS, PLACES = 120, 4


def drawn(name: str, values: np.ndarray, likelihood: str = "nb") -> Modality:
    names = np.array([f"{name}{i}" for i in range(values.shape[1])])
    cells = np.array([f"c{i}" for i in range(len(values))])
    counts = sp.csr_matrix(values.astype(np.float32))
    return Modality(name, counts, names, np.zeros((len(values), 1), np.float32), cells, likelihood=likelihood)


@pytest.fixture
def world() -> tuple[Cells, dict[str, np.ndarray]]:
    """Return counts, and values with some missing, of cells at given positions; unpaired and of unequal number."""
    rng = np.random.default_rng(0)
    places = {
        n: rng.normal(size=(size, PLACES)).astype(np.float32) for n, size in (("rna", CELLS), ("meth", CELLS - 9))
    }
    counts = rng.poisson(np.exp(places["rna"] @ rng.normal(size=(PLACES, 5)) / 2))
    counts[:, 4] = 0
    values = places["meth"] @ rng.normal(size=(PLACES, 3)) + rng.normal(size=(CELLS - 9, 3))
    values[rng.random(values.shape) < 0.2] = np.nan
    return Cells({"rna": drawn("rna", counts), "meth": drawn("meth", values, "normal")}), places


def test_it_is_the_correlation_of_what_ridge_regressions_foretell(
    world: tuple[Cells, dict[str, np.ndarray]],
) -> None:
    cells, places = world
    everywhere = np.concatenate(list(places.values())).astype(float)
    foretold = []
    for name, modality in cells.modalities.items():
        values = modality.counts.toarray().astype(float)
        if name == "rna":
            size = values.sum(1, keepdims=True)
            values = np.log1p(values / np.maximum(size, 1) * np.median(size[size > 0]))
        else:
            values = np.where(np.isnan(values), np.nanmean(values, 0), values)
        model = Ridge(alpha=RIDGE * len(values)).fit(places[name].astype(float), values)
        foretold.append(model.predict(everywhere))
    whole = np.concatenate(foretold, 1)
    pairs = [("rna0", "meth1"), ("meth2", "rna3"), ("rna1", "rna2"), ("rna4", "meth0"), ("rna0", "nowhere")]
    correlations = profiles(cells, places).correlation(*map(list, zip(*pairs, strict=True)))
    at = {n: i for i, n in enumerate(n for m in cells.modalities.values() for n in m.features.tolist())}
    expected = [np.corrcoef(whole[:, at[a]], whole[:, at[b]])[0, 1] for a, b in pairs[:3]]
    np.testing.assert_allclose(correlations[:3], expected, atol=1e-6)
    assert correlations[3] == 0, "a feature without a count is flat"
    assert np.isnan(correlations[4])


def test_links_are_found_in_unpaired_cells_that_lie_where_they_belong() -> None:
    world = toy(n_cells=400, n_genes=40)
    state = np.random.default_rng(0).permutation(400)
    rna = world.cells["rna"]
    cells = Cells({"rna": rna, "atac": world.cells["atac"].take(state)})  # nothing says which row is which
    pairs = world.peak.tolist(), world.gene.tolist()

    def found(at: np.ndarray) -> float:
        places = {"rna": rna.rep, "atac": rna.rep[at]}
        return auroc(world.planted, profiles(cells, places).correlation(*pairs))

    assert found(state) > 0.9
    assert np.mean([found(np.roll(state, by)) for by in range(1, 9)]) == pytest.approx(0.5, abs=0.1)


def test_cells_on_disk_say_the_same(
    world: tuple[Cells, dict[str, np.ndarray]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cells, places = world
    monkeypatch.setattr(backed_matrix, "BLOCK", 50)
    path = tmp_path / "rna.h5ad"
    anndata.AnnData(cells["rna"].counts).write_h5ad(path)
    on_disk = replace(cells["rna"], counts=StoredCounts(str(path), "X", ""))
    streamed = Cells({"rna": on_disk, "meth": cells["meth"]})
    np.testing.assert_allclose(profiles(streamed, places).unit, profiles(cells, places).unit, atol=1e-9)
