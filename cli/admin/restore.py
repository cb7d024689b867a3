"""`regkg restore`: the graph and its runs from a backup."""

from __future__ import annotations

from pathlib import Path

import click

from cli.main import interrupt_message
from cli.output import emit, json_option, progress
from kg.settings import Settings


@click.command()
@click.argument("folder", type=click.Path(path_type=Path, exists=True, file_okay=False))
@click.option("--replace", is_flag=True, help="Put it in the place of the managed server's graph and runs.")
@json_option
def command(folder: Path, *, replace: bool, as_json: bool) -> None:
    """Restore the backup in FOLDER into an empty graph, and verify every release of it.

    Its files are checked first. With --replace the graph that is there serves until the new one is verified, and then
    goes with its runs.
    """
    from kg.operations.restore import restore  # noqa: PLC0415 - `--help` needs no driver

    settings = Settings.from_environment()
    interrupt_message(
        "the graph is as it was: run the same command again"
        if settings.neo4j_uri is None
        else "the graph is half restored, and refuses other commands: run the same command again"
    )
    with progress(as_json=as_json) as report:
        done = restore(settings, folder, replace=replace, progress=report)
    shown = {
        "kind": done.kind,
        "created_at": done.created_at,
        "verified": ", ".join(f"release {n}: {h[:12]}" for n, h in done.releases.items()),
        "runs": done.runs,
    }
    if done.migrated_from is not None:
        shown["migrated from schema"] = done.migrated_from
    emit(done if as_json else shown, as_json=as_json)
