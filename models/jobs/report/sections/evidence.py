"""Datasets and cell files that the run read."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kg.pages.blocks import Table
from models.jobs.report.section import Section

if TYPE_CHECKING:
    from models.jobs.report.contents import RunContents


def sections(contents: RunContents) -> list[Section]:
    """Return one section on the evidence, and one on the cell files if the run read any."""
    datasets = [{"dataset": name, "hash of its rows": value} for name, value in sorted(contents.run.datasets.items())]
    files = contents.environment.get("cells", {})
    cells = [{"modality": modality, "sha256 of its file": value} for modality, value in files.items()]
    evidence = [Section("Evidence", [Table(datasets)])]
    return [*evidence, Section("Cells", [Table(cells)])] if cells else evidence
