"""`regkg runs diff` and `regkg runs why`: what moved between runs, and one pair's story over all of them."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from cli.main import interrupt_message
from cli.output import emit, json_option, note
from cli.session import graph
from kg.errors import ParameterError

if TYPE_CHECKING:
    import pandas as pd

    from kg.run_diff import RunDiff
    from kg.run_diff.link_history import RunEntry
    from kg.store import Store

TOP = 20
MACHINE = (".parquet", ".ndjson")
_SHOWN = ("peak", "gene", "symbol", "change", "cause", "dataset", "hops", "score_a", "score_b", "spread", "evidence")
_file = click.Path(dir_okay=False, path_type=Path)


@click.command()
@click.argument("first")
@click.argument("second")
@click.option("--rows", "rows_to", type=_file, help="Every pair that either run scored, into a .parquet or .ndjson.")
@click.option("--html", type=_file, help="A page with plots, in one file.")
@click.option(
    "--noise-runs",
    multiple=True,
    help="A run that differs from one of the two by its seed alone, to tell noise by; may be said several times.",
)
@click.option("--type", "of", help="Pairs of this type.  [default: PREDICTED_LINK, or what both runs have]")
@json_option
def diff(
    first: str,
    second: str,
    rows_to: Path | None,
    html: Path | None,
    noise_runs: tuple[str, ...],
    of: str | None,
    *,
    as_json: bool,
) -> None:
    """What moved from run FIRST to run SECOND, and why: noise, prior, propagated, code/config or unexplained."""
    if rows_to is not None and rows_to.suffix not in MACHINE:
        raise ParameterError(f"{rows_to.name} ends in neither of {', '.join(MACHINE)}")
    interrupt_message("the graph is as it was; a file is there whole or not at all")
    from kg.run_diff import inputs  # noqa: PLC0415 - SciPy takes long to import

    with graph(as_json=as_json) as (store, settings, report):
        found = inputs.diff(store, settings.home, first, second, noise_runs, report, of=of)
        top = _top(store, found.rows)
    if rows_to is not None:
        write_rows(found.rows, rows_to)
    if html is not None:
        from cli.pages.run_diff import write_page  # noqa: PLC0415 - so does matplotlib

        write_page(found, top, first, second, html)
    emit(_summary(found, top, first, second) if as_json else top, as_json=as_json)
    if not as_json:
        _say(found)


@click.command()
@click.argument("peak")
@click.argument("gene")
@json_option
def why(peak: str, gene: str, *, as_json: bool) -> None:
    """What each complete run said of PEAK and GENE, on what evidence, and why that changed from run to run."""
    from kg.run_diff.link_history import link_history  # noqa: PLC0415

    with graph(as_json=as_json) as (store, settings, _):
        told = link_history(store, settings.home, peak, gene)
    emit(told if as_json else [_chapter(c) for c in told.chapters], as_json=as_json)
    if not as_json:
        note(f"{told.peak} and {told.symbol} ({told.gene}): {len(told.chapters)} runs, oldest first")


def write_rows(rows: pd.DataFrame, path: Path) -> None:
    """All rows of a diff for machines; the file appears whole or not at all."""
    from kg.files import replaced  # noqa: PLC0415

    with replaced(path) as partial:
        if path.suffix == ".parquet":
            rows.to_parquet(partial, index=False)
        else:
            rows.to_json(partial, orient="records", lines=True)


def evidence_named(change: Any, type_: Any, start: Any, end: Any, rows: Any) -> str:
    """The strongest of the changed rows that an edge is put down to, and how many there are."""
    return f"{change} {type_} {start} -> {end}" + (f" and {rows - 1:,} more" if rows > 1 else "")


def _top(store: Store, rows: pd.DataFrame) -> list[dict[str, Any]]:
    """The strongest changes beyond noise, then those of calls within it; genes with their symbols."""
    top = rows[rows["change"] != "none"].head(TOP)
    ids = top["gene"].unique().tolist()
    query = "UNWIND $ids AS id MATCH (g:Gene {id: id}) RETURN g.id AS id, g.symbol AS symbol"
    symbols = {row["id"]: row["symbol"] for row in store.read(query, ids=ids)}
    records = top.astype(object).where(top.notna(), None).to_dict("records")
    named = ("row_change", "row_type", "row_start_id", "row_end_id", "rows")
    for row in records:
        row["symbol"] = symbols.get(row["gene"])
        row["evidence"] = evidence_named(*(row[c] for c in named)) if row["dataset"] else None
    return [{name: row[name] for name in _SHOWN} for row in records]


def _summary(found: RunDiff, top: list[dict[str, Any]], first: str, second: str) -> dict[str, Any]:
    return {
        "first": first,
        "second": second,
        "pairs": len(found.rows),
        "noise": found.noise,
        "settings": found.settings,
        "changes": found.counts.to_dict("index"),
        "datasets": found.datasets.to_dict("index"),
        "top": top,
    }


def _say(found: RunDiff) -> None:
    counts = found.counts
    for change, row in counts.drop(index="none").iterrows():
        if row.sum():
            note(f"{change}: {row.sum():,} ({', '.join(f'{n:,} {cause}' for cause, n in row.items() if n)})")
    note(f"{len(found.rows):,} pairs; noise by {found.noise}")
    for dataset, row in found.datasets.iterrows():
        note(f"{dataset}: {row['prior']:,} at the ends of its changed rows, {row['propagated']:,} further away")
    if found.settings:
        note(f"the runs also differ in {', '.join(found.settings)}")


def _chapter(chapter: RunEntry) -> dict[str, Any]:
    counted = Counter(f"{row.type} {row.dataset}" for row in chapter.evidence)
    moved = chapter.moved
    shown = {
        "run": chapter.run,
        "release": chapter.release,
        "published": chapter.published_at[0][:19] if chapter.published_at else None,
        **{name: getattr(chapter, name) for name in ("score", "stability", "q_value", "called")},
        "evidence": ", ".join(f"{name} x{n}" if n > 1 else name for name, n in counted.items()) or None,
    }
    if moved is None:
        return {**shown, "since": None, "change": None, "cause": None, "because of": None}
    because = f"{moved.dataset}, {moved.hops} hops: {moved.row_change} {moved.row_type}" if moved.dataset else None
    return {**shown, "since": moved.since, "change": moved.change, "cause": moved.cause, "because of": because}
