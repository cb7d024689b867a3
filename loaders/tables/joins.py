"""From what a file names to nodes of the graph: gene names to genes, intervals to the peaks or genes they meet.

Nothing here queries the database: the nodes are those that the draft handed to the source.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from kg.cells import match_names
from kg.errors import SettingsError
from kg.schema import BIOSAMPLE, GENE, PEAK, TF, NodeType
from loaders.genome.intervals import Intervals, within
from loaders.tables.rows import Reason, Rows

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    import pyarrow as pa
    from numpy.typing import NDArray

    from loaders.tables.source_context import SourceContext

    Ints = NDArray[np.int64]
    Texts = NDArray[np.object_]

SHOWN = 5


def texts(table: pa.Table, column: str) -> Texts:
    """Return a column as Python strings."""
    return np.array(table.column(column).to_pylist(), dtype=object)


def on_assembly(table: pa.Table, assembly: str) -> pa.Table:
    """Return the nodes of one assembly."""
    return table.filter(np.asarray(texts(table, "assembly") == assembly, dtype=bool))


def intervals_of(table: pa.Table) -> Intervals:
    """Return positions of genes or peaks, in the order of the table."""
    return Intervals(texts(table, "chrom"), table.column("start").to_numpy(), table.column("end").to_numpy())


def intervals_in(rows: Rows, chrom: str = "chrom", start: str = "start", end: str = "end") -> Intervals:
    """Return positions of rows, after they were placed."""
    columns = (rows[name].to_numpy() for name in (start, end))
    return Intervals(rows[chrom].to_numpy(dtype=object), *(column.astype(np.int64) for column in columns))


def peaks_under(intervals: Intervals, context: SourceContext, tolerance_bp: int = 0) -> tuple[Ints, Texts]:
    """Return positions among the intervals, and the id of the peak that each meets: all pairs, by position.

    Args:
        intervals: 0-based half-open, on the assembly of the graph.
        context: with the peaks of the draft.
        tolerance_bp: how far apart they may be; 0 asks for a shared base.
    """
    peaks = on_assembly(context.graph[PEAK.label], context.assembly.name)
    at, peak = within(intervals, intervals_of(peaks), tolerance_bp)
    return at, texts(peaks, "id")[peak]


def promoters_under(
    intervals: Intervals, context: SourceContext, upstream_bp: int = 0, tolerance_bp: int = 0
) -> tuple[Ints, Texts]:
    """Return positions among the intervals, and the id of the gene whose promoter each meets; see `peaks_under`.

    A promoter is the transcription start site and the bases before it, by strand.
    """
    genes = on_assembly(context.graph[GENE.label], context.assembly.name)
    tss, plus = genes.column("tss").to_numpy(), texts(genes, "strand") != "-"
    start = np.maximum(np.where(plus, tss - upstream_bp, tss), 0)
    promoter = Intervals(texts(genes, "chrom"), start, np.where(plus, tss, tss + upstream_bp) + 1)
    at, gene = within(intervals, promoter, tolerance_bp)
    return at, texts(genes, "id")[gene]


def set_genes(rows: Rows, column: str, context: SourceContext, *, into: str) -> None:
    """Set `into` to the Ensembl id of the gene named in `column`: an id, with or without version, or a symbol.

    Rows whose gene is not in the graph count as filtered, and a warning names the first; a symbol that several
    genes have is rejected.
    """
    table = context.graph[GENE.label]
    if context.stated_assembly is not None:
        table = on_assembly(table, context.assembly.name)
    names = pd.unique(rows[column])
    match = match_names([str(name) for name in names], table)
    rows.reject(rows[column].isin(match.ambiguous), column, Reason.MANY_GENES)
    rows.set(**{into: rows[column].map(dict(zip(names, match.ids, strict=True)))})
    unknown = rows[into].isna()
    warn_unknown(rows, rows[column][unknown], "genes")
    rows.filtered += int(unknown.sum())
    rows.keep(~unknown)


def ids_or_symbols(rows: Rows, ids: str, symbols: str, context: SourceContext) -> pd.Series[str]:
    """Return the name to look each gene up by: its id, without version, where the graph has that, else its symbol."""
    bare = rows[ids].str.replace(r"\.\d+$", "", regex=True)
    return bare.where(bare.isin(texts(context.graph[GENE.label], "id")) | (rows[symbols] == ""), rows[symbols])


def warn_unknown(rows: Rows, names: Iterable[str], what: str) -> None:
    """Say how many names the graph does not know, and the first of them."""
    unknown = sorted(set(map(str, names)))
    if unknown:
        more = ", ..." if len(unknown) > SHOWN else ""
        rows.warnings.append(
            f"{rows.file}: {len(unknown):,} {what} are not in the graph: {', '.join(unknown[:SHOWN])}{more}"
        )


def leave_out(rows: Rows, bad: pd.Series[bool] | NDArray[np.bool_], why: str) -> None:
    """Count rows as filtered, with a warning that says how many, why, and where the first is."""
    gone = rows.frame.index[bad]
    if len(gone):
        rows.warnings.append(f"{rows.file}: {len(gone):,} rows {why}, the first in line {gone[0]}")
        rows.filtered += len(gone)
        rows.keep(~bad)


def biosamples(names: Iterable[str]) -> tuple[NodeType, Rows]:
    """Return node rows of biosamples, so that an ontology can be mapped to them; empty names make none."""
    ids = sorted({name for name in names if name})
    kinds = ["text" if ontology_of(name) is None else ontology_of(name) for name in ids]
    return BIOSAMPLE, Rows("", pd.DataFrame({"id": ids, "name": ids, "ontology": kinds}, dtype=object), counted=False)


def factors(ids: Iterable[str], families: Iterable[str | None] | None = None) -> tuple[NodeType, Rows]:
    """Return node rows of genes that are transcription factors, each once; see `biosamples`."""
    frame = pd.DataFrame({"id": list(ids)}, dtype=object)
    frame["family"] = None if families is None else pd.Series(list(families), dtype=object)
    return TF, Rows("", frame.drop_duplicates("id"), counted=False)


def of_species(context: SourceContext, species: str) -> SourceContext:
    """Return the context with genes of one species only (NCBITaxon CURIE); all of them when it is empty.

    Raises:
        SettingsError: the graph has no gene of this species.
    """
    genes = context.graph[GENE.label]
    there = texts(genes, "species")
    if not species:
        return context
    if species not in there:
        raise SettingsError(
            f"the graph has no gene of {species}", f"it has genes of {', '.join(sorted(set(there))) or 'none'}"
        )
    kept = genes.filter(np.asarray(there == species, dtype=bool))
    return replace(context, graph={**context.graph, GENE.label: kept})


def keep_best(parts: Sequence[Rows], identity: Sequence[str], best: Sequence[str]) -> None:
    """Keep one of the rows of all files that share an identity; the others count as folded.

    Args:
        parts: rows of the files, with the columns named below.
        identity: columns that say which rows are one.
        best: columns to compare, the largest value wins, earlier columns first; texts break ties.
    """
    every = pd.concat([rows.frame[[*identity, *best]] for rows in parts], ignore_index=True)
    order = every.sort_values(list(best), ascending=False, kind="stable", na_position="last")
    kept = np.zeros(len(every), dtype=bool)
    kept[order.drop_duplicates(list(identity)).index] = True
    at = 0
    for rows in parts:
        good = kept[at : at + len(rows)]
        at += len(rows)
        rows.folded += int((~good).sum())
        rows.keep(good)


def ontology_of(name: str) -> str | None:
    """Return CL for CL:0000576; None for free text."""
    prefix, colon, rest = name.partition(":")
    return prefix if colon and prefix.isalpha() and rest.isalnum() and rest[:1].isdigit() else None
