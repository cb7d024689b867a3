"""The page of one run: what it is, how it went, and what it says; what it has not is said in its place."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from html import escape
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from cli.pages import page
from cli.pages import run_report_pictures as pictures
from cli.pages.page import image, table
from cli.pages.picture import DrawnGene, DrawnLink, arc_plot
from kg.runs.labelled_pairs import EXTRA_SCORES
from models.evaluation.diagnostics import TRUSTED, verdict
from models.evaluation.projection import project

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from kg.runs import Run
    from kg.runs.cell_files import Embedded

BEST_GENES, EDGES_EACH, BEST_CANDIDATES = 20, 3, 20
DRAWN_GENES = 3
DRAWN_CELLS = 5000  # of each modality; more would hide each other
MEMBER_COLUMNS = ("member", "stage")


@dataclass(frozen=True)
class Gathered:
    """What there is of a run.

    Attributes:
        run: its record.
        served: whether readers see it by default.
        environment: what it was registered with besides.
        pairs: one row a pair that it wrote: peak, gene, symbol, start, end, distance_bp, score, q_value, called, and
            in_prior: false beyond the skeleton, and the `EXTRA_SCORES` of `kg.runs.labelled_pairs`, NaN where the run
                does not say.
        genes: nodes of the release that it read.
        history: one row an epoch; None where the run kept none.
        cells: of each modality in the joint space; empty where the run kept none.
        candidates: pairs beyond the skeleton that it scored; None where nothing says how many.
    """

    run: Run
    served: bool
    environment: Mapping[str, Any]
    pairs: pd.DataFrame
    genes: pd.DataFrame
    history: pd.DataFrame | None
    cells: Sequence[Embedded]
    candidates: int | None = None


@dataclass(frozen=True)
class Section:
    """A part of the page; `missing` names what could not be shown, for programs."""

    title: str
    html: str
    missing: str | None = None


def write(found: Gathered, path: Path) -> list[str]:
    """Write the page, which needs nothing but itself; gives the names of what the run has not."""
    made = (losses, consistency, labels, embedding, by_distance, best_edges, beyond)
    sections = [section(found) for section in made]
    parts = [f"<h1>{escape(found.run.id)}</h1>", about(found)]
    parts += [f"<h2>{section.title}</h2>{section.html}" for section in sections]
    parts += ["<h2>Everything recorded</h2>", recorded(found)]
    page.write_page(found.run.id, parts, path)
    return [section.missing for section in sections if section.missing]


def about(found: Gathered) -> str:
    """What the run is, in one table, and whether its alignment can be believed."""
    run, asked = found.run, found.environment.get("request", {})
    device = found.environment.get("device") or f"not recorded ({asked.get('device', 'auto')} was asked for)"
    rows = {
        "model": f"{run.model}, {run.members} member(s) from seed {run.seed}",
        "cells": run.cells,
        "release": str(run.release),
        "outcome": f"{run.outcome}{', served' if found.served else ''}{f': {run.note}' if run.note else ''}",
        "guided by": ", ".join(run.edge_types) or "not recorded",
        "started, ended": f"{run.started_at[:19]}, {(run.finished_at or 'not ended')[:19]}",
        "took": _duration(run),
        "device": device,
        "code": run.code,
        "configuration": run.config_hash,
        "parent": run.parent or "none",
    }
    rows |= {"experiment": run.experiment} if run.experiment else {}
    judged = "mixing" in run.metrics and any(k.startswith("consistency_") for k in run.metrics)
    said = verdict(_numbers(run.metrics)).sentence if judged else "its metrics do not say whether it is aligned"
    datasets = [{"dataset": name, "hash of its rows": value} for name, value in sorted(run.datasets.items())]
    cells = [{"modality": k, "sha256 of its file": v} for k, v in found.environment.get("cells", {}).items()]
    return (
        f"<p>{escape(said)}</p>{table([{'': k, ' ': v} for k, v in rows.items()])}"
        f"<h2>Evidence it was trained on</h2>{table(datasets)}<h2>Cells</h2>{table(cells)}"
    )


def recorded(found: Gathered) -> str:
    """Metrics, configuration and versions, folded."""
    held = {
        "metrics": found.run.metrics,
        "configuration": found.run.config,
        "versions": found.environment.get("versions", {}),
    }
    return "".join(
        f"<details><summary>{name}</summary>{table([{'': k, ' ': v} for k, v in sorted(values.items())])}</details>"
        for name, values in held.items()
    )


def losses(found: Gathered) -> Section:
    """Loss curves by stage."""
    title, history = "Losses", found.history
    if history is None or history.empty:
        return _missing(title, "history", "This run kept no history of its losses (it is older than regkg keeps them).")
    seconds = history.groupby([c for c in MEMBER_COLUMNS if c in history])["seconds"].max().sum()
    said = f"<p>{len(history):,} epochs in {seconds:,.0f} s; the highest values may lie above a frame.</p>"
    return Section(
        title, said + image(pictures.losses(history, [m.name for m in found.cells]), "losses by epoch and stage")
    )


def consistency(found: Gathered) -> Section:
    """Integration consistency against the number of metacells."""
    title = "Consistency"
    held = {
        int(k.rpartition("_")[2]): v for k, v in _numbers(found.run.metrics).items() if k.startswith("consistency_")
    }
    if not held:
        return _missing(title, "consistency", "The metrics of this run hold no integration consistency.")
    said = f"<p>Do linked features vary together over metacells of the joint space? Above {TRUSTED} is trusted.</p>"
    return Section(title, said + image(pictures.consistency(held, TRUSTED), "consistency by number of metacells"))


def labels(found: Gathered) -> Section:
    """Where transferred labels went, and how sure they are."""
    title, carried = "Label transfer", [m for m in found.cells if m.carried is not None]
    if not carried:
        why = "the cells of the anchor have no labels" if found.cells else "no files of its cells are in its folder"
        return _missing(title, "labels", f"This run has no transferred labels: {why}, or the run is older than they.")
    seen = found.run.config.get("use_labels")
    said = "<p>Labels supervised this training, so this says little.</p>" if seen else "<p>No label was trained on.</p>"
    return Section(title, said + "".join(_transfer(modality) for modality in carried))


def _transfer(modality: Embedded) -> str:
    assert modality.carried is not None and modality.confidence is not None  # noqa: S101, PT018 - asked before
    sure = f"mean confidence {modality.confidence.mean():.2f}"
    if modality.labels is None or not (has := modality.labels != "").any():
        names, counts = np.unique(modality.carried, return_counts=True)
        rows = [
            {
                "label": n or "none",
                "cells": int(c),
                "mean confidence": float(modality.confidence[modality.carried == n].mean()),
            }
            for n, c in zip(names.tolist(), counts, strict=True)
        ]
        own = "its cells have no labels of their own, so nothing says which are right"
        return f"<p>{escape(modality.name)}: {sure}; {own}.</p>{table(rows)}"
    right = modality.labels[has] == modality.carried[has]
    said = f"<p>{escape(modality.name)}: {right.mean():.1%} of {has.sum():,} cells get their own label; {sure}.</p>"
    drawn = pictures.confusion(modality.labels[has], modality.carried[has], modality.confidence[has])
    return said + image(drawn, f"labels of {modality.name} against transferred ones")


def embedding(found: Gathered) -> Section:
    """The joint space in the plane."""
    title = "Cells in the joint space"
    if not found.cells:
        return _missing(title, "cells", "The run's folder holds no embedding of its cells.")
    rng = np.random.default_rng(0)
    some = [np.sort(rng.permutation(len(m.vectors))[:DRAWN_CELLS]) for m in found.cells]
    flat, axes = project(np.concatenate([m.vectors[rows] for m, rows in zip(found.cells, some, strict=True)]))
    names = np.concatenate([np.full(len(rows), m.name) for m, rows in zip(found.cells, some, strict=True)])
    held = [_shown_labels(m)[rows] for m, rows in zip(found.cells, some, strict=True)]
    shown = np.concatenate(held)
    cells, every = sum(map(len, some)), sum(len(m.vectors) for m in found.cells)
    said = f"{cells:,} cells" if cells == every else f"{cells:,} of {every:,} cells, drawn at random"
    said += ", by UMAP." if axes[0].startswith("UMAP") else ", on principal components, since umap-learn is not here."
    said += "" if shown.astype(bool).any() else " No cell has a label, so there is nothing else to colour them by."
    picture = pictures.cells(flat, axes, names, shown if shown.astype(bool).any() else None)
    return Section(title, f"<p>{said}</p>" + image(picture, "cells by modality and by label"))


def _shown_labels(modality: Embedded) -> Any:
    """Its own labels, else those it was given."""
    own = modality.labels
    if own is not None and own.astype(bool).any():
        return own
    return np.full(len(modality.vectors), "") if modality.carried is None else modality.carried


def by_distance(found: Gathered) -> Section:
    """Scores against the distance from the gene's start site to the peak."""
    title = "Score by distance"
    if found.pairs.empty:
        return _missing(title, "pairs", "No scored pair of this run is in the graph or in its folder.")
    pairs = found.pairs[found.pairs["in_prior"]] if found.pairs["in_prior"].any() else found.pairs
    called = int(pairs["called"].sum())
    said = f"<p>{len(pairs):,} pairs were scored, {called:,} are called (q below 0.05).</p>"
    counted = table(pictures.by_bin(pairs).drop(columns="scores").to_dict("records"))
    return Section(title, said + image(pictures.by_distance(pairs), "score by distance") + counted)


