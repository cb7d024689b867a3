"""CRISPRi perturbations of elements and the genes that were measured -> PERTURBS, the truth for models.

No guidance graph may hold these edges: their kind is truth, which `kg.guidance.graph` refuses.

A TSV as the ENCODE CRISPR comparison (EngreitzLab) writes it, a row for each element and gene: chrom, chromStart,
chromEnd (0-based half-open), measuredGeneSymbol, EffectSize (relative change of expression), Significant, and where
there are any measuredGeneEnsemblId, Regulated, pValueAdjusted, PowerAtEffectSize20, ValidConnection, CellType,
Dataset and Reference. `significant` is the file's verdict Regulated (a significant loss of expression), or else
Significant with an effect below 0. The study is Dataset, else Reference.

Every row is kept, also where nothing was found: a pair without an effect is what precision is measured on. Filtered
are pairs whose ValidConnection is not TRUE (an element in the gene's own promoter or body, most often), elements that
meet no peak of the graph, and genes that the graph lacks. An element over several peaks gives an edge of each.
"""

from collections.abc import Iterator
from typing import TYPE_CHECKING

import numpy as np

from kg.schema import BIOSAMPLE, GENE, PEAK, PERTURBS
from loaders.registry import RowType, loader
from loaders.tables.checks import check_columns, parse_integers, parse_numbers, place
from loaders.tables.files import InputFile
from loaders.tables.joins import biosamples, ids_or_symbols, intervals_in, peaks_under, set_genes
from loaders.tables.rows import Reason, Rows, read_delimited
from loaders.tables.source_context import SourceContext

if TYPE_CHECKING:
    import pandas as pd


NEEDED = ("chrom", "chromStart", "chromEnd", "measuredGeneSymbol", "EffectSize", "Significant")
NUMBERS = {"EffectSize": "effect", "pValueAdjusted": "p_value", "PowerAtEffectSize20": "power"}


@loader(
    files="CRISPRi results of the ENCODE CRISPR comparison",
    writes=(BIOSAMPLE, PERTURBS),
    lookup=(GENE, PEAK),
    assembly=True,
    biosample=True,
    cites="Gschwind et al. 2023 (doi:10.1101/2023.11.09.563812)",
)
def read(context: SourceContext) -> Iterator[tuple[RowType, Rows]]:
    """Yield pairs of every file."""
    parts = [_pairs(file, context) for file in context.files]
    for rows in parts:
        yield PERTURBS, rows
    yield biosamples(name for rows in parts for name in rows["biosample"].unique())


def _pairs(file: InputFile, context: SourceContext) -> Rows:
    rows = read_delimited(file, context.notes, None)
    check_columns(rows, NEEDED, "give the table of the ENCODE CRISPR comparison, with its header")
    _keep_valid(rows)
    _set_verdict(rows)
    rows.set(start=rows["chromStart"], end=rows["chromEnd"])
    parse_integers(rows, "start", "end")
    place(rows, context)
    ids = "measuredGeneEnsemblId" if "measuredGeneEnsemblId" in rows.frame else "measuredGeneSymbol"
    rows.set(gene=ids_or_symbols(rows, ids, "measuredGeneSymbol", context))
    set_genes(rows, "gene", context, into="end_id")
    rows.set(
        element=rows["chrom"] + ":" + rows["start"].astype(str) + "-" + rows["end"].astype(str),
        biosample=context.biosample or _first_of(rows, "CellType"),
        study=_first_of(rows, "Dataset", "Reference"),
    )
    at, peak = peaks_under(intervals_in(rows), context)
    rows.filtered += len(rows) - len(np.unique(at))
    rows.spread(at, start_id=peak)
    return rows


def _keep_valid(rows: Rows) -> None:
    if "ValidConnection" in rows.frame:
        valid = rows["ValidConnection"].str.upper() == "TRUE"
        rows.filtered += int((~valid).sum())
        rows.keep(valid)


def _set_verdict(rows: Rows) -> None:
    """Set `significant` and the numbers; those that the file lacks are missing."""
    verdict = "Regulated" if "Regulated" in rows.frame else "Significant"
    verdicts = rows[verdict].str.upper()
    rows.reject(~verdicts.isin(("TRUE", "FALSE")), verdict, Reason.NO_TRUTH_VALUE)
    for column, name in NUMBERS.items():
        rows.set(**{name: rows[column] if column in rows.frame else ""})
    parse_numbers(rows, *NUMBERS.values(), needed=False)
    significant = rows[verdict].str.upper() == "TRUE"
    rows.set(significant=significant if verdict == "Regulated" else significant & (rows["effect"] < 0))


def _first_of(rows: Rows, *columns: str) -> "pd.Series[str] | str":
    return next((rows[column] for column in columns if column in rows.frame), "")
