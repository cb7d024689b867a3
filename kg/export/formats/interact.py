"""UCSC interact, BED5+13 (genome.ucsc.edu/goldenPath/help/interact.html)."""

from __future__ import annotations

from typing import TYPE_CHECKING, BinaryIO

import numpy as np
import pandas as pd

from kg.export.registry import Format, Tally
from kg.export.text import shade, write_lines

if TYPE_CHECKING:
    from collections.abc import Sequence

    from kg.export.content import Content, Frame

_COLOURS = {1: "178,24,43", -1: "33,102,172"}  # activates, represses
_TRACK = (
    'track type=interact name="{what}" description="regkg release {release}" interactDirectional=true visibility=full'
)


def write(content: Content, streams: Sequence[BinaryIO]) -> Tally:
    """Write a custom track. Links between chromosomes take two lines, as the format requires."""
    head = _TRACK.format(what=content.about["export"], release=content.about["release"])
    skipped = 0

    def lines(links: Frame) -> Frame:
        nonlocal skipped
        shaped = _lines(links)
        skipped += len(links) - shaped.index.nunique()
        return shaped

    tally = write_lines(streams[0], content.links(), lines, head)
    return Tally(tally.written, skipped)


def _lines(links: Frame) -> Frame:
    """Return rows that keep the index of their link."""
    there = links[links["start_chrom"].notna() & links["end_chrom"].notna()]
    apart = there["start_chrom"] != there["end_chrom"]
    low = there[["start_start", "end_start"]].min(axis=1).where(~apart, there["start_start"])
    high = there[["start_end", "end_end"]].max(axis=1).where(~apart, there["start_end"])
    first = _columns(there, there["start_chrom"], low, high)
    others = there[apart]
    second = _columns(others, others["end_chrom"], others["end_start"], others["end_end"])
    return pd.concat([first, second]).sort_index(kind="stable")


def _columns(links: Frame, chrom: pd.Series[str], start: pd.Series[int], end: pd.Series[int]) -> Frame:
    sides = {
        f"{side}_{column}": links[f"{side}_{column}"]
        for side in ("start", "end")
        for column in ("chrom", "start", "end", "name", "strand")
    }
    value = links["score"].where(links["score"].notna(), links["weight"])
    own = {
        "chrom": chrom,
        "low": start,
        "high": end,
        "name": links["start_name"] + "/" + links["end_name"],
        "score": shade(value),
        "value": value.fillna(0).astype(np.float64),
        "exp": links["said_by"],
        "color": links["sign"].map(_COLOURS).fillna("0"),
    }
    frame = pd.DataFrame({**own, **sides})
    return frame.assign(start_strand=frame["start_strand"].fillna("."), end_strand=frame["end_strand"].fillna("."))


FORMAT = Format("UCSC interact track of links, genes by their TSS", "ends", (".interact", ".interact.bed"), write)
