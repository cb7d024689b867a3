"""Drawing the report of a run, and keeping it in the run's folder."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from importlib import metadata
from typing import TYPE_CHECKING, Any

from kg.discovery import declared_in, modules_in
from kg.errors import InputError
from kg.pages import page
from kg.runs import reports
from models.jobs.report.contents import contents_of

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from kg.store import Store
    from models.jobs.report.contents import RunContents
    from models.jobs.report.section import Section

SECTIONS = "models.jobs.report.sections"
FIRST = ("about", "evidence", "losses")
OUTPUTS = ("pairs", "annotations", "imputed")
LAST = ("metrics", "settings")


@dataclass(frozen=True)
class Report:
    """A drawn report.

    Attributes:
        run: id of the run.
        sections: in order.
        drawn_at: ISO 8601.
    """

    run: str
    sections: Sequence[Section]
    drawn_at: str

    @property
    def missing(self) -> list[str]:
        """Names of what the run should have but lacks."""
        return [section.missing for section in self.sections if section.missing]

    @property
    def html(self) -> str:
        """One self-contained page."""
        when = f"Drawn {self.drawn_at[:19]} (UTC) by regkg {metadata.version('regkg')}"
        foot = f"{when}; the published run may have changed since."
        return page.render("sections.html", title=self.run, lead=[], sections=self.sections, foot=foot)

    @property
    def json(self) -> dict[str, Any]:
        """The same for programs: each section with its title, its HTML, and what is missing."""
        parts = [{"title": s.title, "html": page.fragment(s.blocks), "missing": s.missing} for s in self.sections]
        return {"run": self.run, "drawn_at": self.drawn_at, "sections": parts}


def section_named(name: str) -> Callable[[RunContents], list[Section]]:
    """Return the function that makes the sections of this name.

    Raises:
        InputError: there is no such section; a model's declaration must not name it.
    """
    if name not in modules_in(SECTIONS):
        raise InputError(f"no report section is called {name!r}", f"available: {', '.join(modules_in(SECTIONS))}")
    sections: Callable[[RunContents], list[Section]] = declared_in(SECTIONS, name, "sections")
    return sections


def draw_report(store: Store, home: Path, run_id: str) -> Report:
    """Draw the report of a run: sections of every run, of its kinds of output, and those that its model declares.

    Raises:
        UnknownRun: there is no such run.
    """
    contents = contents_of(store, home, run_id)
    own = contents.model.report if contents.model else ()
    sections = [s for name in (*FIRST, *own, *OUTPUTS, *LAST) for s in section_named(name)(contents)]
    return Report(run_id, sections, datetime.now(UTC).isoformat())


def keep(home: Path, report: Report) -> Path:
    """Write a report into the run's folder; return the path of the page."""
    return reports.keep_report(home, report.run, report.html, report.json)
