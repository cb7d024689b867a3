"""Parquet."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, BinaryIO

import pyarrow.parquet as pq

from kg.export.registry import Format, Tally

if TYPE_CHECKING:
    from collections.abc import Sequence

    from kg.export.content import Content


def write(content: Content, streams: Sequence[BinaryIO]) -> Tally:
    """Write one row group per table; `regkg` in the schema's metadata holds the provenance."""
    schema = content.schema.with_metadata({"regkg": json.dumps(dict(content.about), sort_keys=True)})
    written = 0
    with pq.ParquetWriter(streams[0], schema, compression="zstd") as writer:
        for table in content.rows:
            writer.write_table(table.cast(schema))
            written += table.num_rows
    return Tally(written)


FORMAT = Format("Parquet, all columns", "rows", (".parquet",), write, text=False)
