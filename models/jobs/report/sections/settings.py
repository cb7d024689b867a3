"""Configuration of the model and versions of packages."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kg.pages.blocks import Folded, Table
from models.jobs.report.section import Section

if TYPE_CHECKING:
    from models.jobs.report.contents import RunContents


def sections(contents: RunContents) -> list[Section]:
    """Return one folded section."""
    recorded = {"configuration": contents.run.config, "versions": contents.environment.get("versions", {})}
    return [
        Section(
            "Settings",
            [Folded(name, Table.of_pairs(dict(sorted(values.items())))) for name, values in recorded.items() if values],
        )
    ]
