"""What differs between two releases: counts by dataset and type at once, the rows one after another.

A row of a release is closed by a later one or opened by it; a row that changed is closed and opened under the same
row id. Only datasets and types whose hashes differ are looked at, and rows are streamed, so memory stays flat.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from kg.errors import UnknownRelease
from kg.evidence.datasets import dataset_versions
from kg.schema import EdgeType, NodeType, RowType, evidence_types

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from kg.evidence.datasets import DatasetVersion
    from kg.store import Store

ROWS = 20_000  # a table of `tables`
SCHEMA = pa.schema(
    [
        pa.field(name, pa.string(), nullable=name in ("end_id", "before", "after"))
        for name in ("change", "type", "dataset", "row_id", "start_id", "end_id", "before", "after")
    ]
)


@dataclass(frozen=True)
class Difference:
    """How many rows of a dataset and type differ; rows are as the second release has them."""

    dataset: str
    type: str
    added: int
    removed: int
    changed: int
    rows: int


@dataclass(frozen=True)
class RowChange:
    """One row that differs.

    Attributes:
        change: added, removed or changed.
        type, dataset, row_id: which row; row_id is the same in every release.
        start_id, end_id: of an edge; a node has its id as start_id, and no end.
        before, after: its columns in the first and in the second release; None where it has none.
    """

    change: str
    type: str
    dataset: str
    row_id: str
    start_id: str
    end_id: str | None
    before: Mapping[str, Any] | None
    after: Mapping[str, Any] | None


def summary(store: Store, first: int, second: int, types: Sequence[str] = ()) -> list[Difference]:
    """Return counts for every dataset and type of which a row differs, by dataset.

    Args:
        store: the graph.
        first, second: releases (or the draft's number); the first may be the later one.
        types: names of node and edge types; none means all.

    Raises:
        UnknownRelease: there is no such release.
    """
    older, newer = _ordered(store, first, second)
    held = {(v.dataset, name): n for v in dataset_versions(store, second) for name, n in v.rows.items()}
    differences = []
    for dataset, type_ in _differing(store, older, newer, types):
        n = store.read(_counts(type_), dataset=dataset, older=older, newer=newer)[0]
        changed = n["paired"] - n["same"]
        added, removed = n["opened"] - n["paired"], n["closed"] - n["paired"]
        if first > second:
            added, removed = removed, added
        if added or removed or changed:
            differences.append(
                Difference(dataset, type_.name, added, removed, changed, held.get((dataset, type_.name), 0))
            )
    return differences


def rows(
    store: Store, first: int, second: int, types: Sequence[str] = (), datasets: Sequence[str] = ()
) -> Iterator[RowChange]:
    """Yield every row that differs, by dataset and type; arguments and errors as in `summary`."""
    older, newer = _ordered(store, first, second)
    for dataset, type_ in _differing(store, older, newer, types):
        if datasets and dataset not in datasets:
            continue
        for query in (_closed(type_), _opened(type_)):
            for row_id, start, end, before, after in store.stream(query, dataset=dataset, older=older, newer=newer):
                sides = (before, after) if first < second else (after, before)
                change = "added" if sides[0] is None else "removed" if sides[1] is None else "changed"
                yield RowChange(change, type_.name, dataset, row_id, start, end, *sides)


def tables(changes: Iterator[RowChange]) -> Iterator[pa.Table]:
    """Yield the rows as tables of SCHEMA, the columns before and after as JSON."""
    pending: list[dict[str, Any]] = []
    for change in changes:
        pending.append(as_row(change))
        if len(pending) == ROWS:
            yield pa.Table.from_pylist(pending, SCHEMA)
            pending = []
    if pending:
        yield pa.Table.from_pylist(pending, SCHEMA)


def as_row(change: RowChange) -> dict[str, Any]:
    """Return a row of `tables`."""
    sides = {
        name: None if columns is None else json.dumps(columns, sort_keys=True)
        for name, columns in (("before", change.before), ("after", change.after))
    }
    return {**vars(change), **sides}


def _ordered(store: Store, first: int, second: int) -> tuple[int, int]:
    known = {row["n"] for row in store.read("MATCH (r:Release) RETURN r.number AS n")}
    known.add(max(known, default=0) + 1)  # the draft
    for number in (first, second):
        if number not in known:
            raise UnknownRelease(f"there is no release {number}", "regkg release list")
    return min(first, second), max(first, second)


def _differing(store: Store, older: int, newer: int, types: Sequence[str]) -> list[tuple[str, RowType]]:
    """Return datasets and types whose hashes differ; a version that does not name a type has no rows of it."""
    before, after = (_hashes(dataset_versions(store, number)) for number in (older, newer))
    order = {type_.name: (at, type_) for at, type_ in enumerate(evidence_types()) if not types or type_.name in types}
    unequal = {key for key in {*before, *after} if before.get(key) != after.get(key) and key[1] in order}
    return [(dataset, order[name][1]) for dataset, name in sorted(unequal, key=lambda k: (k[0], order[k[1]][0]))]


def _hashes(versions: Sequence[DatasetVersion]) -> dict[tuple[str, str], str]:
    return {(v.dataset, name): h for v in versions for name, h in v.hashes.items() if int(h, 16)}


# A row of the older release that the newer one has no more, or not in this form; and the other way round.
_IS_CLOSED = "r.dataset = $dataset AND r.since <= $older AND $older < r.until AND r.until <= $newer"
_IS_OPENED = "r.dataset = $dataset AND r.since > $older AND r.since <= $newer AND $newer < r.until"


def _pattern(type_: RowType, row: str) -> tuple[str, str, str]:
    """Return the pattern that binds a row, its id property, and the ids of its ends."""
    if isinstance(type_, NodeType):
        owner = f"(n:{type_.node_label})-[:HAS_RECORD]->" if row == "r" else ""
        return f"{owner}({row}:{type_.record_label})", "row_id", "n.id AS start, null AS end"
    if row == "r":
        return f"(a:{type_.start})-[r:{type_.name}]->(b:{type_.end})", "edge_id", "a.id AS start, b.id AS end"
    return f"()-[{row}:{type_.name}]->()", "edge_id", ""


def _columns(type_: RowType, row: str) -> str:
    names = type_.schema.names[2 if isinstance(type_, EdgeType) else 1 :]
    return f"{row} {{{', '.join(f'.{name}' for name in names)}}}"


def _partner(type_: RowType, at: str) -> str:
    """Return the row `o` of the same id that is open at the other release."""
    pattern, key, _ = _pattern(type_, "o")
    return f"MATCH {pattern} WHERE o.{key} = r.{key} AND o.since <= {at} AND {at} < o.until"


def _closed(type_: RowType) -> str:
    pattern, key, ends = _pattern(type_, "r")
    return (
        f"MATCH {pattern} WHERE {_IS_CLOSED} OPTIONAL {_partner(type_, '$newer')} "
        # a row that went and came back as it was does not differ
        "WITH * WHERE o IS NULL OR o.row_hash <> r.row_hash "
        f"RETURN r.{key}, {ends}, {_columns(type_, 'r')} AS before, {_columns(type_, 'o')} AS after"
    )


def _opened(type_: RowType) -> str:
    pattern, key, ends = _pattern(type_, "r")
    return (
        f"MATCH {pattern} WHERE {_IS_OPENED} AND NOT EXISTS {{ {_partner(type_, '$older')} }} "
        f"RETURN r.{key}, {ends}, null AS before, {_columns(type_, 'r')} AS after"
    )


def _counts(type_: RowType) -> str:
    pattern, _, _ = _pattern(type_, "r")
    return (
        f"CALL () {{ MATCH {pattern} WHERE {_IS_OPENED} RETURN count(*) AS opened }} "
        f"CALL () {{ MATCH {pattern} WHERE {_IS_CLOSED} OPTIONAL {_partner(type_, '$newer')} "
        "RETURN count(*) AS closed, count(o) AS paired, count(CASE WHEN o.row_hash = r.row_hash THEN 1 END) AS same } "
        "RETURN opened, closed, paired, same"
    )
