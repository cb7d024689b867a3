"""`regkg ask NAME`: every question of `kg.questions`, its options made from its parameters."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from cli.options import options_for
from cli.output import emit, json_option, note
from cli.session import graph
from kg.parameters import parameters_of
from kg.query.plan import run_plan
from kg.query.registry import Answer, Parameters, Question, question_named, questions

if TYPE_CHECKING:
    from collections.abc import Callable


class Questions(click.Group):
    """One command for each question, made by what the group is given as `command_for`."""

    def __init__(self, *args: Any, command_for: Callable[[Question], click.Command], **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.command_for = command_for

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return the names of the questions."""
        del ctx
        return list(questions())

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Return the question as a command.

        Raises:
            UnknownQuestion: with the names that exist.
        """
        del ctx
        return None if cmd_name.startswith("-") else self.command_for(question_named(cmd_name))


def command_for(question: Question) -> click.Command:
    """Return a command that asks this question."""

    @json_option
    def ask(*, as_json: bool, **values: Any) -> None:
        with graph(as_json=as_json) as (store, _, _):
            answer = run_plan(question.plan(question.parameters(**values)), store)
        emit(answer if as_json else answer.rows, as_json=as_json)
        if not as_json:
            _print_provenance(answer)

    command = click.command(question.name, help=question.doc)(ask)
    command.params = [*options_for(parameters_of(question.parameters, Parameters)), *command.params]
    return command


@click.group(cls=Questions, command_for=command_for)
def group() -> None:
    """Ask the graph a named question.

    Answers come from what is served, or from the release or run that you name.
    """


def _print_provenance(answer: Answer) -> None:
    """Print what a reader should know of an answer: how many rows, from which release and runs, how fresh."""
    runs = ", ".join(run.run for run in answer.runs) or "no run"
    note(f"{len(answer.rows)} rows; release {answer.release}; {runs}")
    if answer.truncated:
        note("there are more: raise --limit")
    for run in answer.runs:
        if run.stale:
            note(f"run {run.run} is stale: the datasets that it was trained on have changed since")
