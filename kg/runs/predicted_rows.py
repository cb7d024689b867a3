"""All rows that a run predicted, as tables, from its files or otherwise from the graph."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pandas as pd

from kg.runs.predictions import read_links, run_folder
from kg.schema import EDGE_TYPES, Kind

if TYPE_CHECKING:
    from pathlib import Path

    from kg.schema import EdgeType
    from kg.schema.batches import EdgeBatch
    from kg.store import Store


def predicted_rows(store: Store, home: Path, run_id: str) -> dict[str, pd.DataFrame]:
    """Return for each predicted type of the run its rows: start_id, end_id and the declared columns."""
    types = [type_ for type_ in EDGE_TYPES.values() if type_.kind is Kind.PREDICTED]
    by_type = {type_.name: rows_of_type(store, home, run_id, type_).drop(columns="edge_id") for type_ in types}
    return {name: rows for name, rows in by_type.items() if len(rows)}


def rows_of_type(store: Store, home: Path, run_id: str, type_: EdgeType) -> pd.DataFrame:
    """Return the rows of one predicted type: edge_id, start_id, end_id and its declared columns."""
    path = run_folder(home, run_id) / f"{type_.name}.parquet"
    if path.exists():
        return rows_of_batch(read_links(type_, path))
    names = type_.schema.names
    rows = store.stream(
        f"MATCH (a:{type_.start})-[e:{type_.name} {{run: $run}}]->(b:{type_.end}) "
        f"RETURN e.edge_id, a.id, b.id, {', '.join(f'e.{name}' for name in names[2:])}",
        run=run_id,
    )
    return pd.DataFrame(list(rows), columns=["edge_id", *names])


def rows_of_batch(batch: EdgeBatch) -> pd.DataFrame:
    """Return the rows of a batch in the format of `rows_of_type`."""
    rows: pd.DataFrame = batch.table.to_pandas()
    rows.insert(0, "edge_id", batch.edge_ids)
    return rows
