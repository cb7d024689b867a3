"""The first build of a large graph: rows go to CSV files, and Neo4j's importer makes the store of them.

The same rows as the online path writes, all of release 1, so both give the same release hash. Only a managed server
whose graph is empty can be built so: the importer writes a store of its own, which then takes the empty one's place.
"""

from __future__ import annotations

import shutil
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv

from kg.errors import Conflict, SchemaError, StoreUnavailable, WriteConflict
from kg.evidence.datasets import DatasetVersion, Snapshot, Source, looked_up_hash, version_columns
from kg.evidence.draft import open_draft
from kg.evidence.row_diff import Changes
from kg.progress import SILENT, Progress
from kg.schema import NODE_TYPES, OPEN, EdgeType, NodeType
from kg.schema.batches import Batch, hash_sum
from kg.server import Server
from kg.store import ensure_schema, open_store

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path

    from kg.settings import Settings

CHUNK = 100_000  # rows whose text is held at once
HEADROOM_BYTES = 2 << 30
DISK_FACTOR = 12  # bytes of CSV and store for a byte of packed input, with room to spare
_TYPES = {pa.int64(): "long", pa.float32(): "double", pa.float64(): "double", pa.bool_(): "boolean"}


class BulkDraft:
    """Collects the rows of release 1; takes the place of a `Draft` in loading.

    What it needs to know again stays in memory: nodes with their columns, hashes of versions. Edges do not.
    """

    number = 1

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._versions: dict[str, tuple[Source, dict[str, Any], DatasetVersion]] = {}
        self._records: dict[str, list[tuple[str, pa.Table]]] = {}
        self._nodes: dict[str, pa.Table] = {}
        self.rows = 0

    def datasets(self) -> list[DatasetVersion]:
        """Return every dataset collected so far."""
        return [version for _, _, version in self._versions.values()]

    def nodes(self, type_: NodeType) -> pa.Table:
        """Return all nodes of a type, one row a node, by id; of several datasets the one whose id sorts first wins."""
        if type_.label not in self._nodes:
            held = [table for _, table in sorted(self._records.get(type_.label, []), key=lambda one: one[0])]
            self._nodes[type_.label] = _first_by_id(pa.concat_tables(held) if held else type_.schema.empty_table())
        return self._nodes[type_.label]

    def nothing_to_do(self, source: Source, snapshot: Snapshot) -> bool:
        """Return False: nothing was loaded before."""
        del source, snapshot
        return False

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
        """Collect all rows of a dataset.

        Raises:
            SchemaError: an edge names a node that no dataset has asserted.
            WriteConflict: the dataset was collected before.
        """
        del replace, plan
        if part is not None or source.dataset in self._versions:
            raise WriteConflict(
                f"dataset {source.dataset!r} comes in parts", "build it without --bulk, or give all its files at once"
            )
        merged = {name: Batch.concat([b for b in batches if b.type.name == name]) for name in _names(batches)}
        for batch in merged.values():
            if isinstance(batch.type, NodeType):
                self._records.setdefault(batch.type.label, []).append((source.dataset, batch.table))
                self._nodes.pop(batch.type.label, None)
        hashes = {name: f"{self._collect(source.dataset, b, progress):032x}" for name, b in merged.items()}
        rows = {name: len(batch) for name, batch in merged.items()}
        looked_up = looked_up_hash(self.datasets(), source.looked_up, source.dataset)
        columns = version_columns(source, snapshot, hashes, rows, looked_up)
        version = _version(source, snapshot, columns, hashes, rows)
        self._versions[source.dataset] = (source, {**columns, "withdrawn": False, "sha256": [*version.sha256]}, version)
        self.rows += sum(rows.values())
        return Changes(added=sum(rows.values()))

    def adopted(self) -> Iterator[tuple[Source, dict[str, Any]]]:
        """Yield each dataset with what is recorded of its version."""
        return ((source, columns) for source, columns, _ in self._versions.values())

    def import_arguments(self) -> list[str]:
        """Write the nodes, and name every file for the importer."""
        for label, type_ in NODE_TYPES.items():
            if not type_.role_of and label in self._records:
                self._write_nodes(type_)
        files = sorted(self._folder.glob("*.csv"))
        return [f"--{file.name.partition('-')[0]}={file}" for file in files]

    def _collect(self, dataset: str, batch: Batch, progress: Progress) -> int:
        self._check_ends(batch)
        total = 0
        progress.begin(f"collecting {batch.type.name}", len(batch), "rows")
        for start in range(0, len(batch), CHUNK):
            chunk = type(batch)(batch.type, batch.table.slice(start, CHUNK).combine_chunks())
            hashes = chunk.row_hashes(dataset)
            total = hash_sum(hashes, total)
            self._append(dataset, chunk, chunk.row_ids(dataset), hashes)
            progress.advance(len(chunk))
        progress.end()
        return total

    def _append(self, dataset: str, batch: Batch, ids: list[str], hashes: list[str]) -> None:
        type_, n = batch.type, len(batch)
        common = {"row_hash": hashes, "dataset": [dataset] * n, "since": [1] * n, "until": [OPEN] * n}
        if isinstance(type_, EdgeType):
            ends = {f":START_ID({_space(type_.start)})": "start_id", f":END_ID({_space(type_.end)})": "end_id"}
            named = {column: batch.table.column(name) for column, name in ends.items()}
            own = {c: batch.table.column(c) for c in type_.schema.names[2:]}
            table = {**named, "edge_id": ids, "eco": [type_.eco] * n, **common, **own}
            self._write(f"relationships-{type_.name}.csv", table, type_name=type_.name)
            return
        own = {c: batch.table.column(c) for c in type_.schema.names[1:]}
        labels = [f"Record;{type_.record_label}"] * n
        # a record is found by its row id, which is written as a property too
        record = {":ID(Record)": ids, "row_id": ids, ":LABEL": labels, **common, **own}
        self._write(f"nodes-{type_.record_label}.csv", record)
        behind = {f":START_ID({_space(type_.node_label)})": batch.table.column("id"), ":END_ID(Record)": ids}
        self._write(f"relationships-HAS_RECORD-{type_.label}.csv", behind, type_name="HAS_RECORD")

    def _write_nodes(self, type_: NodeType) -> None:
        """Write the nodes themselves, each once, with the labels of their roles."""
        ids = self.nodes(type_).column("id")
        labels = pa.repeat(pa.scalar(type_.label), len(ids))
        for role in (t for t in NODE_TYPES.values() if t.role_of == type_.label and t.label in self._records):
            has = pc.is_in(ids, self.nodes(role).column("id"))
            labels = pc.if_else(has, pc.binary_join_element_wise(labels, role.label, ";"), labels)
        space = _space(type_.label)
        self._write(f"nodes-{type_.label}.csv", {f":ID({space})": ids, "id": ids, ":LABEL": labels})

    def _write(self, name: str, columns: Mapping[str, Any], type_name: str = "") -> None:
        table = pa.table(dict(columns))
        if type_name:
            table = table.append_column(":TYPE", pa.repeat(pa.scalar(type_name), table.num_rows))
        header = ",".join(_header(field) for field in table.schema)
        doubles = [f.with_type(pa.float64()) if f.type == pa.float32() else f for f in table.schema]
        path = self._folder / name
        new = not path.exists()
        with path.open("ab") as file:
            if new:
                file.write(f"{header}\n".encode())
            options = pa.csv.WriteOptions(include_header=False)
            pa.csv.write_csv(table.cast(pa.schema(doubles)), file, options)

    def _check_ends(self, batch: Batch) -> None:
        type_ = batch.type
        if isinstance(type_, EdgeType):
            ends = [("start_id", type_.start), ("end_id", type_.end)]
        else:
            ends = [("id", type_.role_of)] if type_.role_of else []
        for column, label in ends:
            ids = batch.table.column(column)
            missing = ids.filter(pc.invert(pc.is_in(ids, self.nodes(NODE_TYPES[label]).column("id"))))
            if len(missing):
                discrepancy = f"{column}: {len(missing)} rows name a {label} that does not exist, such as {missing[0]}"
                raise SchemaError(f"rows of {type_.name} do not fit", [discrepancy], "load genes and peaks first")


