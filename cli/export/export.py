"""`regkg export`: edges, nodes, the guidance graph, embeddings and answers, into the field's formats."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from cli.export.cells import export_cells
from cli.export.graph import export_graph
from cli.options import options_for
from cli.output import emit, json_option, note
from cli.query.ask import Questions
from cli.session import graph
from kg.export import answers, reading, writing
from kg.export.registry import formats
from kg.guidance.policy import POLICY
from kg.parameters import parameters_of
from kg.query.plan import run_plan
from kg.query.registry import Parameters, Question
from kg.schema import EDGE_TYPES, NODE_TYPES

if TYPE_CHECKING:
    from collections.abc import Callable

    from kg.export.content import Content

_LIST = "\n".join(f"{name:<11}{one.doc}" for name, one in formats().items())

_out = click.option(
    "--out", required=True, help="File to write, whole or not at all, with FILE.json beside it; - for stdout."
)
_format = click.option(
    "--format", "format_name", type=click.Choice(list(formats())), help="By default the ending of FILE decides."
)
_release = click.option(
    "--release", type=click.IntRange(min=1), help="A published release; by default the one that is served."
)
_run = click.option("--run", help="A complete run; by default the runs that are served.")


_HELP = f"""Write what the graph holds into files.

Formats (text may be compressed, as in FILE.bed.gz):

\b
{_LIST}
"""


@click.group(help=_HELP)
def group() -> None:
    """Each command says what it writes."""


def _types(names: list[str], help_text: str, *, multiple: bool = True, **more: Any) -> Callable[[Any], Any]:
    return click.option(
        "--type", "types" if multiple else "label", multiple=multiple, type=click.Choice(names), help=help_text, **more
    )


@group.command()
@_types(list(EDGE_TYPES), "Only edges of this type; may be repeated.  [default: all]")
@click.option("--called-only", is_flag=True, help="Leave out predictions that the run did not call.")
@_release
@_run
@_out
@_format
@json_option
def edges(types: tuple[str, ...], *, called_only: bool, release: int | None, run: str | None, **to: Any) -> None:
    """Edges of a release: evidence, truth, and what the served runs predict."""
    with graph(as_json=to["as_json"]) as (store, _, _):
        _write(reading.edges(store, types, release=release, run=run, called_only=called_only), **to)


@group.command()
@_types(list(NODE_TYPES), "Which nodes.", multiple=False, required=True)
@_release
@_out
@_format
@json_option
def nodes(label: str, *, release: int | None, **to: Any) -> None:
    """Nodes of a release, such as its peaks."""
    with graph(as_json=to["as_json"]) as (store, _, _):
        _write(reading.nodes(store, label, release=release), **to)


@group.command()
@_types(list(POLICY), "Edges that guide; may be repeated.", default=("NEAR",), show_default=True)
@_release
@_out
@_format
@json_option
def guidance(types: tuple[str, ...], *, release: int | None, **to: Any) -> None:
    """The guidance graph of a release as a model reads it: one edge a pair and sign, with its weight."""
    with graph(as_json=to["as_json"]) as (store, _, _):
        _write(reading.guidance(store, types, release=release), **to)


@group.command()
@_release
@_run
@_out
@_format
@json_option
def embeddings(*, release: int | None, run: str | None, **to: Any) -> None:
    """Vectors of a run's genes and peaks."""
    with graph(as_json=to["as_json"]) as (store, _, _):
        _write(reading.embeddings(store, release=release, run=run), **to)


group.add_command(export_graph)
group.add_command(export_cells)


def _command_for(question: Question) -> click.Command:
    @_out
    @_format
    @json_option
    def export(*, out: str, format_name: str | None, as_json: bool, **values: Any) -> None:
        with graph(as_json=as_json) as (store, _, _):
            answer = run_plan(question.plan(question.parameters(**values)), store)
            _write(answers.of_answer(store, answer, question.row), out=out, format_name=format_name, as_json=as_json)

    command = click.command(question.name, help=question.doc)(export)
    command.params = [*options_for(parameters_of(question.parameters, Parameters)), *command.params]
    return command


@group.group("ask", cls=Questions, command_for=_command_for)
def ask() -> None:
    """The answer to a named question; see `regkg ask`."""


def _write(content: Content, *, out: str, format_name: str | None, as_json: bool) -> None:
    if out == "-":
        done = writing.write_to(sys.stdout.buffer, content, format_name)
        note(f"{done.rows:,} rows; release {content.about['release']}, {content.about['hash']}")
    else:
        done = writing.write(content, Path(out), format_name)
        emit(done, as_json=as_json)
    if done.skipped:
        note(f"{done.skipped:,} rows cannot be represented in {done.format}, for example an end without a position")
