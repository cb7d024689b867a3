"""The declared types of predictions, which runs write; everyone else takes them from `kg.schema.edge_types`."""

from __future__ import annotations

import pyarrow as pa

from kg.schema.row_types import Column, EdgeType, Kind

CELLS = "Cells"
"""Label of registered files of cells, id SET/MODALITY: no node type, since no dataset asserts them and no release ends
them; predictions may start there."""

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
    "A run says that the transcription factor regulates the gene.",
    "Gene",
    "Gene",
    (
        Column("score", pa.float32(), "higher is more confident; what it is, score_kind says"),
        Column(
            "score_kind", pa.string(), "motifs or chip: chance of at most so many peaks with a site; or correlation"
        ),
        Column("rank", pa.float32(), "of the gene among all genes for this factor, 1 is best; ties share their mean"),
        Column("p_value", pa.float64(), "chance of at least so good a score"),
        Column("q_value", pa.float64(), "Benjamini-Hochberg over all factors and genes"),
        Column("sign", pa.int64(), "-1 or +1: of the supporting links or of the correlation"),
        Column("called", pa.bool_(), "q below the run's threshold"),
        Column("observed", pa.int64(), "linked peaks with a site", required=False),
        Column("expected", pa.float32(), "mean of that number among random peaks", required=False),
        Column("peaks", pa.list_(pa.string()), "those peaks, strongest link first, 100 at most", required=False),
    ),
    kind=Kind.PREDICTED,
    eco="ECO:0000213",
)

PREDICTED_CONTACT = EdgeType(
    "PREDICTED_CONTACT",
    "A model says that two peaks touch in the nucleus.",
    "Peak",
    "Peak",
    (
        Column("score", pa.float32(), "predicted contact, on the scale that score_kind names"),
        Column("score_kind", pa.string(), "such as log_observed_over_expected"),
        Column("resolution_bp", pa.int64(), "width of a bin of the contact map"),
        Column("distance_bp", pa.int64(), "between the centres of the peaks"),
        Column("called", pa.bool_(), "a contact, in the run's view"),
    ),
    kind=Kind.PREDICTED,
    eco="ECO:0000213",
)

ANNOTATED_AS = EdgeType(
    "ANNOTATED_AS",
    "A model gave this label to some cells of the file.",
    CELLS,
    "Biosample",
    (
        Column(
            "annotation", pa.string(), "which annotation, a column of obs in the run's file, such as transferred_label"
        ),
        Column("label", pa.string(), "the label as the model gave it"),
        Column("n", pa.int64(), "cells with this label"),
        Column("share", pa.float32(), "of the cells of the file"),
        Column("confidence", pa.float32(), "mean over these cells"),
    ),
    kind=Kind.PREDICTED,
    keys=("annotation", "label"),
    eco="ECO:0000213",
)

_QUALITY = (
    Column("layer", pa.string(), "what was imputed, a layer in the run's file"),
    Column("correlation", pa.float32(), "Pearson, of imputed and measured values over cells held out"),
    Column("n", pa.int64(), "cells held out"),
)

IMPUTED_GENE = EdgeType(
    "IMPUTED_GENE",
    "How well a model imputes the gene in the cells of the file.",
    CELLS,
    "Gene",
    _QUALITY,
    kind=Kind.PREDICTED,
    keys=("layer",),
    eco="ECO:0000213",
)

IMPUTED_PEAK = EdgeType(
    "IMPUTED_PEAK",
    "How well a model imputes the peak in the cells of the file.",
    CELLS,
    "Peak",
    _QUALITY,
    kind=Kind.PREDICTED,
    keys=("layer",),
    eco="ECO:0000213",
)
