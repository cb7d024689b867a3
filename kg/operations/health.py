"""Whether this machine and the graph can do what the product needs; each failing check says how to fix it."""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

import psutil

from kg.errors import RegkgError, ServerFailed, StoreRefused
from kg.progress import SILENT, Progress
from kg.runs import vector_index
from kg.runs.lineage import lineage
from kg.server import Server, endpoint, java
from kg.server.jars import install_jars
from kg.store import open_store

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from kg.settings import Settings
    from kg.store import Store

NEEDED_DISK_BYTES = 2 * 2**30
NEEDED_MEMORY_BYTES = 2 * 2**30
READ_ONLY = "Neo.ClientError.Statement.AccessMode"


@dataclass(frozen=True)
class Check:
    """One thing that was examined: what was found, and what fixes it where it is wrong."""

    name: str
    ok: bool
    found: str
    mend: str = ""


def check(name: str, examine: Callable[[], str]) -> Check:
    """Examine, and turn what is raised into a finding."""
    try:
        return Check(name, True, examine())  # noqa: FBT003 - named in the type
    except RegkgError as error:
        return Check(name, False, error.message, error.hint)  # noqa: FBT003


def check_graph(settings: Settings, progress: Progress = SILENT) -> Iterator[Check]:
    """Check Java, jars, disk and memory for the managed server, then that any Neo4j answers, writes and refuses.

    The managed server is started, and stays. The graph is the same afterwards.
    """
    yield check("disk", partial(_disk, settings))
    yield check("memory", _memory)
    if settings.neo4j_uri is None:
        server = Server(settings.home, settings.neo4j_version, settings.jars)
        yield check("java", _java)
        yield check("jars", lambda: f"{len(install_jars(server.version, server.jars, progress))} jars, all as recorded")
    try:
        where = endpoint(settings, progress)
        with open_store(where) as store:
            yield check("server", partial(_version, store))
            yield check("write", partial(_write, store))
            yield check("read-only", partial(_refuse, store))
            yield check("runs", partial(_lineage, store))
            yield check("vectors", partial(_vectors, store))
    except RegkgError as error:
        yield Check("server", False, error.message, error.hint)  # noqa: FBT003


def _disk(settings: Settings) -> str:
    there = next(path for path in (settings.home, *settings.home.parents) if path.exists())
    free = shutil.disk_usage(there).free
    if free < NEEDED_DISK_BYTES:
        raise ServerFailed(
            f"{_gb(free)} free under {settings.home}, {_gb(NEEDED_DISK_BYTES)} are needed",
            "free space there, or set REGKG_HOME to another disk",
        )
    return f"{_gb(free)} free under {settings.home}"


def _memory() -> str:
    memory = psutil.virtual_memory()
    available = f"{_gb(memory.available)} of {_gb(memory.total)} available"
    if memory.available < NEEDED_MEMORY_BYTES:
        raise ServerFailed(
            f"{available}, {_gb(NEEDED_MEMORY_BYTES)} are needed", "end other programs, or use a larger machine"
        )
    return available


def _java() -> str:
    return f"{java.run(['--version'], {}).splitlines()[0]} in {java.find_java()}"


def _version(store: Store) -> str:
    (server,) = store.read(
        "CALL dbms.components() YIELD name, versions, edition WHERE name = 'Neo4j Kernel' "
        "RETURN versions[0] AS version, edition"
    )
    if int(server["version"].split(".")[0]) < 5:
        raise StoreRefused(f"{store.uri} is Neo4j {server['version']}", "use Neo4j 5 or newer")
    return f"Neo4j {server['version']} {server['edition']} answers at {store.uri}"


def _write(store: Store) -> str:
    (created,) = store.write("CREATE (s:Schema {name: 'doctor'}) WITH s, elementId(s) AS id DELETE s RETURN id")
    return "a node was made and deleted" if created else ""


def _refuse(store: Store) -> str:
    try:
        with store.reading(timeout_s=10) as transaction:
            transaction.run("CREATE (:Schema {name: 'doctor'})").consume()
            transaction.rollback()  # or a server that lets it pass would keep it
    except StoreRefused as error:
        if READ_ONLY in error.message:
            return "a read session refuses to write"
        raise
    raise StoreRefused(
        "a read session may write", "hand-written Cypher is not safe on this server: use Neo4j 5 or newer"
    )


def _lineage(store: Store) -> str:
    return f"{len(lineage(store)):,} runs, none its own ancestor"


def _vectors(store: Store) -> str:
    if lacking := vector_index.missing(store):
        raise StoreRefused(
            f"the vectors of {', '.join(lacking)} cannot be asked in Cypher: no vector index", "regkg db migrate"
        )
    return "all published runs that embed anything have their vector index"


def _gb(size: int) -> str:
    return f"{size / 1e9:.1f} GB"
