"""The declared types of predictions, which runs write; everyone else takes them from `kg.schema.edge_types`."""

from __future__ import annotations

import pyarrow as pa

from kg.schema.row_types import Column, EdgeType, Kind

PREDICTED_LINK = EdgeType(
    "PREDICTED_LINK",
    "A model says that the peak regulates the gene.",
    "Peak",
    "Gene",
    (
        Column("score", pa.float32(), "mean over the run's members"),
        Column("score_kind", pa.string(), "such as cosine"),
        Column("p_value", pa.float32(), "one-sided permutation p"),
        Column("q_value", pa.float32(), "Benjamini-Hochberg over the skeleton"),
        Column("sign", pa.int64(), "-1 or +1"),
        Column("stability", pa.float32(), "standard deviation of the score over members", required=False),
        Column("called", pa.bool_(), "q below the run's threshold"),
        Column("in_prior", pa.bool_(), "an edge that guided the run joins the pair; null: it does", required=False),
        Column("without_prior", pa.float32(), "score without the edges of this pair, all else equal", required=False),
        Column("from_cells", pa.float32(), "correlation of both over the cells, no edge asked", required=False),
    ),
    kind=Kind.PREDICTED,
    eco="ECO:0000213",
)

PREDICTED_TARGET = EdgeType(
    "PREDICTED_TARGET",
    "More of the peaks that a run links to the gene hold a site of the transcription factor than chance gives.",
    "Gene",
    "Gene",
    (
        Column("score", pa.float32(), "chance of at most as many such peaks among random peaks of the same lengths"),
        Column("score_kind", pa.string(), "motifs or chip, for what a site is"),
        Column("rank", pa.float32(), "of the gene among all genes for this factor, 1 is best; ties share their mean"),
        Column("p_value", pa.float64(), "chance of at least as many such peaks"),
        Column("q_value", pa.float64(), "Benjamini-Hochberg over all factors and genes"),
        Column("sign", pa.int64(), "-1 or +1: of the supporting links, not of the factor's own effect"),
        Column("called", pa.bool_(), "q below the run's threshold"),
        Column("observed", pa.int64(), "linked peaks with a site"),
        Column("expected", pa.float32(), "mean of that number among random peaks"),
        Column("peaks", pa.list_(pa.string()), "those peaks, strongest link first, 100 at most"),
    ),
    kind=Kind.PREDICTED,
    eco="ECO:0000213",
)
