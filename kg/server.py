"""The managed Neo4j: one server of one home, started at need, found again by any process.

Everything lies under `home/neo4j`: `conf`, `data`, `logs`, the password, and `server.json`, which says where the server
listens. A file lock, which dies with its holder, makes starts and stops one at a time. Whether a server runs is decided
by its process alone: alive, and with this home in its command line, so a stale `server.json` does no harm.
"""

from __future__ import annotations

import json
import shutil
import socket
import time
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import psutil
from filelock import FileLock, Timeout
from neo4j import GraphDatabase
from neo4j.exceptions import AuthError, DriverError, Neo4jError

from kg import java
from kg.errors import ServerFailed
from kg.jars import install_jars
from kg.progress import SILENT, Progress
from kg.server_config import Ports, read_password, server_options, write_configuration
from kg.settings import DEFAULT_NEO4J_VERSION

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from kg.settings import Settings

USER = "neo4j"
USUAL = Ports(7687, 7474)
NEEDED_BYTES = 256 * 2**20
POLL_S = 0.1


@dataclass(frozen=True)
class Endpoint:
    """Where a Neo4j answers, and as whom."""

    uri: str
    user: str
    password: str = field(repr=False)


@dataclass(frozen=True)
class Status:
    """What can be said of a managed server; the last four are None while it is stopped."""

    running: bool
    home: str
    version: str
    store_bytes: int
    pid: int | None = None
    uri: str | None = None
    browser: str | None = None
    started_at: str | None = None


@dataclass(frozen=True)
class _State:
    """What `server.json` holds: the latest server of this home, dead or alive."""

    pid: int
    bolt: int
    http: int
    version: str


