"""Files that appear whole or not at all, whatever kills the writer."""

from __future__ import annotations

import hashlib
import os
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator


@contextmanager
def replaced(path: Path) -> Iterator[Path]:
    """Write to the yielded path; it becomes `path` at the end of the block, after reaching the disk."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        yield temporary
        with temporary.open("rb+") as file:
            os.fsync(file.fileno())
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def folder_sha256(path: Path, pattern: str = "*") -> str:
    """Return the hex digest over the paths and digests of all files below a folder, in the order of the paths."""
    files = sorted((file.relative_to(path).as_posix(), file) for file in path.rglob(pattern) if file.is_file())
    listed = "".join(f"{sha256(file)} {name}\n" for name, file in files)
    return hashlib.sha256(listed.encode()).hexdigest()


def sha256(path: Path) -> str:
    """Return the hex digest of a file's bytes."""
    with Path(path).open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def size_of(path: Path) -> int:
    """Return the bytes of a file; 0 where there is none, or where it disappears meanwhile."""
    try:
        return path.lstat().st_size if path.is_file() else 0
    except FileNotFoundError:
        return 0
