"""The commands that compare releases and go back, as people type them."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pyarrow.parquet as pq
import pytest

from cli.main import call
from kg import runs
from kg.releases import publish
from kg.runs import predictions
from tests.kg import toy

if TYPE_CHECKING:
    from pathlib import Path

    from kg.server import Endpoint
    from kg.store import Store


@pytest.fixture
def home(store: Store, neo4j_endpoint: Endpoint, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Two releases and two runs, and an environment that leads there."""
    monkeypatch.setenv("REGKG_HOME", str(tmp_path))
    monkeypatch.setenv("REGKG_NEO4J_URI", neo4j_endpoint.uri)
    monkeypatch.setenv("REGKG_NEO4J_USER", neo4j_endpoint.user)
    monkeypatch.setenv("REGKG_NEO4J_PASSWORD", neo4j_endpoint.password)
    toy.load_world(store)
    publish(store)
    for score in (0.5, 0.25):
        run_id = toy.registered(store)
        predictions.keep(tmp_path, run_id, toy.made(score), toy.METRICS)
        runs.write_back(store, tmp_path, run_id)
        runs.publish_run(store, run_id)
    toy.load(store, toy.GENES, toy.genes({"G1": "<NEW>", "G2": "BETA", "G3": "GAMMA"}), "two")
    toy.load(store, toy.NEARS, toy.near([(0, "G1"), (2000, "G2"), (5000, "G3")]), "two")
    publish(store)
    return tmp_path


def said(capsys: pytest.CaptureFixture[str], *args: str) -> object:
    assert call([*args, "--json"]) == 0
    return json.loads(capsys.readouterr().out)


def test_diff_in_every_form(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    parquet, lines, html = home / "d.parquet", home / "d.ndjson", home / "d.html"
    found = said(capsys, "release", "diff", "1", "2", "--rows", str(parquet), "--html", str(html))
    assert found == {
        "first": 1,
        "second": 2,
        "differences": [
            {"dataset": "genes:toy", "type": "Gene", "added": 0, "removed": 0, "changed": 1, "rows": 3},
            {"dataset": "proximity:toy", "type": "NEAR", "added": 1, "removed": 0, "changed": 0, "rows": 3},
        ],
    }
    said(capsys, "release", "diff", "1", "2", "--rows", str(lines))
    rows = [json.loads(line) for line in lines.read_text().splitlines()]
    assert [(r["change"], r["start_id"], r["end_id"]) for r in rows] == [
        ("changed", "G1", None),
        ("added", toy.peak_id(5000), "G3"),
    ]
    assert pq.read_table(parquet)["row_id"].to_pylist() == [r["row_id"] for r in rows]
    text = html.read_text()
    assert "2 rows differ" in text
    assert "symbol: ALPHA → &lt;NEW&gt;" in text
    assert "<NEW>" not in text


def test_nothing_differs_and_unknown_endings(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert call(["release", "diff", "2", "2"]) == 0
    assert "hold the same rows" in capsys.readouterr().err
    assert call(["release", "diff", "1", "2", "--rows", str(home / "x.csv")]) == 2
    assert "ends in neither of .parquet, .ndjson" in capsys.readouterr().err


def test_rollback_revert_and_publish(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    del home
    back = said(capsys, "release", "rollback")
    assert isinstance(back, dict)
    assert back["release"] == 1
    assert call(["release", "publish"]) == 1
    assert "`regkg release revert 2`" in capsys.readouterr().err
    undone = said(capsys, "release", "revert", "2")
    assert isinstance(undone, list)
    assert [(d["dataset"], d["removed"], d["changed"]) for d in undone] == [
        ("genes:toy", 0, 1),
        ("proximity:toy", 1, 0),
    ]
    said(capsys, "release", "publish")
    assert said(capsys, "release", "diff", "1", "3") == {"first": 1, "second": 3, "differences": []}
    entries = said(capsys, "release", "journal")
    assert isinstance(entries, list)
    assert [(e["number"], e["release"]) for e in entries] == [(6, 3), (5, 1), (4, 2), (3, 1), (2, 1), (1, 1)]


def test_runs_are_taken_back_pinned_and_pruned(home: Path, capsys: pytest.CaptureFixture[str], store: Store) -> None:
    del home
    first, second = sorted(r.id for r in runs.runs(store))
    back = said(capsys, "runs", "rollback")
    assert isinstance(back, dict)
    assert back["runs"] == {"glue:cortex": first}
    said(capsys, "runs", "pin", second)
    assert said(capsys, "runs", "prune") == []
    said(capsys, "runs", "unpin", second)
    gone = said(capsys, "runs", "prune")
    assert isinstance(gone, list)
    assert [g["run"] for g in gone] == [second]
    assert toy.rows_of(store, second) == (0, 0)
    said(capsys, "runs", "restore", second)
    assert toy.rows_of(store, second) == (2, 3)


def test_keeping_on_after_a_rollback(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    del home
    said(capsys, "release", "rollback", "--to", "1")
    assert call(["release", "publish"]) == 1
    capsys.readouterr()
    said(capsys, "release", "keep")
    assert call(["release", "publish"]) == 0
