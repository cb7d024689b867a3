"""A run's predictions: kept as Parquet under REGKG_HOME/runs/<id>, then written into the graph.

The graph is always written from the kept files, so a write-back that was killed can be finished (or removed) without
training again.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from kg.errors import MissingInput, SchemaError, StoreRefused
from kg.files import replaced
from kg.progress import SILENT, Progress
from kg.runs.outputs import FeatureEmbedding, repeats
from kg.runs.vector_index import drop
from kg.schema import EDGE_TYPES, Kind
from kg.schema.batches import EdgeBatch

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from kg.runs.outputs import GraphNames, Output
    from kg.schema import EdgeType
    from kg.store import Store

ROWS = 10_000  # per transaction
EMBEDDINGS = "embeddings.parquet"


@dataclass(frozen=True)
class Predictions:
    """The rows and vectors that a run writes.

    Attributes:
        links: one batch per predicted edge type.
        embedding: of genes and peaks; None if the run embeds nothing.
    """

    links: Sequence[EdgeBatch]
    embedding: FeatureEmbedding | None = None

    @classmethod
    def of(cls, outputs: Sequence[Output], names: GraphNames) -> Predictions:
        """Collect the graph's part of a model's outputs; rows of one type become one batch.

        Raises:
            SchemaError: there are two embeddings of features, or two outputs repeat a row.
        """
        by_type: dict[str, list[EdgeBatch]] = {}
        for output in outputs:
            for batch in output.batches(names):
                by_type.setdefault(batch.type.name, []).append(batch)
        embedded = [output for output in outputs if isinstance(output, FeatureEmbedding)]
        if len(embedded) > 1:
            raise SchemaError("a run may have one embedding of features", [f"this has {len(embedded)}"])
        links = [EdgeBatch.concat(batches) for batches in by_type.values()]
        if repeated := [batch.type.name for batch in links if repeats(batch)]:
            raise SchemaError("the outputs of a run conflict", [f"rows of {name} repeat" for name in repeated])
        return cls(links, embedded[0] if embedded else None)


def keep(home: Path, run_id: str, predictions: Predictions, metrics: Mapping[str, Any]) -> Path:
    """Keep a run's predictions as Parquet under its folder; each file appears whole or not at all."""
    folder = run_folder(home, run_id)
    folder.mkdir(parents=True, exist_ok=True)
    for batch in predictions.links:
        with replaced(folder / f"{batch.type.name}.parquet") as path:
            pq.write_table(batch.table, path)
    if predictions.embedding is not None:
        with replaced(folder / EMBEDDINGS) as path:
            pq.write_table(_table(predictions.embedding), path)
    with replaced(folder / "metrics.json") as path:  # last: its presence means that the rest is complete
        path.write_text(json.dumps(metrics, indent=1, sort_keys=True))
    return folder


def kept(home: Path, run_id: str) -> tuple[Predictions, dict[str, Any]]:
    """Read what `keep` wrote.

    Raises:
        MissingInput: training did not get that far, or the folder is elsewhere.
    """
    folder = run_folder(home, run_id)
    if not (folder / "metrics.json").exists():
        raise MissingInput(
            f"run {run_id} left no predictions in {folder}",
            f"it stopped before it made any: `regkg runs discard {run_id}`, then train again",
        )
    links = [
        read_links(type_, path) for type_ in EDGE_TYPES.values() if (path := folder / f"{type_.name}.parquet").exists()
    ]
    metrics = json.loads((folder / "metrics.json").read_text())
    return Predictions(links, _embedding(folder / EMBEDDINGS)), metrics


def read_links(type_: EdgeType, path: Path) -> EdgeBatch:
    """Read predictions of a type from Parquet; columns declared since the file was written are null."""
    table = pq.read_table(path)
    for field in type_.schema:
        if field.name not in table.schema.names and field.nullable:
            table = table.append_column(field, pa.nulls(table.num_rows, field.type))
    return EdgeBatch(type_, table.select(type_.schema.names).cast(type_.schema))


def write(store: Store, run_id: str, predictions: Predictions, progress: Progress = SILENT) -> None:
    """Write all rows of a run, after removing what an earlier attempt left, and count them.

    Raises:
        StoreRefused: the graph does not hold what was written.
    """
    remove(store, run_id)
    for batch in predictions.links:
        _write_links(store, run_id, batch, progress)
    if predictions.embedding is not None:
        _write_embedding(store, run_id, predictions.embedding, progress)
    _check_written(store, run_id, predictions)