@contextmanager
def build(settings: Settings, input_bytes: int, progress: Progress = SILENT) -> Iterator[BulkDraft]:
    """Collect rows inside; after it the graph is imported, with versions recorded, as the draft of release 1.

    Args:
        settings: of a managed server.
        input_bytes: size of the files that will be loaded; what the disk must hold is estimated from it.
        progress: hears of each step.

    Raises:
        Conflict: the graph is not empty, not managed, or the disk too small; nothing was changed.
    """
    server = _empty_server(settings, progress)
    folder = server.root / "bulk"
    need = HEADROOM_BYTES + DISK_FACTOR * input_bytes
    if (free := shutil.disk_usage(server.root).free) < need:
        raise Conflict(f"{folder}: {free >> 20:,} MB are free, {need >> 20:,} MB are needed", "free some space")
    progress.say(f"a first build of {input_bytes >> 20:,} MB of files: at most {need >> 20:,} MB of disk")
    shutil.rmtree(folder, ignore_errors=True)
    (folder / "rows").mkdir(parents=True)
    try:
        draft = BulkDraft(folder / "rows")
        yield draft
        if draft.rows:
            server.import_store(folder, draft.import_arguments(), progress)
            _record_versions(settings, server, draft, progress)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _empty_server(settings: Settings, progress: Progress) -> Server:
    if settings.neo4j_uri is not None:
        raise Conflict(
            f"{settings.neo4j_uri} is not managed here: the importer works on the files of a stopped server",
            "omit --bulk, or unset REGKG_NEO4J_URI to build the managed server's graph",
        )
    server = Server(settings.home, settings.neo4j_version, settings.jars)
    with open_store(server.start(progress)) as store:
        held = store.read("MATCH (n) WHERE NOT n:Schema RETURN count(n) AS n")[0]["n"]
    if held:
        raise Conflict(
            f"the graph of {settings.home} holds {held:,} nodes; a first build needs an empty one",
            "omit --bulk, or set REGKG_HOME to a new place",
        )
    return server


