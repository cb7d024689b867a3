"""`regkg demo`: the whole loop on a simulated world, and what came of it."""

from __future__ import annotations

import csv
import shutil
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import click

from cli.main import interrupt_message
from cli.output import emit, json_option, progress
from kg.settings import Settings

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from kg.progress import Progress
    from kg.runs import Run
    from kg.store import Store

CELLS = "demo"
LICENCE, CITATION = "CC0-1.0", "regkg simulate"
WINDOW_BP = 150_000
# The simulated worlds are small: a few hundred steps find most of what longer training finds.
STEPS = {"first_steps": 400, "second_steps": 1600}
QUICK_STEPS = {"first_steps": 300, "second_steps": 900}


@dataclass(frozen=True)
class Outcome:
    """What the demo found, all of it from the run.

    Attributes:
        auroc: of the run's scores for the planted links, over all candidate pairs that were scored.
        cells_auroc: of what the cells alone say of the same pairs, no edge asked.
        distance_auroc: of -distance on the same pairs.
        answers: question -> rows.
    """

    release: int
    run: str
    pairs: int
    planted: int
    planted_called: int
    auroc: float
    cells_auroc: float
    distance_auroc: float
    metrics: Mapping[str, Any]
    answers: Mapping[str, Sequence[Any]]
    picture: Path
    neo4j: str
    home: Path


@click.command("demo")
@click.option("--quick", is_flag=True, help="A smaller world: the same path in under 90 s.")
@click.option("--seed", default=0, show_default=True, help="Of the world and of training.")
@json_option
def command(*, quick: bool, seed: int, as_json: bool) -> None:
    """Start Neo4j, simulate a world, load it, publish it, train GLUE, write back, publish the run, and ask.

    Works in a home of its own (REGKG_HOME/demo, always on the managed Neo4j), which it empties first.
    """
    interrupt_message("the demo's own home is left half-filled: the next `regkg demo` starts afresh")
    settings = Settings.from_environment()
    jars = settings.jars or settings.home / "neo4j" / "jars"
    home = settings.home / ("demo-quick" if quick else "demo")
    with progress(as_json=as_json) as report:
        found = play(replace(settings, home=home, jars=jars, neo4j_uri=None), seed=seed, quick=quick, report=report)
    if as_json:
        emit(found, as_json=True)
    else:
        show(found)


def play(settings: Settings, *, seed: int, quick: bool, report: Progress) -> Outcome:
    """All steps of the demo in an empty graph under `settings.home`."""
    from kg import releases, runs  # noqa: PLC0415 - `--help` needs none of it
    from kg.server import endpoint  # noqa: PLC0415
    from kg.store import ensure_schema, open_store  # noqa: PLC0415
    from loaders.simulation.simulate import WorldConfig, simulate  # noqa: PLC0415
    from models.jobs.train import TrainingRequest, train  # noqa: PLC0415

    with open_store(endpoint(settings, report)) as store:
        # whatever an earlier demo left, also one of another schema version
        store.implicit("MATCH (n) CALL (n) { DETACH DELETE n } IN TRANSACTIONS OF 20000 ROWS")
        ensure_schema(store)
        shutil.rmtree(settings.home / "runs", ignore_errors=True)
        world = settings.home / "world"
        simulate(
            replace(WorldConfig.quick() if quick else WorldConfig(), seed=seed), world, force=True, progress=report
        )
        load_world(store, settings.home, world, report)
        releases.publish(store, "the simulated world", progress=report)
        options = {"seed": seed, **(QUICK_STEPS if quick else STEPS)}
        run = train(store, settings.home, TrainingRequest("glue", CELLS, options), report)
        served = runs.publish_run(store, run.id, "the demo's run", report)
        return _outcome(store, settings.home, world, run, served.release)


def load_world(store: Store, home: Path, world: Path, report: Progress) -> None:
    """Evidence and cells of a simulated world, through the loaders that everybody uses."""
    from loaders.cells.registration import register_cells  # noqa: PLC0415
    from loaders.load import load  # noqa: PLC0415
    from loaders.requests import LoadRequest  # noqa: PLC0415

    for request in (
        LoadRequest("genes", [world / "genes.gtf.gz"], assembly="GRCh38", licence=LICENCE, citation=CITATION),
        LoadRequest("peaks", [world / "peaks.narrowPeak.gz"], assembly="GRCh38", licence=LICENCE, citation=CITATION),
        LoadRequest("proximity", options={"rule": "window", "window_bp": WINDOW_BP}),
    ):
        done = load(store, home, request, report)
        report.say(f"loaded {done.dataset}: {done.added:,} rows added, {done.quarantined:,} quarantined")
    register_cells(store, CELLS, [world / "rna.h5ad", world / "atac.h5ad"])


