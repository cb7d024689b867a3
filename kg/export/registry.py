"""Formats, found by module name: `kg/export/formats/NAME.py` holds a `FORMAT`."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, BinaryIO

from kg.discovery import discover
from kg.errors import SettingsError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from kg.export.content import Content


@dataclass(frozen=True)
class Tally:
    """How many rows were written, and how many the format has no form for."""

    written: int
    skipped: int = 0


@dataclass(frozen=True)
class Format:
    """A format.

    Attributes:
        doc: in a line.
        takes: the attribute of Content that it needs: rows, ends, place or vectors.
        suffixes: of its files.
        write: into one stream for each of `parts`.
        parts: endings of its files where it has several.
        text: may go to a terminal or be gzipped.
    """

    doc: str
    takes: str
    suffixes: tuple[str, ...]
    write: Callable[[Content, Sequence[BinaryIO]], Tally]
    parts: tuple[str, ...] = ("",)
    text: bool = True


@cache
def formats() -> dict[str, Format]:
    """Return every format by name."""
    return discover("kg.export.formats", "FORMAT")


def format_for(file: str, named: str | None = None) -> tuple[str, Format]:
    """Return the named format, or the one that the file's ending implies; .gz does not matter.

    Raises:
        SettingsError: neither says one.
    """
    known = formats()
    bare = file.removesuffix(".gz")
    fitting = [name for name, format_ in known.items() if bare.endswith(format_.suffixes)]
    name = named or next(iter(fitting), None)
    if name not in known:
        problem = f"no format is called {named!r}" if named else f"{file} has no ending of a known format"
        raise SettingsError(problem, f"choose one with --format: {', '.join(known)}")
    return name, known[name]
