"""`runs targets` by its output, and what help imports."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from cli.main import call
from kg.releases import served
from kg.runs.predictions import run_folder
from tests.models.test_targets import world

if TYPE_CHECKING:
    from pathlib import Path

    from kg.server import Endpoint
    from kg.store import Store

__all__ = ["world"]


@pytest.fixture(autouse=True)
def environment(monkeypatch: pytest.MonkeyPatch, neo4j_endpoint: Endpoint, tmp_path: Path) -> None:
    monkeypatch.setenv("REGKG_HOME", str(tmp_path))
    monkeypatch.setenv("REGKG_NEO4J_URI", neo4j_endpoint.uri)
    monkeypatch.setenv("REGKG_NEO4J_PASSWORD", neo4j_endpoint.password)


@pytest.mark.usefixtures("reports")
def test_targets_are_made_reported_published_and_asked_for(
    store: Store, world: str, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    assert call(["runs", "targets", world, "--best", "3", "--publish", "--json"]) == 0
    made = json.loads(capsys.readouterr().out)
    assert served(store).runs == {"glue:cortex": world, "targets-motifs:cortex": made["id"]}
    assert (made["derived"], made["parent"]) == (True, world)
    page = run_folder(tmp_path, made["id"]) / "report.html"
    words = re.sub(r"<[^>]+>", " ", page.read_text())
    assert "PREDICTED_TARGET" in words
    assert re.search(rf"derived from\s+{world}", words)
    assert "Loss" not in words
    assert call(["runs", "report", made["id"], "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == {"run": made["id"], "html": str(page), "missing": []}
    assert call(["ask", "tf-targets", "--tf", "S0", "--json"]) == 0
    answer = json.loads(capsys.readouterr().out)
    assert {row["gene"] for row in answer["rows"]} == {"G1", "G2", "G3", "G4"}
    assert {row["curated"] for row in answer["rows"] if row["gene"] in {"G1", "G2"}} == {True}
    assert all(len(row["peaks"]) == row["observed"] == 3 for row in answer["rows"])
    assert call(["runs", "targets", world]) == 0
    out = capsys.readouterr().out
    assert "curated_fisher_p" in out
    assert world in out
    assert call(["runs", "targets", world, "--sites", "chip"]) == 1
    assert "has no BINDS rows" in capsys.readouterr().err


def test_help_waits_for_neither_torch_nor_scipy() -> None:
    code = "import sys; from cli.main import call; call(['runs', 'targets', '--help']); "
    code += "print({'torch', 'scipy'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip().endswith("set()")
