"""`regkg db`: start, stop and look after the managed Neo4j."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from cli.main import interrupt_message
from cli.output import emit, json_option, note, progress
from kg.errors import SettingsError
from kg.settings import Settings

if TYPE_CHECKING:
    from kg.server import Server


@click.group()
def group() -> None:
    """Start, stop and look after the managed Neo4j.

    Commands that need the graph start it by themselves; REGKG_NEO4J_URI names another Neo4j instead.
    """


@group.command()
@json_option
def start(*, as_json: bool) -> None:
    """Start the server, or find the running one; the first start downloads it (155 MB)."""
    server = managed()
    with progress(as_json=as_json) as report:
        where = server.start(report)
    emit(server.status(), as_json=as_json)
    if not as_json:
        note(f"log in to the Browser as {where.user}, with the password in {server.password_file}")


@group.command()
@json_option
def stop(*, as_json: bool) -> None:
    """Stop the server cleanly."""
    with progress(as_json=as_json) as report:
        stopped = managed().stop(report)
    emit({"stopped": stopped} if as_json else "stopped" if stopped else "it was not running", as_json=as_json)


@group.command()
@json_option
def status(*, as_json: bool) -> None:
    """Say whether the server runs, where, since when, and how large the graph is on disk."""
    from kg.operations.restore import left_by_restore  # noqa: PLC0415 - `db --help` needs no driver

    server = managed()
    emit(server.status(), as_json=as_json)
    if left := left_by_restore(server):
        note(left)


@group.command()
@click.option("-n", "--lines", default=50, show_default=True, type=click.IntRange(min=1), help="How many.")
@json_option
def logs(*, lines: int, as_json: bool) -> None:
    """Print the last lines of the server's log."""
    written = managed().logs(lines)
    emit(written if as_json else "\n".join(written) or "nothing was logged yet", as_json=as_json)


@group.command()
@json_option
def migrate(*, as_json: bool) -> None:
    """Bring the graph to this program's schema version, step by step; back it up first.

    A step that was interrupted is begun again; a graph that is newer than the program is refused.
    """
    from kg.operations.migrations import migrate as step_up  # noqa: PLC0415 - `db --help` needs no driver
    from kg.schema import SCHEMA_VERSION  # noqa: PLC0415
    from kg.server import endpoint  # noqa: PLC0415
    from kg.store import open_store  # noqa: PLC0415

    interrupt_message("the graph has its old schema version: run `regkg db migrate` again to go on")
    with progress(as_json=as_json) as report, open_store(endpoint(Settings.from_environment(), report)) as store:
        done = step_up(store, report)
    outcome = f"schema version {done[0]} -> {SCHEMA_VERSION}" if done else f"schema version {SCHEMA_VERSION} already"
    emit({"steps": done, "schema_version": SCHEMA_VERSION} if as_json else outcome, as_json=as_json)


def managed() -> Server:
    """Return the managed server of the settings.

    Raises:
        SettingsError: REGKG_NEO4J_URI names a server that is not ours to start or stop.
    """
    from kg.server import Server  # noqa: PLC0415 - `db --help` needs no driver

    settings = Settings.from_environment()
    if settings.neo4j_uri is not None:
        raise SettingsError(
            f"REGKG_NEO4J_URI is {settings.neo4j_uri}: that server is not managed here",
            "unset REGKG_NEO4J_URI to use the managed one",
        )
    return Server(settings.home, settings.neo4j_version, settings.jars)
