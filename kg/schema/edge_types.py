"""What exists in the graph, declared once: here, in `kg.schema.node_types` and in `kg.schema.predicted_types`.

Arrow schemas, constraints, indexes, REST models and the reference page are made from these
declarations. Labels and relationship types in Cypher come from here and from nowhere else.
Coordinates are 0-based half-open.
"""

from __future__ import annotations

import pyarrow as pa

from kg.schema.node_types import ASSEMBLY, BIOSAMPLE, GENE, MOTIF, ORIGINAL, PEAK, TF, VARIANT
from kg.schema.predicted_types import (
    ANNOTATED_AS,
    IMPUTED_GENE,
    IMPUTED_PEAK,
    PREDICTED_CONTACT,
    PREDICTED_LINK,
    PREDICTED_TARGET,
)
from kg.schema.row_types import Column, EdgeType, Kind, NodeType, RowType

SCHEMA_VERSION = 2
OPEN = 2_147_483_647  # `until` of a row that nothing has closed

_BIOSAMPLE = Column("biosample", pa.string(), "CURIE or the file's own text; empty when it is not known")
_SCORE_KIND = Column("score_kind", pa.string(), "what the score is, such as chicago, pip, abc")

NEAR = EdgeType(
    "NEAR",
    "The peak lies within a stated window of the gene's body, promoter or both (a derived dataset).",
    "Peak",
    "Gene",
    (
        Column("distance_bp", pa.int64(), "0 when they overlap; touching intervals are 1 apart"),
        Column("tss_distance_bp", pa.int64(), "signed distance from TSS to the peak, along the strand; 0 inside"),
    ),
    eco="ECO:0000203",
)

SUBCLASS_OF = EdgeType(
    "SUBCLASS_OF",
    "A biosample is a kind of another; a file's free text is one of the CURIE that it stands for.",
    "Biosample",
    "Biosample",
    (),
)

MOTIF_OF = EdgeType(
    "MOTIF_OF",
    "The motif is one of the transcription factor's.",
    "Motif",
    "Gene",
    (Column("evidence", pa.string(), "direct, inferred, ... as the collection has it", required=False),),
    eco="ECO:0000028",
)

HAS_HIT = EdgeType(
    "HAS_HIT",
    "The motif matches the peak's sequence.",
    "Motif",
    "Peak",
    (
        Column("offset_bp", pa.int64(), "first base of the match, from the start of the peak; may be outside it"),
        Column("strand", pa.string(), "+ or -"),
        Column("score", pa.float32(), "log2 odds against the background"),
        Column("p_value", pa.float32(), "of such a score at one position, unless the file gave none", required=False),
    ),
    keys=("offset_bp", "strand"),
    eco="ECO:0000028",
)

LIFTED_TO = EdgeType(
    "LIFTED_TO",
    "The peak aligns to that one on another assembly.",
    "Peak",
    "Peak",
    (
        Column("class", pa.string(), "lifted; see NOT_LIFTED for the others"),
        Column("strand", pa.string(), "- where the alignment is inverted"),
        Column("matched", pa.float32(), "share of the peak's bases that are aligned"),
        Column("width_ratio", pa.float32(), "width there over width here"),
        Column(
            "reciprocal", pa.bool_(), "lifting it back meets the peak; null where that was not tested", required=False
        ),
    ),
    eco="ECO:0000265",
)

NOT_LIFTED = EdgeType(
    "NOT_LIFTED",
    "The peak has no counterpart on that assembly, and why.",
    "Peak",
    "Assembly",
    (
        Column("class", pa.string(), "deleted, split, duplicated, too_wide, not_reciprocal"),
        Column("reason", pa.string(), "in a sentence"),
    ),
    eco="ECO:0000265",
)

ORTHOLOG_OF = EdgeType(
    "ORTHOLOG_OF",
    "The genes descend from one gene of the last common ancestor; written once, from the species that sorts first.",
    "Gene",
    "Gene",
    (
        Column("class", pa.string(), "one2one, one2many, many2many"),
        Column("identity", pa.float32(), "percent of the first gene's protein", required=False),
        Column("group", pa.string(), "of the source, such as a homologene number", required=False),
    ),
    eco="ECO:0000265",
)

CONTACTS = EdgeType(
    "CONTACTS",
    "The peak touches the gene's promoter in space, by a capture Hi-C interaction or a loop.",
    "Peak",
    "Gene",
    (
        Column("score", pa.float32(), "of the interaction; higher is more confident"),
        _SCORE_KIND,
        _BIOSAMPLE,
        Column("bait", pa.string(), "chrom:start-end of the fragment or anchor at the gene"),
        Column("other_end", pa.string(), "chrom:start-end of the fragment or anchor at the peak"),
        Column("bait_to_bait", pa.bool_(), "the other end is a bait as well"),
        ORIGINAL,
    ),
    keys=("biosample", "bait", "other_end"),
    eco="ECO:0000006",
)

PEAK_CONTACTS = EdgeType(
    "PEAK_CONTACTS",
    "Two peaks touch in space, by a loop neither of whose anchors need be a promoter.",
    "Peak",
    "Peak",
    (
        Column("score", pa.float32(), "of the interaction; higher is more confident"),
        _SCORE_KIND,
        _BIOSAMPLE,
        Column("anchor", pa.string(), "chrom:start-end of the anchor at the first peak"),
        Column("other_end", pa.string(), "chrom:start-end of the anchor at the second"),
        ORIGINAL,
    ),
    keys=("biosample", "anchor", "other_end"),
    eco="ECO:0000006",
)

IN_PEAK = EdgeType("IN_PEAK", "The variant lies in the peak.", "Variant", "Peak", (), eco="ECO:0000203")

