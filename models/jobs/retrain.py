"""Retraining of published runs when evidence has changed: warm start, gate, publication, one run at a time."""

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

TESTED = ("chr8", "chr9")  # held out by default where contacts or eQTLs guide


@dataclass(frozen=True)
class RetrainOptions:
    """What to retrain, and how.

    Attributes:
        slots: only these; all published ones if empty.
        if_changed: only where evidence that the model reads has changed.
        warm: start from the weights of the published run.
        held_out: chromosomes whose CONTACTS and EQTL rows test the runs instead of guiding them; None for those of the
            published run or, if it has none and such rows guide it, chr8 and chr9.
        device, threads: as in `models.jobs.train.TrainingRequest`; None for those of the published run.
        gate: decides on publication.
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
    """The outcome for one slot.

    Attributes:
        parent: the run that was published.
        run: the new run; None if training failed.
        warm: whether it started from the parent's weights.
        published: whether it is served now.
        reason: in words.
        gate: the comparisons of the gate.
    """

    slot: str
    parent: str
    run: str | None
    warm: bool
    published: bool
    reason: str
    gate: dict[str, Any]


def retrain(
    store: Store, home: Path, options: RetrainOptions, holder: str = "regkg retrain", progress: Progress = SILENT
) -> tuple[list[Decision], list[Retrained]]:
    """Decide on each published run; train, judge and publish where needed.

    After a failed training or gate the old run stays published, and the next slot follows.

    Args:
        store: the graph.
        home: REGKG_HOME, where runs are kept.
        options: what to retrain, and how.
        holder: the command, as named when another retrain is refused.
        progress: where to report.

    Raises:
        Conflict: another retrain is under way.
        UnknownRelease: nothing is published.
        NotFound: a slot has no published run.
    """
    with held(store, holder, RETRAIN, renewed=True) as lease:
        decided = decisions(store, options.slots)
        chosen = [d for d in decided if d.retrain or not options.if_changed]
        return decided, [_retrain_slot(store, home, decision, options, lease, progress) for decision in chosen]


def leave_out(
    store: Store,
    home: Path,
    options: RetrainOptions,
    without: Sequence[str],
    holder: str = "regkg retrain --without",
    progress: Progress = SILENT,
) -> list[Run]:
    """Retrain published runs on the release that they read, without some datasets; these experiments stay unpublished.

    Raises:
        Conflict: no such run has read all of these datasets, or another retrain is under way.
        UnknownRelease, NotFound: as in `retrain`.
    """
    with held(store, holder, RETRAIN, renewed=True):
        parents = [
            runs.run(store, run) for slot, run in sorted(served(store).runs.items()) if _is_chosen(slot, options)
        ]
        chosen = [p for p in parents if set(without) <= set(p.datasets) and not p.derived]
        if not chosen:
            read = "; ".join(f"{p.id} read {', '.join(sorted(p.datasets))}" for p in parents)
            raise Conflict(f"no published run has read {', '.join(without)}", read or "regkg runs list")
        requests = [replace(request_for(store, p, options, tested=()), without=tuple(without)) for p in chosen]
        return [
            train.train(store, home, request, progress, release=p.release)
            for p, request in zip(chosen, requests, strict=True)
        ]


def request_for(
    store: Store, parent: Run, options: RetrainOptions, *, tested: tuple[str, ...] = TESTED
) -> train.TrainingRequest:
    """Return the request of a successor: the parent's options, cells and edge types.

    Weights that have seen edges of a chromosome that is now held out would invalidate its test, so the start is then
    cold.
    """
    recorded = runs.environment(store, parent.id).get("request")
    before = train.TrainingRequest.of(recorded) if recorded else train.TrainingRequest(parent.model, parent.cells)
    known = {f.name for f in fields(registry.get(parent.model).config)}
    guiding = [t for t in HELD_OUT if t in parent.edge_types]
    default = before.held_out or (tested if guiding else ())
    held_out = default if options.held_out is None else options.held_out
    clean = all(set(held_out) <= (gates.unseen(store, parent, t) or set()) for t in guiding)
    return replace(
        before,
        options={name: value for name, value in parent.config.items() if name in known},
        edge_types=parent.edge_types,
        held_out=held_out,
        without=(),
        parent=parent.id,
        warm=options.warm and clean,
        device=options.device or before.device,
        threads=options.threads or before.threads,
    )


def _is_chosen(slot: str, options: RetrainOptions) -> bool:
    return not options.slots or slot in options.slots


def _retrain_slot(
    store: Store, home: Path, decision: Decision, options: RetrainOptions, lease: Lease, progress: Progress
) -> Retrained:
    parent = runs.run(store, decision.run)
    try:
        child = _train_child(store, home, decision, parent, options, progress)
    except (TrainingError, InputError, NotFound) as error:
        progress.say(f"{decision.slot}: {error.message}")
        return Retrained(decision.slot, parent.id, None, warm=False, published=False, reason=error.message, gate={})
    verdict = gates.judge(store, options.gate, parent, child, child.release)
    comparisons = gates.as_json(verdict)
    with replaced(run_folder(home, child.id) / "gate.json") as path:
        path.write_text(json.dumps({"parent": parent.id, **comparisons}, indent=1))
    runs.add_note(store, child.id, verdict.reason)
    published, reason = _publish(store, decision, child, verdict, lease, progress)
    progress.say(f"{decision.slot}: {child.id}: {reason}")
    warm = bool(runs.environment(store, child.id)["request"]["warm"])
    return Retrained(
        decision.slot, parent.id, child.id, warm=warm, published=published, reason=reason, gate=comparisons
    )


def _train_child(
    store: Store, home: Path, decision: Decision, parent: Run, options: RetrainOptions, progress: Progress
) -> Run:
    if decision.interrupted is not None:
        progress.say(f"{decision.slot}: resuming {decision.interrupted}, which was interrupted")
        return train.resume(store, home, decision.interrupted, progress)
    request = request_for(store, parent, options)
    if options.warm and not request.warm:
        chroms = ", ".join(request.held_out)
        progress.say(f"warning: a cold start, because the weights of {parent.id} have seen edges of {chroms}")
    return train.train(store, home, request, progress, release=decision.served)


def _publish(
    store: Store, decision: Decision, child: Run, verdict: GateVerdict, lease: Lease, progress: Progress
) -> tuple[bool, str]:
    """Publish the run, unless the gate failed or another run was published for its slot in the meantime."""
    if not verdict.passed:
        return False, verdict.reason
    store.transaction(lease.check)
    now = served(store).runs.get(decision.slot)
    if now != decision.run:
        return False, f"{verdict.reason}; but {now} was published for {decision.slot} in the meantime, so it stays"
    runs.publish_run(store, child.id, f"retrained from {decision.run}; {verdict.reason}", progress)
    return True, verdict.reason
