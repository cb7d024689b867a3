"""Registered sets of cells and the matching of their features to the graph."""

from kg.cells.registry import (
    COVERAGE,
    CellsFile,
    cells,
    checksum,
    is_gene_layer,
    match_features,
    match_names,
    modality_of,
    read_header,
    register,
    split_positions,
)

__all__ = [
    "COVERAGE",
    "CellsFile",
    "cells",
    "checksum",
    "is_gene_layer",
    "match_features",
    "match_names",
    "modality_of",
    "read_header",
    "register",
    "split_positions",
]
