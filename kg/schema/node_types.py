"""The declared node types; everyone else takes them from `kg.schema.edge_types`."""

from __future__ import annotations

import pyarrow as pa

from kg.schema.row_types import Column, NodeType

_INTERVAL = (
    Column("assembly", pa.string(), "GRCh38, GRCm38, ... (never an alias such as hg38)"),
    Column("chrom", pa.string(), "UCSC style, such as chr1"),
    Column("start", pa.int64(), "0-based"),
    Column("end", pa.int64(), "exclusive"),
)

ORIGINAL = Column("original", pa.string(), "assembly:chrom:start-end before it was lifted at load", required=False)
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
        ORIGINAL,
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
        ORIGINAL,
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
