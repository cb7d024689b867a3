"""The losses, epoch by epoch."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from kg.pages.blocks import Picture, Text
from kg.pages.colours import COLOURS, GREY
from models.jobs.report.section import Section, missing

if TYPE_CHECKING:
    from collections.abc import Sequence

    import pandas as pd
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from models.jobs.report.contents import RunContents

COLUMNS = 3
MEMBER_COLUMNS = ("member", "stage")


def sections(contents: RunContents) -> list[Section]:
    """Return one section; none for a model without a loss."""
    title, history = "Losses", contents.history
    if contents.run.derived or (history is not None and not parts_of(history)):
        return []
    if history is None:
        return [missing(title, "history", "This run kept no history of its losses, as older runs did not.")]
    lead = f"{len(history):,} epochs"
    if "seconds" in history:
        seconds = history.groupby([c for c in MEMBER_COLUMNS if c in history])["seconds"].max().sum()
        lead += f" in {seconds:,.0f} s"
    drawn = Picture.of(losses(history, [m.name for m in contents.cells]), "losses by epoch and stage")
    return [Section(title, [Text(f"{lead}; the highest values may be cut off."), drawn])]


def parts_of(history: pd.DataFrame) -> list[str]:
    """Return the parts of the loss, the total first."""
    names = [name for name in map(str, history) if name.startswith("train_") and name != "train_seconds"]
    return sorted((name.removeprefix("train_") for name in names), key=lambda part: part != "total")


def losses(history: pd.DataFrame, modalities: Sequence[str]) -> Figure:
    """Draw the parts of the loss over the epochs of each member, one stage after the other; one line per member.

    A part of one modality, such as nll_0, is named after it; the highest twentieth of the values may be cut off.
    """
    from matplotlib.figure import Figure  # noqa: PLC0415

    parts = parts_of(history)
    n_rows = -(-len(parts) // COLUMNS)
    figure = Figure(figsize=(11, 2.5 * n_rows + 0.4))
    panels = figure.subplots(n_rows, COLUMNS, squeeze=False, sharex=True).ravel()
    for axes, part in zip(panels, parts, strict=False):
        _loss(axes, history, part)
        name, _, number = part.rpartition("_")
        of = int(number) if number.isdigit() else len(modalities)
        axes.set_title(f"{name} of {modalities[of]}" if of < len(modalities) else part, loc="left", fontsize=10)
    for axes in panels[len(parts) :]:
        axes.set_visible(False)
    panels[0].legend(frameon=False, fontsize=8)
    height = figure.get_figheight()
    figure.subplots_adjust(left=0.06, right=0.98, top=1 - 0.35 / height, bottom=0.5 / height, hspace=0.3, wspace=0.22)
    return figure


def _loss(axes: Axes, history: pd.DataFrame, part: str) -> None:
    for number, (_, rows) in enumerate(history.groupby("member" if "member" in history else [0] * len(history))):
        epoch = np.arange(1, len(rows) + 1)
        for kind, colour in (("train", COLOURS[0]), ("val", COLOURS[1])):
            if f"{kind}_{part}" in rows:
                label = {"train": "training", "val": "held-out cells"}[kind] if not number else None
                axes.plot(epoch, rows[f"{kind}_{part}"], color=colour, lw=1.2, alpha=0.8, label=label)
        stage = rows["stage"].to_numpy() if "stage" in rows else np.zeros(len(rows))
        for at in epoch[1:][stage[1:] != stage[:-1]]:
            axes.axvline(at - 0.5, color=GREY, lw=0.8, ls=(0, (2, 3)))
    values = history[[f"{kind}_{part}" for kind in ("train", "val") if f"{kind}_{part}" in history]].to_numpy().ravel()
    low, high = np.nanpercentile(values, [0, 95])
    axes.set_ylim(low - 0.05 * (high - low) - 1e-12, high + 0.05 * (high - low) + 1e-12)
    axes.set_xlabel("epoch; dashed: the next stage starts" if "stage" in history else "epoch", fontsize=8)
    axes.spines[["top", "right"]].set_visible(False)
