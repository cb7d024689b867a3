"""`regkg runs evaluate`: how well a run ranks its pairs, beside what needs no model."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path

import click

from cli.output import emit, json_option, note
from cli.session import graph
from kg.errors import InputError
from kg.releases import served
from kg.schema import EDGE_TYPES


@click.command()
@click.argument("run")
@click.option(
    "--against",
    default="CONTACTS",
    show_default=True,
    help="What makes a pair right: a type of edge (CONTACTS, EQTL, PERTURBS, ...), or a TSV of peak, gene, positive.",
)
@click.option("--release", type=click.IntRange(min=1), help="Whose rows are read; default: the one served.")
@click.option("--biosample", multiple=True, help="Only rows of this biosample and those below it; may be repeated.")
@click.option("--metacells", is_flag=True, help="Read the cells, and rank by correlation over 200 metacells as well.")
@click.option(
    "--beside",
    "files",
    multiple=True,
    type=click.Path(path_type=Path),
    help="Rank by another program's scores as well: a TSV of peak, gene, score; may be repeated.",
)
@json_option
def evaluate(
    run: str,
    *,
    against: str,
    release: int | None,
    biosample: tuple[str, ...],
    metacells: bool,
    files: tuple[Path, ...],
    as_json: bool,
) -> None:
    """How well RUN ranks its pairs by what other evidence says of them, beside distance alone.

    Beside its score stand, where RUN says them, the score without a pair's own edges (without_prior) and what the cells
    alone say (from_cells). Figures are over all pairs and over pairs equally far apart (bins of 25 kb), with 95 %
    intervals; then the share of right pairs by tenth of the score.
    """
    from kg.runs.labelled_pairs import EXTRA_SCORES, labelled_pairs, pairs_of_file  # noqa: PLC0415 - pandas and scikit-learn are for this alone
    from kg.runs.pair_files import read_scores  # noqa: PLC0415
    from models.evaluation.ranking import DISTANCE, METACELLS, compare  # noqa: PLC0415

    with graph(as_json=as_json) as (store, settings, report):
        number = release or served(store).release
        if against in EDGE_TYPES or not Path(against).suffix:
            found = labelled_pairs(store, run, against, number, biosample)
        else:
            found = pairs_of_file(store, run, Path(against), number)
        others = {name: found.pairs[name].to_numpy() for name in EXTRA_SCORES if found.pairs[name].notna().all()}
        for path in files:
            if path.stem in {"run", DISTANCE, METACELLS, *others}:
                raise InputError(f"{path}: another score is called {path.stem}", "name the file otherwise")
            others[path.stem] = read_scores(path, found.pairs)
        if metacells:
            from models.jobs.evaluate import metacell_scores  # noqa: PLC0415 - torch is for this alone

            others[METACELLS] = metacell_scores(store, settings.home, run, found.pairs, report)
        report.begin("ranking")
        comparison = compare(found.pairs, others)
        report.end()
    about = {"run": run, "against": found.of, "release": number, "guided": found.guided}
    counts = {name: getattr(comparison, name) for name in ("pairs", "positives", "genes", "prevalence")}
    if as_json:
        emit({**about, **asdict(comparison)}, as_json=True)
        return
    emit({**about, **counts}, as_json=False)
    emit(
        [{n: str(value) for n, value in vars(one).items() if value is not None} for one in comparison.scores],
        as_json=False,
    )
    emit([{k: _short(v) for k, v in vars(tenth).items()} for tenth in comparison.calibration], as_json=False)
    if found.guided:
        note(f"warning: {against} guided this run, so these figures say nothing; train with other --edge-types")


def _short(value: float) -> str:
    return f"{value:,}" if isinstance(value, int) else f"{value:.3f}"
