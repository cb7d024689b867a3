"""Files as people give them: checked before they are trusted, read in blocks of numbered lines.

Plain or packed (gzip, bgzip, bzip2, xz, a zip of one file), and `-` for what comes on standard input. A byte order
mark and CRLF line ends are accepted and counted. Refused as a whole: missing, empty, a web page, binary, not UTF-8, a
packed file that is cut off or damaged.
"""

from __future__ import annotations

import atexit
import bz2
import gzip
import lzma
import re
import shutil
import sys
import tempfile
import zipfile
import zlib
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, cast

import h5py
import numpy as np

from kg.errors import ChecksumMismatch, InputError, MissingInput
from kg.files import sha256
from loaders.genome.assemblies import assembly, stated_in

if TYPE_CHECKING:
    from collections import Counter
    from collections.abc import Callable, Iterator

BLOCK_BYTES = 1 << 25
HEAD_BYTES = 1 << 14
HDF5, PARQUET, BOM = b"\x89HDF\r\n\x1a\n", b"PAR1", b"\xef\xbb\xbf"
STDIN = Path("-")


def _only_member(raw: BinaryIO) -> BinaryIO:
    """Return the one file of a zip archive, whatever a Mac put beside it."""
    archive = zipfile.ZipFile(raw)
    held = [n for n in archive.namelist() if not n.endswith("/") and not n.startswith("__MACOSX/")]
    if len(held) != 1:
        name = Path(getattr(raw, "name", "")).name
        raise InputError(f"{name}: the zip archive holds {len(held)} files: {', '.join(held[:5])}", "unpack it first")
    return cast("BinaryIO", archive.open(held[0]))


_PACKED: dict[bytes, tuple[str, Callable[[BinaryIO], Any]]] = {
    b"\x1f\x8b": ("gzip", lambda raw: gzip.GzipFile(fileobj=raw)),
    b"BZh": ("bzip2", bz2.BZ2File),
    b"\xfd7zXZ": ("xz", lzma.LZMAFile),
    b"PK\x03\x04": ("zip", _only_member),
}
_DAMAGED = (gzip.BadGzipFile, zlib.error, lzma.LZMAError, zipfile.BadZipFile)
_ENDINGS = re.compile(r"\.(gz|bgz|bz2|xz|zip)$")
_ARCHIVES = {b"7z\xbc\xaf": "7z", b"\x28\xb5\x2f\xfd": "zstd"}

_CONTROL = re.compile(rb"[\x00-\x08\x0b-\x1f]")


@dataclass(frozen=True)
class InputFile:
    """A file that was looked at: the sha256 of its bytes at that moment, and the first of them, unpacked."""

    path: Path
    sha256: str
    head: bytes

    @property
    def name(self) -> str:
        """Its last part, as messages show it."""
        return self.path.name

    @property
    def stem(self) -> str:
        """Its name without .gz and the ending of its format."""
        return _ENDINGS.sub("", self.name).partition(".")[0] or self.name

    @property
    def is_hdf5(self) -> bool:
        """An h5ad, say."""
        return self.head.startswith(HDF5)

    @property
    def is_parquet(self) -> bool:
        """Columns rather than lines."""
        return self.head.startswith(PARQUET)

    @property
    def stated_assembly(self) -> str | None:
        """Name of the assembly that the file itself speaks of: `uns` of an h5ad, or one name in leading comments."""
        if self.is_hdf5:
            with h5py.File(self.path) as file:
                stated = file["uns"].get("assembly") if "uns" in file else None
                return assembly(str(stated.asstr()[()])).name if isinstance(stated, h5py.Dataset) else None
        comments = [line for line in self.head.splitlines() if line.startswith((b"#", b"track", b"browser"))]
        named = stated_in(b"\n".join(comments).decode(errors="replace"))
        return named.pop() if len(named) == 1 else None


def check_file(path: Path) -> InputFile:
    """Look at a file's first bytes and hash it.

    Raises:
        MissingInput: not there, or not a file.
        InputError: empty, a web page, an archive, or not readable.
    """
    if path == STDIN:
        path = _kept_input()
    if not path.is_file():
        raise MissingInput(f"{path}: {'is a folder' if path.is_dir() else 'no such file'}", "check the path")
    try:
        with path.open("rb") as raw:
            head = _head(path, raw)
        digest = sha256(path)
    except PermissionError as error:
        raise InputError(f"{path}: not readable", "check its permissions") from error
    _check_head(path.name, head)
    return InputFile(path.resolve(), digest, head.removeprefix(BOM))


def blocks(file: InputFile, notes: Counter[str]) -> Iterator[tuple[int, list[bytes]]]:
    """Yield runs of lines with the physical number of the first; see `texts`."""
    for number, text in texts(file, notes):
        yield number, text.split(b"\n")


