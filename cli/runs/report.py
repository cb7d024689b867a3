"""`regkg runs report`: one run on one page."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from cli.main import interrupt_message
from cli.output import emit, json_option, note
from cli.session import graph
from kg import runs
from kg.errors import Conflict, UnknownRelease
from kg.evidence.nodes import read_nodes
from kg.releases import served
from kg.runs.predictions import run_folder
from kg.schema import GENE, PEAK

if TYPE_CHECKING:
    import pandas as pd

    from cli.pages.run_report import Gathered
    from kg.store import Store


@click.command()
@click.argument("run")
@click.option(
    "--html", type=click.Path(dir_okay=False, path_type=Path), required=True, help="Where the page goes, one file."
)
@json_option
def report(run: str, html: Path, *, as_json: bool) -> None:
    """RUN on one page: what it is, losses, consistency, labels, cells, scores by distance and the best edges."""
    interrupt_message("the graph is as it was; the page is there whole or not at all")
    from cli.pages.run_report import write  # noqa: PLC0415 - pandas and scikit-learn take long to import

    with graph(as_json=as_json) as (store, settings, progress):
        progress.begin(f"reading {run}")
        found = gather(store, settings.home, run)
        progress.end()
    missing = write(found, html)
    emit({"run": run, "html": str(html), "missing": missing}, as_json=as_json)
    if missing and not as_json:
        note(f"the page says of this run that it has not: {', '.join(missing)}")


def gather(store: Store, home: Path, run_id: str) -> Gathered:
    """All that the page shows, from the graph and from the run's folder.

    Raises:
        UnknownRun: there is none.
        Conflict: it is derived.
    """
    from cli.pages.run_report import Gathered  # noqa: PLC0415
    from kg.runs.cell_files import read_cell_files  # noqa: PLC0415 - anndata
    from models.jobs.run_artifacts import read_history  # noqa: PLC0415
    from models.zoo.glue.predicted import count_candidates  # noqa: PLC0415

    found = runs.run(store, run_id)
    if found.derived:
        raise Conflict(f"run {run_id} is derived and holds no link", f"regkg runs report {found.parent}")
    try:
        in_force = run_id in served(store).runs.values()
    except UnknownRelease:
        in_force = False
    folder = run_folder(home, run_id)
    genes: pd.DataFrame = read_nodes(store, GENE, found.release).to_pandas()
    return Gathered(
        run=found,
        served=in_force,
        environment=runs.environment(store, run_id),
        pairs=placed(store, home, found, genes),
        genes=genes,
        history=read_history(folder),
        cells=read_cell_files(folder, found.model),
        candidates=count_candidates(folder),
    )


def placed(store: Store, home: Path, run: runs.Run, genes: pd.DataFrame) -> pd.DataFrame:
    """Every pair that a run wrote, with where its peak lies (0-based half-open) and how far from the gene's TSS."""
    from kg.run_diff.inputs import links  # noqa: PLC0415 - SciPy
    from kg.runs.labelled_pairs import EXTRA_SCORES, distance_to_tss  # noqa: PLC0415

    peaks = read_nodes(store, PEAK, run.release).to_pandas()[["id", "start", "end"]].rename(columns={"id": "peak"})
    ends = genes[["id", "symbol", "tss"]].rename(columns={"id": "gene"})
    pairs = links(store, home, run, EXTRA_SCORES).merge(peaks, on="peak").merge(ends, on="gene")
    return pairs.assign(distance_bp=distance_to_tss(pairs["start"], pairs["end"], pairs["tss"]))
