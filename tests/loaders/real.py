"""The real graph that evidence is joined to: all genes of GRCh38 and the peaks of h1_snare."""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING, Any

from kg.cells import match_names, read_header
from kg.schema import NODE_TYPES
from loaders.genome.assemblies import assembly
from loaders.reading import ParsedSource, read_source
from loaders.registry import find
from loaders.tables.files import check_file
from loaders.tables.source_context import SourceContext
from tests.loaders.world import run_source

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    import pyarrow as pa


@cache
def h1_graph(data: Path) -> Mapping[str, pa.Table]:
    """Return nodes by label, in the format of the draft."""
    readings = [
        run_source("genes", [data / "genes" / "grch38.tsv.gz"]),
        run_source("peaks", [data / "cells" / "h1_snare" / "atac.h5ad"]),
    ]
    empty = {label: type_.schema.empty_table() for label, type_ in NODE_TYPES.items()}
    return empty | {batch.type.name: batch.table for reading in readings for batch in reading.batches}


def measured_genes(data: Path) -> set[str]:
    """Return the ids of the genes in the RNA of h1_snare."""
    names = read_header(data / "cells" / "h1_snare" / "rna.h5ad").features
    return {id_ for id_ in match_names(names, h1_graph(data)["Gene"]).ids if id_}


def run_on_h1(source: str, data: Path, *files: Path, **options: Any) -> ParsedSource:
    """Run a source over real files, against the real graph."""
    loader = find(source)
    context = SourceContext(tuple(check_file(f) for f in files), assembly("GRCh38"), graph=h1_graph(data))
    return read_source(loader, context, loader.check_options(options))
