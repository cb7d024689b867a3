"""Tab-separated text with a header."""

from __future__ import annotations

from itertools import chain
from typing import TYPE_CHECKING, BinaryIO

from kg.export.registry import Format, Tally
from kg.export.text import write_frames

if TYPE_CHECKING:
    from collections.abc import Sequence

    from kg.export.content import Content


def write(content: Content, streams: Sequence[BinaryIO]) -> Tally:
    """Write the header first, so that every reader of tables takes it; provenance goes beside the file."""
    empty = content.schema.empty_table().to_pandas()
    return Tally(write_frames(streams[0], chain([empty], content.frames()), header=True))


FORMAT = Format("tab-separated text with a header, all columns", "rows", (".tsv", ".txt"), write)
