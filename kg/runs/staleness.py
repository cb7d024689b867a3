"""Staleness: which published runs rest on evidence that has changed since, by how much, and which to retrain."""

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
class DatasetChange:
    """The changes in one dataset, in rows of the types that a model reads.

    Attributes:
        added, removed, changed: numbers of rows.
        genes, peaks: numbers of distinct genes and peaks that such rows describe or join.
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
        run: the run that is published for the slot.
        release: the release that it read.
        served: the release that is served.
        edge_types: edge types that guide its model; nodes at their ends are read as well.
        datasets: datasets that it used.
        changes: in datasets that it used, or would use now.
        retrain: the decision.
        reason: in words.
        interrupted: a run that was to replace this one on the served release, and was interrupted.
    """

    slot: str
    run: str
    release: int
    served: int
    edge_types: tuple[str, ...]
    datasets: tuple[str, ...]
    changes: tuple[DatasetChange, ...]
    retrain: bool
    reason: str
    interrupted: str | None = None


def decisions(store: Store, slots: Sequence[str] = ()) -> list[Decision]:
    """Decide for each published run, by slot, whether to retrain it; derived runs are left out.

    Args:
        store: the graph.
        slots: only these, such as glue:cortex; all if empty.

    Raises:
        UnknownRelease: nothing is published.
        NotFound: a slot has no published run.
        Conflict: a slot is served by a derived run.
    """
    publication = served(store)
    unknown = sorted(set(slots) - set(publication.runs))
    if unknown:
        listed = ", ".join(sorted(publication.runs)) or "none"
        raise NotFound(f"no run is published for {', '.join(unknown)}", f"published slots: {listed}")
    all_runs = runs(store)
    chosen = {slot: run(store, publication.runs[slot]) for slot in sorted(slots or publication.runs)}
    derived = [slot for slot, of in chosen.items() if of.derived]
    if slots and derived:
        raise Conflict(f"the run published for {', '.join(derived)} is derived, not trained", "regkg runs targets RUN")
    return [_decision(store, of, publication.release, all_runs) for of in chosen.values() if not of.derived]


def changes(store: Store, types: Sequence[str], first: int, second: int) -> tuple[DatasetChange, ...]:
    """Return what differs between two releases in rows of these node and edge types, by dataset."""
    counts: dict[str, list[int]] = {}
    for summary in diff.summary(store, first, second, types):
        total = counts.setdefault(summary.dataset, [0, 0, 0])
        counts[summary.dataset] = [total[0] + summary.added, total[1] + summary.removed, total[2] + summary.changed]
    touched = _touched(diff.rows(store, first, second, types)) if counts else {}
    return tuple(
        DatasetChange(dataset, *rows, *(len(ids) for ids in touched.get(dataset, (set(), set()))))
        for dataset, rows in sorted(counts.items())
    )


def read_types(of: Run) -> list[str]:
    """Return the edge types that a run read, the node types at their ends, and other nodes that it read."""
    names = guiding(of)
    ends = (label for name in names for label in (EDGE_TYPES[name].start, EDGE_TYPES[name].end))
    return sorted({*names, *ends, *of.node_types})


def _touched(rows: Iterable[RowChange]) -> dict[str, tuple[set[str], set[str]]]:
    """Return the genes and peaks of the rows of each dataset; memory grows with nodes, not with rows."""
    by_dataset: dict[str, tuple[set[str], set[str]]] = {}
    for row in rows:
        touched = by_dataset.setdefault(row.dataset, (set(), set()))
        edge = EDGE_TYPES.get(row.type)
        labels = (edge.start, edge.end) if edge else (row.type, "")
        for label, node in zip(labels, (row.start_id, row.end_id), strict=True):
            if node is not None and label in (GENE.label, PEAK.label):
                touched[label == PEAK.label].add(node)
    return by_dataset


def _decision(store: Store, of: Run, release: int, all_runs: Sequence[Run]) -> Decision:
    changed = changes(store, read_types(of), of.release, release) if of.release != release else ()
    successors = [
        r for r in all_runs if (r.parent, r.slot, r.release) == (of.id, of.slot, release) and not r.experiment
    ]
    completed = next((r for r in successors if r.outcome == "complete"), None)
    interrupted = next((r.id for r in successors if r.interrupted), None)
    if not changed:
        same = (
            "it read the served release"
            if of.release == release
            else f"its {len(of.datasets)} datasets have not changed"
        )
        retrain, reason = False, same
    elif completed is not None:
        note = f": {completed.note}" if completed.note else ""
        retrain, reason = False, f"{completed.id} was already trained on release {release} and is not published{note}"
    else:
        retrain, reason = True, "; ".join(map(str, changed))
    return Decision(
        of.slot, of.id, of.release, release, guiding(of), tuple(sorted(of.datasets)), changed,
        retrain, reason, interrupted if retrain else None,
    )  # fmt: skip
