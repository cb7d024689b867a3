"""Which published runs rest on evidence that has changed since, by how much, and so which to train again."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from kg.errors import Conflict, NotFound
from kg.releases import diff, served
from kg.runs.records import guiding, run, runs
from kg.schema import EDGE_TYPES, GENE, PEAK

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from kg.releases.diff import RowChange
    from kg.runs.records import Run
    from kg.store import Store


@dataclass(frozen=True)
class Change:
    """What changed in one dataset, in rows of the types that a model reads.

    Attributes:
        added, removed, changed: rows.
        genes, peaks: distinct ones that such a row is about, or has at an end.
    """

    dataset: str
    added: int
    removed: int
    changed: int
    genes: int
    peaks: int

    def __str__(self) -> str:
        rows = f"{self.added:,} rows added, {self.removed:,} removed, {self.changed:,} changed"
        return f"{self.dataset}: {rows}, at {self.genes:,} genes and {self.peaks:,} peaks"


@dataclass(frozen=True)
class Decision:
    """Whether to train a published run again.

    Attributes:
        run: the one that is published for the slot.
        release: that it read.
        served: the release that is served.
        edge_types: that guide its model; nodes at their ends are read as well.
        datasets: that it used.
        changes: in datasets that it used, or would use now.
        retrain: the decision.
        reason: for people.
        interrupted: a run that was to replace this one on the served release, and was cut short.
    """

    slot: str
    run: str
    release: int
    served: int
    edge_types: tuple[str, ...]
    datasets: tuple[str, ...]
    changes: tuple[Change, ...]
    retrain: bool
    reason: str
    interrupted: str | None = None


def decisions(store: Store, slots: Sequence[str] = ()) -> list[Decision]:
    """One for each published run, by slot; derived ones are left out.

    Args:
        store: the graph.
        slots: only these, such as glue:cortex; all when empty.

    Raises:
        UnknownRelease: nothing is published.
        NotFound: no run is published for one of the slots.
        Conflict: one of the slots is served by a derived run.
    """
    now = served(store)
    unknown = sorted(set(slots) - set(now.runs))
    if unknown:
        listed = ", ".join(sorted(now.runs)) or "none"
        raise NotFound(f"no run is published for {', '.join(unknown)}", f"published slots: {listed}")
    everyone = runs(store)
    chosen = {slot: run(store, now.runs[slot]) for slot in sorted(slots or now.runs)}
    derived = [slot for slot, of in chosen.items() if of.derived]
    if slots and derived:
        raise Conflict(f"what serves {', '.join(derived)} is derived, not trained", "regkg runs targets RUN")
    return [_decision(store, of, now.release, everyone) for of in chosen.values() if not of.derived]


def changes(store: Store, types: Sequence[str], first: int, second: int) -> tuple[Change, ...]:
    """What differs between two releases in rows of these node and edge types, by dataset."""
    counts: dict[str, list[int]] = {}
    for one in diff.summary(store, first, second, types):
        total = counts.setdefault(one.dataset, [0, 0, 0])
        counts[one.dataset] = [total[0] + one.added, total[1] + one.removed, total[2] + one.changed]
    touched = _touched(diff.rows(store, first, second, types)) if counts else {}
    return tuple(
        Change(dataset, *rows, *(len(ids) for ids in touched.get(dataset, (set(), set()))))
        for dataset, rows in sorted(counts.items())
    )


def read_types(of: Run) -> list[str]:
    """The edge types that a run read, the node types at their ends, and what other nodes it read."""
    names = guiding(of)
    ends = (label for name in names for label in (EDGE_TYPES[name].start, EDGE_TYPES[name].end))
    return sorted({*names, *ends, *of.node_types})


def _touched(rows: Iterable[RowChange]) -> dict[str, tuple[set[str], set[str]]]:
    """Dataset -> genes and peaks of its rows; what is kept grows with nodes, not with rows."""
    found: dict[str, tuple[set[str], set[str]]] = {}
    for row in rows:
        held = found.setdefault(row.dataset, (set(), set()))
        edge = EDGE_TYPES.get(row.type)
        labels = (edge.start, edge.end) if edge else (row.type, "")
        for label, node in zip(labels, (row.start_id, row.end_id), strict=True):
            if node is not None and label in (GENE.label, PEAK.label):
                held[label == PEAK.label].add(node)
    return found


def _decision(store: Store, of: Run, release: int, everyone: Sequence[Run]) -> Decision:
    found = changes(store, read_types(of), of.release, release) if of.release != release else ()
    heirs = [r for r in everyone if (r.parent, r.slot, r.release) == (of.id, of.slot, release) and not r.experiment]
    done = next((r for r in heirs if r.outcome == "complete"), None)
    cut = next((r.id for r in heirs if r.interrupted), None)
    if not found:
        same = (
            "it read the served release" if of.release == release else f"{len(of.datasets)} datasets are as they were"
        )
        retrain, reason = False, same
    elif done is not None:
        told = f": {done.note}" if done.note else ""
        retrain, reason = False, f"{done.id} was trained on release {release} already and is not published{told}"
    else:
        retrain, reason = True, "; ".join(map(str, found))
    return Decision(
        of.slot, of.id, of.release, release, guiding(of), tuple(sorted(of.datasets)), found,
        retrain, reason, cut if retrain else None,
    )  # fmt: skip
