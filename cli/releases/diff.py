"""`regkg release diff`: what differs between two releases, as a table, rows for machines, or a page."""

from __future__ import annotations

import json
from dataclasses import asdict
from html import escape
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING

import click

from cli.main import interrupt_message
from cli.output import emit, json_option, note
from cli.session import graph
from kg.errors import ParameterError

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from kg.releases.diff import Difference, RowChange

MACHINE = (".parquet", ".ndjson")
ON_PAGE = 200  # rows that a page shows
_file = click.Path(dir_okay=False, path_type=Path)
_STYLE = (
    "body{font:15px system-ui,sans-serif;margin:2em auto;max-width:72em;color:#222}table{border-collapse:collapse}"
    "td,th{padding:.25em .8em;border-bottom:1px solid #ddd;text-align:left}td.n,th.n{text-align:right}"
    ".added{color:#00684a}.removed{color:#b3261e}.changed{color:#7a5900}.bar{height:.7em;display:inline-block}"
)


@click.command()
@click.argument("first", type=click.IntRange(min=1))
@click.argument("second", type=click.IntRange(min=1))
@click.option("--rows", "rows_to", type=_file, help="Every row that differs, into a .parquet or .ndjson.")
@click.option("--html", type=_file, help="A page with the counts and the first rows, in one file.")
@click.option("--type", "types", multiple=True, help="Only this node or edge type; may be repeated.")
@click.option("--dataset", "datasets", multiple=True, help="Only this dataset; may be repeated.")
@json_option
def diff(
    first: int,
    second: int,
    rows_to: Path | None,
    html: Path | None,
    types: tuple[str, ...],
    datasets: tuple[str, ...],
    *,
    as_json: bool,
) -> None:
    """Rows added, removed and changed from release FIRST to release SECOND, by dataset and type.

    One more than the latest release stands for the draft.
    """
    from kg.releases import diff as release_diff  # noqa: PLC0415 - not needed for --help

    if rows_to is not None and rows_to.suffix not in MACHINE:
        raise ParameterError(f"{rows_to.name} ends in neither of {', '.join(MACHINE)}")
    interrupt_message("the graph is as it was; a file is there whole or not at all")
    with graph(as_json=as_json) as (store, _, _):
        differences = [
            d for d in release_diff.summary(store, first, second, types) if not datasets or d.dataset in datasets
        ]
        if rows_to is not None:
            count = write_rows(release_diff.rows(store, first, second, types, datasets), rows_to)
            note(f"{count:,} rows in {rows_to}")
        if html is not None:
            shown = list(islice(release_diff.rows(store, first, second, types, datasets), ON_PAGE))
            _write(html, page(first, second, differences, shown))
    emit({"first": first, "second": second, "differences": differences} if as_json else differences, as_json=as_json)
    if not differences and not as_json:
        note(f"releases {first} and {second} hold the same rows")


def write_rows(changes: Iterator[RowChange], path: Path) -> int:
    """Write all rows for programs, table by table, whole or not at all; return their number."""
    import pyarrow.parquet as pq  # noqa: PLC0415

    from kg.files import replaced  # noqa: PLC0415
    from kg.releases.diff import SCHEMA, tables  # noqa: PLC0415

    count = 0
    with replaced(path) as temporary:
        if path.suffix == ".parquet":
            with pq.ParquetWriter(temporary, SCHEMA) as writer:
                for table in tables(changes):
                    writer.write_table(table)
                    count += table.num_rows
        else:
            with temporary.open("w") as file:
                for change in changes:
                    file.write(json.dumps(asdict(change)) + "\n")
                    count += 1
    return count


def page(first: int, second: int, differences: Sequence[Difference], shown: Sequence[RowChange]) -> str:
    """Return a page that needs nothing else: counts with bars, and the first rows with what changed in them."""
    most = max((d.added + d.removed + d.changed for d in differences), default=1)
    counts = "".join(_count_row(d, most) for d in differences)
    rows = "".join(
        f'<tr><td class="{c.change}">{c.change}</td><td>{c.type}</td><td>{escape(c.dataset)}</td>'
        f"<td>{escape(c.start_id)}</td><td>{escape(c.end_id or '')}</td><td>{escape(_described(c))}</td></tr>"
        for c in shown
    )
    total = sum(d.added + d.removed + d.changed for d in differences)
    return (
        f'<!doctype html><html lang="en"><meta charset="utf-8"><title>Release {first} to {second}</title>'
        f"<style>{_STYLE}</style><h1>From release {first} to release {second}</h1><p>{total:,} rows differ.</p>"
        '<table><tr><th>dataset<th>type<th class="n">added<th class="n">removed<th class="n">changed<th class="n">'
        f"rows now<th></tr>{counts}</table><h2>The first {len(shown)} of them</h2>"
        f"<table><tr><th><th>type<th>dataset<th>from<th>to<th>what</tr>{rows}</table></html>\n"
    )


def _count_row(d: Difference, most: int) -> str:
    colours = (("#00684a", d.added), ("#b3261e", d.removed), ("#d29a00", d.changed))
    bars = "".join(
        f'<span class="bar" style="width:{20 * n / most:.2f}em;background:{colour}"></span>' for colour, n in colours
    )
    numbers = "".join(f'<td class="n">{n:,}</td>' for n in (d.added, d.removed, d.changed, d.rows))
    return f"<tr><td>{escape(d.dataset)}</td><td>{d.type}</td>{numbers}<td>{bars}</td></tr>"


def _described(change: RowChange) -> str:
    """Return the columns that changed, or those of the only side there is."""
    before, after = change.before or {}, change.after or {}
    if change.before and change.after:
        return "; ".join(f"{k}: {v} → {after[k]}" for k, v in before.items() if after[k] != v)
    return "; ".join(f"{k}: {v}" for k, v in (before or after).items() if v is not None)


def _write(path: Path, text: str) -> None:
    from kg.files import replaced  # noqa: PLC0415

    with replaced(path) as temporary:
        temporary.write_text(text)
