"""Backups: the store as Neo4j dumps it, or its rows as Parquet; the runs' files; a manifest that is written last.

A folder without a manifest is not a backup, so a killed backup is not one: the next into the same folder starts over.
"""

from __future__ import annotations

import json
import shutil
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from hashlib import sha256
from importlib import metadata
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any

from kg.errors import ChecksumMismatch, Conflict, MissingInput
from kg.files import replaced
from kg.operations import parquet_dump
from kg.progress import SILENT, Progress
from kg.releases import releases
from kg.runs import runs
from kg.server import DUMP, STORE, Server, endpoint
from kg.store import ensure_schema, open_store
from kg.store.leases import process_is_gone, this_process

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from kg.settings import Settings
    from kg.store import Store

FORMAT = 1
MANIFEST, UNFINISHED = "manifest.json", "unfinished"
ROWS = "graph"  # of a logical backup
BLOCK = 1 << 22
ROW_BYTES = 300  # of Parquet, more than rows ever took


@dataclass(frozen=True)
class File:
    """A file of a backup."""

    sha256: str
    bytes: int


@dataclass(frozen=True)
class BackupManifest:
    """What a backup holds.

    Attributes:
        kind: "store" (Neo4j's dump) or "logical" (Parquet).
        created_at: ISO 8601.
        regkg, neo4j, schema_version: of the program, the server and the graph.
        releases: number -> hash.
        runs: ids of those in the graph.
        left_out: for people.
        graph_bytes: that the graph takes on the disk, about, when it is restored.
        files: path in the backup -> its checksum and size.
    """

    kind: str
    created_at: str
    regkg: str
    neo4j: str
    schema_version: int
    releases: Mapping[str, str]
    runs: tuple[str, ...]
    left_out: tuple[str, ...]
    graph_bytes: int
    files: Mapping[str, File]
    format: int = FORMAT

    @property
    def bytes(self) -> int:
        """Of all files."""
        return sum(file.bytes for file in self.files.values())


def back_up(settings: Settings, folder: Path, progress: Progress = SILENT) -> BackupManifest:
    """Stop the managed server, dump its store, start it again if it ran; then copy the runs' files.

    Args:
        settings: of a managed server.
        folder: is created; an empty one is used, and an unfinished backup in it is started over.
        progress: hears of each step.

    Raises:
        Conflict: the server is not managed, somebody is writing, the disk is too small, or the folder is not empty.
        ServerFailed: Neo4j does not dump.
    """
    if settings.neo4j_uri is not None:
        raise Conflict(
            f"{settings.neo4j_uri} is not managed here, so it cannot be stopped and dumped",
            "`regkg backup DIR --logical` reads it while it runs; its own operators can dump it",
        )
    server = Server(settings.home, settings.neo4j_version, settings.jars)
    ran = server.status().running
    try:
        with open_store(server.start(progress)) as store:
            check_idle(store)
            facts = _facts(store)
        size = size_of(server.root / "data" / part for part in STORE)
        check_room(folder, size + size_of(_run_folders(settings, facts["runs"])))
        claim(folder)
        server.dump_store(folder, progress)
    finally:
        if ran:
            server.start(progress)
        else:
            server.stop(progress)
    files = {DUMP: _hashed(folder / DUMP, progress)}
    files |= _copy_runs(settings, folder, facts["runs"], progress)
    return _finish(folder, "store", settings, facts, (), size, files)


def back_up_rows(settings: Settings, folder: Path, progress: Progress = SILENT) -> BackupManifest:
    """Write all releases and complete runs as Parquet while the graph is in use; any Neo4j will do.

    Raises:
        Conflict: the folder is not empty, the disk is too small, or a run was pruned meanwhile.
        ChecksumMismatch: rows are not those that were published.
        UnknownRelease: nothing was published.
    """
    with open_store(endpoint(settings, progress)) as store:
        ensure_schema(store)
        facts, bookkeeping = _facts(store), parquet_dump.read_bookkeeping(store)
        rows = sum(sum(json.loads(v["rows"]).values()) for v in bookkeeping.nodes["DatasetVersion"])
        rows += store.read("MATCH (e:Embedding) RETURN count(e) AS n")[0]["n"]
        check_room(folder, rows * ROW_BYTES + size_of(_run_folders(settings, bookkeeping.runs)))
        claim(folder)
        (folder / ROWS).mkdir()
        parquet_dump.dump_rows(store, folder / ROWS, bookkeeping, progress)
    written = sorted((folder / ROWS).glob("*.parquet"))
    files = {f"{ROWS}/{path.name}": _hashed(path, progress) for path in written}
    settled = [row["id"] for row in bookkeeping.nodes["ModelRun"]]
    files |= _copy_runs(settings, folder, settled, progress)
    facts |= {"releases": {str(n): r["hash"] for n, r in sorted(bookkeeping.releases.items())}, "runs": settled}
    return _finish(folder, "logical", settings, facts, bookkeeping.left_out, rows * ROW_BYTES * 3, files)


