"""The shared draft: what the next release will hold. Loads compare and write here; releases freeze it.

Everything the draft does carries its number, so readers of older releases never see it, and a load
that was killed is finished by running it again: it compares and writes only what still differs.
"""

from __future__ import annotations

import json
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.compute as pc

from kg.errors import Conflict, SchemaError, UnknownDataset
from kg.evidence.datasets import (
    DatasetVersion,
    Snapshot,
    Source,
    about,
    canonical_json,
    dataset_versions,
    files_of,
    looked_up_hash,
    merged_files,
    version_columns,
)
from kg.evidence.nodes import node_ids, read_nodes
from kg.evidence.row_diff import Changes, RowWrites
from kg.evidence.row_writer import NewRows, RowWriter
from kg.evidence.stored_rows import stored_rows, writes_of
from kg.progress import SILENT, Progress
from kg.schema import NODE_TYPES, OPEN, EdgeType, NodeType, RowType, evidence_types, row_type
from kg.schema.batches import Batch, hash_sum
from kg.store import leases

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from kg.store import Row, Store

__all__ = ["Changes", "Draft", "Snapshot", "Source", "draft_number", "open_draft"]


class Draft:
    """The draft, held by a lease; made by `open_draft`."""

    def __init__(self, store: Store, lease: leases.Lease, number: int) -> None:
        self._store, self._lease, self.number = store, lease, number
        self._nodes: dict[str, pa.Table] = {}
        self._known: dict[str, dict[str, str]] = {}

    def datasets(self) -> list[DatasetVersion]:
        """Return every dataset that the draft has, by id; withdrawn ones included."""
        return dataset_versions(self._store, self.number)

    def dataset(self, dataset: str) -> DatasetVersion | None:
        """Return the version of one dataset, or None when no load of it was ever begun."""
        return next((v for v in self.datasets() if v.dataset == dataset), None)

    def nodes(self, type_: NodeType) -> pa.Table:
        """Return all nodes of a type as the draft has them: id and declared columns, one row a node, by id."""
        if type_.label not in self._nodes:
            self._nodes[type_.label] = read_nodes(self._store, type_, self.number)
        return self._nodes[type_.label]

    def _ids(self, label: str) -> dict[str, str]:
        """Return id -> the server's own id of all nodes of a type; columns are read only for those who look them up."""
        if label not in self._known:
            self._known[label] = node_ids(self._store, NODE_TYPES[label], self.number)
        return self._known[label]

    def nothing_to_do(self, source: Source, snapshot: Snapshot) -> bool:
        """Return whether the same files were loaded by the same loader with the same parameters and looked-up nodes."""
        version = self.dataset(source.dataset)
        return (
            version is not None
            and version.state == "complete"
            and not version.withdrawn
            and files_of(snapshot) in version.sha256
            and version.loader == snapshot.loader
            and version.parameters == canonical_json(snapshot.parameters)
            and version.looked_up_hash == looked_up_hash(self.datasets(), source.looked_up, source.dataset)
        )

    def load(
        self,
        source: Source,
        snapshot: Snapshot,
        batches: Sequence[Batch],
        *,
        part: str | None = None,
        replace: bool = False,
        plan: bool = False,
        progress: Progress = SILENT,
    ) -> Changes:
        """Make the dataset's rows (or those of one part) the given ones; write only what differs.

        Args:
            source, snapshot: recorded with the version.
            batches: all rows of the files, unique by row id.
            part: compare only within this part of the dataset.
            replace: allow closing more than half of the dataset.
            plan: write nothing, only count.
            progress: hears of rows compared and written.

        Raises:
            Conflict: too many rows would close, a closed node is still used, or a row is in two parts.
            SchemaError: an edge names a node that the draft does not have.
            DraftHeld: another writer took the draft over.
        """
        incoming = _by_type(batches)
        for batch in incoming.values():
            self._check_ends(batch, incoming)
        return self._make(source, snapshot, incoming, part=part, replace=replace, plan=plan, progress=progress)

    def suspend(self, datasets: Sequence[str], reverts: int) -> None:
        """Mark datasets as unfinished before a release is undone in all of them, so that none is published half way."""
        for version in self.datasets():
            if version.dataset in datasets:
                source = Source(version.dataset, version.source, derived=version.derived, looked_up=version.looked_up)
                snapshot = Snapshot(
                    (), version.loader, json.loads(version.parameters), version.rejected,
                    withdrawn=version.withdrawn, reverts=reverts,
                )  # fmt: skip
                columns = version_columns(source, snapshot, version.hashes, version.rows, version.looked_up_hash)
                self._record(source, columns, since=self.number, state="loading", sha256=list(version.sha256))

    def unload(self, dataset: str, *, plan: bool = False, progress: Progress = SILENT) -> Changes:
        """Withdraw a dataset: all its rows close; releases that have them keep them.

        Raises:
            UnknownDataset: the draft has none of that id.
            Conflict: edges of other datasets rest on nodes that only this one asserts.
        """
        version = self.dataset(dataset)
        if version is None or version.withdrawn:
            held = ", ".join(v.dataset for v in self.datasets() if not v.withdrawn)
            raise UnknownDataset(f"the draft has no dataset {dataset!r}", f"it has {held or 'none'}")
        source = Source(dataset, version.source, derived=version.derived, looked_up=version.looked_up)
        snapshot = Snapshot((), version.loader, json.loads(version.parameters), withdrawn=True)
        return self._make(source, snapshot, {}, replace=True, plan=plan, progress=progress)

    def _make(
        self,
        source: Source,
        snapshot: Snapshot,
        incoming: Mapping[str, Batch],
        *,
        part: str | None = None,
        replace: bool,
        plan: bool,
        progress: Progress,
    ) -> Changes:
        version = self.dataset(source.dataset)
        names = [
            t.name for t in evidence_types() if t.name in incoming or (version is not None and t.name in version.hashes)
        ]  # nodes before edges
        plans: dict[str, RowWrites] = {}
        hashes: dict[str, str] = {}
        rows: dict[str, int] = {}
        digests: dict[str, tuple[list[str], list[str]]] = {}
        for name in names:
            batch = incoming.get(name)
            digests[name] = (batch.row_ids(source.dataset), batch.row_hashes(source.dataset)) if batch else ([], [])
            plans[name] = writes_of(
                self._store, row_type(name), version, source.dataset, digests[name], draft=self.number, part=part
            )
            hashes[name] = f"{hash_sum([*digests[name][1], *plans[name].kept]):032x}"
            rows[name] = len(digests[name][1]) + len(plans[name].kept)
        self._check_closing(source.dataset, plans, incoming, replace=replace)
        changes = sum((p.changes for p in plans.values()), Changes())
        if plan:
            return changes
        looked_up = looked_up_hash(self.datasets(), source.looked_up, source.dataset)
        recorded = version_columns(source, snapshot, hashes, rows, looked_up)
        same = version is not None and version.state == "complete" and version.withdrawn == snapshot.withdrawn
        if version and same and all(p.is_empty for p in plans.values()):
            self._record(
                source, recorded, since=version.since, state="complete", sha256=merged_files(version, snapshot)
            )
            return changes
        self._record(source, recorded, since=self.number, state="loading", sha256=[files_of(snapshot)])
        for name in reversed(names):
            self._clear(row_type(name), source, plans[name], progress)
        for name in names:
            self._open(row_type(name), source, plans[name], part, progress)
            if name in incoming:
                writer = RowWriter(self._store, self._lease, row_type(name), source.dataset, self.number, progress)
                new = NewRows(incoming[name], *digests[name], plans[name].create)
                writer.create(new, part, [self._ids(label) for _, label in _rests_on(row_type(name))])
        state = "loading" if snapshot.unfinished else "complete"
        self._record(source, recorded, since=self.number, state=state, sha256=[files_of(snapshot)])
        return changes

    def adopt(self, source: Source, version: Row) -> None:
        """Record the version of a dataset whose rows `kg.evidence.bulk` has put into the graph already."""
        columns = {key: value for key, value in version.items() if key != "sha256"}
        self._record(source, columns, since=self.number, state="complete", sha256=version["sha256"])

    def take_back(self, dataset: str, progress: Progress = SILENT) -> None:
        """Undo what the draft did to a dataset: new rows go, closed rows open again, its version is forgotten."""
        version = self.dataset(dataset)
        if version is None or version.since != self.number:
            return
        for type_ in reversed(evidence_types()):  # edges before the nodes they rest on
            stored = stored_rows(self._store, type_, dataset, self.number)
            writer = RowWriter(self._store, self._lease, type_, dataset, self.number, progress)
            writer.delete([(row.id, row.since) for row in stored if row.since == self.number])
            writer.set_until([(row.id, row.since) for row in stored if row.until == self.number], OPEN)
        self._nodes.clear()
        self._known.clear()

        def forget(tx: Any) -> None:
            self.check_lease(tx)
            tx.run(
                "MATCH (d:Dataset {id: $dataset})-[:HAS_VERSION]->(v {since: $since}) DETACH DELETE v "
                "WITH d WHERE NOT (d)-[:HAS_VERSION]->() DELETE d",
                dataset=dataset,
                since=self.number,
            ).consume()

        self._store.transaction(forget)

    def check_lease(self, tx: Any) -> None:
        """Renew the lease within a transaction.

        Raises:
            DraftHeld: another writer has the draft now.
        """
        self._lease.check(tx)

    def _check_ends(self, batch: Batch, incoming: Mapping[str, Batch]) -> None:
        """Refuse rows that rest on nodes which are neither in the draft nor come with them."""
        wrong = []
        for column, label in _rests_on(batch.type):
            ids = batch.table.column(column)
            missing = ids.filter(pc.invert(pc.is_in(ids, pa.array(self._ids(label), pa.string()))))
            if label in incoming:
                missing = missing.filter(pc.invert(pc.is_in(missing, incoming[label].table.column("id"))))
            if len(missing):
                wrong.append(f"{column}: {len(missing)} rows name a {label} that does not exist, such as {missing[0]}")
        if wrong:
            raise SchemaError(f"rows of {batch.type.name} do not fit the draft", wrong, "load genes and peaks first")

    def _check_closing(
        self, dataset: str, plans: Mapping[str, RowWrites], incoming: Mapping[str, Batch], *, replace: bool
    ) -> None:
        removed = sum(p.changes.removed for p in plans.values())
        before = removed + sum(p.changes.changed + p.changes.unchanged for p in plans.values())
        if removed * 2 > before and not replace:
            raise Conflict(
                f"this load would remove {removed:,} of the {before:,} rows of dataset {dataset!r}",
                "if the files are now the whole dataset, add --replace; if they are one part of it, add --part NAME",
            )
        for name, plan in plans.items():
            type_ = row_type(name)
            if isinstance(type_, NodeType) and not type_.role_of and plan.changes.removed:
                self._check_unused(type_, dataset, plan, incoming)

    def _check_unused(self, type_: NodeType, dataset: str, plan: RowWrites, incoming: Mapping[str, Batch]) -> None:
        """Refuse to remove nodes that only this dataset asserts while an edge still needs them.

        Derived edges do not count: publish refuses until they are rebuilt.
        """
        derived = [v.dataset for v in self.datasets() if v.derived]
        used = self._store.read(
            f"UNWIND $ids AS row_id MATCH (r:{type_.record_label} {{row_id: row_id}})<-[:HAS_RECORD]-(n) "
            "WHERE r.until = $open "
            f"AND NOT EXISTS {{ (n)-[:HAS_RECORD]->(other:{type_.record_label}) "
            "WHERE other.until = $open AND other.dataset <> $dataset } "
            "OPTIONAL MATCH (n)-[e]-(o) WITH n, CASE type(e) WHEN 'HAS_RECORD' THEN o ELSE e END AS row, "
            "CASE type(e) WHEN 'HAS_RECORD' THEN head([l IN labels(o) WHERE l <> 'Record']) ELSE type(e) END AS name "
            "WITH n, row, name, row.until = $open AND row.dataset <> $dataset AND NOT row.dataset IN $derived AS needs "
            "WITH n, head(collect(CASE WHEN needs THEN name + ' of ' + row.dataset END)) AS edge "
            "RETURN n.id AS id, edge",
            ids=[key[0] for key in (*plan.close, *plan.delete)],
            open=OPEN,
            derived=derived,
            dataset=dataset,
        )
        staying = _ids(incoming, type_)
        going: dict[str, str | None] = {u["id"]: u["edge"] for u in used}
        needed = {node: edge for node, edge in going.items() if edge is not None and node not in staying} | {
            node: f"{batch.type.name} of the same files"
            for batch in incoming.values()
            for column, label in _rests_on(batch.type)
            if label == type_.label
            for node in (going.keys() - staying) & set(batch.table.column(column).to_pylist())
        }
        if needed:
            named = ", ".join(f"{node} ({edge})" for node, edge in list(needed.items())[:3])
            raise Conflict(
                f"nodes that would be removed still have edges: {named}", "unload or reload those datasets first"
            )

    def _clear(self, type_: RowType, source: Source, plan: RowWrites, progress: Progress) -> None:
        writer = RowWriter(self._store, self._lease, type_, source.dataset, self.number, progress)
        writer.delete(plan.delete)
        writer.set_until(plan.close, self.number)

    def _open(self, type_: RowType, source: Source, plan: RowWrites, part: str | None, progress: Progress) -> None:
        writer = RowWriter(self._store, self._lease, type_, source.dataset, self.number, progress)
        writer.set_until(plan.reopen, OPEN)
        writer.set_part([*plan.move, *plan.reopen], part)
        if isinstance(type_, NodeType):
            self._nodes.pop(type_.label, None)
            self._known.pop(type_.label, None)

    def _record(self, source: Source, recorded: Row, *, since: int, state: str, sha256: list[str]) -> None:
        version = {**recorded, "state": state, "sha256": sha256, "process": leases.this_process()}

        def work(tx: Any) -> None:
            self.check_lease(tx)
            tx.run(
                "MERGE (d:Dataset {id: $dataset}) SET d += $about "
                "MERGE (v:DatasetVersion {dataset: $dataset, since: $since}) "
                "MERGE (d)-[:HAS_VERSION]->(v) SET v += $version, v.loaded_at = datetime()",
                dataset=source.dataset,
                about=about(source),
                since=since,
                version=version,
            ).consume()

        self._store.transaction(work)


