"""`regkg runs targets`: which genes each transcription factor regulates, by a run's links."""

from __future__ import annotations

import click

from cli.main import interrupt_message
from cli.output import emit, json_option
from cli.session import graph
from kg import runs
from kg.runs.regulation import SITES


@click.command()
@click.argument("run")
@click.option("--sites", type=click.Choice(list(SITES)), default="motifs", show_default=True, help="What a site is.")
@click.option(
    "--best",
    type=click.IntRange(min=0),
    default=100,
    show_default=True,
    help="Genes of each factor that are written even when they are not called.",
)
@click.option("--publish", is_flag=True, help="Serve the new run when it is complete.")
@json_option
def targets(run: str, *, sites: str, best: int, publish: bool, as_json: bool) -> None:
    """Rank the genes of each transcription factor by the called links of RUN, as a run derived from it.

    A gene is a target where its linked peaks hold more sites of the factor than random peaks of the same lengths
    would. `regkg ask tf-targets` reads the answer; the metrics say whether curated targets agree.
    """
    from models.jobs.targets import TargetOptions  # noqa: PLC0415 - SciPy and torch are not needed for --help
    from models.jobs.targets import targets as rank  # noqa: PLC0415

    interrupt_message("what is published stays; an unfinished run is finished by `regkg runs resume`, or discarded")
    with graph(as_json=as_json) as (store, settings, report):
        made = rank(store, settings.home, run, TargetOptions(sites, best), report)
        if publish:
            runs.publish_run(store, made.id, progress=report)
    shown = {"run": made.id, "of": run, "outcome": made.outcome, "published": publish, **made.metrics}
    emit(made if as_json else shown, as_json=as_json)
