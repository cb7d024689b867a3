"""The managed server's jars: which they are, and whether they are the recorded ones.

`neo4j-VERSION.lock` beside this file holds one line a jar: its sha256 and its Maven coordinates. A version without such
a file is resolved, and the list it gives is recorded beside the jars; that record, moved here, is the next lock.
"""

from __future__ import annotations

import re
import shutil
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

from filelock import FileLock

from kg.errors import ServerFailed, SettingsError
from kg.progress import SILENT, Progress
from kg.server.jar import Jar, sha256_of, verify_jar

if TYPE_CHECKING:
    from collections.abc import Sequence

RECORD = "recorded.lock"
NEEDED_BYTES = 400 * 2**20


def install_jars(version: str, cache: Path, progress: Progress = SILENT) -> list[Path]:
    """Bring the jars of a Neo4j version into `cache/VERSION`; those already there are only verified.

    Safe to call from several processes at once. Nothing unverified is ever left under its final name.

    Returns:
        The class path, in the order of the lock.

    Raises:
        ChecksumMismatch: a jar is not the recorded one.
        ServerFailed: a jar cannot be downloaded or written.
        SettingsError: `version` is no version number.
    """
    if not re.fullmatch(r"\d+(\.\d+)+", version):
        raise SettingsError(f"REGKG_NEO4J_VERSION is {version!r}: expected numbers such as 5.26.30")
    directory = cache / version
    try:
        directory.mkdir(parents=True, exist_ok=True)
        with FileLock(directory / ".lock"):
            jars = read_lock(version, directory)
            if not jars or not all((directory / jar.name).exists() for jar in jars):
                jars = _download(version, jars, directory, progress)
            return verify_jars(jars, directory)
    except OSError as error:
        raise ServerFailed(
            f"no place for the server's jars in {directory}: {error}", "free space, or set REGKG_JARS"
        ) from error


def read_lock(version: str, directory: Path) -> list[Jar]:
    """The jars of a version: as shipped, else as recorded in `directory`, else none."""
    for lock in (Path(__file__).with_name(f"neo4j-{version}.lock"), directory / RECORD):
        if lock.exists():
            rows = (line.split() for line in lock.read_text().splitlines())
            return [Jar(coordinates, sha256) for sha256, coordinates in rows]
    return []


def verify_jars(jars: Sequence[Jar], directory: Path) -> list[Path]:
    """Compare every jar with its recorded sha256.

    Raises:
        ChecksumMismatch: names the first jar that differs, the expected and the found sha256.
    """
    return [verify_jar(jar, directory / jar.name) for jar in jars]


def _download(version: str, locked: Sequence[Jar], directory: Path, progress: Progress) -> list[Jar]:
    from kg.server import maven  # noqa: PLC0415 - half a second of imports that only a first start needs

    if shutil.disk_usage(directory).free < NEEDED_BYTES:
        raise OSError(f"less than {NEEDED_BYTES >> 20} MB are free")
    if not locked:
        progress.say(f"no checksums are shipped for Neo4j {version}: its jars are taken as they come, and recorded")
    megabytes = 0.0
    with TemporaryDirectory(dir=directory, prefix=".download-") as partial:
        jars = locked or maven.resolve(version, Path(partial))
        missing = [jar for jar in jars if not (directory / jar.name).exists()]
        progress.begin("downloading Neo4j", len(missing), "jars")
        for path in maven.fetch(missing, Path(partial)):
            megabytes += path.stat().st_size / 1e6
            path.replace(directory / path.name)
            progress.advance(1, f"{megabytes:.0f} MB")
    progress.end(f"{len(missing)} jars, {megabytes:.0f} MB{', as recorded' if locked else ''}")
    return list(locked) or _record(jars, directory)


def _record(jars: Sequence[Jar], directory: Path) -> list[Jar]:
    """Write down what came, so that it cannot change later."""
    hashed = [Jar(jar.coordinates, sha256_of(directory / jar.name)) for jar in jars]
    lines = sorted(f"{jar.sha256}  {jar.coordinates}\n" for jar in hashed)
    (directory / RECORD).write_text("".join(lines))
    return hashed
