"""The managed Neo4j: one server of one home, started at need, found again by any process.

Everything lies under `home/neo4j`: `conf`, `data`, `logs`, the password, and `server.json`, which says where the server
listens. A file lock, which dies with its holder, makes starts and stops one at a time. Whether a server runs is decided
by its process alone: alive, and with this home in its command line, so a stale `server.json` does no harm.
"""

from __future__ import annotations

import json
import shutil
import time
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import psutil
from filelock import FileLock, Timeout
from neo4j import GraphDatabase
from neo4j.exceptions import AuthError, DriverError, Neo4jError

from kg.errors import ServerFailed
from kg.files import size_of
from kg.progress import SILENT, Progress
from kg.server import java, processes
from kg.server.config import Ports, read_password, server_options, write_configuration
from kg.server.jars import install_jars
from kg.settings import DEFAULT_NEO4J_VERSION

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from kg.settings import Settings

USER = "neo4j"
USUAL = Ports(7687, 7474)
NEEDED_BYTES = 256 * 2**20
STORE = ("databases/neo4j", "transactions/neo4j")  # below data
EXCHANGING = "exchanging-stores"
RESTORED, REPLACED = "restored", "replaced"  # below neo4j: what takes the home's place, and what it replaces
DUMP = "neo4j.dump"
POLL_S = 0.1
PATIENCE_S = 5.0
STOP_S = 60.0


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
        self.password_file = self.root / "password"

    def start(self, progress: Progress = SILENT, *, timeout_s: float = 300) -> Endpoint:
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

    def stop(self, progress: Progress = SILENT, *, timeout_s: float = STOP_S) -> bool:
        """Shut the server down cleanly; False when none was running.

        Raises:
            ServerFailed: it is still there after `timeout_s`.
        """
        if not self.root.exists():
            return False
        with self._locked(progress):
            running = self._running() is not None
            self._end_all(timeout_s)
            return running

    def import_store(self, folder: Path, files: Sequence[str], progress: Progress = SILENT) -> None:
        """Stop the server and put a store made of CSV files in the place of its empty one.

        The importer works in `folder`, so a kill leaves the empty graph as it was; one while the stores are exchanged
        leaves a mark, and the next start begins with an empty graph again.

        Raises:
            ServerFailed: the importer refuses a file; carries what it said.
        """
        self.stop(progress)
        with self._locked(progress):
            jars = install_jars(self.version, self.jars, progress)
            progress.begin("importing")
            (folder / "conf").mkdir()
            (folder / "conf" / "neo4j.conf").write_text("dbms.usage_report.enabled=false\n")
            command = ["database", "import", "full", "neo4j", "--id-type=string", "--overwrite-destination"]
            command += [f"--report-file={folder}/import.report", *files]
            self._administrate(jars, *command, home=folder)
            mark = self.root / EXCHANGING
            mark.touch()
            for part in STORE:
                shutil.rmtree(self.root / "data" / part, ignore_errors=True)
                (folder / "data" / part).rename(self.root / "data" / part)
            mark.unlink()
            progress.end()

    def dump_store(self, folder: Path, progress: Progress = SILENT) -> None:
        """Stop the server and write its database to `folder`/neo4j.dump; it is not started again.

        Raises:
            ServerFailed: it does not stop, or Neo4j's dump fails; carries what that said.
        """
        with self._locked(progress):
            jars = install_jars(self.version, self.jars, progress)
            self._end_all(STOP_S)
            progress.begin("dumping the store")
            self._administrate(jars, "database", "dump", "neo4j", f"--to-path={folder}", "--overwrite-destination=true")
            progress.end()

    def load_store(self, folder: Path, progress: Progress = SILENT) -> None:
        """Make the database of a server that never ran from `folder`/neo4j.dump.

        Raises:
            ServerFailed: the dump is not readable; carries what Neo4j said.
        """
        with self._locked(progress):
            jars = install_jars(self.version, self.jars, progress)
            progress.begin("loading the store")
            write_configuration(self.root, Ports(processes.any_port(), processes.any_port()))
            self._administrate(jars, "database", "load", "neo4j", f"--from-path={folder}")
            progress.end()

    def take_restored(self, restored: Path, progress: Progress = SILENT) -> None:
        """Stop the server and put a restored store and runs in the place of its own.

        `restored` is a home on the same disk, its server stopped. From the first rename on the restore stands: after a
        kill the next start goes on with it. What is replaced is kept aside until the server has answered.
        """
        with self._locked(progress):
            self._end_all(STOP_S)
            shutil.rmtree(self.root / REPLACED, ignore_errors=True)
            restored.rename(self.root / RESTORED)
            self._exchange()

    @property
    def has_store(self) -> bool:
        """Whether a graph was ever made here, be it an empty one."""
        return (self.root / "data" / STORE[0]).exists() or (self.root / RESTORED).exists()

    def _exchange(self) -> None:
        """Each part of the store and the runs: the old one aside, the new one in its place; safe to run again."""
        new, old = self.root / RESTORED, self.root / REPLACED
        places = {f"neo4j/data/{part}": self.root / "data" / part for part in STORE}
        for part, place in {**places, "runs": self.root.parent / "runs"}.items():
            if not (new / part).exists():
                continue
            if place.exists():
                (old / part).parent.mkdir(parents=True, exist_ok=True)
                place.rename(old / part)
            place.parent.mkdir(parents=True, exist_ok=True)
            (new / part).rename(place)
        shutil.rmtree(new)

    def status(self) -> Status:
        """What runs, where, since when, and how large the store is."""
        stored = sum(map(size_of, (self.root / "data").rglob("*")))
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
        """The last lines of the server's log, and after them what Java itself said, if anything."""
        written: list[str] = []
        for name in ("neo4j.log", "console.log"):
            path = self.root / "logs" / name
            written += path.read_text(errors="replace").splitlines() if path.exists() else []
        return written[-lines:]

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
        if (state := self._latest()) is None:
            return None
        try:
            process = psutil.Process(state.pid)
            return (process, state) if self._mark in process.cmdline() else None
        except psutil.Error:  # gone, a zombie, or somebody else's
            return None

    def _latest(self) -> _State | None:
        try:
            return _State(**json.loads((self.root / "server.json").read_text()))
        except (OSError, ValueError, TypeError):  # never started, or cut off while it was written
            return None

    @property
    def _mark(self) -> str:
        return f"--home-dir={self.root}"

    @property
    def _mark_of_tools(self) -> str:
        return f"-Dregkg.home={self.root}"

    def _launch(self, progress: Progress, timeout_s: float) -> Endpoint:
        jars = install_jars(self.version, self.jars, progress)
        progress.begin("starting Neo4j")
        self._end_all(timeout_s)
        if (self.root / RESTORED).exists():
            progress.say("a restore was cut short after it was verified: finishing it")
            self._exchange()
        ports = self._usual_ports()
        self._prepare(jars, ports)
        try:
            endpoint = self._attempt(jars, ports, timeout_s)
        except ServerFailed:
            if processes.is_free(ports.bolt) and processes.is_free(ports.http):
                raise
            # Somebody took a port between our look and Neo4j's.
            endpoint = self._attempt(jars, Ports(processes.any_port(), processes.any_port()), timeout_s)
        shutil.rmtree(self.root / REPLACED, ignore_errors=True)
        progress.end(endpoint.uri)
        return endpoint

    def _end_all(self, timeout_s: float) -> None:
        """End the server, and servers and tools of this home that outlived a killed starter; the lock is held."""
        for process in psutil.process_iter(["cmdline"]):
            if {self._mark, self._mark_of_tools} & set(process.info["cmdline"] or ()):
                processes.terminate(process, timeout_s)

    def _usual_ports(self) -> Ports:
        """Those of last time, so that bookmarks hold; else Neo4j's own; else any."""
        last = self._latest()
        bolt, http = (last.bolt, last.http) if last else (USUAL.bolt, USUAL.http)
        return Ports(
            bolt if processes.is_free(bolt) else processes.any_port(),
            http if processes.is_free(http) else processes.any_port(),
        )

    def _prepare(self, jars: Sequence[Path], ports: Ports) -> None:
        """Check the ground; set the password, which can be done only before the first start."""
        if (free := shutil.disk_usage(self.root).free) < NEEDED_BYTES:
            need = f"{free >> 20} MB are free, Neo4j needs {NEEDED_BYTES >> 20} MB"
            raise ServerFailed(f"{self.root}: {need}", "free space, or set REGKG_HOME to another disk")
        used = (self.root / "data" / "databases" / "system").exists()
        if used and not self.password_file.exists():
            raise ServerFailed(
                f"{self.password_file} is gone, and the graph beside it opens with no other",
                f"put it back, or move {self.root / 'data'} away to start with an empty graph",
            )
        if (mark := self.root / EXCHANGING).exists():
            for part in STORE:
                shutil.rmtree(self.root / "data" / part, ignore_errors=True)
            mark.unlink()
        write_configuration(self.root, ports)
        password = read_password(self.password_file)
        if not used:
            self._administrate(jars, "dbms", "set-initial-password", password)

    def _administrate(self, jars: Sequence[Path], *command: str, home: Path | None = None) -> None:
        # One compiler and one collector thread: such a command is over before better ones pay.
        options = ["-XX:TieredStopAtLevel=1", "-XX:+UseSerialGC", *java.added_options()]
        options += ["-cp", ":".join(map(str, jars))]
        file = self.root / "admin.args"
        try:
            named = java.write_arguments(file, [*options, "org.neo4j.cli.AdminTool", *command])
            where = str(home or self.root)
            java.run([self._mark_of_tools, named], {"NEO4J_HOME": where, "NEO4J_CONF": f"{where}/conf"})
        finally:
            file.unlink(missing_ok=True)

    def _attempt(self, jars: Sequence[Path], ports: Ports, timeout_s: float) -> Endpoint:
        write_configuration(self.root, ports)
        named = java.write_arguments(self.root / "server.args", server_options(self.root, jars))
        command = [str(java.find_java()), named, self._mark, f"--config-dir={self.root}/conf"]
        process = processes.spawn(command, java.environment(), self.root / "logs" / "console.log")
        state = _State(process.pid, ports.bolt, ports.http, self.version)
        (self.root / "server.json").write_text(json.dumps(asdict(state)))
        try:
            return self._await_answer(process, ports.bolt, timeout_s)
        except BaseException:
            processes.kill(process)
            raise

    def _await_answer(self, process: psutil.Process, port: int, timeout_s: float) -> Endpoint:
        deadline = time.monotonic() + timeout_s
        endpoint = Endpoint(f"bolt://127.0.0.1:{port}", USER, read_password(self.password_file))
        while not (processes.listens(process, port) and self._answers(endpoint)):
            if not processes.is_alive(process):
                raise self._failed("ended while it was starting")
            if time.monotonic() > deadline:
                raise self._failed(f"did not answer within {timeout_s:.0f} s")
            time.sleep(POLL_S)
        return endpoint

    def _answers(self, endpoint: Endpoint) -> bool:
        driver = GraphDatabase.driver(
            endpoint.uri,
            auth=(endpoint.user, endpoint.password),
            connection_timeout=PATIENCE_S,
            connection_acquisition_timeout=PATIENCE_S,
        )
        with driver, driver.session() as session:
            try:
                session.run("RETURN 1").consume()
            except AuthError as error:
                raise ServerFailed(
                    f"the server at {endpoint.uri} refuses the password of its home: {error.message}",
                    f"somebody changed it: write the present one into {self.password_file}",
                ) from error
            except (DriverError, Neo4jError):  # it listens before its databases are open
                return False
            return True

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
