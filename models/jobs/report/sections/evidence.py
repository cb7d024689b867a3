"""Datasets and files of cells that the run read."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kg.pages.blocks import Table
from models.jobs.report.section import Section

if TYPE_CHECKING:
    from models.jobs.report.contents import RunContents


def sections(contents: RunContents) -> list[Section]:
    """One of the evidence, and one of the files of cells where the run read such."""
    datasets = [{"dataset": name, "hash of its rows": value} for name, value in sorted(contents.run.datasets.items())]
    files = contents.environment.get("cells", {})
    cells = [{"modality": modality, "sha256 of its file": value} for modality, value in files.items()]
    made = [Section("Evidence", [Table(datasets)])]
    return [*made, Section("Cells", [Table(cells)])] if cells else made