class Server:
    """The one managed server of a home; `jars` is a directory shared between homes, else they lie in the home."""

    def __init__(self, home: Path, version: str = DEFAULT_NEO4J_VERSION, jars: Path | None = None) -> None:
        self.version = version
        self.root = home.resolve() / "neo4j"
        self.jars = jars or self.root / "jars"

    def start(self, progress: Progress = SILENT, *, timeout_s: float = 120) -> Endpoint:
        """Give the running server, started if need be; returns once it has answered a query.

        Of two processes that start at once, one does it and the other waits for the same server.

        Raises:
            ServerFailed: with the last lines of its log where it has written some.
            ChecksumMismatch: a jar is not the recorded one.
        """
        with self._locked(progress):
            if (running := self._running()) is None:
                return self._launch(progress, timeout_s)
            process, state = running
            if state.version != self.version:
                progress.say(f"Neo4j {state.version} runs; {self.version} will after `regkg db stop`")
            return self._await_answer(process, state.bolt, timeout_s)

    def stop(self, progress: Progress = SILENT, *, timeout_s: float = 60) -> bool:
        """Shut the server down cleanly; False when none was running.

        Raises:
            ServerFailed: it is still there after `timeout_s`.
        """
        with self._locked(progress):
            if (running := self._running()) is not None:
                _terminate(running[0], timeout_s)
            return running is not None

    def status(self) -> Status:
        """What runs, where, since when, and how large the store is."""
        stored = sum(path.stat().st_size for path in (self.root / "data").rglob("*") if path.is_file())
        if (running := self._running()) is None:
            return Status(running=False, home=str(self.root.parent), version=self.version, store_bytes=stored)
        process, state = running
        return Status(
            running=True,
            home=str(self.root.parent),
            version=state.version,
            store_bytes=stored,
            pid=state.pid,
            uri=f"bolt://127.0.0.1:{state.bolt}",
            browser=f"http://127.0.0.1:{state.http}/browser/",
            started_at=datetime.fromtimestamp(process.create_time(), UTC).isoformat(timespec="seconds"),
        )

    def logs(self, lines: int = 50) -> list[str]:
        """The last lines of what the latest server wrote: its console if it said anything there, else its log."""
        for name in ("console.log", "neo4j.log"):
            path = self.root / "logs" / name
            if path.exists() and (text := path.read_text(errors="replace")):
                return text.splitlines()[-lines:]
        return []

    @contextmanager
    def _locked(self, progress: Progress) -> Iterator[None]:
        """One start or stop at a time; the wait has no limit of its own, since what it waits for has one."""
        lock = FileLock(self.root / "server.lock")
        try:
            self.root.mkdir(parents=True, exist_ok=True)
            self.root.chmod(0o700)
            try:
                lock.acquire(timeout=0)
            except Timeout:
                progress.say("another process is starting or stopping this server: waiting for it")
                lock.acquire()
        except OSError as error:
            raise ServerFailed(f"{self.root} cannot be used: {error}", "set REGKG_HOME to a place of yours") from error
        try:
            yield
        finally:
            lock.release()

    def _running(self) -> tuple[psutil.Process, _State] | None:
        """The live server; a process that merely got the same number does not name this home."""
        try:
            state = _State(**json.loads((self.root / "server.json").read_text()))
            process = psutil.Process(state.pid)
            return (process, state) if self._mark in process.cmdline() else None
        except (OSError, ValueError, TypeError, psutil.Error):  # never started, cut off while written; gone, a zombie
            return None

    @property
    def _mark(self) -> str:
        return f"--home-dir={self.root}"

    def administrate(self, command: Sequence[str], *, java_options: Sequence[str] = ()) -> str:
        """Run a `neo4j-admin` command on this home and give what it said; most need a stopped server.

        Raises:
            ServerFailed: the command failed.
        """
        jars = install_jars(self.version, self.jars)
        arguments = [*java_options, "-cp", ":".join(map(str, jars)), "org.neo4j.cli.AdminTool", *command]
        file = self.root / "admin.args"
        try:
            named = java.write_arguments(file, arguments)
            return java.run([named], {"NEO4J_HOME": str(self.root), "NEO4J_CONF": str(self.root / "conf")})
        finally:
            file.unlink(missing_ok=True)

    def _launch(self, progress: Progress, timeout_s: float) -> Endpoint:
        jars = install_jars(self.version, self.jars, progress)
        progress.begin("starting Neo4j")
        for orphan in self._orphans():
            _terminate(orphan, timeout_s)
        ports = self._usual_ports()
        self._prepare(ports)
        try:
            endpoint = self._attempt(jars, ports, timeout_s)
        except ServerFailed:
            if _is_free(ports.bolt) and _is_free(ports.http):
                raise
            # Somebody took a port between our look and Neo4j's.
            endpoint = self._attempt(jars, Ports(_any_port(), _any_port()), timeout_s)
        progress.end(endpoint.uri)
        return endpoint

    def _orphans(self) -> Iterator[psutil.Process]:
        """Servers of this home whose starter was killed before it could write `server.json`."""
        for process in psutil.process_iter(["cmdline"]):
            if self._mark in (process.info["cmdline"] or ()):
                yield process

    def _usual_ports(self) -> Ports:
        """Those of last time, so that bookmarks hold; else Neo4j's own; else any."""
        try:
            last = json.loads((self.root / "server.json").read_text())
        except (OSError, ValueError):
            last = {}
        bolt, http = last.get("bolt", USUAL.bolt), last.get("http", USUAL.http)
        return Ports(bolt if _is_free(bolt) else _any_port(), http if _is_free(http) else _any_port())

    def _prepare(self, ports: Ports) -> None:
        """Check the ground; set the password, which can be done only before the first start."""
        if (free := shutil.disk_usage(self.root).free) < NEEDED_BYTES:
            need = f"{free >> 20} MB are free, Neo4j needs {NEEDED_BYTES >> 20} MB"
            raise ServerFailed(f"{self.root}: {need}", "free space, or set REGKG_HOME to another disk")
        used = (self.root / "data" / "databases" / "system").exists()
        if used and not (self.root / "password").exists():
            raise ServerFailed(
                f"{self.root / 'password'} is gone, and the graph beside it opens with no other",
                f"put it back, or move {self.root / 'data'} away to start with an empty graph",
            )
        write_configuration(self.root, ports)
        password = read_password(self.root)
        if not used:
            # One compiler and one collector thread: this is over before better ones pay.
            quick = ("-XX:TieredStopAtLevel=1", "-XX:+UseSerialGC")
            self.administrate(["dbms", "set-initial-password", password], java_options=quick)

    def _attempt(self, jars: Sequence[Path], ports: Ports, timeout_s: float) -> Endpoint:
        write_configuration(self.root, ports)
        named = java.write_arguments(self.root / "server.args", server_options(self.root, jars))
        process = java.spawn([named, self._mark, f"--config-dir={self.root}/conf"], self.root / "logs" / "console.log")
        state = _State(process.pid, ports.bolt, ports.http, self.version)
        (self.root / "server.json").write_text(json.dumps(asdict(state)))
        try:
            return self._await_answer(process, ports.bolt, timeout_s)
        except BaseException:
            with suppress(psutil.NoSuchProcess):
                process.kill()
                process.wait()
            raise

    def _await_answer(self, process: psutil.Process, port: int, timeout_s: float) -> Endpoint:
        deadline = time.monotonic() + timeout_s
        endpoint = Endpoint(f"bolt://127.0.0.1:{port}", USER, read_password(self.root))
        while not (_listens(process, port) and _answers(endpoint)):
            if not _is_alive(process):
                raise self._failed("ended while it was starting")
            if time.monotonic() > deadline:
                raise self._failed(f"did not answer within {timeout_s:.0f} s")
            time.sleep(POLL_S)
        return endpoint

    def _failed(self, how: str) -> ServerFailed:
        said = "\n  ".join(self.logs(12)) or "nothing"
        return ServerFailed(f"Neo4j {how}. It last wrote:\n  {said}", f"the whole log is {self.root / 'logs'}")