def remove(store: Store, run_id: str) -> None:
    """Delete every prediction and embedding of a run, in batches, and its vector index first."""
    drop(store, run_id)
    for type_ in EDGE_TYPES.values():
        if type_.kind is Kind.PREDICTED:
            store.implicit(
                f"MATCH ()-[e:{type_.name} {{run: $run}}]->() CALL (e) {{ DELETE e }} IN TRANSACTIONS OF 10000 ROWS",
                run=run_id,
            )
    store.implicit(
        "MATCH (e:Embedding {run: $run}) CALL (e) { DETACH DELETE e } IN TRANSACTIONS OF 10000 ROWS", run=run_id
    )


def run_folder(home: Path, run_id: str) -> Path:
    """Return the folder of a run's artefacts."""
    return home / "runs" / run_id


def _table(embedding: FeatureEmbedding) -> pa.Table:
    flat = pa.array(embedding.vectors.ravel(), pa.float32())
    vectors = pa.FixedSizeListArray.from_arrays(flat, embedding.vectors.shape[1])
    ids, kinds = (pa.array(list(column), pa.string()) for column in (embedding.ids, embedding.kinds))
    return pa.table([ids, kinds, vectors], names=["node", "kind", "vector"])


def _embedding(path: Path) -> FeatureEmbedding | None:
    """Read what `_table` wrote; None if there is none or, as in runs of an earlier version, an empty one."""
    if not path.exists() or not pq.read_metadata(path).num_rows:
        return None
    table = pq.read_table(path)
    flat = table.column("vector").combine_chunks().flatten().to_numpy(zero_copy_only=False)
    vectors = flat.reshape(table.num_rows, table.schema.field("vector").type.list_size).astype(np.float32)
    return FeatureEmbedding(table["node"].to_pylist(), table["kind"].to_pylist(), vectors)


def _write_links(store: Store, run_id: str, batch: EdgeBatch, progress: Progress) -> None:
    type_ = batch.type
    names = type_.schema.names
    own = "".join(f", {c}: row[{i + 1}]" for i, c in enumerate(names) if i >= 2)
    query = (
        f"UNWIND $rows AS row MATCH (a:{type_.start} {{id: row[1]}}) MATCH (b:{type_.end} {{id: row[2]}}) "
        f"CREATE (a)-[:{type_.name} {{edge_id: row[0], run: $run{own}}}]->(b)"
    )
    columns = [batch.edge_ids, *(c.to_pylist() for c in batch.table.columns)]
    _in_batches(store, query, list(zip(*columns, strict=True)), run_id, f"writing {type_.name}", progress)


def _write_embedding(store: Store, run_id: str, embedding: FeatureEmbedding, progress: Progress) -> None:
    for kind in sorted(set(embedding.kinds)):
        chosen = [i for i, k in enumerate(embedding.kinds) if k == kind]
        rows = [(embedding.ids[i], embedding.vectors[i].tolist()) for i in chosen]
        query = (
            f"UNWIND $rows AS row MATCH (n:{kind} {{id: row[0]}}) CREATE (n)-[:HAS_EMBEDDING]->"
            "(:Embedding {id: $run + ':' + row[0], run: $run, node: row[0], kind: $kind, vector: row[1]})"
        )
        _in_batches(store, query, rows, run_id, f"writing embeddings of {kind}", progress, kind=kind)


def _in_batches(
    store: Store, query: str, rows: list[Any], run_id: str, task: str, progress: Progress, **parameters: Any
) -> None:
    progress.begin(task, len(rows), "rows")
    for at in range(0, len(rows), ROWS):
        batch = [list(row) for row in rows[at : at + ROWS]]
        store.write(query, rows=batch, run=run_id, **parameters)
        progress.advance(len(batch))
    progress.end()


def _check_written(store: Store, run_id: str, predictions: Predictions) -> None:
    expected = {batch.type.name: len(batch) for batch in predictions.links}
    expected["Embedding"] = 0 if predictions.embedding is None else len(predictions.embedding.ids)
    counts = {
        name: store.read(f"MATCH ()-[e:{name} {{run: $run}}]->() RETURN count(e) AS n", run=run_id)[0]["n"]
        for name in expected
        if name != "Embedding"
    }
    counts["Embedding"] = store.read("MATCH (e:Embedding {run: $run}) RETURN count(e) AS n", run=run_id)[0]["n"]
    if counts != expected:
        raise StoreRefused(
            f"run {run_id}: the graph holds {counts}, expected {expected}; the run stays invisible",
            f"`regkg runs resume {run_id}` writes it again; nodes may be missing from the graph",
        )
