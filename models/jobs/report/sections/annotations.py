"""Labels that the model assigned to cells: how many cells got each, and with what confidence."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from kg.pages.blocks import Table, Text
from kg.runs.outputs import CellAnnotation
from models.jobs.report.section import Section

if TYPE_CHECKING:
    import pandas as pd

    from models.jobs.report.contents import RunContents


def sections(contents: RunContents) -> list[Section]:
    """Return one section for each annotation of each modality; none if the model assigned no labels."""
    return [_section(modality, column, frame) for (modality, column), frame in contents.annotations.items()]


def _section(modality: str, column: str, frame: pd.DataFrame) -> Section:
    annotation = CellAnnotation(
        modality,
        frame.index.to_numpy(dtype=np.str_),
        column,
        frame["label"].to_numpy(dtype=np.str_),
        frame["confidence"].to_numpy(dtype=np.float32),
    )
    by_label = annotation.by_label.sort_values("n", ascending=False)
    named = {"n": "cells", "share": "share of cells", "confidence": "mean confidence"}
    columns = ["label", *named]
    lead = f"{column}: {by_label['n'].sum():,} of {len(frame):,} cells got a label, of {len(by_label):,} kinds."
    return Section(
        f"Annotation of {modality}", [Text(lead), Table(by_label[columns].rename(columns=named).to_dict("records"))]
    )
