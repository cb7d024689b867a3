"""Writes the rows of one type and dataset in batches, each in a transaction that checks the lease."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

from kg.errors import StoreRefused
from kg.schema import OPEN, EdgeType, NodeType

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from kg.evidence.row_diff import Key
    from kg.progress import Progress
    from kg.schema import RowType
    from kg.schema.batches import Batch
    from kg.store import Store
    from kg.store.leases import Lease

ROWS = 5_000  # per transaction: a kill wastes at most this much for each writer
WRITERS = 2  # one transaction is made while the other is committed


@dataclass(frozen=True)
class NewRows:
    """Rows to create: a batch with the ids and hashes of all its rows, and the positions of those to create."""

    batch: Batch
    ids: Sequence[str]
    hashes: Sequence[str]
    positions: Sequence[int]


class RowWriter:
    """All writes of one load to one row type."""

    def __init__(
        self, store: Store, lease: Lease, type_: RowType, dataset: str, draft: int, progress: Progress
    ) -> None:
        self._store, self._lease, self._type = store, lease, type_
        self._dataset = dataset
        self._constants = {"dataset": dataset, "draft": draft, "open": OPEN}
        self._progress = progress

    def create(self, rows: NewRows, part: str | None, ends: Sequence[Mapping[str, str]] = ()) -> None:
        """Create rows, open from the draft on.

        Args:
            rows: those to create.
            part: that they belong to.
            ends: of an edge type: for start and end, the server's id of every node.
        """
        chosen = rows.batch.table.take(rows.positions) if rows.positions else rows.batch.type.schema.empty_table()
        identity = [[column[at] for at in rows.positions] for column in (rows.ids, rows.hashes)]
        columns = [*identity, *(c.to_pylist() for c in chosen.columns)]
        if isinstance(self._type, EdgeType):
            columns += [[known[node] for node in chosen.column(i).to_pylist()] for i, known in enumerate(ends)]
        values = list(zip(*columns, strict=True))
        if isinstance(self._type, EdgeType):
            values.sort(key=lambda row: (row[3], row[2]))  # edges of one node lie together in the store
        self._each(_create(self._type), values, f"writing {self._type.name}", part=part)

    def delete(self, keys: Sequence[Key]) -> None:
        """Remove rows of the draft itself; a node that keeps no record goes with its last one."""
        if isinstance(self._type, NodeType):
            tail = f"<-[:HAS_RECORD]-(n:{self._type.node_label}) DETACH DELETE r WITH n {_left_over(self._type)}"
            self._each(f"{_match(self._type)}{tail}", keys, f"removing {self._type.name}", counted=False)
        else:
            self._each(f"{_match(self._type)} DELETE r RETURN count(*) AS done", keys, f"removing {self._type.name}")

    def set_until(self, keys: Sequence[Key], until: int) -> None:
        """Close rows with the draft, or open again those that it closed."""
        query = f"{_match(self._type)} SET r.until = $until RETURN count(*) AS done"
        self._each(query, keys, f"closing {self._type.name}", until=until)

    def set_part(self, keys: Sequence[Key], part: str | None) -> None:
        """Move rows to a part; None clears it."""
        query = f"{_match(self._type)} SET r.part = $part RETURN count(*) AS done"
        self._each(query, keys, f"moving {self._type.name}", part=part)

    def _each(self, query: str, rows: Sequence[Any], task: str, *, counted: bool = True, **parameters: Any) -> None:
        if not rows:
            return
        self._progress.begin(task, len(rows), "rows")

        def write(at: int) -> int:
            chunk = [list(row) for row in rows[at : at + ROWS]]
            self._store.transaction(partial(self._one, query=query, rows=chunk, parameters=parameters, counted=counted))
            return len(chunk)

        # what is not counted looks at its neighbours, which the other writer must not change meanwhile
        with ThreadPoolExecutor(WRITERS if counted else 1) as pool:
            try:
                for count in pool.map(write, range(0, len(rows), ROWS)):
                    self._progress.advance(count)
            except BaseException:
                pool.shutdown(cancel_futures=True)
                raise
        self._progress.end()

    def _one(self, tx: Any, query: str, rows: list[Any], parameters: dict[str, Any], *, counted: bool) -> None:
        result = tx.run(query, rows=rows, **self._constants, **parameters)
        done = result.single()["done"] if counted else None
        result.consume()
        self._lease.check(tx)  # last, since it locks the lease, and the other writer waits for it
        if counted and done != len(rows):  # raised inside the transaction, which therefore rolls back
            raise StoreRefused(
                f"{self._type.name}: {len(rows)} rows were to be written, {done} were",
                "the graph changed during the load; run the command again",
            )


def _match(type_: RowType) -> str:
    if isinstance(type_, NodeType):
        return f"UNWIND $rows AS row MATCH (r:{type_.record_label} {{row_id: row[0], since: row[1]}})"
    return f"UNWIND $rows AS row MATCH ()-[r:{type_.name} {{edge_id: row[0], since: row[1]}}]->()"


def _left_over(type_: NodeType) -> str:
    """Return Cypher for what becomes of a node that has lost its last record of this type."""
    if type_.role_of:
        return f"WHERE NOT (n)-[:HAS_RECORD]->(:{type_.record_label}) REMOVE n:{type_.label}"
    return "WHERE NOT (n)--() DELETE n"


def _create(type_: RowType) -> str:
    names = type_.schema.names
    at = {name: f"row[{i + 2}]" for i, name in enumerate(names)}
    common = "row_hash: row[1], dataset: $dataset, part: $part, since: $draft, until: $open"
    if isinstance(type_, EdgeType):
        own = "".join(f", {c}: {at[c]}" for c in names[2:])
        places = [f"row[{len(names) + 2 + i}]" for i in range(2)]
        return (
            f"UNWIND $rows AS row MATCH (a) WHERE elementId(a) = {places[0]} AND a.id = {at['start_id']} "
            f"MATCH (b) WHERE elementId(b) = {places[1]} AND b.id = {at['end_id']} "
            f"CREATE (a)-[:{type_.name} {{edge_id: row[0], eco: '{type_.eco}', {common}{own}}}]->(b) "
            "RETURN count(*) AS done"
        )
    own = "".join(f", {c}: {at[c]}" for c in names[1:])
    node = f"MATCH (n:{type_.role_of} {{id: {at['id']}}}) SET n:{type_.label}" if type_.role_of else (
        f"MERGE (n:{type_.label} {{id: {at['id']}}})"
    )  # fmt: skip
    return (
        f"UNWIND $rows AS row {node} "
        f"CREATE (n)-[:HAS_RECORD]->(:Record:{type_.record_label} {{row_id: row[0], {common}{own}}}) "
        "RETURN count(*) AS done"
    )
