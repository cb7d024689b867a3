"""Element-gene links that other programs predicted -> EXTERNAL_LINK, so that ours can be compared with them.

The format is recognised by its content:

- ENCODE-rE2G and scE2G: a TSV with chr, start, end, TargetGene, an Ensembl id, CellType and a score
  (ENCODE-rE2G.Score, E2G.Score.qnorm, or Score in files of the ENCODE portal, whose header begins with #chr).
- ABC: the same with ABC.Score; a threshold in the file's name (threshold0.027) is kept.
- SCENIC+: the eRegulon table, a row for each region, gene and factor: Region, Gene, TF, importance_R2G (the score),
  rho_R2G (its sign is the link's) and is_extended (the model is then SCENIC+ extended).
- CellOracle base GRN, CSV or Parquet: peak_id, gene_short_name and a column for each factor, 1 where its motif is in
  the peak. Every 1 is a link with that factor, of score 1.
- CellOracle links of one cluster, CSV: source, target, coef_mean, p. They name no peaks: --base-grn names the base
  GRN that they were fitted on, and a link is put on every peak by which that joins factor and gene. The score is the
  coefficient's size, the sign its sign; the biosample is the column cluster or the file's name. Those with p over
  --max-p are filtered.
- BENGI as TransEPI writes it, without a header: label, distance, chrom, start, end, name, and the TSS with its gene.
  It is a benchmark of pairs, not a prediction: the score is the label, the threshold 0.5, and pairs that are not
  linked stay as links under the threshold, for they are what makes it one. Of several TSS the gene's best label
  counts.

Genes are found by Ensembl id, else by symbol. A link is of every peak that shares a base with its element; links whose
element meets no peak, whose gene or factor the graph lacks, or with a score under --min-score are filtered. Of links
that differ only in their score the best stays. --biosample, --model and --threshold override the file.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from kg.parameters import param
from kg.schema import BIOSAMPLE, EXTERNAL_LINK, GENE, PEAK
from loaders.formats.link_formats import read_links
from loaders.registry import RowType, loader
from loaders.tables.files import InputFile, check_file
from loaders.tables.joins import biosamples, intervals_in, keep_best, peaks_under, set_genes
from loaders.tables.rows import Rows
from loaders.tables.source_context import SourceContext


@dataclass(frozen=True)
class Options:
    """What the files are, and which of their links are loaded."""

    model: str = param("program and version; default: the program of the format", "")
    threshold: float | None = param("score from which the program calls a link; default: what the file states", None)
    min_score: float | None = param("links with a lower score are filtered", None)
    base_grn: Path | None = param("base GRN of CellOracle's links, CSV or Parquet", None)
    max_p: float = param("links of CellOracle with a larger p are filtered", 0.001, low=0, high=1)


@loader(
    files="predicted links: ENCODE-rE2G, ABC, SCENIC+, CellOracle; BENGI pairs",
    writes=(BIOSAMPLE, EXTERNAL_LINK),
    lookup=(GENE, PEAK),
    assembly=True,
    biosample=True,
    cites=(
        "ENCODE-rE2G (doi:10.1101/2023.11.09.563812), ABC (doi:10.1038/s41588-019-0538-0), SCENIC+ "
        "(doi:10.1038/s41592-023-01938-4), CellOracle (doi:10.1038/s41586-022-05688-9), BENGI "
        "(doi:10.1186/s13059-019-1924-8)"
    ),
)
def read(context: SourceContext, options: Options) -> Iterator[tuple[RowType, Rows]]:
    """Yield links of every file."""
    base = check_file(options.base_grn) if options.base_grn is not None else None
    overrides = {"model": options.model, "threshold": options.threshold, "biosample": context.biosample}
    parts = [_links(file, context, base, options.max_p, options.min_score) for file in context.files]
    for rows in parts:
        rows.set(**{column: value for column, value in overrides.items() if value not in {"", None}})
    keep_best(parts, ("start_id", "end_id", "model", "biosample", "element", "tf"), ("score", "sign", "threshold"))
    for rows in parts:
        yield EXTERNAL_LINK, rows
    yield biosamples(name for rows in parts for name in rows["biosample"].unique())


def _links(
    file: InputFile, context: SourceContext, base: InputFile | None, max_p: float, min_score: float | None
) -> Rows:
    rows = read_links(file, context, base, max_p)
    if min_score is not None:
        good = rows["score"] >= min_score
        rows.filtered += int((~good).sum())
        rows.keep(good)
    set_genes(rows, "gene", context, into="end_id")
    if (rows["tf"] != "").any():
        rows.set(factor=rows["tf"])
        set_genes(rows, "factor", context, into="tf")
    at, peak = peaks_under(intervals_in(rows), context)
    rows.filtered += len(rows) - len(np.unique(at))
    rows.set(element=rows["chrom"] + ":" + rows["start"].astype(str) + "-" + rows["end"].astype(str))
    rows.spread(at, start_id=peak)
    return rows
