"""`regkg`: the group of commands, imported only when named; errors become sentences and exit codes."""

from __future__ import annotations

import errno
import json
import logging
import os
import sys
import traceback
from dataclasses import dataclass
from importlib import import_module
from typing import TYPE_CHECKING, NamedTuple

import click

from kg.errors import (
    Conflict,
    InputError,
    NotFound,
    ParameterError,
    RegkgError,
    SchemaError,
    SettingsError,
    StoreError,
    TrainingError,
)

if TYPE_CHECKING:
    from collections.abc import Sequence


class Command(NamedTuple):
    """Where a command lives, and what it does."""

    room: str
    help: str


COMMANDS = {
    "demo": Command("admin", "Run the whole loop on a simulated world and print what came of it."),
    "doctor": Command("admin", "Check what the product needs, and say how to fix it."),
    "simulate": Command("load", "Write a seeded world in the field's file formats, with the truth."),
    "db": Command("admin", "Start, stop and look after the managed Neo4j."),
    "cells": Command("load", "Count ATAC fragments in peaks."),
    "load": Command("load", "Load evidence from files into the draft."),
    "unload": Command("load", "Withdraw a dataset from the draft."),
    "datasets": Command("load", "List the datasets of the graph, and what to cite."),
    "biosamples": Command("load", "List what is a kind of a biosample, or texts that no ontology knows."),
    "motifs": Command("load", "Write JASPAR to a file; compare two versions of a motif collection."),
    "release": Command("releases", "List, compare, publish, take back and verify releases."),
    "train": Command("runs", "Train a model on the served release and write its predictions back."),
    "retrain": Command("runs", "Train published runs again where evidence changed, and publish what passes the gate."),
    "runs": Command("runs", "List, compare, report, publish, take back, prune, export and reproduce model runs."),
    "bench": Command("runs", "Measure how a model fares on priors that are partly invented."),
    "backup": Command("admin", "Back up the graph and the files of its runs."),
    "restore": Command("admin", "Restore a backup and verify every release of it."),
    "ask": Command("query", "Ask the graph a named question."),
    "export": Command("export", "Write edges, nodes, the guidance graph, embeddings or answers into files."),
    "cypher": Command("query", "Run one read-only Cypher query."),
    "serve": Command("admin", "Serve the graph over HTTP."),
}
"""Name -> command; the module `cli.ROOM.NAME` holds it as `group` or `command`."""

EXIT_CODES: dict[type[RegkgError], int] = {
    SettingsError: 2,
    ParameterError: 2,
    InputError: 1,
    SchemaError: 1,
    NotFound: 1,
    Conflict: 1,
    StoreError: 1,
    TrainingError: 1,
}
"""Family of errors -> exit code; 0 is success, 2 is wrong usage, 130 is Ctrl-C."""

INTERRUPTED = 130
_LEFT = "cli.main.left"
_EXTRA_OF = {
    **dict.fromkeys(("torch", "torch_geometric", "safetensors", "sklearn", "sknetwork", "mudata"), "train"),
    **dict.fromkeys(("fastapi", "uvicorn"), "api"),
    **dict.fromkeys(("numba", "pyjaspar"), "motifs"),
}


@dataclass(frozen=True)
class Failure:
    """What people (or, with --json, programs) see when a command fails."""

    type: str
    message: str
    hint: str
    exit_code: int

    def show(self, *, as_json: bool) -> int:
        """Write it to stderr; gives the exit code."""
        if as_json:
            failure = {"type": self.type, "message": self.message, "hint": self.hint}
            click.echo(json.dumps({"error": failure, "exit_code": self.exit_code}), err=True)
        else:
            click.echo(f"error: {self.message}", err=True)
            if self.hint:
                click.echo(f"hint: {self.hint}", err=True)
        return self.exit_code


