"""Cells of the joint space in two dimensions."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from kg.pages.blocks import Picture, Text
from kg.pages.colours import COLOURS, LIGHT
from models.evaluation.projection import project
from models.jobs.report.section import Section, missing

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from numpy.typing import NDArray

    from kg.runs.cell_files import EmbeddedCells
    from models.jobs.report.contents import RunContents

DRAWN_CELLS = 5000  # of each modality; more would hide each other
MAX_LABELS = 20


def sections(contents: RunContents) -> list[Section]:
    """Return one section."""
    title, modalities = "Cells in the joint space", contents.cells
    if not modalities:
        return [missing(title, "cells", "The run's folder holds no embedding of its cells.")]
    rng = np.random.default_rng(0)
    drawn = [np.sort(rng.permutation(len(m.vectors))[:DRAWN_CELLS]) for m in modalities]
    chosen = list(zip(modalities, drawn, strict=True))
    flat, axes = project(np.concatenate([m.vectors[rows] for m, rows in chosen]))
    names = np.concatenate([np.full(len(rows), m.name) for m, rows in chosen])
    labels = np.concatenate([_labels(m)[rows] for m, rows in chosen])
    cells, every = sum(map(len, drawn)), sum(len(m.vectors) for m in modalities)
    lead = f"{cells:,} cells" if cells == every else f"{cells:,} of {every:,} cells, drawn at random"
    lead += (
        ", by UMAP." if axes[0].startswith("UMAP") else ", on principal components, since umap-learn is not installed."
    )
    has_labels = bool(labels.astype(bool).any())
    lead += "" if has_labels else " No cell has a label to colour by."
    picture = scatter(flat, axes, names, labels if has_labels else None)
    return [Section(title, [Text(lead), Picture.of(picture, "cells by modality and by label")])]


def _labels(modality: EmbeddedCells) -> NDArray[np.str_]:
    """Return the cells' own labels, otherwise those transferred to them."""
    own = modality.labels
    if own is not None and own.astype(bool).any():
        return own
    return np.full(len(modality.vectors), "") if modality.carried is None else modality.carried


def scatter(
    flat: NDArray[np.float32], names: tuple[str, str], modality: NDArray[np.str_], label: NDArray[np.str_] | None
) -> Figure:
    """Draw the same cells twice: by modality and, if there are labels, by label."""
    from matplotlib.figure import Figure  # noqa: PLC0415

    panels = [modality] if label is None else [modality, label]
    figure = Figure(figsize=(5.6 * len(panels), 5.2))
    order = np.random.default_rng(0).permutation(len(flat))  # or the last modality would hide the first
    for axes, value in zip(figure.subplots(1, len(panels), squeeze=False).ravel(), panels, strict=True):
        _coloured(axes, flat[order], value[order])
        axes.set(xlabel=names[0], ylabel=names[1], xticks=[], yticks=[])
        axes.spines[["top", "right"]].set_visible(False)
    figure.tight_layout()
    return figure


def _coloured(axes: Axes, flat: NDArray[np.float32], value: NDArray[np.str_]) -> None:
    from matplotlib import colormaps  # noqa: PLC0415
    from matplotlib.lines import Line2D  # noqa: PLC0415

    kinds, counts = np.unique(value[value != ""], return_counts=True)
    kinds = np.sort(kinds[np.argsort(-counts, kind="stable")][:MAX_LABELS])
    palette = colormaps["tab10" if len(kinds) <= 10 else "tab20"]
    colours = {k: COLOURS[i] if len(kinds) <= len(COLOURS) else palette(i) for i, k in enumerate(kinds.tolist())}
    size = min(max(2e4 / max(len(flat), 1), 2), 12)
    axes.scatter(flat[:, 0], flat[:, 1], s=size, lw=0, alpha=0.7, c=[colours.get(str(v), LIGHT) for v in value])
    handles = [Line2D([], [], color=c, marker="o", ls="", ms=4, label=name) for name, c in colours.items()]
    if not set(value.tolist()) <= set(colours):
        handles.append(Line2D([], [], color=LIGHT, marker="o", ls="", ms=4, label="other or none"))
    axes.legend(handles=handles, frameon=False, fontsize=7, loc="upper left", bbox_to_anchor=(1, 1))
