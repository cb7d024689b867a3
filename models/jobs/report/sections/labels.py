"""Transferred labels against the cells' own."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from kg.pages.blocks import Picture, Text
from kg.pages.colours import COLOURS
from models.jobs.report.section import Section, missing

if TYPE_CHECKING:
    from matplotlib.figure import Figure
    from numpy.typing import NDArray

    from kg.pages.blocks import Block
    from kg.runs.cell_files import EmbeddedCells
    from models.jobs.report.contents import RunContents


def sections(contents: RunContents) -> list[Section]:
    """Return one section: where the cells have labels of their own, how many get these."""
    title, carried = "Label transfer", [m for m in contents.cells if m.carried is not None]
    if not carried:
        why = "the cells of the anchor have no labels" if contents.cells else "its folder has no files of its cells"
        sentence = f"This run has no transferred labels: {why}, or the run predates them."
        return [missing(title, "labels", sentence)]
    supervised = contents.run.config.get("use_labels")
    lead = Text(
        "Labels supervised this training, so agreement says little." if supervised else "Training saw no labels."
    )
    return [Section(title, [lead, *(block for modality in carried for block in _transfer(modality))])]


def _transfer(modality: EmbeddedCells) -> list[Block]:
    own, carried, confidence = modality.labels, modality.carried, modality.confidence
    assert carried is not None and confidence is not None  # noqa: S101, PT018 - checked before
    mean = f"mean confidence {confidence.mean():.2f}"
    if own is None or not (has := own != "").any():
        return [Text(f"{modality.name}: {mean}; its cells have no labels of their own to compare with.")]
    right = own[has] == carried[has]
    lead = Text(f"{modality.name}: {right.mean():.1%} of {has.sum():,} cells get their own label; {mean}.")
    drawn = confusion(own[has], carried[has], confidence[has])
    return [lead, Picture.of(drawn, f"labels of {modality.name} against transferred ones")]


def confused(truth: NDArray[np.str_], guess: NDArray[np.str_]) -> pd.DataFrame:
    """Return the share of the cells of each label (rows) that get each label (columns); "none" if they got none."""
    counts = pd.crosstab(pd.Series(truth, name="own"), pd.Series(np.where(guess == "", "none", guess), name="given"))
    order = [*counts.index, *sorted(set(counts.columns) - set(counts.index))]
    counts = counts.reindex(columns=order, fill_value=0)
    return counts.div(counts.sum(axis=1), axis=0)


def confusion(truth: NDArray[np.str_], guess: NDArray[np.str_], confidence: NDArray[np.float32]) -> Figure:
    """Draw own labels against transferred ones, and the confidence of right and wrong ones."""
    from matplotlib.figure import Figure  # noqa: PLC0415

    share = confused(truth, guess)
    size = max(3.2, 0.28 * len(share) + 1.6)
    figure = Figure(figsize=(11, size))
    left, right = figure.subplots(1, 2, width_ratios=[3, 2])
    drawn = left.imshow(share.to_numpy(), cmap="Blues", vmin=0, vmax=1, aspect="auto")
    left.set_xticks(range(share.shape[1]), [str(c) for c in share.columns], rotation=90, fontsize=8)
    left.set_yticks(range(len(share)), [str(c) for c in share.index], fontsize=8)
    left.set(xlabel="transferred label", ylabel="own label")
    figure.colorbar(drawn, ax=left, label="share of the cells of a row")
    edges = np.linspace(0, 1, 21)
    by_outcome = [confidence[truth == guess], confidence[truth != guess]]
    right.hist(by_outcome, edges.tolist(), stacked=True, color=[COLOURS[0], COLOURS[1]], label=["right", "wrong"])
    right.set(xlabel="confidence", ylabel="cells")
    right.legend(frameon=False, fontsize=8)
    right.spines[["top", "right"]].set_visible(False)
    figure.tight_layout()
    return figure
