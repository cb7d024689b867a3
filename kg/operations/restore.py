"""Restoring a backup: into an empty graph, or in the place of the managed server's.

Of a managed server everything is made and verified in a home beside its own, and then put in its place by renames. So
a kill leaves the graph as it was, or, from the first rename on, as it was restored: the next start finishes it. A
graph elsewhere is filled where it is, under a mark that makes every other command refuse until the restore is done.
"""

from __future__ import annotations

import shutil
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from filelock import FileLock, Timeout

from kg.errors import ChecksumMismatch, Conflict, SchemaVersionMismatch
from kg.operations import backup, parquet_dump
from kg.operations.backup import BackupManifest, check_idle, check_room, copied
from kg.operations.migrations import migrate
from kg.progress import SILENT, Progress
from kg.releases import copy_attributes, releases, verify
from kg.runs import vector_index
from kg.schema import SCHEMA_VERSION
from kg.server import Server, endpoint
from kg.store import ensure_schema, open_store

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from kg.settings import Settings
    from kg.store import Store

BESIDE = "restoring"  # below neo4j: the home where a restore is made
LOCK = "restoring.lock"  # beside it; dies with its holder


@dataclass(frozen=True)
class Restored:
    """What was restored: releases (number -> hash), each verified row by row; runs with files here; migrated steps."""

    kind: str
    created_at: str
    releases: dict[int, str]
    runs: int
    migrated_from: int | None


def restore(settings: Settings, folder: Path, *, replace: bool = False, progress: Progress = SILENT) -> Restored:
    """Restore a backup, its files checked first and every release verified after.

    Args:
        settings: whose graph it becomes.
        folder: of the backup.
        replace: put it in the place of what the managed server holds, graph and runs.
        progress: hears of each step.

    Raises:
        MissingInput, ChecksumMismatch: it is not a backup, or incomplete; nothing was touched.
        Conflict: the graph or the runs' folder is not empty, in use, or the disk too small; nothing was touched.
        SchemaVersionMismatch: it was made by a newer program, or rows by an older one.
    """
    manifest = backup.read_manifest(folder)
    _check_version(folder, manifest)
    _check_place(settings, manifest, replace=replace)
    backup.check_files(folder, manifest, progress)
    if settings.neo4j_uri is not None:
        return _fill(settings, folder, manifest, progress)
    server = Server(settings.home, settings.neo4j_version, settings.jars)
    _check_target(settings, server, replace=replace, progress=progress)
    check_room(server.root, manifest.graph_bytes + manifest.bytes)
    with _alone(server):
        return _put_in_place(server, folder, manifest, replace=replace, progress=progress)


def left_by_restore(server: Server) -> str:
    """Describe what a killed restore left in a home, and what to do about it; "" when nothing."""
    beside = server.root / BESIDE
    if not beside.exists():
        return ""
    return f"a restore is under way, or was cut short and changed nothing: `regkg restore` again replaces {beside}"


def _check_version(folder: Path, manifest: BackupManifest) -> None:
    versions = f"{folder} has schema version {manifest.schema_version}, this program works with {SCHEMA_VERSION}"
    if manifest.schema_version > SCHEMA_VERSION:
        raise SchemaVersionMismatch(versions, f"restore it with regkg {manifest.regkg} or newer")
    if manifest.schema_version < SCHEMA_VERSION and manifest.kind == "logical":
        raise SchemaVersionMismatch(
            f"{versions}; rows in Parquet have the columns of their time",
            f"restore it with regkg {manifest.regkg}, then `regkg db migrate` with this one",
        )


def _check_place(settings: Settings, manifest: BackupManifest, *, replace: bool) -> None:
    if settings.neo4j_uri is None:
        return
    if manifest.kind == "store":
        raise Conflict(
            f"{settings.neo4j_uri} is not managed here, and a dump of the store needs its server stopped",
            "unset REGKG_NEO4J_URI; or take a backup with --logical, which any Neo4j can be filled from",
        )
    if replace:
        raise Conflict(
            f"{settings.neo4j_uri} is not managed here, so it cannot be replaced", "--replace is for the managed server"
        )


def _check_target(settings: Settings, server: Server, *, replace: bool, progress: Progress) -> None:
    runs = [path.name for path in (settings.home / "runs").glob("*")]
    if runs and not replace:
        raise Conflict(
            f"{settings.home / 'runs'} holds {len(runs)} runs, such as {runs[0]}",
            "--replace puts the backup in the place of the graph and its runs; or set REGKG_HOME to a new place",
        )
    if not server.has_store:
        return
    ran = server.status().running
    with open_store(server.start(progress)) as store:
        if replace:
            check_idle(store)
        else:
            _check_empty(store, f"the graph of {settings.home}")
    if not ran:
        server.stop(progress)


