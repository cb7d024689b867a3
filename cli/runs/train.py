"""`regkg train MODEL`: one command for each model of the zoo, its options made from its Config."""

from __future__ import annotations

import re
from dataclasses import fields
from typing import TYPE_CHECKING, Any

import click

from cli.main import interrupt_message
from cli.options import attributes_of
from cli.output import emit, json_option, note
from cli.session import graph
from models import registry

if TYPE_CHECKING:
    from collections.abc import Sequence

    from kg.runs import Run


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


def command_for(model: registry.Model) -> click.Command:
    """A command that trains this model."""

    @click.option("--cells", required=True, help="Name of the cells, as registered by `regkg load cells`.")
    @click.option("--labels", default="cell_type", show_default=True, help="Column of obs, for metrics.")
    @click.option("--batch", help="Column of obs with batches, for the decoder.")
    @click.option("--paired/--unpaired", default=None, help="Row by row the same cells, for metrics.")
    @click.option(
        "--likelihood",
        metavar="MODALITY=NAME",
        multiple=True,
        callback=likelihoods,
        help="Of a modality's values: nb, zinb, normal, zin, ziln, bernoulli or beta.  [default: ziln for layers of "
        "genes (mCH:...), else nb]",
    )
    @click.option(
        "--stream/--no-stream",
        default=None,
        help="Leave values on disk and read them step by step.  [default: where memory would not hold them]",
    )
    @click.option("--device", default="auto", show_default=True, help="auto, cpu or cuda.")
    @click.option("--threads", type=click.IntRange(min=1), help="Of torch on the CPU.")
    @click.option(
        "--devices",
        type=click.IntRange(min=1),
        default=1,
        show_default=True,
        help="Processes that share each step, one for each GPU.",
    )
    @click.option(
        "--edge-types",
        type=click.Choice(model.reads),
        multiple=True,
        help="Evidence that guides the model; may be said several times.  [default: all that it reads]",
    )
    @click.option(
        "--candidates",
        metavar="DISTANCE",
        callback=base_pairs,
        help="Also score peaks so far from a gene's start site that no evidence joins to it, such as 150kb.",
    )
    @click.option("--held-out", multiple=True, help="Chromosome whose contacts and eQTLs test and do not guide.")
    @click.option("--release", type=click.IntRange(min=1), help="Whose evidence is read; default: the one served.")
    @click.option("--publish", is_flag=True, help="Serve the run when it is complete.")
    @json_option
    def train(*, cells: str, release: int | None, publish: bool, as_json: bool, **said: Any) -> None:
        run_training(model, cells, release, said, publish=publish, as_json=as_json)

    command = click.command(model.name, help=f"Train {model.name} ({model.cites}).")(train)
    command.params = [*command.params, *config_options(model.config)]
    return command


def run_training(
    model: registry.Model, cells: str, release: int | None, said: dict[str, Any], *, publish: bool, as_json: bool
) -> None:
    """Train, publish where it is asked for, and say what came of it; `said` are the other options by name."""
    from kg import runs  # noqa: PLC0415 - the driver is not needed for --help
    from models.inputs.read_anndata import Reading  # noqa: PLC0415
    from models.jobs.train import Request, train  # noqa: PLC0415

    reading = Reading(*(said.pop(name) for name in ("labels", "batch", "paired", "likelihood", "stream")))
    where = {name: said.pop(name) for name in ("device", "threads", "devices", "edge_types", "held_out")}
    where["candidates_bp"] = said.pop("candidates")
    request = Request(model.name, cells, said, reading, **where)
    interrupt_message("what is published stays; `regkg runs list` shows the run, `regkg runs resume RUN` finishes it")
    with graph(as_json=as_json) as (store, settings, report):
        for left in runs.interrupted(store):
            note(f"run {left.id} was interrupted: `regkg runs resume {left.id}` or `regkg runs discard {left.id}`")
        run = train(store, settings.home, request, report, release=release)
        if publish:
            runs.publish_run(store, run.id)
    emit(run if as_json else summary(run, published=publish), as_json=as_json)


def base_pairs(_context: click.Context, _option: click.Parameter, said: str | None) -> int | None:
    """A distance such as 150kb, 1Mb or 150000, in base pairs."""
    if said is None:
        return None
    found = re.fullmatch(r"([\d,]+)\s*(bp|kb|mb)?", said.strip().lower())
    if found is None:
        raise click.BadParameter(f"{said!r} is no distance, such as 150kb")
    return int(found[1].replace(",", "")) * {None: 1, "bp": 1, "kb": 1000, "mb": 1_000_000}[found[2]]


def likelihoods(_context: click.Context, _option: click.Parameter, said: Sequence[str]) -> dict[str, str]:
    """MODALITY=NAME, each as a pair."""
    wrong = [word for word in said if "=" not in word]
    if wrong:
        raise click.BadParameter(f"{wrong[0]!r} is no MODALITY=NAME")
    return dict(word.split("=", 1) for word in said)


def config_options(config: type) -> list[click.Parameter]:
    """One option for each field of a model's Config, its help from the docstring."""
    told = attributes_of(config.__doc__)
    return [
        click.Option(
            [f"--{field.name.replace('_', '-')}"],
            type=type(field.default),
            is_flag=isinstance(field.default, bool),
            default=field.default,
            show_default=True,
            help=told.get(field.name, ""),
        )
        for field in fields(config)
    ]


def summary(run: Run, *, published: bool) -> dict[str, Any]:
    """What people want to know of a run at once."""
    shown = {name: f"{value:.4g}" for name, value in run.metrics.items() if isinstance(value, float)}
    return {"run": run.id, "outcome": run.outcome, "release": run.release, "published": published, **shown}
