"""`regkg retrain`: published runs whose evidence changed, trained again, judged and published."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from cli.main import interrupt_message
from cli.output import emit, json_option, note
from cli.session import Graph, graph
from kg.errors import TrainingError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from kg.runs.staleness import Decision
    from models.jobs.retrain import Retrained, RetrainOptions

NOTHING_TO_DO = 3
NONE = "none"


@click.command("retrain")
@click.option(
    "--if-changed", is_flag=True, help="Only where evidence changed; exit code 3 when there is nothing to do."
)
@click.option("--plan", is_flag=True, help="Say what would be trained and why; write nothing.")
@click.option("--slot", "slots", multiple=True, help="Such as glue:cortex; may be repeated.  [default: all published]")
@click.option(
    "--warm/--cold", default=None, help="Start from the published weights.  [default: warm; experiments cold]"
)
@click.option(
    "--held-out",
    multiple=True,
    help="Chromosome whose contacts and eQTLs test the run and do not guide it; may be repeated; 'none' for none.  "
    "[default: as the published run, or chr8 and chr9 where contacts or eQTLs guide]",
)
@click.option(
    "--gate",
    "gate_file",
    type=click.Path(path_type=Path, dir_okay=False, exists=True),
    help="TOML with a table [gate].",
)
@click.option("--foscttm-tolerance", type=float, help="FOSCTTM may be larger by this.  [default: 0.02]")
@click.option("--consistency-tolerance", type=float, help="Consistency may be smaller by this.  [default: 0.02]")
@click.option("--auroc-tolerance", type=float, help="AUROC may be smaller by this.  [default: 0.02]")
@click.option("--min-positives", type=int, help="Positive pairs that an AUROC needs.  [default: 20]")
@click.option("--without", multiple=True, help="Leave this dataset out; needs --as-experiment; may be repeated.")
@click.option("--as-experiment", is_flag=True, help="Train runs that are never published, on the release they read.")
@click.option("--device", help="auto, cpu or cuda.  [default: as the published run]")
@click.option("--threads", type=click.IntRange(min=1), help="Of torch on the CPU.  [default: as the published run]")
@json_option
@click.pass_context
def command(ctx: click.Context, /, *, plan: bool, as_json: bool, without: tuple[str, ...], **said: Any) -> None:
    """Train published runs again on the served release, and publish those that pass the gate.

    With --without DATASET --as-experiment, train them without a dataset instead, to see what rests on it.
    """
    if bool(without) != said.pop("as_experiment"):
        raise click.UsageError("--without and --as-experiment go together: a run without a dataset is never published")
    if without and (plan or said["if_changed"]):
        raise click.UsageError("--without trains at once: neither --plan nor --if-changed goes with it")
    interrupt_message("what is published stays; the same command again goes on with a run that was cut short")
    with graph(as_json=as_json) as where:
        if plan:
            code = _plan(where, said, as_json=as_json)
        elif without:
            code = _experiment(where, said, without, as_json=as_json)
        else:
            code = _retrain(where, said, as_json=as_json)
    ctx.exit(code)


def _plan(where: Graph, said: dict[str, Any], *, as_json: bool) -> int:
    from kg.runs.staleness import decisions  # noqa: PLC0415 - the driver is not needed for --help

    found = decisions(where.store, said["slots"])
    emit(found if as_json else [_decided(d, forced=not said["if_changed"]) for d in found], as_json=as_json)
    return _code(found, said)


def _retrain(where: Graph, said: dict[str, Any], *, as_json: bool) -> int:
    from models.jobs.retrain import retrain  # noqa: PLC0415 - torch is not needed for --help

    found, done = retrain(where.store, where.settings.home, _wanted(said), progress=where.report)
    if as_json:
        emit({"decisions": found, "retrained": done}, as_json=True)
    else:
        emit([_decided(d, forced=not said["if_changed"]) for d in found], as_json=False)
        if done:
            emit([_done(one) for one in done], as_json=False)
    failed = [one for one in done if not one.published]
    if failed:
        raise TrainingError(
            "; ".join(f"{one.slot}: {one.reason}" for one in failed),
            f"{failed[0].parent} stays published; `regkg runs publish RUN` serves a complete run all the same",
        )
    return _code(found, said)


def _experiment(where: Graph, said: dict[str, Any], without: Sequence[str], *, as_json: bool) -> int:
    from models.jobs.retrain import leave_out  # noqa: PLC0415

    wanted = _wanted({**said, "warm": bool(said["warm"])})
    made = leave_out(where.store, where.settings.home, wanted, without, progress=where.report)
    shown = [{"run": r.id, "of": r.parent, "release": r.release, "experiment": r.experiment} for r in made]
    emit(made if as_json else shown, as_json=as_json)
    if not as_json:
        note(
            "experiments are never published; compare: " + "; ".join(f"regkg runs diff {r.parent} {r.id}" for r in made)
        )
    return 0


def _wanted(said: dict[str, Any]) -> RetrainOptions:
    from models.evaluation.gate import read_gate  # noqa: PLC0415
    from models.jobs.retrain import RetrainOptions  # noqa: PLC0415

    tolerances = ("foscttm_tolerance", "consistency_tolerance", "auroc_tolerance", "min_positives")
    held_out = tuple(chrom for chrom in said["held_out"] if chrom != NONE)
    return RetrainOptions(
        slots=said["slots"],
        if_changed=said["if_changed"],
        warm=said["warm"] is not False,
        held_out=held_out if said["held_out"] else None,
        device=said["device"],
        threads=said["threads"],
        gate=read_gate(said["gate_file"], {name: said[name] for name in tolerances}),
    )


def _code(found: Sequence[Decision], said: dict[str, Any]) -> int:
    chosen = [d for d in found if d.retrain or not said["if_changed"]]
    if not chosen:
        note("nothing to do")
    return 0 if chosen else NOTHING_TO_DO


def _decided(decision: Decision, *, forced: bool) -> dict[str, object]:
    return {
        "slot": decision.slot,
        "run": decision.run,
        "reads": ", ".join(decision.edge_types),
        "release": decision.release,
        "served": decision.served,
        "retrain": decision.retrain or forced,
        "rows": sum(c.added + c.removed + c.changed for c in decision.changes),
        "reason": decision.reason,
    }


def _done(one: Retrained) -> dict[str, object]:
    shown = asdict(one)
    del shown["gate"]
    return shown
