"""WashU Epigenome Browser longrange."""

from __future__ import annotations

from typing import TYPE_CHECKING, BinaryIO

import pandas as pd

from kg.export.registry import Format, Tally
from kg.export.text import write_lines

if TYPE_CHECKING:
    from collections.abc import Sequence

    from kg.export.content import Content, Frame


def write(content: Content, streams: Sequence[BinaryIO]) -> Tally:
    """Write each link twice, once from either end, as the browser needs it; sort, bgzip and tabix it before use."""
    tally = write_lines(streams[0], content.links(), _lines)
    # two lines a link: what `write_lines` takes for skipped is short by the second of each
    links = tally.written // 2
    return Tally(tally.written, tally.written + tally.skipped - links)


def _lines(links: Frame) -> Frame:
    there = links[links["start_chrom"].notna() & links["end_chrom"].notna()]
    both = [_half(there, "start", "end"), _half(there, "end", "start")]
    return pd.concat(both).sort_index(kind="stable")


def _half(links: Frame, here: str, other: str) -> Frame:
    value = links["score"].where(links["score"].notna(), links["weight"]).fillna(1.0)
    start, end = (links[f"{other}_{column}"].astype(str) for column in ("start", "end"))
    partner = links[f"{other}_chrom"] + ":" + start + "-" + end + "," + value.map("{:g}".format)
    names = ("chrom", "start", "end")
    return pd.DataFrame({**{c: links[f"{here}_{c}"] for c in names}, "partner": partner})


FORMAT = Format("WashU longrange of links, genes by their TSS", "ends", (".longrange",), write)
