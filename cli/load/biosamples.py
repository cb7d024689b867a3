"""`regkg biosamples`: which biosample is a kind of which, and texts that are not mapped to an ontology."""

from __future__ import annotations

import click

from cli.output import emit, json_option, note
from cli.session import graph
from kg.evidence import biosamples
from kg.schema import OPEN


@click.command()
@click.argument("name", required=False)
@click.option("--release", type=click.IntRange(1), help="As this release has it; default: the draft.")
@json_option
def command(name: str | None, release: int | None, *, as_json: bool) -> None:
    """List all kinds of the biosample NAME: a CURIE, a text, or a name in any case.

    Without NAME, list the texts in evidence that are not mapped to an ontology, and how many edges name each.
    """
    number = OPEN - 1 if release is None else release
    with graph(as_json=as_json) as (store, _, _):
        rows = biosamples.unmapped(store, number) if name is None else biosamples.kinds(store, name, number)
    emit(rows, as_json=as_json)
    if name is None and rows and not as_json:
        note("map them with a table of text, id and name: regkg load biosamples mapping.tsv")
