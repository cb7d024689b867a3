"""`regkg datasets`: what the graph holds, from whom, and what to cite."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from cli.graph import graph
from cli.output import emit, json_option
from kg.datasets import dataset_versions
from kg.draft import draft_number
from kg.releases import served

if TYPE_CHECKING:
    from kg.datasets import DatasetVersion

RELEASE = click.option("--release", type=click.IntRange(min=1), help="As this release has them; default: the draft.")


@click.group(invoke_without_command=True)
@RELEASE
@json_option
@click.pass_context
def group(ctx: click.Context, release: int | None, *, as_json: bool) -> None:
    """List the datasets of the graph, or say what to cite."""
    if ctx.invoked_subcommand is not None:
        return
    with graph(as_json=as_json) as (store, _, _):
        if release is not None:
            served(store, release)  # refuses a release that there is not
        versions = dataset_versions(store, draft_number(store) if release is None else release)
    emit(versions if as_json else [_row(v) for v in versions if not v.withdrawn], as_json=as_json)


@group.command()
@RELEASE
@json_option
def cite(release: int | None, *, as_json: bool) -> None:
    """What the served release (or another) rests on: a line a dataset, with citation and licence."""
    with graph(as_json=as_json) as (store, _, _):
        publication = served(store, release)
        versions = [v for v in dataset_versions(store, publication.release) if not v.withdrawn and not v.derived]
    cited = [
        {
            "dataset": v.dataset,
            "citation": v.citation or "not stated",
            "licence": v.licence or "not stated",
            "sha256": v.sha256[-1],
        }
        for v in versions
    ]
    emit(cited, as_json=as_json)


def _row(version: DatasetVersion) -> dict[str, object]:
    return {
        "dataset": version.dataset,
        "source": version.source,
        "rows": ", ".join(f"{count:,} {name}" for name, count in version.rows.items() if count),
        "rejected": version.rejected,
        "since": version.since,
        "state": version.state,
        "licence": version.licence or "not stated",
    }
