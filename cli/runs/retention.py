"""`regkg runs pin|unpin|prune|restore|rollback`: which runs stay in the graph and which is served."""

from __future__ import annotations

import click

from cli.main import interrupt_message
from cli.output import emit, json_option, note
from cli.session import graph
from kg.operations.rollback import roll_back_run
from kg.runs import retention


@click.command()
@click.argument("run")
@json_option
def pin(run: str, *, as_json: bool) -> None:
    """Keep RUN in the graph whatever is pruned."""
    with graph(as_json=as_json) as (store, _, _):
        emit(retention.pin(store, run), as_json=as_json)


@click.command()
@click.argument("run")
@json_option
def unpin(run: str, *, as_json: bool) -> None:
    """Let RUN be pruned again."""
    with graph(as_json=as_json) as (store, _, _):
        emit(retention.pin(store, run, pinned=False), as_json=as_json)


@click.command()
@click.argument("runs", nargs=-1)
@click.option("--keep", type=click.IntRange(min=0), default=0, show_default=True, help="Newest of each slot that stay.")
@click.option("--delete", is_flag=True, help="Delete their files too, for good.")
@click.option("--plan", is_flag=True, help="Only say which.")
@json_option
def prune(runs: tuple[str, ...], *, keep: int, delete: bool, plan: bool, as_json: bool) -> None:
    """Take RUNS (default: all that are neither served, pinned, nor a parent of such a run) out of the graph.

    Their predictions stay as Parquet files, and `restore` brings them back, unless you say --delete.
    """
    interrupt_message(
        "rows of some runs are gone, their files are not: `regkg runs prune` again, or `regkg runs restore RUN`"
    )
    with graph(as_json=as_json) as (store, settings, report):
        gone = retention.prune(store, settings.home, runs, keep=keep, delete=delete, plan=plan, progress=report)
    emit(gone, as_json=as_json)
    if not gone and not as_json:
        note("every run is served, pinned, or the parent of such a run")


@click.command()
@click.argument("run")
@json_option
def restore(run: str, *, as_json: bool) -> None:
    """Write RUN, which was pruned, back into the graph from its files."""
    interrupt_message(f"run {run} is not complete, and nobody sees it: `regkg runs restore {run}` again")
    with graph(as_json=as_json) as (store, settings, report):
        emit(retention.restore(store, settings.home, run, report), as_json=as_json)


@click.command()
@click.argument("slot", required=False)
@click.option("--note", "text", default="", help="For people.")
@json_option
def rollback(slot: str | None, text: str, *, as_json: bool) -> None:
    """Serve for SLOT (model:cells) the run that it had before; the release stays."""
    interrupt_message("the slot has either the old or the new run: `regkg release journal`")
    with graph(as_json=as_json) as (store, settings, report):
        emit(roll_back_run(store, settings.home, slot, report, text), as_json=as_json)
