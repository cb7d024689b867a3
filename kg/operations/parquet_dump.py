"""A graph as Parquet, read while it is in use, and written back into an empty one.

One consistent view needs no pause: a release never changes once it is published, and neither does a complete run. So
the latest release and all before it are dumped (rows that the draft closed are open there, rows that it made are not),
with the runs that are complete; the draft and runs under way are left out, as the manifest says. Every release's hash
is worked out from the rows as they were dumped and compared with the one recorded.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import datetime
from itertools import islice
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.parquet as pq

from kg.errors import ChecksumMismatch, Conflict, StoreRefused, UnknownRelease
from kg.evidence.release_hashes import ReleaseHashes
from kg.files import replaced
from kg.progress import SILENT, Progress
from kg.schema import CELLS, EDGE_TYPES, OPEN, EdgeType, Kind, RowType, evidence_types

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from kg.store import Row, Store

CHUNK = 50_000  # rows of a Parquet row group
ROWS = 10_000  # per transaction
# In an order in which what is read later knows what was read before: publications after releases, runs after both.
BOOKKEEPING = ("Release", "DatasetVersion", "Dataset", "Cells", "Pointer", "Publication", "ModelRun")
SETTLED = ("complete", "pruned", "failed", "discarded")
TIME = "$time"
_EMBEDDINGS = pa.schema(
    [("run", pa.string()), ("node", pa.string()), ("kind", pa.string()), ("vector", pa.list_(pa.float32()))]
)
_META = [(name, pa.string()) for name in ("row_id", "row_hash", "dataset", "part")]
_META += [("since", pa.int64()), ("until", pa.int64())]


@dataclass(frozen=True)
class Bookkeeping:
    """The bookkeeping nodes of a view: label -> their properties; and what the view leaves out, for people."""

    nodes: dict[str, list[Row]]
    left_out: tuple[str, ...]

    @property
    def releases(self) -> dict[int, Row]:
        """Number -> properties."""
        return {row["number"]: row for row in self.nodes["Release"]}

    @property
    def runs(self) -> list[str]:
        """Ids of the runs whose rows are in the graph."""
        return [row["id"] for row in self.nodes["ModelRun"] if row["outcome"] == "complete"]


def read_bookkeeping(store: Store) -> Bookkeeping:
    """Read the bookkeeping of the latest release and all before it, and of the runs that are settled.

    Raises:
        UnknownRelease: nothing was ever published.
    """
    nodes = {
        label: [row["p"] for row in store.read(f"MATCH (n:{label}) RETURN properties(n) AS p")] for label in BOOKKEEPING
    }
    latest = max((row["number"] for row in nodes["Release"]), default=0)
    if not latest:
        raise UnknownRelease("nothing is published yet, so there is nothing that stands still", "regkg release publish")
    drafted = sorted({row["dataset"] for row in nodes["DatasetVersion"] if row["since"] > latest})
    nodes["DatasetVersion"] = [row for row in nodes["DatasetVersion"] if row["since"] <= latest]
    held = {row["dataset"] for row in nodes["DatasetVersion"]}
    nodes["Dataset"] = [row for row in nodes["Dataset"] if row["id"] in held]
    nodes["Publication"] = [row for row in nodes["Publication"] if row["release"] <= latest]
    _point_back(nodes)
    under_way = [row for row in nodes["ModelRun"] if row["outcome"] not in (*SETTLED, "pruning")]
    nodes["ModelRun"] = [
        {**row, "outcome": "pruned" if row["outcome"] == "pruning" else row["outcome"]}
        for row in nodes["ModelRun"]
        if row not in under_way
    ]
    left_out = [f"the draft of {', '.join(drafted)}"] if drafted else []
    return Bookkeeping(nodes, (*left_out, *(f"run {row['id']}, which is {row['outcome']}" for row in under_way)))


def dump_rows(store: Store, folder: Path, bookkeeping: Bookkeeping, progress: Progress = SILENT) -> None:
    """Write the rows of a view and its bookkeeping as Parquet into `folder`.

    Raises:
        ChecksumMismatch: rows are not those that were published.
        Conflict: a run was pruned meanwhile.
    """
    latest, recomputed = max(bookkeeping.releases), ReleaseHashes()
    for type_ in evidence_types():
        rows = store.stream(_read_rows(type_), n=latest, open=OPEN)
        _write(folder / f"{type_.name}.parquet", _row_schema(type_), _counted(rows, type_, recomputed), progress)
    for number, release in bookkeeping.releases.items():
        _check(number, json.loads(release["datasets"]), recomputed.datasets(number))
    for type_ in _predicted():
        names = _predicted_schema(type_).names[4:]
        query = f"MATCH (a:{type_.start})-[r:{type_.name} {{run: $run}}]->(b:{type_.end}) "
        query += f"RETURN r.run, r.edge_id, a.id, b.id, {_listed('r', names)}"
        links = (row for run in bookkeeping.runs for row in store.stream(query, run=run))
        _write(folder / f"{type_.name}.parquet", _predicted_schema(type_), links, progress)
    query = "MATCH (e:Embedding {run: $run}) RETURN e.run, e.node, e.kind, e.vector"
    vectors = (row for run in bookkeeping.runs for row in store.stream(query, run=run))
    _write(folder / "Embedding.parquet", _EMBEDDINGS, vectors, progress)
    gone = sorted(set(bookkeeping.runs) - {row["id"] for row in store.read(_COMPLETE)})
    if gone:
        raise Conflict(f"{', '.join(gone)} left the graph while it was read", "run the command again")
    lines = (
        [label, json.dumps(row, default=_time, sort_keys=True)]
        for label in BOOKKEEPING
        for row in bookkeeping.nodes[label]
    )
    _write(folder / "books.parquet", pa.schema([("label", pa.string()), ("node", pa.string())]), lines, progress)


def load_rows(store: Store, folder: Path, progress: Progress = SILENT) -> None:
    """Write what `dump_rows` wrote into an empty graph whose constraints are made.

    The bookkeeping comes last, in one transaction, so that nobody is served half of it; but the sets of cells come
    before what runs say of them.

    Raises:
        StoreRefused: a row names a node that is not there.
    """
    for type_ in evidence_types():
        _load(store, folder / f"{type_.name}.parquet", _create(type_), type_.name, progress)
    nodes = _books(folder / "books.parquet")
    store.write(f"UNWIND $rows AS row {_NODE.format(label=CELLS)}", rows=nodes.pop(CELLS, []))
    for type_ in _predicted():
        if not (folder / f"{type_.name}.parquet").exists():
            continue  # the backup is older than the type
        names = pq.read_schema(folder / f"{type_.name}.parquet").names
        own = ", ".join(f"{name}: row[{i}]" for i, name in enumerate(names) if i not in (2, 3))
        query = f"{_ends(type_, 2)} CREATE (a)-[:{type_.name} {{{own}}}]->(b)"
        _load(store, folder / f"{type_.name}.parquet", query, type_.name, progress)
    kinds = pq.read_table(folder / "Embedding.parquet", columns=["kind"])["kind"].unique().to_pylist()
    for label in sorted(kinds):
        query = (
            f"MATCH (n:{label} {{id: row[1]}}) CREATE (n)-[:HAS_EMBEDDING]->"
            "(:Embedding {id: row[0] + ':' + row[1], run: row[0], node: row[1], kind: row[2], vector: row[3]})"
        )
        _load(store, folder / "Embedding.parquet", query, f"embeddings of {label}", progress, kind=label)

    def work(tx: Any) -> None:
        for label, rows in nodes.items():
            tx.run(f"UNWIND $rows AS row {_NODE.format(label=label)}", rows=rows).consume()
        tx.run("MATCH (v:DatasetVersion) MATCH (d:Dataset {id: v.dataset}) CREATE (d)-[:HAS_VERSION]->(v)").consume()

    store.transaction(work)


_NODE = "CREATE (n:{label}) SET n = row"
_COMPLETE = "MATCH (r:ModelRun {outcome: 'complete'}) RETURN r.id AS id"


def _books(path: Path) -> dict[str, list[Row]]:
    nodes: dict[str, list[Row]] = {}
    for line in pq.read_table(path).to_pylist():
        nodes.setdefault(line["label"], []).append(json.loads(line["node"], object_hook=_timed))
    return nodes


def _point_back(nodes: dict[str, list[Row]]) -> None:
    """Serve the last publication of the view where the one served was made after it."""
    numbers = {row["number"] for row in nodes["Publication"]}
    for pointer in nodes["Pointer"]:
        if pointer["name"] == "served" and pointer["publication"] not in numbers:
            pointer["publication"] = max(numbers)


def _row_schema(type_: RowType) -> pa.Schema:
    return pa.schema([*(pa.field(*meta) for meta in _META), *type_.schema])


def _predicted() -> list[EdgeType]:
    return [type_ for type_ in EDGE_TYPES.values() if type_.kind is Kind.PREDICTED]


def _predicted_schema(type_: EdgeType) -> pa.Schema:
    return pa.schema([pa.field("run", pa.string()), pa.field("edge_id", pa.string()), *type_.schema])


def _listed(variable: str, names: Sequence[str]) -> str:
    return ", ".join(f"{variable}.{name}" for name in names)


def _read_rows(type_: RowType) -> str:
    if isinstance(type_, EdgeType):
        pattern, key, ends = f"(a:{type_.start})-[r:{type_.name}]->(b:{type_.end})", "edge_id", ["a.id", "b.id"]
    else:
        pattern, key = f"(n:{type_.node_label})-[:HAS_RECORD]->(r:{type_.record_label})", "row_id"
        ends = ["n.id"]
    columns = [*ends, *(f"r.{name}" for name in type_.schema.names[len(ends) :])]
    return (
        f"MATCH {pattern} WHERE r.since <= $n RETURN r.{key}, r.row_hash, r.dataset, r.part, r.since, "
        f"CASE WHEN r.until > $n THEN $open ELSE r.until END, {', '.join(columns)}"
    )


def _counted(rows: Iterator[list[Any]], type_: RowType, recomputed: ReleaseHashes) -> Iterator[list[Any]]:
    for row in rows:
        _, row_hash, dataset, _, since, until, *_ = row
        recomputed.add(type_.name, dataset, row_hash, since, until)
        yield row


def _check(number: int, recorded: dict[str, str], recomputed: dict[str, str]) -> None:
    none = "0" * 32
    wrong = sorted(d for d in {*recorded, *recomputed} if recorded.get(d, none) != recomputed.get(d, none))
    if wrong:
        raise ChecksumMismatch(
            f"release {number} is not what was published: rows of {', '.join(wrong)} differ",
            f"regkg release verify {number}; load those datasets again and publish, then back up",
        )


def _write(path: Path, schema: pa.Schema, rows: Iterator[list[Any]], progress: Progress) -> None:
    progress.begin(f"writing {path.name}", unit="rows")
    with replaced(path) as temporary, pq.ParquetWriter(temporary, schema) as writer:
        while chunk := list(islice(rows, CHUNK)):
            columns = zip(*chunk, strict=True)
            arrays = [pa.array(c, field.type) for c, field in zip(columns, schema, strict=True)]
            writer.write_table(pa.table(arrays, schema=schema))
            progress.advance(len(chunk))
    progress.end()


def _create(type_: RowType) -> str:
    names = _row_schema(type_).names
    meta = ", ".join(f"{name}: row[{i}]" for i, name in enumerate(names[1 : len(_META)], 1))
    if isinstance(type_, EdgeType):
        own = "".join(f", {name}: row[{i}]" for i, name in enumerate(names) if i > len(_META) + 1)
        edge = f"{{edge_id: row[0], eco: '{type_.eco}', {meta}{own}}}"
        return f"{_ends(type_, len(_META))} CREATE (a)-[:{type_.name} {edge}]->(b)"
    own = "".join(f", {name}: row[{i}]" for i, name in enumerate(names) if i > len(_META))
    at = f"{{id: row[{len(_META)}]}}"
    node = f"MATCH (n:{type_.role_of} {at}) SET n:{type_.label}" if type_.role_of else f"MERGE (n:{type_.label} {at})"
    return f"{node} CREATE (n)-[:HAS_RECORD]->(:Record:{type_.record_label} {{row_id: row[0], {meta}{own}}})"


def _ends(type_: EdgeType, first: int) -> str:
    return f"MATCH (a:{type_.start} {{id: row[{first}]}}) MATCH (b:{type_.end} {{id: row[{first + 1}]}})"


def _load(store: Store, path: Path, create: str, task: str, progress: Progress, *, kind: str | None = None) -> None:
    file = pq.ParquetFile(path)
    progress.begin(f"writing {task}", None if kind else file.metadata.num_rows, "rows")
    for batch in file.iter_batches(ROWS):
        rows = list(zip(*(column.to_pylist() for column in batch.columns), strict=True))
        chunk = [list(row) for row in rows if kind in (None, row[2])]
        done = store.write(f"UNWIND $rows AS row {create} RETURN count(*) AS n", rows=chunk)[0]["n"]
        if done != len(chunk):
            raise StoreRefused(
                f"{path.name}: {len(chunk) - done} rows name a node that is not there", "take another backup"
            )
        progress.advance(len(chunk))
    progress.end()


def _time(value: Any) -> Any:
    return {TIME: value.to_native().isoformat()}


def _timed(value: dict[str, Any]) -> Any:
    return datetime.fromisoformat(value[TIME]) if set(value) == {TIME} else value
