"""All metrics of the run."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kg.pages.blocks import Folded, Table
from models.jobs.report.section import Section

if TYPE_CHECKING:
    from models.jobs.report.contents import RunContents

SHOWN = 15  # longer tables are folded


def sections(contents: RunContents) -> list[Section]:
    """Return one section; none for a run that has not measured anything yet."""
    metrics = dict(sorted(contents.run.metrics.items()))
    if not metrics:
        return []
    table = Table.of_pairs(metrics)
    return [Section("Metrics", [table if len(metrics) <= SHOWN else Folded(f"all {len(metrics)} metrics", table)])]