def endpoint(settings: Settings, progress: Progress = SILENT) -> Endpoint:
    """Where the graph is: the Neo4j that the settings name, else the managed one, started if need be.

    Raises:
        ServerFailed: the managed server does not start.
    """
    if settings.neo4j_uri is not None:
        return Endpoint(settings.neo4j_uri, settings.neo4j_user, settings.neo4j_password or "")
    return Server(settings.home, settings.neo4j_version, settings.jars).start(progress)


def _answers(endpoint: Endpoint) -> bool:
    with (
        GraphDatabase.driver(endpoint.uri, auth=(endpoint.user, endpoint.password)) as driver,
        driver.session() as session,
    ):
        try:
            session.run("RETURN 1").consume()
        except AuthError as error:
            raise ServerFailed(
                f"the server at {endpoint.uri} refuses the password of this home: {error.message}",
                "someone changed it: write the present one into the file `password` under REGKG_HOME/neo4j",
            ) from error
        except (DriverError, Neo4jError):  # it listens before its databases are open
            return False
        return True


def _listens(process: psutil.Process, port: int) -> bool:
    """Whether this process, and not another one's server, has the port."""
    try:
        return any(c.laddr.port == port and c.status == psutil.CONN_LISTEN for c in process.net_connections("tcp"))
    except psutil.Error:
        return False


def _is_alive(process: psutil.Process) -> bool:
    try:
        return bool(process.status() != psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return False


def _terminate(process: psutil.Process, timeout_s: float) -> None:
    try:
        process.terminate()
        process.wait(timeout_s)
    except psutil.NoSuchProcess:
        return
    except psutil.TimeoutExpired as error:
        raise ServerFailed(
            f"Neo4j (pid {process.pid}) did not stop within {timeout_s:.0f} s",
            f"it may be ending a large transaction: try again; `kill -9 {process.pid}` loses nothing committed",
        ) from error


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
        return True


def _any_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