def read_manifest(folder: Path) -> BackupManifest:
    """Read the manifest of a backup.

    Raises:
        MissingInput: there is none, so this is not a backup, or an unfinished one.
        ChecksumMismatch: it is damaged, or of a later format.
    """
    path = folder / MANIFEST
    if not path.exists():
        what, do = "not a backup", "name the folder of a backup; `regkg backup DIR` makes one"
        if (folder / UNFINISHED).exists():
            what, do = "an unfinished backup", f"restore another one; `regkg backup {folder}` starts it again"
        held = ", ".join(sorted(path.name for path in folder.glob("*"))) or "nothing"
        raise MissingInput(f"{folder} is {what}: expected {MANIFEST}, which is written last, found {held}", do)
    try:
        header = json.loads(path.read_bytes())
        if header["format"] != FORMAT:
            raise ChecksumMismatch(
                f"{path}: format {header['format']}, this program reads {FORMAT}", "use a newer regkg"
            )
        lists = {name: tuple(header[name]) for name in ("runs", "left_out")}
        return BackupManifest(
            **{**header, **lists, "files": {name: File(**file) for name, file in header["files"].items()}}
        )
    except (ValueError, TypeError, KeyError) as error:
        raise ChecksumMismatch(f"{path} is damaged: {error!r}", "take another backup") from error


def check_files(folder: Path, manifest: BackupManifest, progress: Progress = SILENT) -> None:
    """Compare every file of a backup with its checksum.

    Raises:
        MissingInput: a file is not there.
        ChecksumMismatch: a file is not the one that was written.
    """
    progress.begin("checking the backup", manifest.bytes, "bytes")
    for name, file in manifest.files.items():
        path = folder / name
        if PurePosixPath(name).is_absolute() or ".." in PurePosixPath(name).parts:
            raise ChecksumMismatch(f"{folder / MANIFEST} names {name}, outside the backup", "take another backup")
        if not path.is_file():
            raise MissingInput(f"{path}: the backup is incomplete", "restore another backup")
        if copied(path, None, progress) != file:
            raise ChecksumMismatch(f"{path}: the bytes are not those that were backed up", "restore another backup")
    progress.end()


def check_idle(store: Store) -> None:
    """Refuse while somebody loads, trains or retrains.

    Raises:
        Conflict: naming them.
    """
    held = store.read(
        "MATCH (l:Lease) WHERE l.token IS NOT NULL AND l.expires_at > timestamp() "
        "RETURN l.name AS name, l.holder AS holder, l.process AS process"
    )
    busy = [f"{h['holder']} ({h['process']})" for h in held if not process_is_gone(h["process"])]
    busy += [f"run {r.id} ({r.outcome})" for r in runs(store) if r.outcome in _UNDER_WAY and not r.interrupted]
    if busy:
        raise Conflict(
            f"stopping the server would interrupt {', '.join(busy)}", "wait until it ends; or back up --logical"
        )


def check_room(folder: Path, needed: int) -> None:
    """Refuse where the disk is too small.

    Raises:
        Conflict: with what is needed and what is free.
    """
    place = next(p for p in (folder, *folder.absolute().parents) if p.exists())
    if (free := shutil.disk_usage(place).free) < needed:
        raise Conflict(f"{folder}: {free >> 20:,} MB are free, up to {needed >> 20:,} MB are needed", "free some space")


