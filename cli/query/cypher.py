"""`regkg cypher`: one hand-written query that only reads."""

from __future__ import annotations

import json
from typing import Any

import click

from cli.output import emit, json_option, note
from cli.session import graph
from kg.store.read_guard import ROWS, TIMEOUT_S, read_only


class Assignment(click.ParamType[tuple[str, Any]]):
    """NAME=VALUE, the value read as JSON where it is JSON."""

    name = "NAME=VALUE"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> tuple[str, Any]:
        """Split at the first equals sign."""
        name, equals, text = str(value).partition("=")
        if not equals or not name.isidentifier():
            self.fail(f"{value!r} is not NAME=VALUE", param, ctx)
        try:
            return name, json.loads(text)
        except ValueError:
            return name, text


@click.command()
@click.argument("query")
@click.option("--param", "-p", "parameters", multiple=True, type=Assignment(), help="A parameter: -p gene=NCF2.")
@click.option(
    "--timeout", "timeout_s", default=TIMEOUT_S, show_default=True, type=click.FloatRange(min=0.1), help="Seconds."
)
@click.option("--limit", default=ROWS, show_default=True, type=click.IntRange(1, 1_000_000), help="Rows at most.")
@json_option
def command(
    query: str, parameters: tuple[tuple[str, Any], ...], timeout_s: float, limit: int, *, as_json: bool
) -> None:
    """Run one read-only Cypher QUERY.

    Plain Cypher sees everything, also drafts and incomplete runs: filter evidence and records by
    since <= RELEASE < until, and predictions by the run. docs/reference.md lists labels and types.
    """
    with graph(as_json=as_json) as (store, _, _):
        table = read_only(store, query, dict(parameters), timeout_s=timeout_s, rows=limit)
    emit(table if as_json else table.rows, as_json=as_json)
    if table.truncated and not as_json:
        note(f"only the first {limit} rows are shown: raise --limit")
