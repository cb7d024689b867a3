"""`regkg bench`: questions about a model that take many trainings to answer."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from cli.main import interrupt_message
from cli.output import emit, json_option, note
from cli.session import graph

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from models.bench.corrupted_priors import Trial
    from models.bench.peers.programs import Program

RATES = (0.0, 0.2, 0.4, 0.6, 0.8, 0.9)


@click.group("bench")
def group() -> None:
    """Measure how a model fares, beside another program where one is named."""


@group.command("prior-corruption")
@click.option("--cells", required=True, help="Name of the cells, as registered by `regkg load cells`.")
@click.option("--labels", default="cell_type", show_default=True, help="Column of obs, for metrics.")
@click.option("--paired/--unpaired", default=True, show_default=True, help="Row by row the same cells, for FOSCTTM.")
@click.option("--rate", "rates", type=click.FloatRange(0, 1), multiple=True, help="  [default: 0 to 0.9, six of them]")
@click.option("--seeds", type=click.IntRange(min=1), default=1, show_default=True, help="Of training and corruption.")
@click.option("--option", "options", metavar="NAME=VALUE", multiple=True, help="Of GLUE; see `regkg train glue`.")
@click.option("--release", type=click.IntRange(min=1), help="Whose evidence is read; default: the one served.")
@click.option("--peer-python", type=click.Path(path_type=Path), help="Python of an environment that has scglue 0.4.1.")
@click.option("--threads", type=click.IntRange(min=1), default=1, show_default=True, help="Of both programs.")
@click.option("--device", default="cpu", show_default=True, help="Of ours: cpu or cuda.")
@click.option(
    "--out",
    type=click.Path(path_type=Path, file_okay=False),
    default=Path("prior-corruption"),
    show_default=True,
    help="Folder for the trials and the picture; a trial that is there is not run again.",
)
@json_option
def prior_corruption(*, rates: tuple[float, ...], seeds: int, out: Path, as_json: bool, **said: Any) -> None:
    """Train GLUE on guidance graphs of which a share of the edges is made up.

    Each deleted edge gives its weight and sign to a pair that no edge joins. Compared are FOSCTTM, label transfer, and
    how far features keep their cosines; nothing is written to the graph.
    """
    from models.bench.corrupted_priors import foscttm_increases  # noqa: PLC0415 - torch is not needed for --help

    interrupt_message(f"trials that came to their end stay in {out}; the same command again goes on from there")
    with graph(as_json=as_json) as (store, _, report):
        trials, programs = _prepared(store, report, out, said)
        wanted = [
            (program, rate, seed)
            for seed in range(seeds)
            for rate in sorted({0.0, *(rates or RATES)})  # what is made up is compared with what is not
            for program in programs
        ]
        found = []
        for i, (program, rate, seed) in enumerate(wanted, 1):
            report.say(f"trial {i} of {len(wanted)}: {program}, {100 * rate:g} % made up, seed {seed}")
            found.append(trials.run(program, programs[program], rate, seed))
    picture = out / "prior-corruption.png"
    draw(found, picture)
    note(f"{picture} shows it; each trial is a line of {trials.log}")
    rise = {
        program: {f"{rate:g}": value for rate, value in by.items()} for program, by in foscttm_increases(found).items()
    }
    emit({"trials": found, "foscttm_rise": rise} if as_json else [shown(t) for t in found], as_json=as_json)


def _prepared(store: Any, report: Any, out: Path, said: dict[str, Any]) -> tuple[Any, dict[str, Program]]:
    """Where trials are kept, and the programs by name."""
    from kg.guidance import read_guidance  # noqa: PLC0415
    from kg.releases import served  # noqa: PLC0415
    from models import registry  # noqa: PLC0415
    from models.bench.corrupted_priors import Trials  # noqa: PLC0415
    from models.bench.peers import programs  # noqa: PLC0415
    from models.inputs.read_anndata import Reading, read_registered  # noqa: PLC0415
    from models.training.loop import Trainer  # noqa: PLC0415

    model = registry.get("glue")
    config = model.config(**read_options(said["options"], model.config))
    release = served(store, said["release"]).release
    guidance = read_guidance(store, release, model.reads)
    cells = read_registered(
        store, said["cells"], release, Reading(said["labels"], None, said["paired"], stream=False), report
    )
    found = {"regkg": programs.ours(cells, config, Trainer(said["device"], said["threads"], progress=report))}
    if said["peer_python"]:
        found["scglue"] = programs.scglue(cells, said["peer_python"], out / "scglue", said["threads"])
    return Trials(out, guidance, cells, asdict(config)), found


def read_options(said: Sequence[str], config: type) -> dict[str, Any]:
    """NAME=VALUE, each value of the type that the field of the config has."""
    from dataclasses import fields  # noqa: PLC0415

    known: dict[str, Callable[[str], Any]] = {f.name: type(f.default) for f in fields(config)}
    found = {}
    for word in said:
        name, _, value = word.partition("=")
        name = name.replace("-", "_")
        if name not in known or known[name] is bool:
            raise click.BadParameter(f"{word!r}: expected NAME=VALUE with one of {', '.join(known)}")
        try:
            found[name] = known[name](value)
        except ValueError as error:
            raise click.BadParameter(f"{word!r}: {error}") from error
    return found


def shown(trial: Trial) -> dict[str, Any]:
    """A trial as a row for people."""
    row = asdict(trial)
    return {name: f"{value:.4g}" if isinstance(value, float) else value for name, value in row.items()}


def draw(trials: Sequence[Trial], out: Path) -> None:
    """Each figure against the share that is made up: a line for each program, a point for each seed."""
    import numpy as np  # noqa: PLC0415
    from matplotlib.figure import Figure  # noqa: PLC0415

    from kg.pages.colours import COLOURS  # noqa: PLC0415

    figures = {
        "foscttm": "FOSCTTM (less is better)",
        "label_transfer": "label transfer",
        "feature_consistency": "features: correlation of cosines with those at 0 %",
    }
    figure = Figure(figsize=(12, 3.6), layout="constrained")
    for axes, (name, title) in zip(figure.subplots(1, len(figures)), figures.items(), strict=True):
        for program, colour in zip(dict.fromkeys(t.program for t in trials), COLOURS, strict=False):
            points = [(t.rate, getattr(t, name)) for t in trials if t.program == program]
            points = [(100 * rate, value) for rate, value in points if value is not None]
            rates = sorted({rate for rate, _ in points})
            means = [np.mean([value for at, value in points if at == rate]) for rate in rates]
            axes.plot(rates, means, color=colour, lw=1.5, label=program)
            axes.plot(*zip(*points, strict=True) if points else ([], []), "o", color=colour, ms=4)
        axes.set_title(title, loc="left", fontsize=10)
        axes.set_xlabel("made up, % of the edges")
        axes.spines[["top", "right"]].set_visible(False)
    figure.axes[0].legend(frameon=False)
    figure.savefig(out, dpi=160)
