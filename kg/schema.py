"""What exists in the graph, declared once.

Arrow schemas, constraints, indexes, REST models and the reference page are made from these
declarations. Labels and relationship types in Cypher come from here and from nowhere else.
Coordinates are 0-based half-open.
"""

from __future__ import annotations

import pyarrow as pa

from kg.row_types import Column, EdgeType, Kind, NodeType, RowType

__all__ = [
    "ACCESSIBLE_IN",
    "ASSEMBLY",
    "BINDS",
    "BIOSAMPLE",
    "CONTACTS",
    "EDGE_TYPES",
    "EQTL",
    "EXTERNAL_LINK",
    "GENE",
    "HAS_HIT",
    "IN_PEAK",
    "LIFTED_TO",
    "MOTIF",
    "MOTIF_OF",
    "NEAR",
    "NODE_TYPES",
    "NOT_LIFTED",
    "OPEN",
    "ORTHOLOG_OF",
    "PEAK",
    "PEAK_CONTACTS",
    "PERTURBS",
    "PREDICTED_LINK",
    "SCHEMA_VERSION",
    "SUBCLASS_OF",
    "TARGETS",
    "TF",
    "VARIANT",
    "Column",
    "EdgeType",
    "Kind",
    "NodeType",
    "RowType",
    "evidence_types",
    "row_type",
]

SCHEMA_VERSION = 2
OPEN = 2_147_483_647  # `until` of a row that nothing has closed

_INTERVAL = (
    Column("assembly", pa.string(), "GRCh38, GRCm38, ... (never an alias such as hg38)"),
    Column("chrom", pa.string(), "UCSC style, such as chr1"),
    Column("start", pa.int64(), "0-based"),
    Column("end", pa.int64(), "exclusive"),
)

_ORIGINAL = Column("original", pa.string(), "assembly:chrom:start-end before it was lifted at load", required=False)
_BIOSAMPLE = Column("biosample", pa.string(), "CURIE or the file's own text; empty when it is not known")
_SCORE_KIND = Column("score_kind", pa.string(), "what the score is, such as chicago, pip, abc")

GENE = NodeType(
    "Gene",
    "A gene; id is the Ensembl id without version. Those that are transcription factors also carry the label TF.",
    (
        Column("symbol", pa.string(), "for display; not an identity"),
        Column("species", pa.string(), "NCBITaxon CURIE, such as NCBITaxon:9606"),
        *_INTERVAL,
        Column("strand", pa.string(), "+ or -"),
        Column("tss", pa.int64(), "0-based position of the first transcribed base, by strand"),
        Column("biotype", pa.string(), "such as protein_coding", required=False),
        Column("version", pa.string(), "Ensembl version of the id, when the file gave one", required=False),
    ),
    indexes=(("symbol",), ("chrom", "start")),
)

PEAK = NodeType(
    "Peak",
    "An open-chromatin peak; id is assembly:chrom:start-end.",
    (
        *_INTERVAL,
        Column("summit", pa.int64(), "0-based position of the summit, when the file gave one", required=False),
        _ORIGINAL,
    ),
    indexes=(("chrom", "start"),),
)

TF = NodeType(
    "TF",
    "A gene that is a transcription factor, in the view of the dataset that says so.",
    (Column("family", pa.string(), "DNA-binding domain, when the dataset gives it", required=False),),
    role_of="Gene",
)

MOTIF = NodeType(
    "Motif",
    "A binding motif; id is that of its collection with version, such as MA0080.6.",
    (
        Column("name", pa.string(), "as the collection shows it, such as SPI1"),
        Column("base_id", pa.string(), "id without version"),
        Column("collection", pa.string(), "such as JASPAR2022, HOCOMOCO11"),
        Column("length", pa.int64(), "positions"),
        Column("consensus", pa.string(), "IUPAC consensus"),
        Column("matrix", pa.string(), "JSON counts or probabilities, positions x ACGT"),
        Column("digest", pa.string(), "sha256 of the matrix; what a cached scan is keyed by"),
    ),
    indexes=(("base_id",),),
)

