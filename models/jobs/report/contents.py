"""The contents of a run, from the graph and from its folder; each part is read when a section first needs it."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import pandas as pd

from kg import runs
from kg.errors import UnknownRelease
from kg.evidence.nodes import read_nodes
from kg.releases import served
from kg.runs.cell_files import read_annotations, read_cell_files
from kg.runs.labelled_pairs import EXTRA_SCORES, distance_to_tss
from kg.runs.predicted_rows import predicted_rows
from kg.runs.predictions import run_folder
from kg.schema import GENE, PEAK, PREDICTED_LINK
from models import registry
from models.jobs.run_artifacts import read_history

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from kg.runs import Run
    from kg.runs.cell_files import EmbeddedCells
    from kg.store import Store
    from models.contract import Model


@dataclass(frozen=True)
class RunContents:
    """A run and what it produced.

    Attributes:
        store: the graph.
        home: REGKG_HOME, where runs are kept.
        run: its record.
    """

    store: Store
    home: Path
    run: Run

    @cached_property
    def folder(self) -> Path:
        """Folder of the run; it may be missing."""
        return run_folder(self.home, self.run.id)

    @cached_property
    def model(self) -> Model | None:
        """Declaration of its model; None for a derived run, or a model that this program does not have."""
        return registry.get(self.run.model) if self.run.model in registry.names() else None

    @cached_property
    def environment(self) -> Mapping[str, Any]:
        """The environment that it was registered with."""
        return runs.environment(self.store, self.run.id)

    @cached_property
    def is_served(self) -> bool:
        """Whether it is what readers see by default."""
        try:
            return self.run.id in served(self.store).runs.values()
        except UnknownRelease:
            return False

    @cached_property
    def numbers(self) -> dict[str, float]:
        """Metrics that are numbers."""
        return {name: float(value) for name, value in self.run.metrics.items() if isinstance(value, int | float)}

    @cached_property
    def history(self) -> pd.DataFrame | None:
        """One row per epoch, none for a model without a loss; None if the run kept no history."""
        return read_history(self.folder)

    @cached_property
    def cells(self) -> Sequence[EmbeddedCells]:
        """Cells of each modality in the joint space; empty if the run kept none."""
        return read_cell_files(self.folder, self.run.model)

    @cached_property
    def annotations(self) -> Mapping[tuple[str, str], pd.DataFrame]:
        """(modality, column) -> predicted label and confidence of each cell."""
        return read_annotations(self.folder)

    @cached_property
    def predicted(self) -> Mapping[str, pd.DataFrame]:
        """Predicted rows, by edge type."""
        return predicted_rows(self.store, self.home, self.run.id)

    @cached_property
    def genes(self) -> pd.DataFrame:
        """Genes of the release that the run read."""
        genes: pd.DataFrame = read_nodes(self.store, GENE, self.run.release).to_pandas()
        return genes

    @cached_property
    def symbols(self) -> Mapping[str, str]:
        """Gene id -> symbol."""
        return dict(zip(self.genes["id"], self.genes["symbol"], strict=True))

    @cached_property
    def links(self) -> pd.DataFrame:
        """Peak-gene pairs that the run wrote, with the peak's position and its distance from the gene's start site.

        Columns peak, gene, symbol, start, end (0-based half-open), distance_bp, score, q_value, called, in_prior
        (False beyond the evidence) and `EXTRA_SCORES`, NaN where the run has none.
        """
        rows = self.predicted.get(PREDICTED_LINK.name, pd.DataFrame(columns=PREDICTED_LINK.schema.names))
        columns = ["start_id", "end_id", "score", "q_value", "called", "in_prior", *EXTRA_SCORES]
        links = rows[columns].rename(columns={"start_id": "peak", "end_id": "gene"})
        links = links.astype(dict.fromkeys(("score", "q_value", *EXTRA_SCORES), float) | {"called": bool})
        # older runs lack the column, and all their pairs are in the prior
        links = links.assign(in_prior=links["in_prior"].ne(other=False))
        if links.empty:
            return links.assign(symbol="", start=0, end=0, distance_bp=0)
        peaks = read_nodes(self.store, PEAK, self.run.release).to_pandas()[["id", "start", "end"]]
        ends = self.genes[["id", "symbol", "tss"]].rename(columns={"id": "gene"})
        placed = links.merge(peaks.rename(columns={"id": "peak"}), on="peak").merge(ends, on="gene")
        return placed.assign(distance_bp=distance_to_tss(placed["start"], placed["end"], placed["tss"]))


def contents_of(store: Store, home: Path, run_id: str) -> RunContents:
    """Return the contents of a run.

    Raises:
        UnknownRun: there is no such run.
    """
    return RunContents(store, home, runs.run(store, run_id))