def texts(file: InputFile, notes: Counter[str]) -> Iterator[tuple[int, bytes]]:
    """Yield runs of whole lines, and the physical number of the first (from 1); the last of a run has no line end.

    Line ends are a newline, and the byte order mark is taken off.

    Args:
        file: text, packed or not.
        notes: `crlf` counts such lines, `bom` counts files.

    Raises:
        InputError: packed text that is cut off or damaged, or not UTF-8 text.
        ChecksumMismatch: the bytes have changed since they were hashed.
    """
    number, rest = 1, b""
    for chunk in _chunks(file):
        whole, newline, rest = (rest + chunk).rpartition(b"\n")
        if newline:
            text = _clean(file, number, whole, notes)
            yield number, text
            number += text.count(b"\n") + 1
    if rest:
        yield number, _clean(file, number, rest, notes)


def _kept_input() -> Path:
    """Save standard input to a file, deleted when the program ends: it is read twice, to check it and to load it."""
    folder = Path(tempfile.mkdtemp(prefix="regkg-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    path = folder / "stdin"
    with path.open("wb") as file:
        shutil.copyfileobj(sys.stdin.buffer, file)
    return path


def _kind(raw: BinaryIO) -> str:
    """Return what the bytes are packed with; empty when they are not."""
    first = raw.read(max(map(len, _PACKED)))
    raw.seek(0)
    return next((kind for magic, (kind, _) in _PACKED.items() if first.startswith(magic)), "")


def _unpacked(raw: BinaryIO) -> BinaryIO:
    """Return a reader of what is in the bytes."""
    kind = _kind(raw)
    return next((cast("BinaryIO", opened(raw)) for name, opened in _PACKED.values() if name == kind), raw)


def _head(path: Path, raw: BinaryIO) -> bytes:
    with _translated(path.name, _kind(raw)):
        return _unpacked(raw).read(HEAD_BYTES)


def _check_head(name: str, head: bytes) -> None:
    if not head.strip():
        raise InputError(f"{name}: the file is empty", "was the download complete?")
    start = head.removeprefix(BOM).lstrip()[:256].lower()
    if start.startswith((b"<!doctype html", b"<html", b"<?xml", b"<head")):
        raise InputError(f"{name}: this is a web page, not data", "the download failed; open the link by hand")
    kind = next((kind for magic, kind in _ARCHIVES.items() if head.startswith(magic)), None)
    if kind:
        raise InputError(f"{name}: this is a {kind} archive", "unpack it first, or pack it with gzip")
    if head.startswith((b"\xff\xfe", b"\xfe\xff")):
        raise InputError(f"{name}: the text is in UTF-16", "save it as UTF-8")
    if b"\0" in head and not head.startswith((HDF5, PARQUET)):
        raise InputError(f"{name}: binary, not text", "text files, h5ad and, for some sources, Parquet are read")


def _chunks(file: InputFile) -> Iterator[bytes]:
    with file.path.open("rb") as raw, _translated(file.name, _kind(raw)):
        stream = _unpacked(raw)
        while chunk := stream.read(BLOCK_BYTES):
            yield chunk
    if sha256(file.path) != file.sha256:
        raise ChecksumMismatch(f"{file.name}: changed while it was read", "run the command again")


@contextmanager
def _translated(name: str, kind: str) -> Iterator[None]:
    """Turn what unpacking raises into our errors."""
    hint = f"download it again; `{kind} -t FILE` shows whether it is whole"
    try:
        yield
    except EOFError as error:
        raise InputError(f"{name}: the {kind} file is cut off before its end", hint) from error
    except (OSError, *_DAMAGED) as error:  # bz2 raises a bare OSError where gzip has one of its own
        if not kind or error.__class__ not in {OSError, *_DAMAGED}:
            raise
        raise InputError(f"{name}: the {kind} file is damaged: {error}", hint) from error


def _has_control(text: bytes) -> bool:
    """Return whether a byte is below a blank and neither tab nor newline; ten times quicker than a search."""
    byte = np.frombuffer(text, np.uint8)
    low = int(np.count_nonzero(byte < ord(" ")))
    return low > text.count(b"\n") + text.count(b"\t")


def _clean(file: InputFile, number: int, text: bytes, notes: Counter[str]) -> bytes:
    if number == 1 and text.startswith(BOM):
        notes["bom"] += 1
        text = text.removeprefix(BOM)
    ended = text.count(b"\r\n") + text.endswith(b"\r")
    if ended:
        notes["crlf"] += ended
        text = text.removesuffix(b"\r").replace(b"\r\n", b"\n")
    try:
        text.decode()
    except UnicodeDecodeError as error:
        at = number + text.count(b"\n", 0, error.start)
        raise InputError(f"{file.name}:{at} not UTF-8 text", "save the file as UTF-8") from error
    if _has_control(text) and (strange := _CONTROL.search(text)):
        at = number + text.count(b"\n", 0, strange.start())
        raise InputError(
            f"{file.name}:{at} holds the control character {strange[0]!r}",
            "was the file damaged, or written with the line ends of an old Macintosh?",
        )
    return text
