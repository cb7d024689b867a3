"""`regkg release`: the frozen numbers of the evidence."""

from __future__ import annotations

from typing import Any

import click

from cli.main import interrupt_message
from cli.output import emit, json_option, note
from cli.releases.diff import diff
from cli.session import graph
from kg import releases
from kg.evidence.datasets import dataset_versions
from kg.operations import rollback as publications


@click.group()
def group() -> None:
    """List, compare, publish, take back and verify releases."""


@group.command("list")
@json_option
def list_releases(*, as_json: bool) -> None:
    """All releases, newest first."""
    with graph(as_json=as_json) as (store, _, _):
        recorded = releases.releases(store)
    shown = [{"number": r.number, "created_at": r.created_at, "hash": r.hash[:12], "note": r.note} for r in recorded]
    emit(recorded if as_json else shown, as_json=as_json)


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
    interrupt_message("the release is either published or not: `regkg release list` says which")
    with graph(as_json=as_json) as (store, _, report):
        published = releases.publish(store, text, strict=strict, progress=report)
        current = published or releases.served(store)
    emit({"published": published is not None, "served": current} if as_json else current, as_json=as_json)
    if published is None and not as_json:
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
@json_option
def journal(*, as_json: bool) -> None:
    """Everything that was ever served, newest first: `rollback --to` takes these numbers."""
    with graph(as_json=as_json) as (store, _, _):
        emit(publications.journal(store), as_json=as_json)


@group.command()
@click.option("--to", "publication", type=click.IntRange(min=1), help="A number of the journal.")
@click.option("--keep", is_flag=True, help="Let drafts go on upon the latest release all the same.")
@click.option("--note", "text", default="", help="For people.")
@json_option
def rollback(publication: int | None, text: str, *, keep: bool, as_json: bool) -> None:
    """Serve an earlier release with its runs again (default: the release before); no row is touched.

    Until the release that was left is reverted, `regkg load` and `publish` are refused, unless you pass --keep.
    """
    interrupt_message("what is served is either the old or the new publication: `regkg release journal`")
    with graph(as_json=as_json) as (store, settings, report):
        now = publications.roll_back(
            store, settings.home, publication=publication, keep=keep, progress=report, note=text
        )
    emit(now, as_json=as_json)


@group.command()
@json_option
def keep(*, as_json: bool) -> None:
    """After a rollback: let drafts go on upon the latest release all the same."""
    with graph(as_json=as_json) as (store, _, _):
        publications.keep_drafting(store)
    emit({"kept": True} if as_json else "drafts go on upon the latest release", as_json=as_json)


@group.command()
@click.argument("number", type=click.IntRange(min=1))
@json_option
def revert(number: int, *, as_json: bool) -> None:
    """Draft the undoing of release NUMBER; later work stays, and rows that it touched refuse.

    Look at it with `regkg release diff`, then publish or discard it.
    """
    from kg.releases.revert import revert as undo  # noqa: PLC0415 - not needed for --help

    again = f"`regkg release revert {number}` again, or `regkg release discard`"
    interrupt_message(f"a half-finished revert cannot be published: run {again}")
    with graph(as_json=as_json) as (store, _, report):
        emit(undo(store, number, report), as_json=as_json)
    if not as_json:
        note("this is a draft: `regkg release publish` serves it, `regkg release discard` drops it")


@group.command()
@click.option("--dataset", help="Only what the draft changed in this dataset.")
@json_option
def discard(dataset: str | None, *, as_json: bool) -> None:
    """Drop the draft, or what it changed in one dataset; releases stay as they are."""
    interrupt_message("some datasets are taken back, others not: run `regkg release discard` again")
    with graph(as_json=as_json) as (store, _, report):
        count = releases.discard(store, dataset, progress=report)
    emit({"discarded": count} if as_json else f"{count} datasets taken back", as_json=as_json)


group.add_command(diff)