def best_edges(found: Gathered) -> Section:
    """The strongest edges of the genes with the strongest ones, and arcs of a few."""
    title = "The strongest edges"
    if found.pairs.empty:
        return _missing(title, "edges", "Without scored pairs there are no strongest ones.")
    chosen = strongest_genes(found.pairs)
    best = pd.concat([found.pairs[found.pairs["gene"] == gene].nlargest(EDGES_EACH, "score") for gene in chosen])
    return Section(title, "".join(_arcs(found, gene) for gene in chosen[:DRAWN_GENES]) + table(_shown(best)))


def beyond(found: Gathered) -> Section:
    """Candidates: pairs that no evidence joins, of which a run writes the best."""
    title, pairs = "Beyond the prior", found.pairs
    more = pairs[~pairs["in_prior"]] if len(pairs) else pairs
    if not len(more) and not found.candidates:
        return Section(title, "<p>No pair that evidence does not join was scored (<code>--candidates</code>).</p>")
    scored = "An unknown number of" if found.candidates is None else f"{found.candidates:,}"
    said = (
        f"<p>{scored} pairs that no evidence joins were scored, {int(more['called'].sum()):,} are called among "
        "themselves (q below 0.05). "
        f"{len(more):,} are written: these and the best of each gene. Chosen by score, they are in no figure by "
        "distance.</p>"
    )
    return Section(title, said + table(_shown(more.nlargest(BEST_CANDIDATES, "score"))))


