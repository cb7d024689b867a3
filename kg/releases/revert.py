"""Undoing a release in the draft: what it added goes, what it took away comes back, later work stays.

Each dataset that the release touched is loaded again with the inverse applied to its rows of today, so comparing,
hashes, checks of ends and resuming after a kill are those of every load.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from kg.errors import Conflict, SchemaError, UnknownRelease
from kg.evidence.datasets import DatasetVersion, Snapshot, Source, dataset_versions
from kg.evidence.draft import Draft, open_draft
from kg.progress import SILENT, Progress
from kg.releases.diff import Difference, summary
from kg.schema import OPEN, EdgeType, NodeType, RowType, row_type
from kg.schema.batches import Batch, EdgeBatch, NodeBatch

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from kg.store import Store

NAMED = 3  # rows that a refusal names


@dataclass(frozen=True)
class _Row:
    """A stored row: its columns in declared order, and how long it holds."""

    id: str
    hash: str
    since: int
    until: int
    part: str | None
    values: Sequence[Any]


def revert(store: Store, release: int, progress: Progress = SILENT) -> list[Difference]:
    """Draft the inverse of a release; publishing it is another command.

    A kill leaves datasets that publish refuses; the same command again finishes them.

    Args:
        store: the graph.
        release: whose changes are undone.
        progress: hears of each dataset.

    Returns:
        How the draft now differs from the latest release.

    Raises:
        UnknownRelease: there is none of this number.
        Conflict: later releases or the draft touched the same rows, or other rows rest on what would go.
        SchemaError: rows that would come back rest on nodes that are gone.
        DraftHeld: another writer has the draft.
    """
    with open_draft(store, f"regkg release revert {release}", after_rollback=True) as draft:
        if not 0 < release < draft.number:
            raise UnknownRelease(f"there is no release {release}", "regkg release list")
        touched = _touched(store, release)
        _check_untouched(draft, [v.dataset for v in touched], release)
        undone = {v.dataset: _undone(store, v, release, draft.number) for v in touched}
        draft.suspend([v.dataset for v in touched], release)
        try:
            for version, leaving in _in_order(touched):
                progress.say(f"{version.dataset}: undoing release {release}")
                _load(draft, version, undone[version.dataset], progress, leaving=leaving)
        except (Conflict, SchemaError):
            for version, _ in _in_order(touched):
                draft.take_back(version.dataset, progress)
            raise
        store.write("MATCH (s:Pointer {name: 'served'}) WHERE s.held = $release SET s.held = null", release=release)
        return summary(store, draft.number - 1, draft.number)


@dataclass(frozen=True)
class _Undone:
    """Rows of a dataset by type: without what the release added; with what it took away as well; and its parts.

    before: the version that the release replaced, when nothing touched the dataset since; None otherwise.
    """

    staying: Mapping[str, list[_Row]]
    wanted: Mapping[str, list[_Row]]
    parts: list[str | None]
    before: DatasetVersion | None


def _touched(store: Store, release: int) -> list[DatasetVersion]:
    before = {v.dataset: v for v in dataset_versions(store, release - 1)}
    return [
        v
        for v in dataset_versions(store, release)
        if v.since == release and v.hashes != (before[v.dataset].hashes if v.dataset in before else None)
    ]


def _check_untouched(draft: Draft, datasets: Sequence[str], release: int) -> None:
    held = [
        v.dataset
        for v in draft.datasets()
        if v.dataset in datasets and v.since == draft.number and v.reverts != release
    ]
    if held:
        raise Conflict(
            f"the draft has changes of {', '.join(held)} already", "publish them, or `regkg release discard`, first"
        )


def _in_order(touched: Sequence[DatasetVersion]) -> list[tuple[DatasetVersion, bool]]:
    """Return the order of undoing: what rests on nodes leaves (True) before them, and comes back after them."""
    nodes, edges = [v for v in touched if not v.looked_up], [v for v in touched if v.looked_up]
    return [*((v, True) for v in edges), *((v, False) for v in nodes), *((v, False) for v in edges)]


def _undone(store: Store, version: DatasetVersion, release: int, draft: int) -> _Undone:
    staying, wanted, parts = {}, {}, set()
    for name in version.hashes:
        rows = list(_rows(store, row_type(name), version.dataset, release, draft))
        staying[name], wanted[name] = _inverted(rows, name, version.dataset, release, draft)
        parts |= {row.part for row in rows}
    if None in parts and len(parts) > 1:
        raise Conflict(
            f"{version.dataset!r} has rows of named parts and others, which cannot be told apart",
            "load the whole dataset as it should be",
        )
    later = next((v for v in dataset_versions(store, draft - 1) if v.dataset == version.dataset), version)
    before = next((v for v in dataset_versions(store, release - 1) if v.dataset == version.dataset), None)
    return _Undone(staying, wanted, sorted(parts, key=str), before if later.since == release else None)


def _inverted(rows: Sequence[_Row], name: str, dataset: str, release: int, draft: int) -> tuple[list[_Row], list[_Row]]:
    """Return rows of today that the release did not write; and these with those that it closed."""
    now = {row.id: row for row in rows if row.until == OPEN}
    gone = {row.id: row for row in rows if row.until == release}
    # what an earlier attempt has undone belongs to the draft
    later = {row.id for row in rows if row.since == release and row.until not in (OPEN, draft)}
    later |= {row_id for row_id in gone if row_id in now and now[row_id].since not in (release, draft)}
    if later:
        raise Conflict(
            f"{len(later):,} {name} rows of {dataset!r} that release {release} wrote were changed after it, "
            f"such as {', '.join(sorted(later)[:NAMED])}",
            "revert the later release first, or load the dataset as it should be",
        )
    staying = [row for row in now.values() if row.since != release]
    here = {row.id for row in staying}
    return staying, [*staying, *(row for row in gone.values() if row.id not in here)]


def _rows(store: Store, type_: RowType, dataset: str, release: int, draft: int) -> Iterable[_Row]:
    if isinstance(type_, NodeType):
        pattern, key, ends = f"(n:{type_.node_label})-[:HAS_RECORD]->(r:{type_.record_label})", "row_id", ["n.id"]
    else:
        pattern, key = f"(a:{type_.start})-[r:{type_.name}]->(b:{type_.end})", "edge_id"
        ends = ["a.id", "b.id"]
    columns = [*ends, *(f"r.{name}" for name in type_.schema.names[len(ends) :])]
    stored = store.stream(
        f"MATCH {pattern} WHERE r.dataset = $dataset "
        "AND (r.until IN [$open, $draft, $release] OR r.since = $release) "
        f"RETURN r.{key}, r.row_hash, r.since, r.until, r.part, {', '.join(columns)}",
        dataset=dataset, open=OPEN, draft=draft, release=release,
    )  # fmt: skip
    return (_Row(id_, hash_, since, until, part, values) for id_, hash_, since, until, part, *values in stored)


def _load(draft: Draft, version: DatasetVersion, undone: _Undone, progress: Progress, *, leaving: bool) -> None:
    """Make the draft's rows of a dataset the wanted ones, part by part where it has parts."""
    source = Source(version.dataset, version.source, derived=version.derived, looked_up=version.looked_up)
    wanted, parts = undone.staying if leaving else undone.wanted, undone.parts or [None]
    for part in parts:
        batches = [
            _batch(row_type(name), [row.values for row in rows if row.part == part]) for name, rows in wanted.items()
        ]
        snapshot = replace(
            _snapshot(version, undone.before),
            unfinished=leaving or part != parts[-1],
            withdrawn=not any(wanted.values()),
        )
        draft.load(source, snapshot, batches, part=part, replace=True, progress=progress)


def _snapshot(version: DatasetVersion, before: DatasetVersion | None) -> Snapshot:
    """Return what was loaded: the files of the version before, where the rows are those again."""
    basis = before or version
    files = basis.sha256[-1:] if before else ()
    return Snapshot(files, basis.loader, json.loads(basis.parameters), basis.rejected, reverts=version.since)


def _batch(type_: RowType, values: Sequence[Sequence[Any]]) -> Batch:
    columns: list[Any] = list(zip(*values, strict=True)) or [[] for _ in type_.schema]
    arrays = [pa.array(column, field.type) for column, field in zip(columns, type_.schema, strict=True)]
    table = pa.table(arrays, schema=type_.schema)
    return EdgeBatch(type_, table) if isinstance(type_, EdgeType) else NodeBatch(type_, table)
