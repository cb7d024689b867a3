"""`regkg unload`: withdraw a dataset from the draft."""

from __future__ import annotations

from dataclasses import asdict

import click

from cli.main import interrupt_message
from cli.output import emit, json_option
from cli.session import graph
from kg.evidence.draft import open_draft


@click.command()
@click.argument("dataset")
@click.option("--plan", is_flag=True, help="Write nothing; only count what would change.")
@json_option
def command(dataset: str, *, plan: bool, as_json: bool) -> None:
    """Withdraw DATASET: the next release is without it, those that have it keep it."""
    interrupt_message(
        "the dataset is half withdrawn: run the same command again, or `regkg release discard --dataset` it"
    )
    with graph(as_json=as_json) as (store, _, report), open_draft(store, f"regkg unload {dataset}") as draft:
        changes = draft.unload(dataset, plan=plan, progress=report)
        number = draft.number
    would = "would be " if plan else ""
    if as_json:
        emit({"dataset": dataset, "draft": number, "plan": plan, **asdict(changes)}, as_json=True)
    else:
        emit(f"{dataset}: {changes.removed:,} rows {would}removed, draft {number}", as_json=False)