def claim(folder: Path, last: str = MANIFEST) -> None:
    """Make the folder of a backup (or of what else ends with the file `last`), with the mark of an unfinished one.

    Raises:
        Conflict: it holds something else, or another process is at it.
    """
    mark = folder / UNFINISHED
    writer = mark.read_text() if mark.exists() else ""
    if writer not in {"", this_process()} and not process_is_gone(writer):
        raise Conflict(
            f"{folder} is being written by {writer}",
            "name another folder; or remove it, if that process no longer runs",
        )
    held = {path.name for path in folder.iterdir()} if folder.is_dir() else set()
    if last in held or (held and UNFINISHED not in held) or folder.is_file():
        what = f"a whole one already: {last}" if last in held else "something else"
        raise Conflict(f"{folder} holds {what}", "name a folder that is empty or not there")
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    mark.write_text(this_process())
    for name in held - {UNFINISHED}:
        path = folder / name
        shutil.rmtree(path) if path.is_dir() else path.unlink()


def copied(source: Path, target: Path | None, progress: Progress) -> File:
    """Hash a file and, with a target, copy it there."""
    digest, size = sha256(), 0
    into = target.open("wb") if target is not None else None
    try:
        with source.open("rb") as file:
            while block := file.read(BLOCK):
                digest.update(block)
                size += len(block)
                if into is not None:
                    into.write(block)
                progress.advance(len(block))
    finally:
        if into is not None:
            into.close()
    return File(digest.hexdigest(), size)


def size_of(folders: Iterable[Path]) -> int:
    """Return the bytes of all files below."""
    return sum(path.stat().st_size for folder in folders for path in folder.rglob("*") if path.is_file())


_UNDER_WAY = ("running", "writing", "pruning")


def _facts(store: Store) -> dict[str, Any]:
    version = store.read("MATCH (s:Schema {name: 'regkg'}) RETURN s.version AS version")
    server = store.read(
        "CALL dbms.components() YIELD name, versions WHERE name = 'Neo4j Kernel' RETURN versions[0] AS v"
    )
    return {
        "schema_version": version[0]["version"] if version else 0,
        "neo4j": server[0]["v"],
        "releases": {str(r.number): r.hash for r in sorted(releases(store), key=lambda r: r.number)},
        "runs": [r.id for r in runs(store)],
    }


def _run_folders(settings: Settings, ids: Iterable[str]) -> list[Path]:
    return [path for run in sorted(ids) if (path := settings.home / "runs" / run).is_dir()]


def _copy_runs(settings: Settings, folder: Path, ids: Iterable[str], progress: Progress) -> dict[str, File]:
    """Return every file of these runs but those that a killed writer left; `runs` is there even when there are none."""
    (folder / "runs").mkdir()
    files_of_runs = [
        path for run_folder in _run_folders(settings, ids) for path in sorted(run_folder.rglob("*")) if path.is_file()
    ]
    chosen = [path for path in files_of_runs if not path.name.startswith(".")]
    progress.begin("copying runs", sum(path.stat().st_size for path in chosen), "bytes")
    files = {}
    for path in chosen:
        name = path.relative_to(settings.home).as_posix()
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        files[name] = copied(path, folder / name, progress)
    progress.end(f"{len(files):,} files")
    return files


def _hashed(path: Path, progress: Progress) -> File:
    progress.begin(f"hashing {path.name}", path.stat().st_size, "bytes")
    hashed = copied(path, None, progress)
    progress.end()
    return hashed


def _finish(
    folder: Path,
    kind: str,
    settings: Settings,
    facts: dict[str, Any],
    left_out: tuple[str, ...],
    size: int,
    files: dict[str, File],
) -> BackupManifest:
    missing = sorted(set(facts["runs"]) - {path.name for path in _run_folders(settings, facts["runs"])})
    left_out += tuple(f"the files of run {run}, which are not in {settings.home}" for run in missing)
    now = datetime.now(UTC).isoformat(timespec="seconds")
    manifest = BackupManifest(
        kind=kind, created_at=now, regkg=metadata.version("regkg"), left_out=left_out, graph_bytes=size, files=files,
        **{**facts, "runs": tuple(facts["runs"])},
    )  # fmt: skip
    with replaced(folder / MANIFEST) as path:
        path.write_text(json.dumps(asdict(manifest), indent=1))
    (folder / UNFINISHED).unlink()
    return manifest
