"""The same cells as h5ad, as zarr and as Parquet shards: registered, trained on, and the very same run each time."""

from __future__ import annotations

from typing import TYPE_CHECKING

import anndata
import numpy as np
import pandas as pd
import pytest

from kg.cells import cells
from tests.cli.little_world import load_little_world
from tests.cli.test_loop import Shell

if TYPE_CHECKING:
    from pathlib import Path

    from kg.server import Endpoint
    from kg.store import Store

SHORT = ["--first-steps", "10", "--second-steps", "24", "--latent-dim", "8", "--hidden-dim", "16"]


@pytest.fixture
def regkg(store: Store, neo4j_endpoint: Endpoint, tmp_path: Path) -> Shell:
    del store  # empties the graph
    return Shell(tmp_path / "home", neo4j_endpoint)


def as_shards(adata: anndata.AnnData, folder: Path) -> Path:
    folder.mkdir()
    adata.obs.rename_axis("cell").to_parquet(folder / "obs.parquet")
    adata.var.rename_axis("feature").to_parquet(folder / "var.parquet")
    for shard, some in enumerate(np.array_split(np.arange(adata.n_obs), 3)):
        rows = adata[some].X.tocoo()
        names = {"cell": adata.obs_names[some[rows.row]], "feature": adata.var_names[rows.col]}
        pd.DataFrame({**names, "value": rows.data}).to_parquet(folder / f"part-{shard}.parquet")
    return folder


def vectors(regkg: Shell, cells: str, *said: str) -> dict[str, np.ndarray]:
    run = regkg("train", "glue", "--cells", cells, "--device", "cpu", "--threads", "1", "--unpaired", *SHORT, *said)
    assert run["outcome"] == "complete"
    read = {n: anndata.read_h5ad(regkg.home / "runs" / run["id"] / f"{n}.h5ad") for n in ("rna", "atac")}
    return {f"{n} {what}": getattr(read[n], what)["X_glue"] for n in read for what in ("obsm", "varm")}


@pytest.mark.filterwarnings("ignore:.*(zarr v[23]|Consolidated metadata).*")  # of writing
def test_the_format_of_the_cells_makes_no_difference(regkg: Shell, store: Store, tmp_path: Path) -> None:
    world = tmp_path / "world"
    load_little_world(regkg, world)
    read = {name: anndata.read_h5ad(world / f"{name}.h5ad") for name in ("rna", "atac")}
    for name, adata in read.items():
        adata.write_zarr(world / f"{name}.zarr")
    files = {
        "files": [world / "rna.h5ad", world / "atac.h5ad"],
        "stores": [world / "rna.zarr", world / "atac.zarr"],
        "shards": [as_shards(adata, world / name) for name, adata in read.items()],
    }
    for name, paths in files.items():
        loaded = regkg("load", "cells", *paths, "--name", name, "--assembly", "GRCh38")
        assert (loaded["added"], {f["file"]["modality"] for f in loaded["files"]}) == (2, {"rna", "atac"})
        assert regkg("load", "cells", *paths, "--name", name, "--assembly", "GRCh38")["unchanged"] == 2
        assert {file.shape for file in cells(store, name)} == {(120, 30), (120, 150)}
    regkg("release", "publish")
    for said, others in (("--stream", ("stores", "shards")), ("--no-stream", ("stores",))):
        expected = vectors(regkg, "files", said)
        for name in others:
            found = vectors(regkg, name, said)
            for what, values in expected.items():
                np.testing.assert_array_equal(found[what], values, err_msg=f"{name} {said} {what}")
