"""`regkg export` on a published world, as people and programs use it."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import anndata
import pandas as pd
import pytest

from cli.main import call
from tests.kg.published import Published, peak_id, publish_world

if TYPE_CHECKING:
    from pathlib import Path

    from kg.server import Endpoint
    from kg.store import Store


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("home")


@pytest.fixture(scope="module")
def world(session_store: Store, home: Path) -> Published:
    session_store.implicit("MATCH (n) WHERE NOT n:Schema CALL (n) { DETACH DELETE n } IN TRANSACTIONS OF 20000 ROWS")
    return publish_world(session_store, home)


@pytest.fixture(autouse=True)
def environment(monkeypatch: pytest.MonkeyPatch, neo4j_endpoint: Endpoint, home: Path, world: Published) -> None:
    assert world.served
    monkeypatch.setenv("REGKG_HOME", str(home))
    monkeypatch.setenv("REGKG_NEO4J_URI", neo4j_endpoint.uri)
    monkeypatch.setenv("REGKG_NEO4J_PASSWORD", neo4j_endpoint.password)


def test_a_file_and_what_was_written(tmp_path: Path, world: Published, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "near.bedpe"
    assert call(["export", "edges", "--type", "NEAR", "--out", str(out), "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert (told["format"], told["rows"], told["skipped"]) == ("bedpe", len(world.near[2]), 0)
    assert json.loads((tmp_path / "near.bedpe.json").read_text())["files"] == told["files"]


def test_stdout_is_the_file_and_nothing_else(world: Published, capfdbinary: pytest.CaptureFixture[bytes]) -> None:
    assert call(["export", "nodes", "--type", "Peak", "--out", "-", "--format", "bed"]) == 0
    shown = capfdbinary.readouterr()
    lines = shown.out.decode().splitlines()
    assert {line.split("\t")[3] for line in lines} == set(world.peaks[2])
    assert b"39 rows; release 2, " in shown.err


def test_guidance_and_embeddings(tmp_path: Path, world: Published, capsys: pytest.CaptureFixture[str]) -> None:
    assert call(["export", "guidance", "--release", "1", "--out", str(tmp_path / "g.tsv")]) == 0
    assert len(pd.read_csv(tmp_path / "g.tsv", sep="\t")) == len(world.near[1])
    assert call(["export", "embeddings", "--run", world.served[1], "--out", str(tmp_path / "e.h5ad")]) == 0
    assert anndata.read_h5ad(tmp_path / "e.h5ad").n_obs == len(world.vectors[world.served[1]])
    capsys.readouterr()
    assert call(["export", "embeddings", "--out", str(tmp_path / "e.h5ad")]) == 2
    assert "one run only" in capsys.readouterr().err


def test_an_answer(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "answer.interact"
    assert call(["export", "ask", "peak-targets", "--peak", peak_id(4), "--out", str(out)]) == 0
    assert "interact" in capsys.readouterr().out
    assert "peak-targets" in out.read_text().splitlines()[0]


def test_what_is_wrong_is_said(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert call(["export", "edges", "--out", str(tmp_path / "edges.docx")]) == 2
    assert "choose one with --format: bed, bedpe" in capsys.readouterr().err
    assert call(["export", "ask", "nothing", "--out", "x.tsv"]) == 1
    assert "the questions are" in capsys.readouterr().err
    assert call(["export", "edges", "--help"]) == 0
    assert call(["export", "--help"]) == 0
    assert "kgx        KGX" in capsys.readouterr().out
