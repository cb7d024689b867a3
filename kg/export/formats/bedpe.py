"""BEDPE, as bedtools defines it."""

from __future__ import annotations

from typing import TYPE_CHECKING, BinaryIO

import pandas as pd

from kg.export.registry import Format, Tally
from kg.export.text import write_lines

if TYPE_CHECKING:
    from collections.abc import Sequence

    from kg.export.content import Content, Frame

_COLUMNS = "#chrom1\tstart1\tend1\tchrom2\tstart2\tend2\tname\tscore\tstrand1\tstrand2\ttype\tsaid_by"


def write(content: Content, streams: Sequence[BinaryIO]) -> Tally:
    """Write ten columns and two of our own: type, and dataset or run; a missing score is written as a dot."""
    return write_lines(streams[0], content.links(), _lines, _COLUMNS)


def _lines(links: Frame) -> Frame:
    there = links[links["start_chrom"].notna() & links["end_chrom"].notna()]
    ends = [there[f"{side}_{column}"] for side in ("start", "end") for column in ("chrom", "start", "end")]
    name = there["start_name"] + "/" + there["end_name"]
    score = there["score"].astype(object).where(there["score"].notna(), ".")
    strands = [there[f"{side}_strand"].fillna(".") for side in ("start", "end")]
    return pd.concat([*ends, name, score, *strands, there["type"], there["said_by"]], axis=1)


FORMAT = Format("BEDPE: both ends of each link, genes by their TSS", "ends", (".bedpe",), write)