def _shown(pairs: pd.DataFrame) -> list[Any]:
    said = [name for name in EXTRA_SCORES if pairs[name].notna().any()]
    columns = ["symbol", "gene", "peak", "distance_bp", "score", *said, "q_value", "called", "in_prior"]
    rows: list[Any] = pairs[columns].astype(object).where(pairs[columns].notna(), None).to_dict("records")
    return rows


def strongest_genes(pairs: pd.DataFrame) -> list[str]:
    """Genes by the sum of the scores of their called pairs, the highest first; without calls by their best score."""
    called = pairs[pairs["called"].astype(bool)]
    by_gene = called.groupby("gene")["score"].sum() if len(called) else pairs.groupby("gene")["score"].max()
    return [str(gene) for gene in by_gene.sort_values(ascending=False, kind="stable").index[:BEST_GENES]]


def _arcs(found: Gathered, gene: str) -> str:
    genes = [DrawnGene.of(row) for row in found.genes.to_dict("records")]
    here = genes[found.genes["id"].tolist().index(gene)]
    links = [DrawnLink.of(row) for row in found.pairs[found.pairs["gene"] == gene].to_dict("records")]
    around = [g for g in genes if (g.assembly, g.chrom) == (here.assembly, here.chrom) and g != here]
    with TemporaryDirectory() as folder:
        drawn = arc_plot(here, links, Path(folder) / "gene.png", neighbours=around, subtitle=found.run.id)
        return page.png(drawn.read_bytes(), f"scored links of {here.symbol}")


def _missing(title: str, name: str, sentence: str) -> Section:
    return Section(title, f"<p class='missing'>{escape(sentence)}</p>", name)


def _numbers(metrics: Mapping[str, Any]) -> dict[str, float]:
    return {name: float(value) for name, value in metrics.items() if isinstance(value, int | float)}


def _duration(run: Run) -> str:
    if run.finished_at is None:
        return "not ended"
    ended, started = (datetime.fromisoformat(at.replace("Z", "+00:00")) for at in (run.finished_at, run.started_at))
    return f"{(ended - started).total_seconds():,.0f} s from registration to the end of writing"
