"""`regkg train MODEL`: one command for each model of the zoo, its options made from its Config."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import click

from cli.main import interrupt_message
from cli.options import options_for
from cli.output import emit, json_option, note
from cli.session import graph
from kg.parameters import parameters_of
from models import registry
from models.contract import Reads

if TYPE_CHECKING:
    from collections.abc import Sequence

    from kg.runs import Run
    from models.contract import Model


class Models(click.Group):
    """One command for each model."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Names of the models; imports none."""
        del ctx
        return registry.names()

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """The model as a command."""
        del ctx
        return None if cmd_name.startswith("-") else command_for(registry.get(cmd_name))


@click.group(cls=Models)
def group() -> None:
    """Train a model on the served release and write its predictions back.

    The run stays unpublished unless you say --publish; `regkg runs publish RUN` does it later.
    """


def command_for(model: Model) -> click.Command:
    """A command that trains this model; its options are those that the model declares."""

    @click.option("--device", default="auto", show_default=True, help="auto, cpu or cuda.")
    @click.option("--threads", type=click.IntRange(min=1), help="Threads of torch on the CPU.")
    @click.option("--release", type=click.IntRange(min=1), help="Whose evidence is read; default: the one served.")
    @click.option("--publish", is_flag=True, help="Serve the run when it is complete.")
    @json_option
    def train(*, release: int | None, publish: bool, as_json: bool, **options: Any) -> None:
        run_training(model, options.pop("cells", "none"), release, options, publish=publish, as_json=as_json)

    command = click.command(model.name, help=f"Train {model.name} ({model.cites}).")(train)
    declared = [*cells_options(model), *evidence_options(model)]
    command.params = [*declared, *command.params, *options_for(parameters_of(model.config))]
    return command


def cells_options(model: Model) -> list[click.Parameter]:
    """Options of how a model reads cells, as far as it declares that it can be told."""
    if not model.needs.assays:
        return []
    likelihood = (
        "Of a modality's values: nb, zinb, normal, zin, ziln, bernoulli or beta.  [default: ziln for layers of genes "
        "(mCH:...), else nb]"
    )
    stream = "Leave values on disk and read them step by step.  [default: where memory would not hold them]"
    known: dict[Reads, click.Parameter] = {
        Reads.LABELS: click.Option(
            ["--labels"], default="cell_type", show_default=True, help="Column of obs, for metrics."
        ),
        Reads.BATCH: click.Option(["--batch"], help="Column of obs with batches, for the decoder."),
        Reads.PAIRED: click.Option(
            ["--paired/--unpaired"], default=None, help="Row by row the same cells, for metrics."
        ),
        Reads.LIKELIHOODS: click.Option(
            ["--likelihood"], metavar="MODALITY=NAME", multiple=True, callback=likelihoods, help=likelihood
        ),
        Reads.STREAM: click.Option(["--stream/--no-stream"], default=None, help=stream),
    }
    cells = click.Option(["--cells"], required=True, help="Name of the cells, as registered by `regkg load cells`.")
    return [cells, *(known[one] for one in model.needs.reads)]


def evidence_options(model: Model) -> list[click.Parameter]:
    """Options of which evidence a model reads, and of the processes that it trains in."""
    made: list[click.Parameter] = []
    if model.needs.devices:
        told = "Processes that share each step, one for each GPU."
        made.append(click.Option(["--devices"], type=click.IntRange(min=1), default=1, show_default=True, help=told))
    if model.reads:
        told = "Evidence that the model reads; may be said several times.  [default: all that it can read]"
        made.append(click.Option(["--edge-types"], type=click.Choice(model.reads), multiple=True, help=told))
        told = "Chromosome whose contacts and eQTLs test and do not guide."
        made.append(click.Option(["--held-out"], multiple=True, help=told))
    if model.needs.candidates:
        told = "Also score peaks so far from a gene's start site that no evidence joins to it, such as 150kb."
        made.append(click.Option(["--candidates"], metavar="DISTANCE", callback=base_pairs, help=told))
    return made


def run_training(
    model: Model, cells: str, release: int | None, options: dict[str, Any], *, publish: bool, as_json: bool
) -> None:
    """Train, publish where it is asked for, and say what came of it; `options` are the other options by name."""
    from kg import runs  # noqa: PLC0415 - the driver is not needed for --help
    from models.inputs.read_anndata import Reading  # noqa: PLC0415
    from models.jobs.train import TrainingRequest, train  # noqa: PLC0415

    names = {"labels": "labels", "batch": "batch", "paired": "paired", "likelihood": "likelihoods", "stream": "stream"}
    reading = Reading(**{field: options.pop(name) for name, field in names.items() if name in options})
    kept = ("device", "threads", "devices", "edge_types", "held_out")
    names = {"candidates": "candidates_bp", **{name: name for name in kept}}
    where = {field: options.pop(name) for name, field in names.items() if name in options}
    request = TrainingRequest(model.name, cells, options, reading, **where)
    interrupt_message("what is published stays; `regkg runs list` shows the run, `regkg runs resume RUN` finishes it")
    with graph(as_json=as_json) as (store, settings, report):
        for left in runs.interrupted(store):
            note(f"run {left.id} was interrupted: `regkg runs resume {left.id}` or `regkg runs discard {left.id}`")
        run = train(store, settings.home, request, report, release=release)
        if publish:
            runs.publish_run(store, run.id, progress=report)
    emit(run if as_json else summary(run, published=publish), as_json=as_json)


def base_pairs(_context: click.Context, _option: click.Parameter, said: str | None) -> int | None:
    """A distance such as 150kb, 1Mb or 150000, in base pairs."""
    if said is None:
        return None
    found = re.fullmatch(r"([\d,]+)\s*(bp|kb|mb)?", said.strip().lower())
    if found is None:
        raise click.BadParameter(f"{said!r} is not a distance; write it like 150kb")
    return int(found[1].replace(",", "")) * {None: 1, "bp": 1, "kb": 1000, "mb": 1_000_000}[found[2]]


def likelihoods(_context: click.Context, _option: click.Parameter, said: Sequence[str]) -> dict[str, str]:
    """MODALITY=NAME, each as a pair."""
    wrong = [word for word in said if "=" not in word]
    if wrong:
        raise click.BadParameter(f"{wrong[0]!r} is no MODALITY=NAME")
    return dict(word.split("=", 1) for word in said)


def summary(run: Run, *, published: bool) -> dict[str, Any]:
    """What people want to know of a run at once."""
    shown = {name: f"{value:.4g}" for name, value in run.metrics.items() if isinstance(value, float)}
    return {"run": run.id, "outcome": run.outcome, "release": run.release, "published": published, **shown}