class LazyGroup(click.Group):
    """A group whose commands are modules of `cli`; listing them imports none."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return the names in the order of the work."""
        del ctx
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Return the command of that name, imported now."""
        del ctx
        if cmd_name not in COMMANDS:
            return None
        module = import_module(f"cli.{COMMANDS[cmd_name].room}.{cmd_name}")
        command: click.Command = module.group if hasattr(module, "group") else module.command
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Resolve as click does, with near matches among commands that are not imported."""
        if args[0] not in COMMANDS and not args[0].startswith("-"):
            raise click.exceptions.NoSuchCommand(args[0], possibilities=list(COMMANDS), ctx=ctx)
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the table above, so that `--help` imports nothing."""
        del ctx
        with formatter.section("Commands"):
            formatter.write_dl([(name, command.help) for name, command in COMMANDS.items()])


@click.group(cls=LazyGroup, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(package_name="regkg")
@click.option("-v", "--verbose", count=True, help="More of what happens inside; twice for everything.")
@click.option("--debug", is_flag=True, help="Show the traceback of a failure; on a terminal, stop in the debugger.")
def main(verbose: int, debug: bool) -> None:  # noqa: FBT001 - click passes options by name
    """Evidence, guidance graph, model, predictions back in the graph, answers."""
    del debug  # read by `call`, which is where failures end
    level = (logging.ERROR, logging.INFO, logging.DEBUG)[min(verbose, 2)]
    logging.basicConfig(level=level, format="%(levelname)s %(name)s: %(message)s", stream=sys.stderr)


def run() -> None:
    """Run the command line and end the process."""
    sys.exit(call(sys.argv[1:]))


def call(args: Sequence[str]) -> int:
    """Run one command line; gives the exit code, never raises for a failure of the command."""
    as_json = "--json" in args
    left: dict[str, object] = {}
    try:
        with main.make_context("regkg", list(args)) as context:
            left = context.meta
            main.invoke(context)
    except click.exceptions.Exit as stop:
        return stop.exit_code
    except (KeyboardInterrupt, click.Abort):
        return _interrupted(str(left.get(_LEFT, "")), as_json=as_json)
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # or Python complains again when it ends
        return 1
    except Exception as error:  # noqa: BLE001 - the last place where a failure can become a sentence
        if "--debug" in args:
            _debug(error)
        return _failed(error, as_json=as_json)
    return 0


def interrupt_message(sentence: str) -> None:
    """Say what an interruption from here on would leave behind, and how to go on; "" when nothing."""
    click.get_current_context().meta[_LEFT] = sentence


def exit_code(error: type[RegkgError]) -> int:
    """Return the exit code of a kind of error, by its family."""
    return next(EXIT_CODES[family] for family in error.__mro__ if family in EXIT_CODES)


def _failed(error: Exception, *, as_json: bool) -> int:
    if isinstance(error, click.exceptions.NoArgsIsHelpError) and not as_json:
        error.show()
        return error.exit_code
    return _failure(error).show(as_json=as_json)


def _failure(error: Exception) -> Failure:
    name = type(error).__name__
    if isinstance(error, RegkgError):
        return Failure(name, error.message, error.hint, exit_code(type(error)))
    if isinstance(error, click.ClickException):
        where = error.ctx.command_path if isinstance(error, click.UsageError) and error.ctx else "regkg"
        return Failure(name, error.format_message(), f"see `{where} --help`", error.exit_code)
    if isinstance(error, ModuleNotFoundError) and (extra := _EXTRA_OF.get(str(error.name).partition(".")[0])):
        return Failure(name, str(error), f"it comes with the extra `{extra}`: pip install 'regkg[{extra}]'", 1)
    if isinstance(error, OSError):
        hint = "free some space, then run the same command again" if error.errno == errno.ENOSPC else ""
        return Failure(name, str(error), hint, 1)
    hint = "this is a fault of the program: run it again as `regkg --debug ...` and report the traceback"
    return Failure(name, f"unexpected {name}: {error}", hint, 1)


def _interrupted(left: str, *, as_json: bool) -> int:
    return Failure("Interrupted", "interrupted", left or "nothing was left half done", INTERRUPTED).show(
        as_json=as_json
    )


def _debug(error: Exception) -> None:
    traceback.print_exception(error)
    if sys.stdin.isatty() and sys.stderr.isatty():
        import pdb  # noqa: PLC0415 - only a person at a terminal needs it

        pdb.post_mortem(error.__traceback__)
