"""SIF, the simple interaction format of Cytoscape."""

from __future__ import annotations

from typing import TYPE_CHECKING, BinaryIO

from kg.export.registry import Format, Tally
from kg.export.text import write_frames

if TYPE_CHECKING:
    from collections.abc import Sequence

    from kg.export.content import Content


def write(content: Content, streams: Sequence[BinaryIO]) -> Tally:
    """Write start, type and end by id, separated by tabs; SIF knows neither comments nor attributes."""
    columns = ["start_id", "type", "end_id"]
    return Tally(write_frames(streams[0], (links[columns] for links in content.links()), header=False))


FORMAT = Format("SIF of links by id", "ends", (".sif",), write)
