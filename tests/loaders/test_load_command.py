"""`regkg load` as people and programs use it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import anndata
import numpy as np
import pandas as pd
import pytest

from cli.main import call
from kg.cells import registered
from loaders import registry
from tests.loaders.world import MOUSE, SAMPLES, bed, write

if TYPE_CHECKING:
    from kg.server import Endpoint
    from kg.store import Store

GTF, BED = str(SAMPLES / "genes" / "genes.gtf"), str(SAMPLES / "peaks" / "peaks.bed")
COUNTS = ["added", "changed", "removed", "unchanged", "quarantined", "folded", "filtered"]


@pytest.fixture
def environment(store: Store, neo4j_endpoint: Endpoint, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Store:
    """Use the session's server, named as another machine's would be."""
    monkeypatch.setenv("REGKG_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("REGKG_NEO4J_URI", neo4j_endpoint.uri)
    monkeypatch.setenv("REGKG_NEO4J_USER", neo4j_endpoint.user)
    monkeypatch.setenv("REGKG_NEO4J_PASSWORD", neo4j_endpoint.password)
    return store


def answer(capsys: pytest.CaptureFixture[str], *args: str) -> dict[str, Any]:
    """Return the only JSON object on stdout."""
    assert call(["load", *args, "--json"]) == 0
    parsed: dict[str, Any] = json.loads(capsys.readouterr().out)
    return parsed


def h5ad(path: Path, names: list[str], assembly: str | None = "hg38") -> str:
    adata = anndata.AnnData(np.ones((4, len(names)), dtype=np.float32), var=pd.DataFrame(index=names))
    if assembly is not None:
        adata.uns["assembly"] = assembly
    adata.write_h5ad(path)
    return str(path)


def test_json_is_one_object_with_the_counts(environment: Store, capsys: pytest.CaptureFixture[str]) -> None:
    genes = answer(capsys, "genes", GTF)
    assert {name: genes[name] for name in COUNTS} == {**dict.fromkeys(COUNTS, 0), "added": 6}
    peaks = answer(capsys, "peaks", BED, "--assembly", "hg38", "--dataset", "mine", "--licence", "CC0-1.0")
    assert (peaks["added"], peaks["folded"], peaks["dataset"]) == (8, 1, "mine")
    near = answer(capsys, "proximity", "--rule", "window", "--window-bp", "3000")
    assert near["added"] == environment.read("MATCH ()-[r:NEAR]->() RETURN count(r) AS n")[0]["n"] > 0
    again = answer(capsys, "proximity", "--rule", "window", "--window-bp", "3000")
    assert (again["nothing_to_do"], again["added"], again["unchanged"]) == (True, 0, near["added"])


def test_people_see_counts_oddities_and_the_first_rejected_rows(
    environment: Store, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    rows = [*[(str(1 + i % 3), 100 * i, 100 * i + 60) for i in range(40)], ("1", 9, 3)]
    path = write(tmp_path / "odd.bed", "\ufeff" + bed(*rows).replace("\n", "\r\n"))
    assert call(["load", "peaks", str(path), "--assembly", "hg38"]) == 0
    output = capsys.readouterr().out
    assert "peaks:odd: 41 rows read" in output
    assert "accepted: 40 renamed chromosomes" in output
    assert "accepted: 41 crlf" in output
    assert "rejected: odd.bed:41 column 'end': 3 is not greater than start 9" in output
    assert str(tmp_path / "home" / "quarantine" / "peaks_odd-") in output
    assert call(["load", "peaks", str(path), "--assembly", "hg38"]) == 0
    assert "peaks:odd: nothing to do, 40 rows are as these files have them" in capsys.readouterr().out


def test_a_bad_file_needs_no_database(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("REGKG_NEO4J_URI", "bolt://127.0.0.1:1")
    monkeypatch.setenv("REGKG_NEO4J_PASSWORD", "none")
    page = write(tmp_path / "peaks.bed", "<!DOCTYPE html>")
    assert call(["load", "peaks", str(page), "--assembly", "hg38", "--json"]) == 1
    failed = json.loads(capsys.readouterr().err)
    assert failed["error"]["message"] == "peaks.bed: this is a web page, not data"
    assert call(["load", "peaks", BED, "--assembly", "hg77"]) == 1
    assert "assembly 'hg77' is not known" in capsys.readouterr().err
    assert call(["load", "proximity", "--rule", "nonsense"]) == 2
    assert call(["load", "genes"]) == 2


def test_cells_are_registered(environment: Store, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    answer(capsys, "genes", GTF)
    answer(capsys, "peaks", BED, "--assembly", "hg38")
    rna = h5ad(tmp_path / "rna.h5ad", ["AAA1", "NA", "BBB2", "CCC3", "nothing"])
    atac = h5ad(tmp_path / "atac.h5ad", ["chr1:9500-9800", "chr1-11800-12100"])
    made = answer(capsys, "cells", rna, atac, "--name", "toy")
    assert {name: made[name] for name in COUNTS} == {**dict.fromkeys(COUNTS, 0), "added": 2}
    by_modality = {file["file"]["modality"]: file for file in made["files"]}
    assert by_modality["rna"]["unmapped"] == ["nothing"]
    assert by_modality["rna"]["file"]["coverage"] == 0.8
    assert by_modality["atac"]["file"]["shape"] == [4, 2]
    assert call(["load", "cells", rna, "--name", "toy"]) == 0
    output = capsys.readouterr().out
    assert "80.0%" in output
    assert "rna features not known: nothing" in output


def test_cells_that_the_graph_does_not_know_are_refused(
    environment: Store, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    answer(capsys, "genes", GTF)
    good = h5ad(tmp_path / "rna.h5ad", ["AAA1", "NA"])
    strange = h5ad(tmp_path / "atac.h5ad", ["chr1:1-2", "chr1:3-4"])
    assert call(["load", "cells", good, strange, "--name", "toy"]) == 1
    assert "the graph knows 0 of 2 features" in capsys.readouterr().err
    assert call(["load", "cells", good, good, "--name", "toy"]) == 1
    assert "two of the files of cells 'toy' are rna of one species: rna.h5ad (GRCh38)" in capsys.readouterr().err
    assert call(["load", "cells", good, "--name", "toy", "--assembly", "mm10"]) == 1
    assert "the file says GRCh38, --assembly says GRCm38" in capsys.readouterr().err
    assert environment.read("MATCH (c:Cells) RETURN count(c) AS n") == [{"n": 0}]


def modalities(store: Store) -> dict[str, tuple[str, str]]:
    """Return modality -> file name and assembly, of the cells `two`."""
    return {file.modality: (Path(file.path).name, str(file.assembly)) for file in registered(store, "two")}


def test_rna_of_two_species_is_one_set_of_cells(
    environment: Store, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    answer(capsys, "genes", GTF, "--dataset", "human")
    answer(capsys, "genes", str(MOUSE), "--dataset", "mouse", "--assembly", "mm10")
    human = h5ad(tmp_path / "human.h5ad", ["AAA1", "BBB2"])
    mouse = h5ad(tmp_path / "mouse.h5ad", ["Aaa1", "Bbb2a"], assembly=None)
    files = answer(capsys, "cells", human, mouse, "--name", "two", "--assembly", "hg38", "--assembly", "mm10")["files"]
    assert [one["file"]["modality"] for one in files] == ["rna", "rna-GRCm38"]
    assert [one["file"]["coverage"] for one in files] == [1.0, 1.0]
    both = {"rna": ("human.h5ad", "GRCh38"), "rna-GRCm38": ("mouse.h5ad", "GRCm38")}
    assert modalities(environment) == both
    answer(capsys, "cells", mouse, human, "--name", "two", "--assembly", "mm10", "--assembly", "hg38")
    answer(capsys, "cells", mouse, "--name", "two", "--assembly", "mm10")
    assert modalities(environment) == both


def test_rna_of_one_or_of_unknown_species_is_refused(
    environment: Store, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    answer(capsys, "genes", GTF)
    one, other = (h5ad(tmp_path / f"{name}.h5ad", ["AAA1"], assembly=None) for name in ("one", "other"))
    for stated, words in (
        ([], "two of the files of cells 'two' are rna, of which one.h5ad states no assembly"),
        (["hg38"], "are rna of one species: one.h5ad (GRCh38) and other.h5ad (GRCh38)"),
        (["hg38", "hg38", "mm10"], "--assembly is given 3 times for 2 files"),
    ):
        options = [word for name in stated for word in ("--assembly", name)]
        assert call(["load", "cells", one, other, "--name", "two", *options]) != 0
        assert words in capsys.readouterr().err
    assert modalities(environment) == {}


@pytest.mark.parametrize("name", [*registry.names(), "cells"])
def test_every_source_has_help(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert call(["load", name, "--help"]) == 0
    output = capsys.readouterr().out
    assert "--json" in output
    if name != "cells":
        for parameter in registry.find(name).parameters:
            assert f"--{parameter.name.replace('_', '-')}" in output
    assert call(["load", "--help"]) == 0
    assert name in capsys.readouterr().out
