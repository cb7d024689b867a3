"""Registered sets of cells and the matching of their features to the graph."""

from kg.cells.registry import (
    COVERAGE,
    CellsFile,
    FeatureMatch,
    assay_of,
    cells,
    checksum,
    is_gene_layer,
    match_features,
    match_names,
    modality_of,
    read_header,
    register,
    registered,
    split_positions,
)

__all__ = [
    "COVERAGE",
    "CellsFile",
    "FeatureMatch",
    "assay_of",
    "cells",
    "checksum",
    "is_gene_layer",
    "match_features",
    "match_names",
    "modality_of",
    "read_header",
    "register",
    "registered",
    "split_positions",
]