EQTL = EdgeType(
    "EQTL",
    "A variant in the peak is associated with the gene's expression.",
    "Peak",
    "Gene",
    (
        Column("variant", pa.string(), "id of the Variant"),
        Column("kind", pa.string(), "nominal, lead, credible or coloc"),
        Column("score", pa.float32(), "-log10 p, PIP or PP.H4"),
        _SCORE_KIND,
        _BIOSAMPLE,
        Column("study", pa.string(), "as the file names it; empty when it does not"),
        Column("trait", pa.string(), "of a colocalisation; empty for others"),
        Column("allele", pa.string(), "effect allele", required=False),
        Column("beta", pa.float32(), "effect of that allele on expression", required=False),
        Column("se", pa.float32(), "standard error of beta", required=False),
        Column("p_value", pa.float64(), "nominal", required=False),
        Column("pip", pa.float32(), "posterior inclusion probability", required=False),
        Column("pp_h4", pa.float32(), "posterior probability of one shared causal variant", required=False),
        Column("sign", pa.int64(), "of beta, -1 or +1", required=False),
    ),
    keys=("variant", "kind", "biosample", "study", "trait"),
    eco="ECO:0000006",
)

BINDS = EdgeType(
    "BINDS",
    "A ChIP-seq peak of the transcription factor overlaps the peak.",
    "Gene",
    "Peak",
    (
        Column("score", pa.float32(), "signal of the ChIP-seq peak; of several, the strongest"),
        _SCORE_KIND,
        Column("q_value", pa.float32(), "-log10, as narrowPeak has it", required=False),
        _BIOSAMPLE,
        Column("experiment", pa.string(), "such as an ENCODE accession or the name of the file"),
        ORIGINAL,
    ),
    keys=("biosample", "experiment"),
    eco="ECO:0000226",
)

TARGETS = EdgeType(
    "TARGETS",
    "Curators say that the transcription factor regulates the gene.",
    "Gene",
    "Gene",
    (
        Column("mode", pa.string(), "activation, repression or unknown"),
        Column("sign", pa.int64(), "+1, -1, or 0 where it is not known"),
        Column("confidence", pa.string(), "as the collection grades it", required=False),
        Column("references", pa.string(), "PubMed ids, separated by ;", required=False),
        Column("resources", pa.string(), "collections that a collection of collections drew from", required=False),
    ),
    keys=("mode",),
    eco="ECO:0000305",
)

ACCESSIBLE_IN = EdgeType(
    "ACCESSIBLE_IN",
    "The peak is open in the biosample.",
    "Peak",
    "Biosample",
    (
        Column("score", pa.float32(), "share of its cells with a fragment there, or the signal of the peak file"),
        _SCORE_KIND,
        Column("cells", pa.int64(), "in the group, when cells were counted", required=False),
    ),
    eco="ECO:0000006",
)

EXTERNAL_LINK = EdgeType(
    "EXTERNAL_LINK",
    "Another program says that an element overlapping the peak regulates the gene.",
    "Peak",
    "Gene",
    (
        Column("score", pa.float32(), "as that program gives it"),
        _SCORE_KIND,
        Column("threshold", pa.float32(), "from which that program calls a link", required=False),
        Column("model", pa.string(), "program and version, such as ENCODE-rE2G"),
        _BIOSAMPLE,
        Column("element", pa.string(), "chrom:start-end of its element"),
        Column("sign", pa.int64(), "-1 or +1", required=False),
        Column("tf", pa.string(), "Ensembl id of the factor of an eRegulon; empty for others"),
        ORIGINAL,
    ),
    keys=("model", "biosample", "element", "tf"),
    eco="ECO:0000213",
)

PERTURBS = EdgeType(
    "PERTURBS",
    "Silencing an element that overlaps the peak was tested for its effect on the gene (CRISPRi).",
    "Peak",
    "Gene",
    (
        Column("effect", pa.float32(), "relative change of expression, -0.4 for 40 % less", required=False),
        Column("p_value", pa.float64(), "adjusted, as the file has it", required=False),
        Column("significant", pa.bool_(), "the element regulates the gene, in the file's verdict"),
        Column("power", pa.float32(), "to see a change of 20 %", required=False),
        _BIOSAMPLE,
        Column("study", pa.string(), "as the file names it; empty when it does not"),
        Column("element", pa.string(), "chrom:start-end of the element"),
        ORIGINAL,
    ),
    kind=Kind.TRUTH,
    keys=("biosample", "study", "element"),
    eco="ECO:0000006",
)

NODE_TYPES: dict[str, NodeType] = {t.label: t for t in (GENE, PEAK, TF, MOTIF, VARIANT, BIOSAMPLE, ASSEMBLY)}
EDGE_TYPES: dict[str, EdgeType] = {
    t.name: t
    for t in (
        NEAR, CONTACTS, PEAK_CONTACTS, EQTL, IN_PEAK, BINDS, TARGETS, MOTIF_OF, HAS_HIT, ACCESSIBLE_IN, EXTERNAL_LINK,
        LIFTED_TO, NOT_LIFTED, ORTHOLOG_OF, SUBCLASS_OF, PERTURBS, PREDICTED_LINK, PREDICTED_TARGET,
        PREDICTED_CONTACT, ANNOTATED_AS, IMPUTED_GENE, IMPUTED_PEAK,
    )
}  # fmt: skip


def evidence_types() -> list[RowType]:
    """Return everything that datasets assert: node records, evidence and truth, in declaration order."""
    return [*NODE_TYPES.values(), *(t for t in EDGE_TYPES.values() if t.kind is not Kind.PREDICTED)]


def row_type(name: str) -> RowType:
    """Return the declared node or edge type of this name."""
    return NODE_TYPES[name] if name in NODE_TYPES else EDGE_TYPES[name]
