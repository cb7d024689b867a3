"""The strongest peak-gene pairs of the top genes, with arc plots of a few."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pandas as pd

from kg.pages.arc_plot import DrawnGene, DrawnLink, arc_figure
from kg.pages.blocks import Picture, Table
from kg.runs.labelled_pairs import EXTRA_SCORES
from models.jobs.report.section import Section

if TYPE_CHECKING:
    from collections.abc import Hashable

    from models.jobs.report.contents import RunContents

BEST_GENES, EDGES_EACH = 20, 3
DRAWN_GENES = 3


def sections(contents: RunContents) -> list[Section]:
    """Return one section; none without scored pairs."""
    links = contents.links
    if links.empty:
        return []
    chosen = strongest_genes(links)
    best = pd.concat([links[links["gene"] == gene].nlargest(EDGES_EACH, "score") for gene in chosen])
    drawn = [_arcs(contents, gene) for gene in chosen[:DRAWN_GENES]]
    return [Section("The strongest edges", [*drawn, Table(shown(best))])]


def shown(links: pd.DataFrame) -> list[dict[Hashable, Any]]:
    """Return links as rows for display; scores that the run lacks are left out."""
    available = [name for name in EXTRA_SCORES if links[name].notna().any()]
    columns = ["symbol", "gene", "peak", "distance_bp", "score", *available, "q_value", "called", "in_prior"]
    return links[columns].astype(object).where(links[columns].notna(), None).to_dict("records")


def strongest_genes(links: pd.DataFrame) -> list[str]:
    """Return genes by the summed scores of their called pairs, highest first; without calls, by best score."""
    called = links[links["called"].astype(bool)]
    by_gene = called.groupby("gene")["score"].sum() if len(called) else links.groupby("gene")["score"].max()
    return [str(gene) for gene in by_gene.sort_values(ascending=False, kind="stable").index[:BEST_GENES]]


def _arcs(contents: RunContents, gene: str) -> Picture:
    genes = contents.genes
    here = genes[genes["id"] == gene].iloc[0]
    around = genes[(genes["assembly"] == here["assembly"]) & (genes["chrom"] == here["chrom"]) & (genes["id"] != gene)]
    links = [DrawnLink.of(row) for row in contents.links[contents.links["gene"] == gene].to_dict("records")]
    neighbours = [DrawnGene.of(row) for row in around.to_dict("records")]
    figure = arc_figure(DrawnGene.of(here.to_dict()), links, neighbours=neighbours, subtitle=contents.run.id)
    return Picture.of(figure, f"scored links of {here['symbol']}")
