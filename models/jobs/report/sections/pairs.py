"""Scored pairs of any predicted type: how scores are distributed, how many are called, and the best."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from kg.pages.blocks import Picture, Table, Text
from kg.pages.colours import CALLED, GREY
from kg.schema import EDGE_TYPES, GENE
from models.jobs.report.section import Section, missing

if TYPE_CHECKING:
    from collections.abc import Hashable

    import pandas as pd
    from matplotlib.figure import Figure

    from kg.schema import EdgeType
    from models.jobs.report.contents import RunContents

BEST, BINS = 20, 40
NAMES_SHOWN = 3  # of a list in a cell of the table


def sections(contents: RunContents) -> list[Section]:
    """Return one section for each type that the run wrote; if it wrote no declared type, one that says so."""
    scored = {name: rows for name, rows in contents.predicted.items() if "score" in rows}
    if scored:
        return [_section(contents, EDGE_TYPES[name], rows) for name, rows in scored.items()]
    declared = [type_ for type_ in (contents.model.predicts if contents.model else ()) if "score" in type_.schema.names]
    if not declared and not contents.run.derived:
        return []
    return [missing("Scored pairs", "pairs", "No scored pairs of this run are in the graph or in its folder.")]


def _section(contents: RunContents, type_: EdgeType, rows: pd.DataFrame) -> Section:
    called = rows["called"].to_numpy(dtype=bool)
    kinds = ", ".join(sorted(set(rows["score_kind"])))
    lead = Text(
        f"{type_.doc} {len(rows):,} pairs are written, {called.sum():,} of them called. Score: {kinds}, "
        f"median {rows['score'].median():.4g}, from {rows['score'].min():.4g} to {rows['score'].max():.4g}."
    )
    drawn = Picture.of(distribution(rows["score"].to_numpy(dtype=float), called), f"scores of {type_.name}")
    return Section(f"Scored pairs: {type_.name}", [lead, drawn, Table(best_rows(contents, type_, rows))])


def best_rows(contents: RunContents, type_: EdgeType, rows: pd.DataFrame) -> list[dict[Hashable, Any]]:
    """Return the rows with the highest scores, genes with their symbols; empty columns are left out."""
    best = rows.nlargest(BEST, "score").dropna(axis=1, how="all").drop(columns="score_kind")
    lists = [
        column
        for column in best.columns.astype(str)
        if best[column].map(lambda value: isinstance(value, list | np.ndarray)).any()
    ]
    best = best.assign(**{column: best[column].map(_shortened) for column in lists})
    alike = type_.start == type_.end
    names = {"start_id": "from" if alike else type_.start.lower(), "end_id": "to" if alike else type_.end.lower()}
    for end, label in (("end_id", type_.end), ("start_id", type_.start)):
        if label == GENE.label:
            best.insert(2, f"symbol of {names[end]}" if alike else "symbol", best[end].map(contents.symbols.get))
    return best.astype(object).where(best.notna(), None).rename(columns=names).to_dict("records")


def _shortened(names: Any) -> str:
    more = len(names) - NAMES_SHOWN
    return ", ".join(map(str, names[:NAMES_SHOWN])) + (f" and {more:,} more" if more > 0 else "")


def distribution(score: Any, called: Any) -> Figure:
    """Draw a histogram of all scores, with those of called pairs on top."""
    from matplotlib.figure import Figure  # noqa: PLC0415 - takes half a second to import

    figure = Figure(figsize=(7, 2.8))
    axes = figure.add_subplot()
    edges = np.histogram_bin_edges(score, BINS)
    axes.hist(score, edges.tolist(), color=GREY, alpha=0.5, label=f"all ({len(score):,})")
    if called.any():
        axes.hist(score[called], edges.tolist(), color=CALLED, alpha=0.8, label=f"called ({called.sum():,})")
    axes.set(xlabel="score", ylabel="pairs", yscale="log", ylim=(0.5, None))  # so that a single pair is visible
    axes.legend(frameon=False, fontsize=8)
    axes.spines[["top", "right"]].set_visible(False)
    figure.subplots_adjust(left=0.1, right=0.98, top=0.95, bottom=0.18)
    return figure
