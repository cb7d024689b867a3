"""Lines of text from frames."""

from __future__ import annotations

import csv
import io
from typing import TYPE_CHECKING, BinaryIO

from kg.export.registry import Tally

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    import pandas as pd

    from kg.export.content import Frame

FULL_SHADE = 1000


def write_frames(stream: BinaryIO, frames: Iterable[Frame], *, header: bool) -> int:
    """Write tab-separated rows of all frames, missing values empty, quoted only where needed; return their number."""
    written = 0
    text = io.TextIOWrapper(stream, encoding="utf-8", newline="", write_through=True)
    for i, frame in enumerate(frames):
        frame.to_csv(
            text, sep="\t", index=False, header=header and i == 0, quoting=csv.QUOTE_MINIMAL, lineterminator="\n"
        )
        written += len(frame)
    text.detach()
    return written


def write_lines(stream: BinaryIO, frames: Iterable[Frame], shape: Callable[[Frame], Frame], *heads: str) -> Tally:
    """Write rows without column names, under `heads`; `shape` drops rows that the format cannot represent.

    No comment says where they come from, since readers of BED stumble over comments; the JSON beside the file does.
    """
    for line in heads:
        stream.write(f"{line}\n".encode())
    counted = []

    def shaped() -> Iterable[Frame]:
        for frame in frames:
            lines = shape(frame)
            counted.append(len(frame))
            yield lines

    written = write_frames(stream, shaped(), header=False)
    return Tally(written, sum(counted) - written)


def shade(score: pd.Series[float]) -> pd.Series[int]:
    """Return scores for display, 0 to 1000 in thousandths; above 1 is 1000, and so is a missing score."""
    shades: pd.Series[int] = (score.fillna(1.0).astype(float).clip(0, 1) * FULL_SHADE).round().astype(int)
    return shades
