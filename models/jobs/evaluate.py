"""Evaluation of a run's pairs against evidence, truth or a file, next to distance and metacell correlation."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kg import runs
from kg.cells import cells as registered_cells
from kg.errors import Conflict
from kg.evidence.nodes import read_nodes
from kg.progress import SILENT, Progress
from kg.runs.cell_files import read_cell_files
from kg.runs.predictions import run_folder
from kg.schema import GENE, PEAK
from models.evaluation.metacell_correlation import assign_metacells, correlation
from models.inputs.read_anndata import Reading, read_cells

if TYPE_CHECKING:
    from pathlib import Path

    import numpy as np
    import pandas as pd
    from numpy.typing import NDArray

    from kg.store import Store


def metacell_scores(
    store: Store, home: Path, run_id: str, pairs: pd.DataFrame, progress: Progress = SILENT
) -> NDArray[np.float64]:
    """Return the Spearman correlation of each pair (columns peak and gene) over metacells of the run's cells.

    Raises:
        Conflict: the run does not record how it read its cells.
        InputError: the cell files changed since they were registered, or are unpaired and their embeddings not kept.
    """
    run = runs.run(store, run_id)
    request = runs.environment(store, run_id).get("request")
    if request is None:
        raise Conflict(f"run {run_id} does not record how it read its cells", "train it again")
    files = registered_cells(store, run.cells)
    for file in files:
        file.check_unchanged()
    genes, peaks = (read_nodes(store, type_, run.release) for type_ in (GENE, PEAK))
    cells = read_cells(files, genes, peaks, Reading(**request["reading"]), progress)
    progress.begin("correlating over metacells")
    embedded = [] if cells.paired else [m.vectors for m in read_cell_files(run_folder(home, run_id), run.model)]
    scores = correlation(
        cells, assign_metacells(cells, embedded, seed=run.seed), pairs["peak"].tolist(), pairs["gene"].tolist()
    )
    progress.end()
    return scores
