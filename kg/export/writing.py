"""Writing an export: whole or not at all, with a JSON beside it that says what it is."""

from __future__ import annotations

import gzip
import json
from contextlib import ExitStack
from dataclasses import dataclass
from typing import TYPE_CHECKING, BinaryIO, cast

from kg.errors import ParameterError, SettingsError
from kg.export.registry import Format, format_for, formats
from kg.files import replaced, sha256

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from kg.export.content import Content


@dataclass(frozen=True)
class Exported:
    """What was written.

    Attributes:
        files: name -> sha256.
        rows: of the first kind that the format has, lines for text.
        skipped: rows that the format has no form for, such as ends without a position in BEDPE.
    """

    format: str
    files: Mapping[str, str]
    rows: int
    skipped: int


def write(content: Content, out: Path, named: str | None = None) -> Exported:
    """Write it into files; beside them, `<out>.json` says release, hash, runs, and the sha256 of each file.

    Args:
        content: what to write.
        out: where to; its ending implies the format, and .gz compresses text. Formats of several files add endings.
        named: the format, where the ending does not imply one.

    Raises:
        SettingsError: no format is known.
        ParameterError: it cannot hold this content.
    """
    name, chosen = fitting(content, out.name, named)
    packed = out.suffix == ".gz"
    if packed and not chosen.text:
        raise SettingsError(f"{name} is already compressed", "omit .gz")
    if not out.parent.is_dir():
        raise SettingsError(f"{out.parent}: no such folder", "create it first")
    paths = [_part(out, chosen, part) for part in chosen.parts]
    with ExitStack() as stack:
        beside = stack.enter_context(replaced(out.with_name(f"{out.name}.json")))
        temporary = [stack.enter_context(replaced(path)) for path in paths]
        with ExitStack() as opened:
            streams = [_opened(opened, path, packed=packed) for path in temporary]
            tally = chosen.write(content, streams)
        files = {path.name: sha256(held) for path, held in zip(paths, temporary, strict=True)}
        done = Exported(name, files, tally.written, tally.skipped)
        about = {**content.about, "format": name, "files": files, "rows": done.rows, "skipped": done.skipped}
        beside.write_text(json.dumps(about, indent=1, sort_keys=True) + "\n")
    return done


def write_to(stream: BinaryIO, content: Content, named: str | None) -> Exported:
    """Write text to a stream.

    Raises:
        SettingsError: no format was named, or it is not a single file of text.
        ParameterError: it cannot hold this content.
    """
    name, chosen = fitting(content, "-", named)
    if not chosen.text or len(chosen.parts) > 1:
        raise SettingsError(f"{name} is not one file of text", "use --out FILE")
    tally = chosen.write(content, [stream])
    return Exported(name, {}, tally.written, tally.skipped)


def fitting(content: Content, file: str, named: str | None) -> tuple[str, Format]:
    """Return the format, which must be able to hold the content."""
    name, chosen = format_for(file, named)
    if getattr(content, chosen.takes) is None:
        able = [n for n, f in formats().items() if getattr(content, f.takes) is not None]
        raise ParameterError(f"{name} cannot hold {content.about['export']}", hint=f"these can: {', '.join(able)}")
    return name, chosen


def _part(out: Path, chosen: Format, part: str) -> Path:
    if not part:
        return out
    bare = out.name.removesuffix(".gz")
    ending = next((s for s in chosen.suffixes if bare.endswith(s)), "")
    return out.with_name(bare.removesuffix(ending) + part + (".gz" if out.suffix == ".gz" else ""))


def _opened(stack: ExitStack, path: Path, *, packed: bool) -> BinaryIO:
    raw = stack.enter_context(path.open("w+b"))
    if not packed:
        return raw
    # without name and time, equal content gives equal bytes
    return cast("BinaryIO", stack.enter_context(gzip.GzipFile(fileobj=raw, mode="wb", filename="", mtime=0)))
