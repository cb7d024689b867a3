"""Training published runs again when evidence has changed: from their weights, through the gate, one at a time."""

from __future__ import annotations

import json
from dataclasses import dataclass, field, fields, replace
from typing import TYPE_CHECKING, Any

from kg import runs
from kg.errors import Conflict, InputError, NotFound, TrainingError
from kg.files import replaced
from kg.guidance import HELD_OUT
from kg.progress import SILENT, Progress
from kg.releases import served
from kg.runs.predictions import run_folder
from kg.runs.staleness import Decision, decisions
from kg.store.leases import RETRAIN, held
from models import registry
from models.evaluation import gate as gates
from models.evaluation.gate import Gate, GateVerdict
from models.jobs import train

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from kg.runs import Run
    from kg.store import Store
    from kg.store.leases import Lease

TESTED = ("chr8", "chr9")  # held out where contacts or eQTLs guide and nobody says otherwise


@dataclass(frozen=True)
class RetrainOptions:
    """What to train again, and how.

    Attributes:
        slots: only these; all that are published when empty.
        if_changed: only where evidence has changed that the model reads.
        warm: start from the weights of the published run.
        held_out: chromosomes whose CONTACTS and EQTL rows test the runs and do not guide them; None for those of the
            published run or, where it has none and such rows guide it, chr8 and chr9.
        device, threads: as in `models.jobs.train.TrainingRequest`; None for those of the published run.
        gate: what decides on publishing.
    """

    slots: tuple[str, ...] = ()
    if_changed: bool = False
    warm: bool = True
    held_out: tuple[str, ...] | None = None
    device: str | None = None
    threads: int | None = None
    gate: Gate = field(default_factory=Gate)


@dataclass(frozen=True)
class Retrained:
    """What came of a slot.

    Attributes:
        parent: the run that was published.
        run: the new one; None when training failed.
        warm: it started from the parent's weights.
        published: it is served now.
        reason: for people.
        gate: what was compared.
    """

    slot: str
    parent: str
    run: str | None
    warm: bool
    published: bool
    reason: str
    gate: dict[str, Any]


def retrain(
    store: Store, home: Path, wanted: RetrainOptions, holder: str = "regkg retrain", progress: Progress = SILENT
) -> tuple[list[Decision], list[Retrained]]:
    """Decide on each published run, and train, judge and publish where that is decided.

    A failed training or gate leaves the old run published and goes on with the next slot.

    Args:
        store: the graph.
        home: where runs lie.
        wanted: what and how.
        holder: the command, as the refusal of another retrain names it.
        progress: where to report.

    Raises:
        Conflict: another retrain is under way.
        UnknownRelease: nothing is published.
        NotFound: no run is published for a slot.
    """
    with held(store, holder, RETRAIN, renewed=True) as lease:
        found = decisions(store, wanted.slots)
        chosen = [d for d in found if d.retrain or not wanted.if_changed]
        return found, [_retrain_slot(store, home, decision, wanted, lease, progress) for decision in chosen]


def leave_out(
    store: Store,
    home: Path,
    wanted: RetrainOptions,
    without: Sequence[str],
    holder: str = "regkg retrain --without",
    progress: Progress = SILENT,
) -> list[Run]:
    """Train published runs on the release that they read, without some datasets: experiments, never published.

    Raises:
        Conflict: no such run has read all of these datasets, or another retrain is under way.
        UnknownRelease, NotFound: as in `retrain`.
    """
    with held(store, holder, RETRAIN, renewed=True):
        parents = [runs.run(store, run) for slot, run in sorted(served(store).runs.items()) if _is_wanted(slot, wanted)]
        chosen = [p for p in parents if set(without) <= set(p.datasets) and not p.derived]
        if not chosen:
            read = "; ".join(f"{p.id} read {', '.join(sorted(p.datasets))}" for p in parents)
            raise Conflict(f"no published run has read {', '.join(without)}", read or "regkg runs list")
        requests = [replace(request_for(store, p, wanted, tested=()), without=tuple(without)) for p in chosen]
        return [
            train.train(store, home, request, progress, release=p.release)
            for p, request in zip(chosen, requests, strict=True)
        ]