def _check_empty(store: Store, what: str) -> None:
    held = store.read("MATCH (n) WHERE NOT n:Schema AND NOT n:Lease RETURN count(n) AS n")[0]["n"]
    if held:
        raise Conflict(
            f"{what} holds {held:,} nodes; a backup is restored into an empty one",
            "--replace puts it in the place of a managed server's graph; or set REGKG_HOME to a new place",
        )


@contextmanager
def _alone(server: Server) -> Iterator[None]:
    server.root.mkdir(mode=0o700, parents=True, exist_ok=True)
    try:
        lock = FileLock(server.root / LOCK).acquire(timeout=0)
    except Timeout as error:
        raise Conflict(f"another restore into {server.root.parent} is under way", "wait until it ends") from error
    with lock:
        yield


def _put_in_place(
    server: Server, folder: Path, manifest: BackupManifest, *, replace: bool, progress: Progress
) -> Restored:
    beside = server.root / BESIDE
    staging = Server(beside, server.version, server.jars)
    try:
        staging.stop(progress)  # that of a restore that was killed
        if beside.exists():
            progress.say(f"removing {beside}, which a restore that was cut short left")
            shutil.rmtree(beside)
        if manifest.kind == "store":
            staging.load_store(folder.resolve(), progress)
        with open_store(staging.start(progress)) as store:
            if manifest.kind == "logical":
                ensure_schema(store)
                parquet_dump.load_rows(store, folder / backup.ROWS, progress)
                copy_attributes(store)
            restored = _verified(store, manifest, progress)
        staging.stop(progress)
        _copy_runs(folder, beside, manifest, progress)
        if replace and server.status().running:
            with open_store(server.start(progress)) as store:
                check_idle(store)
        server.take_restored(beside, progress)
    finally:
        staging.stop()
        shutil.rmtree(beside, ignore_errors=True)
    server.start(progress)
    return restored


def _fill(settings: Settings, folder: Path, manifest: BackupManifest, progress: Progress) -> Restored:
    """Write the rows into a graph that is managed elsewhere, under a mark that is taken away at the end."""
    with open_store(endpoint(settings, progress)) as store:
        marked = store.read("MATCH (s:Schema {name: 'regkg'}) WHERE s.restoring IS NOT NULL RETURN 1 AS one")
        if marked:
            progress.say("a restore was cut short here: beginning anew")
            store.implicit("MATCH (n) WHERE NOT n:Schema CALL (n) { DETACH DELETE n } IN TRANSACTIONS OF 10000 ROWS")
        else:
            _check_empty(store, f"the graph at {store.uri}")
            _check_runs(settings.home, manifest)
            check_room(settings.home, manifest.bytes)
            ensure_schema(store)
        store.write("MATCH (s:Schema {name: 'regkg'}) SET s.restoring = $folder", folder=str(folder.resolve()))
        parquet_dump.load_rows(store, folder / backup.ROWS, progress)
        copy_attributes(store)
        restored = _verified(store, manifest, progress)
        _copy_runs(folder, settings.home, manifest, progress)
        store.write("MATCH (s:Schema {name: 'regkg'}) SET s.restoring = null")
        return restored


def _check_runs(home: Path, manifest: BackupManifest) -> None:
    there = sorted({run for run, _ in _runs(manifest) if (home / "runs" / run).exists()})
    if there:
        raise Conflict(
            f"{home / 'runs'} holds runs of these names: {', '.join(there)}", "set REGKG_HOME to a new place"
        )


def _verified(store: Store, manifest: BackupManifest, progress: Progress) -> Restored:
    """Check that every release is the one that was backed up, by the hashes recorded and by those of its rows."""
    restored = {release.number: release.hash for release in releases(store)}
    wrong = [number for number, hash_ in manifest.releases.items() if restored.get(int(number)) != hash_]
    if wrong:
        raise ChecksumMismatch(
            f"release {', '.join(wrong)} is not the one that was backed up; what was there before is untouched",
            "restore another backup",
        )
    steps = migrate(store, progress) if manifest.kind == "store" else []
    vector_index.ensure(store, progress)
    numbers = sorted(restored)
    verified = {number: verify(store, number, progress).hash for number in numbers}
    runs = len({run for run, _ in _runs(manifest)})
    return Restored(manifest.kind, manifest.created_at, verified, runs, steps[0] if steps else None)


def _runs(manifest: BackupManifest) -> Iterator[tuple[str, str]]:
    """Run and path of every file of a run."""
    return ((name.split("/")[1], name) for name in manifest.files if name.startswith("runs/"))


def _copy_runs(folder: Path, home: Path, manifest: BackupManifest, progress: Progress) -> None:
    names = [name for _, name in _runs(manifest)]
    progress.begin("copying runs", sum(manifest.files[name].bytes for name in names), "bytes")
    (home / "runs").mkdir(parents=True, exist_ok=True)
    for name in names:
        (home / name).parent.mkdir(parents=True, exist_ok=True)
        if copied(folder / name, home / name, progress) != manifest.files[name]:
            raise ChecksumMismatch(f"{folder / name} changed while it was restored", "run the command again")
    progress.end()