@contextmanager
def open_draft(store: Store, holder: str, *, after_rollback: bool = False) -> Iterator[Draft]:
    """Open the draft for writing; `holder` is the command that people would recognise.

    Args:
        store: the graph.
        holder: named to others who want the draft.
        after_rollback: also while a release that was rolled back from stands below the draft.

    Raises:
        DraftHeld: another writer has it.
        Conflict: the draft would build on a release that was rolled back from.
    """
    with leases.held(store, holder) as lease:
        if not after_rollback:
            _check_not_held(store)
        yield Draft(store, lease, draft_number(store))


def _check_not_held(store: Store) -> None:
    rows = store.read("MATCH (s:Pointer {name: 'served'}) RETURN s.held AS held")
    held = rows[0]["held"] if rows else None
    if held is not None:
        raise Conflict(
            f"release {held} was rolled back from, and the draft would be built on it",
            f"`regkg release revert {held}` drafts its reversal; `regkg release keep` builds on it all the same",
        )


def draft_number(store: Store) -> int:
    """Return one more than the highest release."""
    return int(store.read("MATCH (r:Release) RETURN coalesce(max(r.number), 0) + 1 AS number")[0]["number"])


def _rests_on(type_: RowType) -> list[tuple[str, str]]:
    """Return the columns that name nodes which must be there, and the labels of those."""
    if isinstance(type_, EdgeType):
        return [("start_id", type_.start), ("end_id", type_.end)]
    return [("id", type_.role_of)] if type_.role_of else []


def _ids(incoming: Mapping[str, Batch], type_: NodeType) -> set[str]:
    return set(incoming[type_.label].table.column("id").to_pylist()) if type_.label in incoming else set()


def _by_type(batches: Sequence[Batch]) -> dict[str, Batch]:
    grouped: dict[str, list[Batch]] = {}
    for batch in batches:
        if len(batch):
            grouped.setdefault(batch.type.name, []).append(batch)
    return {name: Batch.concat(group) for name, group in grouped.items()}
