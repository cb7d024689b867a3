"""Parsing a source's files into batches, without a database: read, validate, fold, set conflicts apart."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pandas as pd

from kg.schema import NodeType
from kg.schema.batches import Batch, EdgeBatch, NodeBatch
from loaders.registry import NoOptions
from loaders.tables.quarantine import gather
from loaders.tables.rows import Reason

if TYPE_CHECKING:
    from collections.abc import Mapping

    from loaders.registry import Loader, RowType
    from loaders.tables.rows import Rows
    from loaders.tables.source_context import SourceContext


@dataclass(frozen=True)
class ParsedSource:
    """The rows of a source's files, good and rejected.

    Attributes:
        batches: one for each row type, unique by identity.
        rejected: rows with the columns `loaders.tables.rows.REJECTED`.
        read: rows in the files.
        folded: rows identical to another one.
        filtered: rows left out by a stated threshold.
        renamed: rows whose chromosome got its canonical name.
        notes: oddities that were accepted, counted: `bom` in files, `crlf` in lines.
        warnings: what people should look at.
    """

    batches: tuple[Batch, ...]
    rejected: pd.DataFrame
    read: int
    folded: int
    filtered: int
    renamed: int
    notes: Mapping[str, int]
    warnings: tuple[str, ...]

    @property
    def rows(self) -> int:
        """Number of good rows."""
        return sum(map(len, self.batches))


def read_source(loader: Loader, context: SourceContext, options: Any) -> ParsedSource:
    """Run a source over its files.

    Args:
        loader: the source.
        context: its files, and what it looks up.
        options: checked, see `Loader.check_options`.

    Raises:
        InputError: a file is refused as a whole.
    """
    by_type: dict[str, tuple[RowType, list[Rows]]] = {}
    arguments = (context,) if loader.options is NoOptions else (context, options)
    for type_, rows in loader.read(*arguments):
        by_type.setdefault(type_.name, (type_, []))[1].append(rows)
    parts = [rows for _, group in by_type.values() for rows in group]
    batches = tuple(deduplicate(type_, group) for type_, group in by_type.values())
    return ParsedSource(
        batches=tuple(batch for batch in batches if len(batch)),
        rejected=gather([table for rows in parts for table in rows.rejected]),
        read=sum(rows.read for rows in parts),
        folded=sum(rows.folded for rows in parts),
        filtered=sum(rows.filtered for rows in parts),
        renamed=sum(rows.renamed for rows in parts),
        notes=dict(Counter(context.notes)),
        warnings=tuple(warning for rows in parts for warning in rows.warnings),
    )


def deduplicate(type_: RowType, parts: list[Rows]) -> Batch:
    """Make one batch of the rows of all files: identical rows fold, rows of one identity that differ are rejected."""
    names = type_.schema.names
    keys = ["id"] if isinstance(type_, NodeType) else ["start_id", "end_id", *type_.keys]
    for rows in parts:
        texts = rows.frame[keys].astype(str)
        rows.set(key=texts[keys[0]].str.cat(texts[keys[1:]], sep=" ") if len(keys) > 1 else rows[keys[0]])
    every = pd.concat([rows.frame.reindex(columns=[*names, "key"]) for rows in parts], ignore_index=True)
    repeated = every.duplicated(names).to_numpy()
    firsts = every["key"][~repeated]
    clashing = every["key"].isin(firsts[firsts.duplicated()]).to_numpy()
    at = 0
    for rows in parts:
        of_part = slice(at, at := at + len(rows))
        rows.folded += int((repeated & ~clashing)[of_part].sum())
        rows.reject(clashing[of_part], "id", Reason.CONFLICT)
    good = every[~clashing & ~repeated].reset_index(drop=True)
    kind = NodeBatch if isinstance(type_, NodeType) else EdgeBatch
    return kind.build(type_, **{name: good[name] for name in names})
