"""The report of a run as kept in the run's folder: a page, and the same sections as JSON."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from kg.errors import NotFound
from kg.files import replaced
from kg.runs.predictions import run_folder

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

PAGE, SECTIONS = "report.html", "report.json"


def keep_report(home: Path, run_id: str, page: str, sections: Mapping[str, Any]) -> Path:
    """Write both forms of a report, each whole or not at all; return the path of the page."""
    folder = run_folder(home, run_id)
    for name, text in ((SECTIONS, json.dumps(sections, indent=1)), (PAGE, page)):
        with replaced(folder / name) as path:
            path.write_text(text, encoding="utf-8")
    return folder / PAGE


def read_report(home: Path, run_id: str) -> bytes:
    """Read the kept page.

    Raises:
        NotFound: none was kept, as in runs of an earlier version, or the folder is elsewhere.
    """
    path = run_folder(home, run_id) / PAGE
    if not path.is_file():
        raise NotFound(f"run {run_id} has no report in its folder", f"`regkg runs report {run_id}` draws it")
    return path.read_bytes()
