"""What to write so that a dataset's rows of one type become the incoming ones, beside what the graph holds of them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kg.evidence.row_diff import Changes, RowWrites, StoredRow, compare
from kg.schema import OPEN, NodeType
from kg.schema.batches import hash_sum

if TYPE_CHECKING:
    from collections.abc import Sequence

    from kg.evidence.datasets import DatasetVersion
    from kg.schema import RowType
    from kg.store import Store


def writes_of(
    store: Store,
    type_: RowType,
    version: DatasetVersion | None,
    dataset: str,
    incoming: tuple[Sequence[str], Sequence[str]],
    *,
    draft: int,
    part: str | None,
) -> RowWrites:
    """Return the writes of one load of one type.

    Hashes that sum to those of a whole version are the same rows, in whatever order: then the graph is not asked for a
    million of them.

    Args:
        store: the graph.
        type_: of the rows.
        version: the draft's, of this dataset; None for a new one.
        dataset: whose rows they are.
        incoming: ids and hashes.
        draft: its number.
        part: compare only within this part.
    """
    ids, hashes = incoming
    if version is not None and version.state == "complete" and part is None:
        is_same = version.hashes.get(type_.name) == f"{hash_sum(hashes):032x}"
        if is_same and not has_parts(store, type_, dataset):
            return RowWrites(changes=Changes(unchanged=len(ids)))
    return compare(stored_rows(store, type_, dataset, draft), ids, hashes, draft=draft, part=part)


def stored_rows(store: Store, type_: RowType, dataset: str, draft: int) -> list[StoredRow]:
    """Return open rows of the dataset, and those that this draft closed."""
    pattern, row_id = row_pattern(type_)
    rows = store.stream(
        f"MATCH {pattern} WHERE r.dataset = $dataset AND (r.until = $open OR r.until = $draft) "
        f"RETURN r.{row_id}, r.row_hash, r.since, r.until, r.part",
        dataset=dataset,
        open=OPEN,
        draft=draft,
    )
    return [StoredRow(*row) for row in rows]


def has_parts(store: Store, type_: RowType, dataset: str) -> bool:
    """Return whether an open row of the dataset belongs to a part."""
    pattern, _ = row_pattern(type_)
    question = f"MATCH {pattern} WHERE r.dataset = $dataset AND r.until = $open AND r.part IS NOT NULL RETURN 1 LIMIT 1"
    return bool(store.read(question, dataset=dataset, open=OPEN))


def row_pattern(type_: RowType) -> tuple[str, str]:
    """Return the Cypher pattern that binds a row as `r`, and the name of its id property."""
    if isinstance(type_, NodeType):
        return f"(r:{type_.record_label})", "row_id"
    return f"(:{type_.start})-[r:{type_.name}]->(:{type_.end})", "edge_id"