VARIANT = NodeType(
    "Variant",
    "A genetic variant; id is assembly:chrom:pos:ref:alt with the 1-based position that such ids have.",
    (
        Column("assembly", pa.string(), "GRCh38, GRCm38, ..."),
        Column("chrom", pa.string(), "UCSC style, such as chr1"),
        Column("start", pa.int64(), "0-based"),
        Column("end", pa.int64(), "exclusive; start + length of the reference allele"),
        Column("ref", pa.string(), "reference allele"),
        Column("alt", pa.string(), "other allele"),
        Column("rsid", pa.string(), "dbSNP id", required=False),
        _ORIGINAL,
    ),
    indexes=(("chrom", "start"), ("rsid",)),
)

BIOSAMPLE = NodeType(
    "Biosample",
    "A cell type, tissue or cell line: a CL, UBERON or EFO CURIE, or the free text that a file gave.",
    (
        Column("name", pa.string(), "for display"),
        Column("ontology", pa.string(), "CL, UBERON, EFO, ...; text where it is free text"),
    ),
    indexes=(("name",),),
)

ASSEMBLY = NodeType(
    "Assembly",
    "A genome assembly that peaks were lifted to.",
    (Column("species", pa.string(), "NCBITaxon CURIE"),),
)

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
        Column("score", pa.float32(), "of the interaction; the larger, the surer"),
        _SCORE_KIND,
        _BIOSAMPLE,
        Column("bait", pa.string(), "chrom:start-end of the fragment or anchor at the gene"),
        Column("other_end", pa.string(), "chrom:start-end of the fragment or anchor at the peak"),
        Column("bait_to_bait", pa.bool_(), "the other end is a bait as well"),
        _ORIGINAL,
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
        Column("score", pa.float32(), "of the interaction; the larger, the surer"),
        _SCORE_KIND,
        _BIOSAMPLE,
        Column("anchor", pa.string(), "chrom:start-end of the anchor at the first peak"),
        Column("other_end", pa.string(), "chrom:start-end of the anchor at the second"),
        _ORIGINAL,
    ),
    keys=("biosample", "anchor", "other_end"),
    eco="ECO:0000006",
)

IN_PEAK = EdgeType("IN_PEAK", "The variant lies in the peak.", "Variant", "Peak", (), eco="ECO:0000203")

EQTL = EdgeType(
    "EQTL",
    "A variant in the peak goes with the gene's expression.",
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
        _ORIGINAL,
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
        _ORIGINAL,
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
        _ORIGINAL,
    ),
    kind=Kind.TRUTH,
    keys=("biosample", "study", "element"),
    eco="ECO:0000006",
)

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
    ),
    kind=Kind.PREDICTED,
    eco="ECO:0000213",
)

NODE_TYPES: dict[str, NodeType] = {t.label: t for t in (GENE, PEAK, TF, MOTIF, VARIANT, BIOSAMPLE, ASSEMBLY)}
EDGE_TYPES: dict[str, EdgeType] = {
    t.name: t
    for t in (
        NEAR, CONTACTS, PEAK_CONTACTS, EQTL, IN_PEAK, BINDS, TARGETS, MOTIF_OF, HAS_HIT, ACCESSIBLE_IN, EXTERNAL_LINK,
        LIFTED_TO, NOT_LIFTED, ORTHOLOG_OF, SUBCLASS_OF, PERTURBS, PREDICTED_LINK,
    )
}  # fmt: skip


def evidence_types() -> list[RowType]:
    """Everything that datasets assert: node records, evidence and truth, in declaration order."""
    return [*NODE_TYPES.values(), *(t for t in EDGE_TYPES.values() if t.kind is not Kind.PREDICTED)]


def row_type(name: str) -> RowType:
    """The declared node or edge type of this name."""
    return NODE_TYPES[name] if name in NODE_TYPES else EDGE_TYPES[name]
