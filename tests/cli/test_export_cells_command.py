"""`regkg export cells`: MuData with counts, labels, embeddings and provenance, of paired and unpaired cells."""

from __future__ import annotations

from typing import TYPE_CHECKING

import anndata
import h5py
import mudata
import numpy as np
import pandas as pd
import pytest
import scipy.sparse as sp
from click.testing import CliRunner

from cli.main import main
from models.jobs.export_mudata import _copy
from tests.cli.little_world import load_little_world
from tests.cli.test_cells_formats import SHORT
from tests.cli.test_loop import Shell

if TYPE_CHECKING:
    from pathlib import Path

    from kg.server import Endpoint
    from kg.store import Store


@pytest.fixture
def regkg(store: Store, neo4j_endpoint: Endpoint, tmp_path: Path) -> Shell:
    del store  # empties the graph
    return Shell(tmp_path / "home", neo4j_endpoint)


def refused(regkg: Shell, *words: object) -> str:
    done = CliRunner().invoke(main, [*map(str, words)], env=regkg.environment)
    assert done.exit_code != 0
    return str(done.exception)


def read(path: Path) -> mudata.MuData:
    with mudata.set_options(pull_on_update=False):
        return mudata.read_h5mu(path)


@pytest.mark.filterwarnings("ignore:.*(zarr v[23]|Consolidated metadata).*")  # of writing
def test_a_run_as_mudata(regkg: Shell, tmp_path: Path) -> None:
    world = tmp_path / "world"
    load_little_world(regkg, world)
    files = {name: anndata.read_h5ad(world / f"{name}.h5ad") for name in ("rna", "atac")}
    # one name for one cell, in another order, and from a zarr store
    files["atac"] = files["atac"][::-1].copy()
    files["atac"].obs_names = files["rna"].obs_names[::-1]
    files["rna"].obs["label"] = "of the file"
    files["rna"].write_h5ad(world / "one.h5ad")
    files["atac"].write_zarr(world / "two.zarr")
    regkg("load", "cells", world / "one.h5ad", world / "two.zarr", "--name", "both")
    regkg("release", "publish")
    runs = {}
    for said in ("--paired", "--unpaired"):
        run = regkg("train", "glue", "--cells", "both", "--device", "cpu", "--threads", "1", *SHORT, said)
        out = tmp_path / f"run{said}.h5mu"
        done = regkg("export", "cells", "--run", run["id"], "--out", out)
        runs[said] = run
        assert done["modalities"] == {"rna": [120, 30], "atac": [120, 150]}
        assert (done["cells"], done["paired"]) == ((120, True) if said == "--paired" else (240, False))
        made = read(out)
        assert (list(made.mod), made.n_obs) == (["rna", "atac"], done["cells"])
        assert made.uns["regkg"]["run"] == run["id"]
        assert made.uns["regkg"]["config_hash"] == run["config_hash"]
        for name, held in made.mod.items():
            of, kept = files[name], anndata.read_h5ad(regkg.home / "runs" / run["id"] / f"{name}.h5ad")
            own = held.obs_names if said == "--paired" else pd.Index(held.obs["regkg_name"])
            assert own.tolist() == of.obs_names.tolist()
            assert isinstance(held.X, sp.csr_matrix)
            np.testing.assert_array_equal(held.X.toarray(), of.X.toarray())
            assert held.var_names.tolist() == of.var_names.tolist()
            assert held.obs["cell_type"].tolist() == of.obs["cell_type"].tolist() == held.obs["label"].tolist()
            vectors = pd.DataFrame(kept.obsm["X_glue"], kept.obs_names)
            np.testing.assert_array_equal(held.obsm["X_glue"], vectors.loc[own])
            features = pd.DataFrame(kept.varm["X_glue"], kept.var_names)
            np.testing.assert_array_equal(held.varm["X_glue"], features.reindex(held.var["regkg_id"]))
            assert held.uns["regkg"]["values"] == "X"
        carried = made["atac"].obs["transferred_confidence"]
        assert carried.between(0, 1).all()
    assert set(read(tmp_path / "run--paired.h5mu").obs_names) == set(files["rna"].obs_names)
    assert "needs a run" in refused(regkg, "export", "cells", "--out", tmp_path / "x.h5mu")
    assert "does not end in .h5mu" in refused(regkg, "export", "cells", "--out", tmp_path / "x.h5ad")
    asked = ["export", "cells", "--run", runs["--paired"]["id"], "--out", tmp_path / "x.h5mu"]
    regkg("load", "cells", world / "rna.h5ad", "--name", "both")
    assert "are other files than those that run" in refused(regkg, *asked)
    assert not list(tmp_path.glob("*x.h5mu*"))


@pytest.mark.parametrize("made", [sp.random(900, 40, 0.3, "csr", "f4"), sp.random(90, 40, 0.3, "csc"), np.eye(50, 9)])
def test_matrices_are_copied_piece_by_piece(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, made: object) -> None:
    monkeypatch.setattr("models.jobs.export_mudata.AT_ONCE", 100)
    anndata.AnnData(made).write_h5ad(tmp_path / "from.h5ad")
    anndata.AnnData(shape=made.shape).write_h5ad(tmp_path / "to.h5ad")  # type: ignore[attr-defined]
    with h5py.File(tmp_path / "from.h5ad") as source, h5py.File(tmp_path / "to.h5ad", "r+") as target:
        _copy(source["X"], target, "X")
    here, there = (anndata.read_h5ad(tmp_path / f"{n}.h5ad").X for n in ("from", "to"))
    assert type(here) is type(there)
    here, there = (x if isinstance(x, np.ndarray) else x.toarray() for x in (here, there))
    np.testing.assert_array_equal(here, there)
