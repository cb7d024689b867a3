"""RNA, ATAC and methylation through the command line: simulated, registered, trained together, written back."""

from __future__ import annotations

from typing import TYPE_CHECKING

import anndata
import pytest

from kg.cells import cells
from tests.cli.test_loop import Shell

if TYPE_CHECKING:
    from pathlib import Path

    from kg.server import Endpoint
    from kg.store import Store


@pytest.fixture
def regkg(store: Store, neo4j_endpoint: Endpoint, tmp_path: Path) -> Shell:
    del store  # empties the graph
    return Shell(tmp_path / "home", neo4j_endpoint)


def test_three_files_train_as_one_set(regkg: Shell, store: Store, tmp_path: Path) -> None:
    world = tmp_path / "world"
    stated = ["--assembly", "GRCh38", "--licence", "CC0-1.0", "--citation", "made here"]
    sizes = ["--genes", "40", "--peaks", "250", "--cells", "150", "--chromosomes", "2", "--sites-per-gene", "6"]
    assert "mch.h5ad" in regkg("simulate", world, *sizes)["files"]
    regkg("load", "genes", world / "genes.gtf.gz", *stated)
    regkg("load", "peaks", world / "peaks.narrowPeak.gz", *stated)
    regkg("load", "proximity", "--rule", "window", "--window-bp", "150000")
    files = [world / f"{name}.h5ad" for name in ("rna", "atac", "mch")]
    regkg("load", "cells", *files, "--name", "three")
    assert {file.modality: file.coverage for file in cells(store, "three")} == {"rna": 1.0, "atac": 1.0, "mCH": 1.0}
    regkg("release", "publish")
    short = ["--first-steps", "30", "--second-steps", "60", "--latent-dim", "8", "--hidden-dim", "16"]
    run = regkg(
        "train", "glue", "--cells", "three", "--device", "cpu", *short, "--use-labels", "--likelihood", "mCH=beta"
    )
    assert run["outcome"] == "complete"
    assert {"label_transfer_seen_rna_mCH", "label_transfer_seen", "foscttm", "mixing"} < run["metrics"].keys()
    assert "label_transfer" not in run["metrics"]
    embedded = anndata.read_h5ad(regkg.home / "runs" / run["id"] / "mCH.h5ad")
    assert embedded.obsm["X_glue"].shape == (150, 8)
    assert embedded.var_names.str.startswith("mCH:ENSG").all()
    kinds = store.read("MATCH (n)-[:HAS_EMBEDDING]->() RETURN DISTINCT labels(n) AS l")
    assert {label for row in kinds for label in row["l"]} <= {"Gene", "Peak", "TF"}
