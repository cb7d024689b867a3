"""Candidates: pairs that no evidence joins, of which a run writes the best."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kg.pages.blocks import Table, Text
from models.jobs.report.section import Section
from models.jobs.report.sections.best_edges import shown
from models.zoo.glue.predicted import count_candidates

if TYPE_CHECKING:
    from models.jobs.report.contents import RunContents

BEST_CANDIDATES = 20


def sections(contents: RunContents) -> list[Section]:
    """One section, which says so where no such pair was scored."""
    title, links = "Beyond the prior", contents.links
    more, candidates = links[~links["in_prior"]], count_candidates(contents.folder)
    if more.empty and not candidates:
        return [Section(title, [Text("No pair that evidence does not join was scored (--candidates).")])]
    scored = "An unknown number of" if candidates is None else f"{candidates:,}"
    lead = Text(
        f"{scored} pairs that no evidence joins were scored, {more['called'].sum():,} are called among themselves "
        f"(q below 0.05). {len(more):,} are written: these and the best of each gene. Chosen by score, they are in no "
        "figure by distance."
    )
    return [Section(title, [lead, Table(shown(more.nlargest(BEST_CANDIDATES, "score")))])]
