"""The page of a release diff: counts with bars, and the first rows with what changed in them."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING

from kg.pages import page

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from kg.releases.diff import Difference, RowChange


def write_page(
    first: int, second: int, differences: Sequence[Difference], rows: Sequence[RowChange], path: Path
) -> None:
    """Write the page; it needs nothing but itself.

    Args:
        first, second: the releases.
        differences: counts by dataset and type.
        rows: the first of those that differ.
        path: where the page goes.
    """
    totals = [d.added + d.removed + d.changed for d in differences]
    page.write(
        path,
        "release_diff.html",
        title=f"Release {first} to {second}",
        first=first,
        second=second,
        differences=differences,
        total=sum(totals),
        most=max(totals, default=1),
        rows=[{**asdict(row), "what": what_changed(row)} for row in rows],
    )


def what_changed(change: RowChange) -> str:
    """The columns that changed, or those of the only side there is."""
    before, after = change.before or {}, change.after or {}
    if change.before and change.after:
        return "; ".join(f"{k}: {v} → {after[k]}" for k, v in before.items() if after[k] != v)
    return "; ".join(f"{k}: {v}" for k, v in (before or after).items() if v is not None)
