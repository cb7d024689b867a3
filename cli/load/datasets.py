"""`regkg datasets`: what the graph holds, how to cite it, and which links rest on one dataset alone."""

from __future__ import annotations

import json
from contextlib import nullcontext
from dataclasses import asdict
from heapq import nsmallest
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from cli.main import interrupt_message
from cli.output import emit, json_option
from cli.session import graph
from kg.evidence.datasets import dataset_versions
from kg.evidence.draft import draft_number
from kg.files import replaced
from kg.releases import served
from kg.runs import dependence as dependences

if TYPE_CHECKING:
    from collections.abc import Iterator

    from kg.evidence.datasets import DatasetVersion

RELEASE = click.option("--release", type=click.IntRange(min=1), help="As this release has them; default: the draft.")


@click.group(invoke_without_command=True)
@RELEASE
@json_option
@click.pass_context
def group(ctx: click.Context, release: int | None, *, as_json: bool) -> None:
    """List the datasets of the graph, or what to cite."""
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
    """List what the served release (or another) rests on: each dataset with its citation and licence."""
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


@group.command()
@click.argument("run", required=False)
@click.option("--dataset", help="List links that rest on this one alone.")
@click.option(
    "--limit",
    type=click.IntRange(min=0),
    default=20,
    show_default=True,
    help="Links listed at most, of the highest scores.",
)
@click.option(
    "--out",
    type=click.Path(path_type=Path, dir_okay=False),
    help="Write all of these links, as one JSON object on each line.",
)
@json_option
def dependence(run: str | None, *, dataset: str | None, limit: int, out: Path | None, as_json: bool) -> None:
    """List the called links of RUN (default: of every published run) that rest on the evidence of one dataset only."""
    interrupt_message("nothing was changed" if out is None else f"{out} is whole, or not there")
    with graph(as_json=as_json) as (store, _, _):
        runs = [run] if run else sorted(served(store).runs.values())
        counted = [{"run": r, **asdict(share)} for r in runs for share in dependences.shares(store, r)]
        alone = ({"run": r, **asdict(link)} for r in runs for link in dependences.single_source(store, r, dataset))
        listed = _listed(alone, limit, out)
    if as_json:
        emit({"datasets": counted, "links": listed}, as_json=True)
        return
    emit(counted, as_json=False)
    emit([{**link, "datasets": link["datasets"][0]} for link in listed], as_json=False)


def _listed(links: Iterator[dict[str, Any]], limit: int, out: Path | None) -> list[dict[str, Any]]:
    """Return the links of the highest scores; all of them go to the file, if there is one, in the order read."""
    with nullcontext() if out is None else replaced(out) as path:
        written = links if path is None else _written(links, path)
        # at least one, for of none nsmallest would read none either
        return nsmallest(max(limit, 1), written, key=_best_first)[:limit]


def _best_first(link: dict[str, Any]) -> tuple[float, str, str, str]:
    return -link["score"], link["peak"], link["gene"], link["run"]


def _written(links: Iterator[dict[str, Any]], path: Path) -> Iterator[dict[str, Any]]:
    with path.open("w") as file:
        for link in links:
            file.write(f"{json.dumps(link)}\n")
            yield link


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
