"""`regkg release diff`: what differs between two releases, as a table, rows for machines, or a page."""

from __future__ import annotations

import json
from dataclasses import asdict
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING

import click

from cli.main import interrupt_message
from cli.output import emit, json_option, note
from cli.session import graph
from kg.errors import ParameterError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from kg.releases.diff import RowChange

MACHINE = (".parquet", ".ndjson")
ON_PAGE = 200  # rows that a page shows
_file = click.Path(dir_okay=False, path_type=Path)


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
            from cli.pages.release_diff import write_page  # noqa: PLC0415 - nor is Jinja

            shown = list(islice(release_diff.rows(store, first, second, types, datasets), ON_PAGE))
            write_page(first, second, differences, shown, html)
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
