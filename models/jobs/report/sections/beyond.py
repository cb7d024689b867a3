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
    """Return one section, which says so if no such pair was scored."""
    title, links = "Beyond the prior", contents.links
    beyond, candidates = links[~links["in_prior"]], count_candidates(contents.folder)
    if beyond.empty and not candidates:
        return [Section(title, [Text("No pair that evidence does not join was scored (--candidates).")])]
    scored = "An unknown number of" if candidates is None else f"{candidates:,}"
    lead = Text(
        f"{scored} pairs that no evidence joins were scored, {beyond['called'].sum():,} are called among themselves "
        f"(q below 0.05). {len(beyond):,} are written: these and the best of each gene. Since they are chosen by "
        "score, they are in no figure by distance."
    )
    return [Section(title, [lead, Table(shown(beyond.nlargest(BEST_CANDIDATES, "score")))])]
