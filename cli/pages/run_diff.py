"""The page of a run diff: two pictures, the counts behind them, and the strongest changes, all in one file."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from kg.pages import page
from kg.pages.blocks import Picture, Table, Text
from kg.run_diff import CAUSES

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    import pandas as pd
    from matplotlib.figure import Figure

    from kg.run_diff import RunDiff

# Okabe and Ito, told apart by all readers; noise lies behind the others.
COLOURS = dict(zip(CAUSES, ("#cfcfcf", "#D55E00", "#E69F00", "#0072B2", "#222222"), strict=True))


def write_page(found: RunDiff, top: Sequence[dict[str, Any]], first: str, second: str, path: Path) -> None:
    """Write the page; it needs nothing but itself."""
    lead = [Text(f"{len(found.rows):,} pairs. Noise by {found.noise}.")]
    if found.settings:
        lead.append(Text(f"The runs also differ in {', '.join(found.settings)}."))
    pictures = [
        Picture.of(scores(found.rows, first, second), "score of both runs, coloured by cause"),
        Picture.of(counted(found), "edges by cause and by dataset"),
    ]
    tables: dict[str, Sequence[Mapping[Any, Any]]] = {
        "Changes by cause": found.counts.reset_index().to_dict("records"),
        "Datasets": found.datasets.reset_index().to_dict("records"),
        "The strongest changes": top,
    }
    sections = [{"title": title, "blocks": [Table(rows)]} for title, rows in tables.items()]
    page.write(path, "sections.html", title=f"{first} to {second}", lead=[*lead, *pictures], sections=sections, foot="")


def scores(rows: pd.DataFrame, first: str, second: str) -> Figure:
    """Score of each pair in both runs, by cause; pairs of one run alone are left out."""
    from matplotlib.figure import Figure  # noqa: PLC0415

    figure = Figure(figsize=(6.4, 6), layout="constrained")
    axes = figure.add_subplot()
    both = rows[rows["shift"].notna()]
    low, high = both[["score_a", "score_b"]].min().min(), both[["score_a", "score_b"]].max().max()
    axes.plot([low, high], [low, high], color="#6b6b6b", lw=0.8, zorder=1)
    for order, (cause, colour) in enumerate(COLOURS.items()):
        some = both[both["cause"] == cause]
        if len(some):
            label = f"{cause} ({len(some):,})"
            axes.scatter(
                some["score_a"], some["score_b"], s=9, color=colour, lw=0, alpha=0.8, label=label, zorder=2 + order
            )
    axes.set(xlabel=f"score, {first}", ylabel=f"score, {second}")
    if len(both):
        axes.legend(frameon=False, fontsize=9)
    axes.spines[["top", "right"]].set_visible(False)
    return figure


def counted(found: RunDiff) -> Figure:
    """Changed edges by cause, and edges beyond noise by the dataset that is named."""
    from matplotlib.figure import Figure  # noqa: PLC0415

    figure = Figure(figsize=(9.6, 3.6), layout="constrained")
    left, right = figure.subplots(1, 2)
    _bars(left, found.counts.drop(index="none"), "change")
    _bars(right, found.datasets, "dataset named")
    return figure


def _bars(axes: Any, table: pd.DataFrame, title: str) -> None:
    """Horizontal bars, one a row, its columns side by side in the colours of their causes."""
    so_far = [0] * len(table)
    names = [str(name) for name in table.index]
    for cause in table.columns:
        axes.barh(names, table[cause], left=so_far, color=COLOURS[cause], label=cause)
        so_far = [a + b for a, b in zip(so_far, table[cause], strict=True)]
    axes.invert_yaxis()
    axes.set_title(title, loc="left", fontsize=10)
    axes.set_xlabel("pairs")
    axes.spines[["top", "right"]].set_visible(False)
    if names:
        axes.legend(frameon=False, fontsize=8)
