"""One jar of the managed server, and whether it is the recorded one."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import TYPE_CHECKING

from kg.errors import ChecksumMismatch

if TYPE_CHECKING:
    from pathlib import Path


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


def verify_jar(jar: Jar, path: Path) -> Path:
    """Compare one jar with its recorded sha256, if there is one.

    Raises:
        ChecksumMismatch: with the jar, the expected and the found sha256.
    """
    if jar.sha256 is not None and (found := sha256_of(path)) != jar.sha256:
        raise ChecksumMismatch(
            f"{path}: sha256 of {jar.coordinates} should be {jar.sha256}, is {found}",
            "it was damaged or replaced: delete the file and run again; if that happens again, do not trust its source",
        )
    return path


def sha256_of(path: Path) -> str:
    """The sha256 of a file, in hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
