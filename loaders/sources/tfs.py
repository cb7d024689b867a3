"""Transcription factors: a list of them, or a table with their families -> TF.

- A list: one symbol or Ensembl id on each line, no header, such as Lambert 2018's TF_names or MGI's list for mouse.
- A table (CSV or TSV) with a header: an id column (Ensembl ID, Ensembl, gene_id), a symbol column (HGNC symbol,
  Symbol, TF) or both, and a family when there is one (DBD, Family). Lambert 2018's DatabaseExtract is such a table:
  rows whose `Is TF?` is not Yes are filtered. So is AnimalTFDB's.

The id counts where the graph has it, else the symbol. A gene with another symbol in the graph gives a
warning, as does a name that the graph lacks (most often a retired symbol); the latter are filtered. A symbol
that several genes have is rejected. The label TF is this dataset's claim; another list may disagree about a gene.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import pandas as pd

from kg.errors import InputError
from kg.parameters import param
from kg.schema import GENE, TF, NodeType
from loaders.registry import loader
from loaders.tables.files import InputFile
from loaders.tables.joins import ids_or_symbols, of_species, set_genes, texts
from loaders.tables.rows import Reason, Rows, read_delimited
from loaders.tables.source_context import SourceContext

COLUMNS = {
    "ensembl id": "gene",
    "ensembl": "gene",
    "gene_id": "gene",
    "hgnc symbol": "symbol",
    "symbol": "symbol",
    "tf": "symbol",
    "dbd": "family",
    "family": "family",
    "is tf?": "is_tf",
}


@dataclass(frozen=True)
class Options:
    """Among which genes names are looked for."""

    species: str = param("look for genes of this species only, such as NCBITaxon:9606", "")


@loader(
    files="lists or tables of transcription factors",
    writes=(TF,),
    lookup=(GENE,),
    cites="Lambert et al. 2018 (doi:10.1016/j.cell.2018.01.029)",
)
def read(context: SourceContext, options: Options) -> Iterator[tuple[NodeType, Rows]]:
    """Yield genes of the graph that a list names."""
    context = of_species(context, options.species)
    genes = context.graph[GENE.label]
    symbol_of = dict(zip(texts(genes, "id"), texts(genes, "symbol"), strict=True))
    for file in context.files:
        rows = _table(file, context)
        rows.set(name=ids_or_symbols(rows, "gene", "symbol", context))
        rows.reject(rows["name"] == "", "name", Reason.NO_ID)
        set_genes(rows, "name", context, into="id")
        _warn_renamed(rows, rows["id"].map(symbol_of))
        yield TF, rows


def _table(file: InputFile, context: SourceContext) -> Rows:
    """Return rows with gene (an id), symbol and family; the first two are empty where the file has none."""
    first = file.head.partition(b"\n")[0].strip()
    if b"\t" in first or b"," in first:
        rows = read_delimited(file, context.notes, None)
        rows.frame = rows.frame.rename(columns={c: COLUMNS.get(str(c).lower(), c) for c in rows.frame})
    else:
        rows = read_delimited(file, context.notes, ("symbol",))
    if not {"gene", "symbol"} & set(rows.frame):
        there = ", ".join(map(str, rows.frame.columns[:8]))
        raise InputError(f"{file.name}: no column names genes; there are {there}", "call it gene_id or symbol")
    absent = {c: "" for c in ("gene", "symbol") if c not in rows.frame}
    rows.set(**absent)
    _keep_factors(rows)
    family = rows["family"] if "family" in rows.frame else pd.Series("", index=rows.frame.index)
    rows.set(family=family.where(~family.isin(("", "Unknown")), None))
    return rows


def _keep_factors(rows: Rows) -> None:
    if "is_tf" not in rows.frame:
        return
    factor = rows["is_tf"].str.lower() == "yes"
    rows.filtered += int((~factor).sum())
    rows.keep(factor)


def _warn_renamed(rows: Rows, now: "pd.Series[str]") -> None:
    before = rows["symbol"]
    renamed = (before != "") & (before != now) & ~before.str.startswith("ENS")
    if renamed.any():
        pairs = np.unique((before + " (" + now + ")")[renamed].astype(str))
        more = ", ..." if len(pairs) > 5 else ""
        rows.warnings.append(
            f"{rows.file}: {len(pairs):,} genes have another symbol in the graph: {', '.join(pairs[:5])}{more}"
        )