def show(found: Outcome) -> None:
    """The outcome as a person reads it."""
    for question, rows in found.answers.items():
        click.echo(f"\n{question}")
        emit(rows, as_json=False)
    click.echo(
        f"\nOf {found.pairs:,} peak-gene pairs {found.planted:,} are planted links; "
        f"{found.planted_called:,} of them were called.\n"
        f"AUROC of the run's scores: {found.auroc:.3f}; of the cells alone: {found.cells_auroc:.3f}; "
        f"of distance alone: {found.distance_auroc:.3f}.\n"
        f"\nrelease {found.release}, run {found.run}\n"
        f"arc plot       {found.picture}\n"
        f"Neo4j          {found.neo4j} (password: {found.home}/neo4j/password)\n"
        f"look further   REGKG_HOME={found.home} regkg cypher 'MATCH (p:Peak)-[l:PREDICTED_LINK]->(g:Gene) "
        f"RETURN g.symbol, p.id, l.score, l.called ORDER BY l.score DESC LIMIT 5'\n"
        f"API            REGKG_HOME={found.home} regkg serve      then http://127.0.0.1:8000/docs\n"
        f"stop Neo4j     REGKG_HOME={found.home} regkg db stop"
    )


def _outcome(store: Store, home: Path, world: Path, run: Run, release: int) -> Outcome:
    truth = read_truth(world / "truth.tsv")
    scores = store.read(
        "MATCH (p:Peak)-[l:PREDICTED_LINK {run: $run}]->(g:Gene) "
        "RETURN g.id AS gene, p.id AS peak, l.score AS score, l.from_cells AS from_cells, l.called AS called",
        run=run.id,
    )
    best = _best_planted(scores, truth)
    answers = _ask(store, best)
    regulators = answers[f"gene-regulators --gene {best['gene']}"]
    return Outcome(
        release=release,
        run=run.id,
        pairs=len(scores),
        planted=sum(truth[row["gene"], row["peak"]][0] for row in scores),
        planted_called=sum(truth[row["gene"], row["peak"]][0] and row["called"] for row in scores),
        **_aurocs(scores, truth),
        metrics=run.metrics,
        answers={question: rows[:5] for question, rows in answers.items()},
        picture=_draw(store, home, best["gene"], regulators, truth, f"release {release}, run {run.id}"),
        neo4j=store.uri,
        home=home,
    )


def read_truth(path: Path) -> dict[tuple[str, str], tuple[bool, int]]:
    """(gene id, peak id) -> whether the link is planted, and the distance in bp."""
    with path.open(encoding="utf-8", newline="") as file:
        rows = csv.DictReader(file, delimiter="\t")
        return {(r["gene_id"], r["peak_id"]): (r["is_link"] == "1", int(r["distance_bp"])) for r in rows}


def _aurocs(scores: Sequence[Any], truth: Mapping[tuple[str, str], tuple[bool, int]]) -> dict[str, float]:
    import numpy as np  # noqa: PLC0415

    from models.evaluation.metrics import auroc  # noqa: PLC0415

    planted, distance = zip(*(truth[row["gene"], row["peak"]] for row in scores), strict=True)
    positive = np.array(planted)
    model, cells = (np.array([row[name] for row in scores], np.float32) for name in ("score", "from_cells"))
    return {
        "auroc": auroc(positive, model),
        "cells_auroc": auroc(positive, cells),
        "distance_auroc": auroc(positive, -np.array(distance, np.float32)),
    }


def _best_planted(scores: Sequence[Any], truth: Mapping[tuple[str, str], tuple[bool, int]]) -> Any:
    """The best-scored link that is both called and planted; a demo shows a hit, the AUROC tells how rare that is."""
    return max(scores, key=lambda row: (truth[row["gene"], row["peak"]][0] and row["called"], row["score"]))


def _ask(store: Store, best: Mapping[str, Any]) -> dict[str, Sequence[Any]]:
    from kg.query.plan import run_plan  # noqa: PLC0415
    from kg.query.registry import question_named  # noqa: PLC0415

    asked = {
        "gene-regulators": {"gene": best["gene"]},
        "peak-targets": {"peak": best["peak"]},
        "similar-genes": {"gene": best["gene"]},
    }
    answers: dict[str, Sequence[Any]] = {}
    for name, given in asked.items():
        question = question_named(name)
        shown = " ".join(f"--{key} {value}" for key, value in given.items())
        answers[f"{name} {shown}"] = run_plan(question.plan(question.parameters(**given)), store).rows
    return answers


def _draw(
    store: Store,
    home: Path,
    gene: str,
    regulators: Sequence[Any],
    truth: Mapping[tuple[str, str], tuple[bool, int]],
    subtitle: str,
) -> Path:
    from kg.pages.arc_plot import DrawnGene, DrawnLink, arc_plot  # noqa: PLC0415

    genes = [DrawnGene.of(row["g"]) for row in store.read("MATCH (g:Gene) RETURN g {.*} AS g")]
    here = DrawnGene.of(store.read("MATCH (g:Gene {id: $id}) RETURN g {.*} AS g", id=gene)[0]["g"])
    planted = [peak for (of, peak), (is_link, _) in truth.items() if of == gene and is_link]
    links = [DrawnLink.of(row) for row in regulators]
    out = home / f"{here.symbol}.png"
    return arc_plot(here, links, out, neighbours=genes, planted=planted, subtitle=subtitle)
