"""`regkg runs export|reproduce`: a run as a folder that says how it came about; and the same run once more."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path

import click

from cli.main import interrupt_message
from cli.output import emit, json_option
from cli.session import graph
from kg.errors import TrainingError


@click.command()
@click.argument("run")
@click.argument("folder", type=click.Path(path_type=Path))
@json_option
def export(run: str, folder: Path, *, as_json: bool) -> None:
    """Write RUN into FOLDER: weights, metrics, predictions, configuration, commands, and an RO-Crate of it all."""
    from kg.operations.ro_crate import export_run  # noqa: PLC0415 - `--help` needs no Parquet

    interrupt_message(f"{folder} has no ro-crate-metadata.json, so it is no export: the same command begins anew")
    with graph(as_json=as_json) as (store, settings, report):
        files = export_run(store, settings.home, run, folder, report)
    shown = {"run": run, "folder": str(folder), "files": len(files), "bytes": sum(f.bytes for f in files.values())}
    emit({**shown, "files": files} if as_json else shown, as_json=as_json)


@click.command()
@click.argument("run")
@json_option
def reproduce(run: str, *, as_json: bool) -> None:
    """Train RUN again from the release that it read, and compare the weights.

    They are equal bit by bit on the same CPU type, with the same threads and packages; elsewhere the scores must agree
    within a tolerance (see docs/operations.md). The new run is an experiment: it is never published.
    """
    from models.jobs.reproduce import OTHER  # noqa: PLC0415 - torch is not needed for --help
    from models.jobs.reproduce import reproduce as train_again  # noqa: PLC0415

    interrupt_message("what is published stays: the same command finishes the run")
    with graph(as_json=as_json) as (store, settings, report):
        found = train_again(store, settings.home, run, report)
    emit(found if as_json else {**asdict(found), "differs": found.reason}, as_json=as_json)
    if found.verdict == OTHER:
        raise TrainingError(f"{run} was not reproduced: {found.reason}", f"regkg runs diff {run} {found.run}")
