"""`regkg runs`: what models said, run by run."""

from __future__ import annotations

import click

from cli.main import interrupt_message
from cli.output import emit, json_option, note
from cli.runs.diff import diff, why
from cli.runs.evaluate import evaluate
from cli.runs.report import report
from cli.runs.reproduce import export, reproduce
from cli.runs.retention import pin, prune, restore, rollback, unpin
from cli.runs.targets import targets
from cli.session import graph
from kg import runs
from kg.errors import MissingInput, UnknownRelease
from kg.releases import served


@click.group()
def group() -> None:
    """List, compare, evaluate, publish, take back, prune, resume and discard model runs."""


@group.command("list")
@json_option
def list_runs(*, as_json: bool) -> None:
    """All runs, newest first, incomplete ones included."""
    with graph(as_json=as_json) as (store, _, _):
        found = runs.runs(store)
        try:
            in_force = set(served(store).runs.values())
        except UnknownRelease:
            in_force = set()
    shown = [
        {
            "run": r.id,
            "slot": r.slot,
            "release": r.release,
            "outcome": f"{r.outcome}, interrupted" if r.interrupted else r.outcome,
            "served": r.id in in_force,
            "started_at": r.started_at,
        }
        for r in found
    ]
    emit(found if as_json else shown, as_json=as_json)
    for run in found:
        if run.interrupted and not as_json:
            note(f"{run.id} was interrupted: `regkg runs resume {run.id}` or `regkg runs discard {run.id}`")


@group.command()
@click.argument("run")
@json_option
def show(run: str, *, as_json: bool) -> None:
    """Everything recorded of RUN: configuration, datasets used, metrics."""
    with graph(as_json=as_json) as (store, _, _):
        emit(runs.run(store, run), as_json=as_json)


@group.command()
@click.argument("run")
@click.option("--note", "text", default="", help="For people.")
@json_option
def publish(run: str, text: str, *, as_json: bool) -> None:
    """Serve RUN for its slot; the evidence served stays the same."""
    interrupt_message("the run is either served or not: `regkg runs list` says which")
    with graph(as_json=as_json) as (store, _, report):
        emit(runs.publish_run(store, run, text, report), as_json=as_json)


@group.command()
@click.argument("run")
@json_option
def resume(run: str, *, as_json: bool) -> None:
    """Finish RUN, which was interrupted: its training from the last checkpoint, or its write-back."""
    interrupt_message(f"run {run} is not complete, and nobody sees it: `regkg runs resume {run}` again")
    with graph(as_json=as_json) as (store, settings, report):
        try:
            finished = runs.write_back(store, settings.home, run, report)
        except MissingInput:  # it died while training
            from models.jobs import train  # noqa: PLC0415 - a write-back needs no torch

            finished = train.resume(store, settings.home, run, report)
        emit(finished, as_json=as_json)


@group.command()
@click.argument("run")
@json_option
def discard(run: str, *, as_json: bool) -> None:
    """Take the rows of RUN out of the graph; its record stays and says discarded."""
    interrupt_message(f"some rows of {run} are gone, and nobody sees the rest: `regkg runs discard {run}` again")
    with graph(as_json=as_json) as (store, _, _):
        emit(runs.discard(store, run), as_json=as_json)


for command in (diff, why, evaluate, report, pin, unpin, prune, restore, rollback, export, reproduce, targets):
    group.add_command(command)
