"""Genes from an Ensembl or GENCODE annotation: GTF, GFF3, or a table with a header such as annotables has.

The format is told from the content. Ids may carry a version, which is kept beside the bare id; a gene of the
pseudoautosomal region that GENCODE lists on Y too keeps _PAR_Y in its id. Positions in all three are 1-based
with both ends inside. A gene without a symbol is shown by its id. Genes are not lifted from another assembly: its
annotation is made anew, start sites and all.
"""

from collections.abc import Iterator
from functools import partial
from typing import Any

import numpy as np

from kg.errors import InputError
from kg.schema import GENE, NodeType
from loaders.registry import loader
from loaders.tables.checks import check_columns, check_intervals, parse_integers, shift_one_based
from loaders.tables.files import InputFile
from loaders.tables.rows import Reason, Rows, read_delimited
from loaders.tables.source_context import SourceContext

GFF = ("chrom", "source", "feature", "start", "end", "score", "strand", "frame", "attributes")
TABLE = {"ensgene": "id", "gene_id": "id", "chr": "chrom", "gene_name": "symbol", "gene_biotype": "biotype"}
GENE_LINES = (b"\tgene\t", b"\tncRNA_gene\t", b"\tpseudogene\t")
STRANDS = {"+": "+", "1": "+", "+1": "+", "-": "-", "-1": "-"}
_ID = r"(?P<id>[^.\s]\S*?)(?:\.(?P<version>\d+))?(?P<par>_PAR_Y)?"


@loader(
    files="GTF, GFF3 or a table of genes",
    writes=(GENE,),
    assembly=True,
    lifts=False,
    cites="Ensembl (doi:10.1093/nar/gkae1071), GENCODE (doi:10.1093/nar/gkae1078)",
)
def read(context: SourceContext) -> Iterator[tuple[NodeType, Rows]]:
    """Yield genes of every file."""
    for file in context.files:
        rows = _annotation(file, context) if _is_annotation(file) else _table(file, context)
        parse_integers(rows, "start", "end")
        shift_one_based(rows)
        check_intervals(rows, context.assembly)
        rows.reject(~rows["strand"].isin(STRANDS), "strand", Reason.STRAND)
        rows.set(strand=rows["strand"].map(STRANDS))
        _set_ids(rows)
        rows.set(
            symbol=rows["symbol"].where(rows["symbol"].fillna("") != "", rows["id"]),
            biotype=rows["biotype"].where(rows["biotype"].fillna("") != "", None),
            tss=np.where(rows["strand"] == "+", rows["start"], rows["end"] - 1),
            assembly=context.assembly.name,
            species=context.assembly.species,
        )
        yield GENE, rows


def _is_annotation(file: InputFile) -> bool:
    lines = [line for line in file.head.splitlines() if line and not line.startswith(b"#")]
    return bool(lines) and lines[0].count(b"\t") == len(GFF) - 1 and lines[0].split(b"\t")[3].isdigit()


def _annotation(file: InputFile, context: SourceContext) -> Rows:
    rows = read_delimited(file, context.notes, GFF, containing=GENE_LINES)
    rows.keep(rows["feature"].isin([line.strip().decode() for line in GENE_LINES]))
    if not rows.read:
        raise InputError(f"{file.name}: no line has the feature gene", "give the annotation with its gene lines")
    return _with_attributes(rows)


def _with_attributes(rows: Rows) -> Rows:
    """Set columns from attributes: `key "value";` in GTF, `key=value;` in GFF3; Ensembl's GFF3 has Name."""
    value = partial(_attribute, rows)
    rows.set(
        id=value("gene_id"),
        symbol=value("gene_name").combine_first(value("Name")),
        biotype=value("gene_biotype").combine_first(value("gene_type")).combine_first(value("biotype")),
        version=value("gene_version").combine_first(value("version")),
    )
    return rows


def _attribute(rows: Rows, key: str) -> Any:
    return rows["attributes"].str.extract(rf'(?:^|[;\s]){key}(?:=|\s+"?)([^";]*)', expand=False)


def _table(file: InputFile, context: SourceContext) -> Rows:
    rows = read_delimited(file, context.notes, None)
    rows.frame = rows.frame.rename(columns={old: new for old, new in TABLE.items() if new not in rows.frame})
    hint = "give a GTF, a GFF3, or a table with the columns ensgene, symbol, chr, start, end, strand, biotype"
    check_columns(rows, ("id", "symbol", "chrom", "start", "end", "strand", "biotype"), hint)
    return rows


def _set_ids(rows: Rows) -> None:
    """Split ENSG00000182378.15_PAR_Y into id ENSG00000182378_PAR_Y and version; older: ENSGR0000182378.10."""
    rows.reject(rows["id"].isna() | (rows["id"] == ""), "id", Reason.NO_ID)
    parts = rows["id"].str.extract(f"^{_ID}$")
    old = parts["id"].str.extract(r"^ENSGR(\d{10})$", expand=False)
    bare = parts["id"].where(old.isna(), "ENSG0" + old + "_PAR_Y") + parts["par"].fillna("")
    stated = rows["version"] if "version" in rows.frame else None
    version = parts["version"] if stated is None else parts["version"].combine_first(stated)
    rows.set(id=bare, version=version.where(version.notna(), None))
