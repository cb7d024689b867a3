"""`regkg doctor`: what is well is said, and each fault is named with its remedy."""

from __future__ import annotations

import json
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from cli.admin import doctor
from cli.main import call
from kg.errors import RegkgError, SettingsError
from kg.operations import health

if TYPE_CHECKING:
    from collections.abc import Iterator

    import neo4j

    from kg.server import Server
    from kg.store import Store


@pytest.fixture
def managed(neo4j_server: Server, jars: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("REGKG_NEO4J_URI", raising=False)
    monkeypatch.setenv("REGKG_JARS", str(jars))
    monkeypatch.setenv("REGKG_HOME", str(neo4j_server.root.parent))


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without the seconds that importing torch takes."""
    monkeypatch.setattr(doctor, "GPU", "print()")


def remote(monkeypatch: pytest.MonkeyPatch, uri: str, password: str) -> None:
    monkeypatch.setenv("REGKG_NEO4J_URI", uri)
    monkeypatch.setenv("REGKG_NEO4J_PASSWORD", password)


def diagnose(capsys: pytest.CaptureFixture[str]) -> tuple[int, dict[str, dict[str, Any]]]:
    code = call(["doctor", "--json"])
    told = json.loads(capsys.readouterr().out)
    assert told["ok"] == (code == 0)
    return code, {check["name"]: check for check in told["checks"]}


@pytest.mark.usefixtures("managed")
def test_a_healthy_home_passes_and_the_graph_stays_as_it_was(store: Store, capsys: pytest.CaptureFixture[str]) -> None:
    before = store.read("MATCH (n) RETURN count(n) AS n")
    code, checks = diagnose(capsys)
    assert code == 0, [check for check in checks.values() if not check["ok"]]
    assert list(checks) == [
        *("python", "packages", "versions", "training", "disk", "memory"),
        *("java", "jars", "server", "write", "read-only", "runs", "vectors"),
    ]
    assert "217 jars" in checks["jars"]["found"]
    assert "openjdk 21" in checks["java"]["found"]
    assert "5.26" in checks["server"]["found"]
    assert "refuses" in checks["read-only"]["found"]
    assert store.read("MATCH (n) RETURN count(n) AS n") == before


@pytest.mark.usefixtures("quick")
def test_a_wrong_password_is_named(
    neo4j_server: Server, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    remote(monkeypatch, neo4j_server.start().uri, "wrong")
    code, checks = diagnose(capsys)
    assert code == 1
    assert "refused the user or the password" in checks["server"]["found"]
    assert "REGKG_NEO4J_PASSWORD" in checks["server"]["mend"]
    assert {"java", "jars", "write"}.isdisjoint(checks)


@pytest.mark.usefixtures("quick")
def test_an_unreachable_server_is_named(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    remote(monkeypatch, "bolt://127.0.0.1:1", "any")
    code, checks = diagnose(capsys)
    assert code == 1
    assert not checks["server"]["ok"]
    assert "bolt://127.0.0.1:1" in checks["server"]["found"]
    assert checks["python"]["ok"]


@pytest.mark.usefixtures("quick")
def test_people_read_what_to_do(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    remote(monkeypatch, "bolt://127.0.0.1:1", "any")
    assert call(["doctor"]) == 1
    said = capsys.readouterr().out
    assert "\nFAIL  server     Neo4j does not answer at bolt://127.0.0.1:1" in said
    assert said.splitlines()[-1].strip() == "fix: regkg db status; regkg db start; regkg db logs"
    assert all(line.startswith(("ok  ", "FAIL", " " * 17)) for line in said.splitlines())


@contextmanager
def lenient(store: Store, timeout_s: float) -> Iterator[neo4j.Transaction]:
    """A read transaction as a server without access modes would give it."""
    with store._driver.session() as session, session.begin_transaction(timeout=timeout_s) as transaction:
        yield transaction


@pytest.mark.usefixtures("quick")
def test_a_server_that_lets_readers_write_fails(
    store: Store, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], neo4j_server: Server
) -> None:
    where = neo4j_server.start()
    remote(monkeypatch, where.uri, where.password)
    monkeypatch.setattr(type(store), "reading", lenient)
    before = store.read("MATCH (n:Schema) RETURN count(n) AS n")
    code, checks = diagnose(capsys)
    assert code == 1
    assert "a read session may write" in checks["read-only"]["found"]
    assert store.read("MATCH (n:Schema) RETURN count(n) AS n") == before


@pytest.mark.usefixtures("managed", "quick")
def test_too_little_disk_and_memory_fail(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(health, "NEEDED_DISK_BYTES", 2**62)
    monkeypatch.setattr(health, "NEEDED_MEMORY_BYTES", 2**62)
    code, checks = diagnose(capsys)
    assert code == 1
    assert "REGKG_HOME" in checks["disk"]["mend"]
    assert not checks["memory"]["ok"]
    assert checks["server"]["ok"]


def test_packages_from_two_places_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    assert "come from" in doctor._one_place()
    real = doctor.place_of
    monkeypatch.setattr(doctor, "place_of", lambda name: Path("/elsewhere") if name == "api" else real(name))
    with pytest.raises(SettingsError, match="api from /elsewhere"):
        doctor._one_place()


def test_a_missing_torch_is_no_fault(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor, "_installed", lambda _: None)
    assert "regkg[train]" in doctor._training()


def test_a_broken_torch_is_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor, "_installed", lambda _: "2.6")
    monkeypatch.setattr(doctor, "GPU", "raise ImportError('libtorch is damaged')")
    with pytest.raises(RegkgError, match="libtorch is damaged"):
        doctor._training()
