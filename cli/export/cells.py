"""`regkg export cells`: a run with the cells that it read, as one MuData file."""

from __future__ import annotations

from pathlib import Path

import click

from cli.main import interrupt_message
from cli.output import emit, json_option
from cli.session import graph
from kg.errors import SettingsError
from kg.query.plan import run_plan
from kg.query.scope import one_run, scope_of


@click.command("cells")
@click.option("--run", help="This complete run; default: the one that is served.")
@click.option(
    "--out", required=True, type=click.Path(dir_okay=False, path_type=Path), help="An .h5mu, whole or not at all."
)
@json_option
def export_cells(*, run: str | None, out: Path, as_json: bool) -> None:
    """A run and the cells that it read as MuData (.h5mu): counts, labels, embeddings, and where they come from.

    Each modality has the counts in X, columns of obs and labels that were transferred, the joint embedding of cells in
    obsm and of features in varm; uns["regkg"] names the run, its release and configuration.
    """
    from models.jobs.export_mudata import write_h5mu  # noqa: PLC0415 - without the extra, nobody should wait for the graph

    if out.suffix != ".h5mu":
        raise SettingsError(f"{out} does not end in .h5mu", "use --out FILE.h5mu")
    if not out.parent.is_dir():
        raise SettingsError(f"{out.parent}: no such folder", "create it first")
    interrupt_message(f"{out} is as it was")
    with graph(as_json=as_json) as (store, settings, report):
        chosen = one_run(run_plan(scope_of(None, run), store), "an export of cells")
        emit(write_h5mu(store, settings.home, chosen, out, report), as_json=as_json)
