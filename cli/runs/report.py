"""`regkg runs report`: one run on one page."""

from __future__ import annotations

from pathlib import Path

import click

from cli.main import interrupt_message
from cli.output import emit, json_option, note
from cli.session import graph
from kg.runs.predictions import run_folder


@click.command()
@click.argument("run")
@click.option("--html", type=click.Path(dir_okay=False, path_type=Path), help="Also write the page here, as one file.")
@json_option
def report(run: str, html: Path | None, *, as_json: bool) -> None:
    """RUN on one page: what it is, what it read, its losses and metrics, and all that it predicts.

    A page is drawn when a run ends and kept in its folder, from where `regkg serve` shows it; this command draws it
    again as things are now, such as whether the run is published.
    """
    interrupt_message("the graph is as it was; the page is there whole or not at all")
    from kg.files import replaced  # noqa: PLC0415
    from models.jobs.report.drawing import draw_report, keep  # noqa: PLC0415 - pandas and torch take long to import

    with graph(as_json=as_json) as (store, settings, progress):
        progress.begin(f"drawing the report of {run}")
        drawn = draw_report(store, settings.home, run)
        has_folder = run_folder(settings.home, run).is_dir()
        kept = keep(settings.home, drawn) if has_folder else None
        progress.end()
    if html is not None:
        with replaced(html) as path:
            path.write_text(drawn.html, encoding="utf-8")
    written = html or kept
    emit({"run": run, "html": written and str(written), "missing": drawn.missing}, as_json=as_json)
    if written is None and not as_json:
        note(f"run {run} has no folder here, so the page was not kept; write it with --html FILE")
    if drawn.missing and not as_json:
        note(f"the page says that this run lacks {', '.join(drawn.missing)}")
