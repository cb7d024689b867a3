"""`regkg db` on the session's server."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from cli.main import call

if TYPE_CHECKING:
    from pathlib import Path

    from kg.server import Server


@pytest.fixture
def home(neo4j_server: Server, jars: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The home of the session's server, as the environment names it."""
    monkeypatch.delenv("REGKG_NEO4J_URI", raising=False)
    monkeypatch.setenv("REGKG_JARS", str(jars))
    monkeypatch.setenv("REGKG_HOME", str(neo4j_server.root.parent))
    return neo4j_server.root.parent


@pytest.fixture
def nowhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A home in which nothing was ever started."""
    monkeypatch.delenv("REGKG_NEO4J_URI", raising=False)
    monkeypatch.setenv("REGKG_HOME", str(tmp_path / "nowhere"))
    return tmp_path / "nowhere"


def test_start_and_status_say_the_same(home: Path, neo4j_server: Server, capsys: pytest.CaptureFixture[str]) -> None:
    assert call(["db", "start", "--json"]) == 0
    started = json.loads(capsys.readouterr().out)
    assert call(["db", "status", "--json"]) == 0
    said = json.loads(capsys.readouterr().out)
    known = neo4j_server.status()
    assert (said["running"], said["pid"], said["uri"]) == (True, known.pid, known.uri)
    assert said["home"] == str(home)
    assert started.keys() == said.keys()


def test_people_are_told_where_the_password_is_and_not_what(
    home: Path, neo4j_server: Server, capsys: pytest.CaptureFixture[str]
) -> None:
    assert call(["db", "start"]) == 0
    said = capsys.readouterr()
    assert str(home / "neo4j" / "password") in said.err
    assert neo4j_server.status().browser in said.out.split()
    assert neo4j_server.start().password not in said.out + said.err


def test_logs_end_where_they_are_told(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert call(["db", "logs", "--lines", "2", "--json"]) == 0
    last = json.loads(capsys.readouterr().out)
    assert len(last) == 2
    assert call(["db", "logs", "--lines", "2"]) == 0
    assert capsys.readouterr().out.splitlines() == last
    assert call(["db", "logs", "--lines", "0"]) == 2


def test_what_was_never_started_is_not_made_by_asking(nowhere: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert call(["db", "status", "--json"]) == 0
    said = json.loads(capsys.readouterr().out)
    assert (said["running"], said["uri"], said["store_bytes"]) == (False, None, 0)
    assert call(["db", "stop", "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == {"stopped": False}
    assert call(["db", "stop"]) == 0
    assert "not running" in capsys.readouterr().out
    assert call(["db", "logs"]) == 0
    assert "nothing was logged" in capsys.readouterr().out
    assert not nowhere.exists()


@pytest.mark.parametrize("command", ["start", "stop", "status", "logs"])
def test_a_server_of_someone_else_is_left_alone(
    command: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("REGKG_NEO4J_URI", "bolt://127.0.0.1:1")
    monkeypatch.setenv("REGKG_NEO4J_PASSWORD", "secret")
    assert call(["db", command]) == 2
    assert "not managed here" in capsys.readouterr().err


def test_a_version_that_is_none_is_said(
    nowhere: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("REGKG_NEO4J_VERSION", "newest")
    assert call(["db", "start"]) == 2
    assert "REGKG_NEO4J_VERSION" in capsys.readouterr().err


@pytest.mark.parametrize("command", ["db", "doctor"])
def test_help_imports_neither_torch_nor_the_driver(command: str) -> None:
    ask = "import sys; from cli.main import call; call(sys.argv[1:]); print({'torch', 'neo4j'} & set(sys.modules))"
    shell = [sys.executable, "-c", ask, command, "--help"]
    told = subprocess.run(shell, capture_output=True, text=True, check=True).stdout
    assert told.splitlines()[-1] == "set()"
