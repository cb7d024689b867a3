"""`regkg backup`, `restore` and `db migrate` as people and programs have them."""

from __future__ import annotations

import json
import shutil
from typing import TYPE_CHECKING, Any

import pytest

from cli.main import call
from kg import runs
from kg.releases import publish, served
from kg.runs import predictions
from kg.schema import SCHEMA_VERSION
from tests.kg import toy

if TYPE_CHECKING:
    from pathlib import Path

    from kg.server import Endpoint
    from kg.store import Store


@pytest.fixture
def home(store: Store, neo4j_endpoint: Endpoint, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A release and a published run, and an environment that leads there."""
    home = tmp_path / "home"
    monkeypatch.setenv("REGKG_HOME", str(home))
    monkeypatch.setenv("REGKG_NEO4J_URI", neo4j_endpoint.uri)
    monkeypatch.setenv("REGKG_NEO4J_USER", neo4j_endpoint.user)
    monkeypatch.setenv("REGKG_NEO4J_PASSWORD", neo4j_endpoint.password)
    toy.load_world(store)
    publish(store)
    run_id = toy.registered(store)
    predictions.keep(home, run_id, toy.made(), toy.METRICS)
    runs.write_back(store, home, run_id)
    runs.publish_run(store, run_id)
    return home


def said(capsys: pytest.CaptureFixture[str], *args: str) -> Any:
    assert call([*args, "--json"]) == 0
    return json.loads(capsys.readouterr().out)


def test_there_and_back(home: Path, store: Store, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = str(tmp_path / "backup")
    before = served(store)
    made = said(capsys, "backup", folder, "--logical")
    assert (made["kind"], made["releases"], made["runs"], made["left_out"]) == ("logical", 1, 1, [])
    assert call(["restore", folder]) == 1
    assert "a backup is restored into an empty one" in capsys.readouterr().err
    store.implicit("MATCH (n) WHERE NOT n:Schema DETACH DELETE n")
    shutil.rmtree(home)
    done = said(capsys, "restore", folder)
    assert (done["releases"], done["runs"]) == ({str(before.release): before.hash}, 1)
    assert served(store) == before
    assert toy.rows_of(store, runs.runs(store)[0].id) == (2, 3)


def test_what_is_left_out_is_said(home: Path, store: Store, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    shutil.rmtree(home)
    toy.load(store, toy.PEAKS, toy.peaks([0, 2000, 5000, 9000]), "two")
    assert call(["backup", str(tmp_path / "backup"), "--logical"]) == 0
    told = capsys.readouterr().err
    assert "left out: the draft of peaks:toy" in told
    assert f"left out: the files of run glue-cortex-1, which are not in {home}" in told


def test_a_dump_of_a_server_of_others_is_refused(
    home: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    del home
    assert call(["backup", str(tmp_path / "backup")]) == 1
    assert "--logical" in capsys.readouterr().err
    assert call(["restore", str(tmp_path / "none")]) == 2


def test_migrate_says_what_it_did(home: Path, store: Store, capsys: pytest.CaptureFixture[str]) -> None:
    del home
    assert said(capsys, "db", "migrate") == {"steps": [], "schema_version": SCHEMA_VERSION}
    store.write("MATCH (s:Schema) SET s.version = 1")
    try:
        assert call(["release", "list"]) == 1
        assert "regkg db migrate" in capsys.readouterr().err
        assert said(capsys, "db", "migrate") == {"steps": [1], "schema_version": SCHEMA_VERSION}
        assert call(["release", "verify"]) == 0
    finally:
        store.write("MATCH (s:Schema) SET s.version = $version", version=SCHEMA_VERSION)
