"""`regkg release`: the frozen numbers of the evidence."""

from __future__ import annotations

from typing import Any

import click

from cli.graph import graph
from cli.main import leaves
from cli.output import emit, json_option, note
from kg import releases
from kg.datasets import dataset_versions


@click.group()
def group() -> None:
    """List, publish and verify releases."""


@group.command("list")
@json_option
def list_releases(*, as_json: bool) -> None:
    """All releases, newest first."""
    with graph(as_json=as_json) as (store, _, _):
        found = releases.releases(store)
    shown = [{"number": r.number, "created_at": r.created_at, "hash": r.hash[:12], "note": r.note} for r in found]
    emit(found if as_json else shown, as_json=as_json)


@group.command()
@click.argument("number", type=click.IntRange(min=1), required=False)
@json_option
def show(number: int | None, *, as_json: bool) -> None:
    """What release NUMBER (default: the one served) serves: its runs, and the datasets behind it."""
    with graph(as_json=as_json) as (store, _, _):
        publication = releases.served(store, number)
        versions = dataset_versions(store, publication.release)
    datasets = [
        {"dataset": v.dataset, "since": v.since, "rows": sum(v.rows.values()), "rejected": v.rejected, "hash": v.hash}
        for v in versions
    ]
    about: dict[str, Any] = {
        "release": publication.release,
        "hash": publication.hash,
        "publication": publication.publication,
        "runs": publication.runs,
    }
    emit({**about, "datasets": datasets} if as_json else about, as_json=as_json)
    if not as_json:
        emit(datasets, as_json=False)


@group.command()
@click.option("--note", "text", default="", help="For people.")
@click.option("--strict", is_flag=True, help="Refuse datasets without licence or citation, or stale by lookup.")
@json_option
def publish(text: str, *, strict: bool, as_json: bool) -> None:
    """Freeze the draft as the next release and serve it."""
    leaves("the release is either published or not: `regkg release list` says which")
    with graph(as_json=as_json) as (store, _, report):
        made = releases.publish(store, text, strict=strict, progress=report)
        current = made or releases.served(store)
    emit({"published": made is not None, "served": current} if as_json else current, as_json=as_json)
    if made is None and not as_json:
        note("the draft holds nothing new: this is what is served already")


@group.command()
@click.argument("number", type=click.IntRange(min=1), required=False)
@json_option
def verify(number: int | None, *, as_json: bool) -> None:
    """Recompute every row hash of release NUMBER (default: the one served)."""
    with graph(as_json=as_json) as (store, _, report):
        verified = releases.verify(store, number or releases.served(store).release, progress=report)
    emit(verified if as_json else f"release {verified.number} is what was published: {verified.hash}", as_json=as_json)


@group.command()
@click.option("--dataset", help="Only what the draft changed in this dataset.")
@json_option
def discard(dataset: str | None, *, as_json: bool) -> None:
    """Drop the draft, or what it changed in one dataset; releases stay as they are."""
    leaves("some datasets are taken back, others not: run `regkg release discard` again")
    with graph(as_json=as_json) as (store, _, report):
        count = releases.discard(store, dataset, progress=report)
    emit({"discarded": count} if as_json else f"{count} datasets taken back", as_json=as_json)