def request_for(
    store: Store, parent: Run, wanted: RetrainOptions, *, tested: tuple[str, ...] = TESTED
) -> train.TrainingRequest:
    """How the parent was asked for, as its successor is to be: the same options, cells and edge types.

    A start from weights that saw the edges of a chromosome that is now held out would make its test worthless, so
    such a start is a cold one.
    """
    asked = runs.environment(store, parent.id).get("request")
    before = train.TrainingRequest.of(asked) if asked else train.TrainingRequest(parent.model, parent.cells)
    known = {f.name for f in fields(registry.get(parent.model).config)}
    guiding = [t for t in HELD_OUT if t in parent.edge_types]
    usual = before.held_out or (tested if guiding else ())
    held_out = usual if wanted.held_out is None else wanted.held_out
    clean = all(set(held_out) <= (gates.unseen(store, parent, t) or set()) for t in guiding)
    return replace(
        before,
        options={name: value for name, value in parent.config.items() if name in known},
        edge_types=parent.edge_types,
        held_out=held_out,
        without=(),
        parent=parent.id,
        warm=wanted.warm and clean,
        device=wanted.device or before.device,
        threads=wanted.threads or before.threads,
    )


def _is_wanted(slot: str, wanted: RetrainOptions) -> bool:
    return not wanted.slots or slot in wanted.slots


def _retrain_slot(
    store: Store, home: Path, decision: Decision, wanted: RetrainOptions, lease: Lease, progress: Progress
) -> Retrained:
    parent = runs.run(store, decision.run)
    try:
        child = _trained(store, home, decision, parent, wanted, progress)
    except (TrainingError, InputError, NotFound) as error:
        progress.say(f"{decision.slot}: {error.message}")
        return Retrained(decision.slot, parent.id, None, warm=False, published=False, reason=error.message, gate={})
    verdict = gates.judge(store, wanted.gate, parent, child, child.release)
    told = gates.as_json(verdict)
    with replaced(run_folder(home, child.id) / "gate.json") as path:
        path.write_text(json.dumps({"parent": parent.id, **told}, indent=1))
    runs.add_note(store, child.id, verdict.reason)
    published, reason = _publish(store, decision, child, verdict, lease, progress)
    progress.say(f"{decision.slot}: {child.id}: {reason}")
    warm = bool(runs.environment(store, child.id)["request"]["warm"])
    return Retrained(decision.slot, parent.id, child.id, warm=warm, published=published, reason=reason, gate=told)


def _trained(
    store: Store, home: Path, decision: Decision, parent: Run, wanted: RetrainOptions, progress: Progress
) -> Run:
    if decision.interrupted is not None:
        progress.say(f"{decision.slot}: {decision.interrupted} was cut short and goes on")
        return train.resume(store, home, decision.interrupted, progress)
    request = request_for(store, parent, wanted)
    if wanted.warm and not request.warm:
        chroms = ", ".join(request.held_out)
        progress.say(f"warning: a cold start, for the weights of {parent.id} have seen edges of {chroms}")
    return train.train(store, home, request, progress, release=decision.served)


def _publish(
    store: Store, decision: Decision, child: Run, verdict: GateVerdict, lease: Lease, progress: Progress
) -> tuple[bool, str]:
    """Serve the run, unless the gate failed or somebody changed what is served for its slot meanwhile."""
    if not verdict.passed:
        return False, verdict.reason
    store.transaction(lease.check)
    now = served(store).runs.get(decision.slot)
    if now != decision.run:
        return False, f"{verdict.reason}; but {now} is published for {decision.slot} meanwhile, so it was left"
    runs.publish_run(store, child.id, f"retrained from {decision.run}; {verdict.reason}", progress)
    return True, verdict.reason
