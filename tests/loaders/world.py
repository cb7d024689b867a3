"""What the tests of loaders share: samples, sources run without a database, small files."""

from __future__ import annotations

import gzip
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from kg.schema import GENE, MOTIF, NODE_TYPES
from kg.schema.batches import hash_sum
from loaders.genome.assemblies import assembly
from loaders.reading import ParsedSource, read_source
from loaders.registry import find
from loaders.tables.files import check_file
from loaders.tables.source_context import SourceContext

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

SAMPLES = Path(__file__).parent / "samples"
MOUSE = SAMPLES / "mouse" / "genes.gtf"
NEEDED_BIOSAMPLE = {"accessibility": "CL:0000576"}
"""Source -> biosample that its samples cannot be loaded without."""


def samples(source: str) -> list[Path]:
    """Return the source's sample files; none for a derived source."""
    return sorted((SAMPLES / source).glob("*"))


def run_source(source: str, files: Sequence[Path], of: str = "GRCh38", **options: Any) -> ParsedSource:
    """Run a source over files; it looks nodes up in `graph`, or in the first samples of the sources of those nodes.

    With `lift` they are lifted to the assembly `of`.
    """
    loader = find(source)
    biosample = str(options.pop("biosample", NEEDED_BIOSAMPLE.get(source, "")))
    graph = options.pop("graph", None) or (sample_graph() if loader.lookup else {})
    lift = options.pop("lift", None)
    on = assembly(of) if loader.assembly else None
    context = SourceContext(tuple(check_file(f) for f in files), on, biosample, graph, lift=lift)
    return read_source(loader, context, loader.check_options(options))


@cache
def sample_graph() -> Mapping[str, pa.Table]:
    """Return genes of genes.gtf and of a mouse, peaks of peaks.bed, motifs of made.jaspar, as in a draft."""
    graph = graph_of([SAMPLES / "genes" / "genes.gtf"], [SAMPLES / "peaks" / "peaks.bed"])
    (mouse,) = run_source("genes", [MOUSE], "GRCm38").batches
    graph = {**graph, GENE.label: pa.concat_tables([graph[GENE.label], mouse.table])}
    return with_motifs(graph, SAMPLES / "motifs" / "made.jaspar")


def with_motifs(graph: Mapping[str, pa.Table], motifs: Path) -> Mapping[str, pa.Table]:
    """Return the graph with the motifs of a file."""
    batch = next(b for b in run_source("motifs", [motifs], graph=graph).batches if b.type is MOTIF)
    return {**graph, MOTIF.label: batch.table}


def graph_of(genes: Sequence[Path], peaks: Sequence[Path], of: str = "GRCh38") -> Mapping[str, pa.Table]:
    """Return genes and peaks of files, as in a draft, and no other nodes."""
    batches = [*run_source("genes", genes, of).batches, *run_source("peaks", peaks, of).batches]
    empty = {label: type_.schema.empty_table() for label, type_ in NODE_TYPES.items()}
    return empty | {b.type.name: b.table for b in batches if b.type.name in NODE_TYPES}


def content(reading: ParsedSource, dataset: str = "d") -> dict[str, int]:
    """Return an order-independent hash of the rows of each type."""
    return {batch.type.name: hash_sum(batch.row_hashes(dataset)) for batch in reading.batches}


def write(path: Path, text: str | bytes) -> Path:
    """Write a file, gzipped if its name says so."""
    body = text.encode() if isinstance(text, str) else text
    path.write_bytes(gzip.compress(body, mtime=0) if path.suffix == ".gz" else body)
    return path


def bed(*rows: tuple[Any, ...]) -> str:
    """Return tab-separated lines."""
    return "".join("\t".join(map(str, row)) + "\n" for row in rows)
