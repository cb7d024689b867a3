"""BED6."""

from __future__ import annotations

from typing import TYPE_CHECKING, BinaryIO

from kg.export.content import PLACE
from kg.export.registry import Format, Tally
from kg.export.text import shade, write_lines

if TYPE_CHECKING:
    from collections.abc import Sequence

    from kg.export.content import Content, Frame


def write(content: Content, streams: Sequence[BinaryIO]) -> Tally:
    """Write one line per row: the peak (or node), named after what it is linked to; BED's score is for shading."""
    return write_lines(streams[0], content.places(), _lines)


def _lines(places: Frame) -> Frame:
    there = places.loc[places["chrom"].notna(), list(PLACE)]
    return there.assign(score=shade(there["score"]), strand=there["strand"].fillna("."))


FORMAT = Format("BED6 of peaks, or of the nodes themselves", "place", (".bed",), write)
