"""The managed server's jars: which they are, and whether they are the recorded ones.

`neo4j-VERSION.lock` beside this file holds one line a jar: its sha256 and its Maven coordinates. A version without such
a file is resolved, and the list it gives is recorded beside the jars; that record, moved here, is the next lock.
"""

from __future__ import annotations

import hashlib
import re
import shutil
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

from filelock import FileLock

from kg.errors import ChecksumMismatch, ServerFailed, SettingsError
from kg.progress import SILENT, Progress

if TYPE_CHECKING:
    from collections.abc import Sequence

# The Browser is released apart from the server, and not for every version of it.
WANTED = ("org.neo4j:neo4j:{version}", "org.neo4j:neo4j-import-tool:{version}", "org.neo4j.client:neo4j-browser:5.24.0")
RECORD = "recorded.lock"
NEEDED_BYTES = 400 * 2**20


@dataclass(frozen=True)
class Jar:
    """One jar: Maven coordinates `group:artifact:version[:classifier]` and the sha256 it must have, if one is known."""

    coordinates: str
    sha256: str | None = None

    @property
    def name(self) -> str:
        """File name, as Maven gives it."""
        _, *rest = self.coordinates.split(":")
        return "-".join(rest) + ".jar"


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


def verify_jar(jar: Jar, path: Path) -> Path:
    """Compare one jar with its recorded sha256, if there is one.

    Raises:
        ChecksumMismatch: with the jar, the expected and the found sha256.
    """
    if jar.sha256 is not None and (found := _sha256(path)) != jar.sha256:
        raise ChecksumMismatch(
            f"{path}: sha256 of {jar.coordinates} should be {jar.sha256}, is {found}",
            "it was damaged or replaced: delete the file and run again; if that happens again, do not trust its source",
        )
    return path


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _download(version: str, locked: Sequence[Jar], directory: Path, progress: Progress) -> list[Jar]:
    from kg import maven  # noqa: PLC0415 - half a second of imports that only a first start needs

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
    hashed = [Jar(jar.coordinates, _sha256(directory / jar.name)) for jar in jars]
    lines = sorted(f"{jar.sha256}  {jar.coordinates}\n" for jar in hashed)
    (directory / RECORD).write_text("".join(lines))
    return hashed
