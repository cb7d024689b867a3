"""The last step of a run: its report, which may fail without failing the run."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kg.progress import SILENT, Progress

if TYPE_CHECKING:
    from pathlib import Path

    from kg.store import Store


def end_with_report(store: Store, home: Path, run_id: str, progress: Progress = SILENT) -> None:
    """Draw and keep the report of a run that has just ended; an error is reported and fails nothing."""
    progress.begin("drawing the report")
    try:
        from models.jobs.report.drawing import draw_report, keep  # noqa: PLC0415 - a library may be broken as well

        where = str(keep(home, draw_report(store, home, run_id)))
    except Exception as error:  # noqa: BLE001 - the run is complete, whatever a picture does
        progress.end("failed")
        progress.say(
            f"warning: the report of {run_id} could not be drawn ({type(error).__name__}: {error}); the run itself is "
            f"complete; `regkg runs report {run_id}` draws it again"
        )
    else:
        progress.end(where)