def _record_versions(settings: Settings, server: Server, draft: BulkDraft, progress: Progress) -> None:
    progress.begin("indexing")
    with open_store(server.start(progress)) as store:
        ensure_schema(store)
        progress.end()
        with open_draft(store, "regkg load --bulk") as real:
            if real.number != draft.number:
                raise StoreUnavailable(f"{settings.home}: another graph answers", "regkg db stop, then try again")
            for source, version in draft.adopted():
                real.adopt(source, version)


def _names(batches: Sequence[Batch]) -> list[str]:
    """Return row types of the batches, nodes first, since edges rest on them."""
    return sorted({b.type.name for b in batches if len(b)}, key=lambda name: (name not in NODE_TYPES, name))


def _first_by_id(table: pa.Table) -> pa.Table:
    order = pc.sort_indices(table.column("id"))  # stable: rows of the first dataset stay in front
    ordered = table.take(order).combine_chunks()
    ids = ordered.column("id").combine_chunks()
    if len(ids) < 2:
        return ordered
    new = pc.not_equal(ids.slice(1), ids.slice(0, len(ids) - 1))
    return ordered.filter(pa.chunked_array([pa.array([True]), new]))


def _space(label: str) -> str:
    """Return the space of ids: that of the nodes' own label."""
    return NODE_TYPES[label].node_label


def _header(field: pa.Field) -> str:
    """Return a column as the importer wants it named: `score:double`."""
    kind = _TYPES.get(field.type)
    return f"{field.name}:{kind}" if kind and not field.name.startswith(":") else field.name


def _version(
    source: Source, snapshot: Snapshot, columns: Mapping[str, Any], hashes: Mapping[str, str], rows: Mapping[str, int]
) -> DatasetVersion:
    return DatasetVersion(
        dataset=source.dataset,
        source=source.source,
        since=1,
        state="complete",
        loader=columns["loader"],
        parameters=columns["parameters"],
        sha256=(" ".join(snapshot.sha256),),
        looked_up=source.looked_up,
        looked_up_hash=columns["looked_up_hash"],
        hashes=hashes,
        rows=rows,
        rejected=snapshot.rejected,
        derived=source.derived,
        withdrawn=False,
        licence=source.licence,
        citation=source.citation,
    )
