"""Peaks near genes: NEAR edges, derived from the genes and peaks of the draft.

The region of a gene is its body and the promoter before it (the default), the promoter alone, or the
transcription start site with --rule window. A promoter is the start site and --promoter-bp bases upstream of it,
by strand. A peak at most --window-bp away from the region is near; 0 means that they overlap.

Genes and peaks of two assemblies are told by this: open chromatin is densest at start sites. Where there are not even
twice as many peaks there as beside them, the load is refused, unless --accept-misfit says that the peaks are such
(enhancers only, say).
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import pandas as pd
import pyarrow as pa
from numpy.typing import NDArray

from kg.errors import AssemblyMismatch, InputError, MissingInput, ParameterError
from kg.parameters import param
from kg.schema import GENE, NEAR, PEAK, EdgeType
from loaders.genome.enrichment import LEAST, tss_enrichment
from loaders.genome.intervals import Intervals, distance, signed_distance, within
from loaders.registry import loader
from loaders.tables.joins import intervals_of, on_assembly, texts
from loaders.tables.rows import Rows
from loaders.tables.source_context import SourceContext

Texts = NDArray[np.object_]


@dataclass(frozen=True)
class Options:
    """The rule by which a peak is near a gene."""

    rule: str = param(
        "region of a gene that peaks are looked for in",
        "gene_body+promoter",
        choices=("gene_body+promoter", "promoter", "window"),
    )
    promoter_bp: int = param("bases upstream of the transcription start site", 2000, low=0)
    window_bp: int = param("largest distance of a peak from the region", 0, low=0)
    accept_misfit: bool = param("load although peaks are no denser at start sites than beside them", default=False)

    def __post_init__(self) -> None:
        if self.rule == "window" and self.window_bp == 0:
            raise ParameterError("the rule window needs a width", hint="give --window-bp, for example 100000")


@loader(writes=(NEAR,), lookup=(GENE, PEAK), cites="GLUE (doi:10.1038/s41587-022-01284-4)")
def read(context: SourceContext, options: Options) -> Iterator[tuple[EdgeType, Rows]]:
    """Yield every pair of peak and gene within the rule."""
    genes, peaks = context.graph[GENE.label], context.graph[PEAK.label]
    for table, label in ((genes, "genes"), (peaks, "peaks")):
        if not table.num_rows:
            raise MissingInput(f"the draft holds no {label}", f"regkg load {label} FILE --assembly NAME")
    misfit = _misfit(genes, peaks)
    if misfit and not options.accept_misfit:
        raise AssemblyMismatch(
            misfit,
            "are genes and peaks of one assembly, whatever their files are named? lift one of them, or say "
            "--accept-misfit if such peaks are meant",
        )
    rows = _near(genes, peaks, options.rule, options.promoter_bp, options.window_bp)
    rows.warnings += [misfit] if misfit else []
    yield NEAR, rows


def _misfit(genes: pa.Table, peaks: pa.Table) -> str:
    """Return what is wrong with genes and peaks of an assembly; empty when nothing is."""
    for assembly in sorted(set(texts(peaks, "assembly"))):
        of_genes, of_peaks = on_assembly(genes, assembly), on_assembly(peaks, assembly)
        ratio = tss_enrichment(texts(of_genes, "chrom"), of_genes.column("tss").to_numpy(), intervals_of(of_peaks))
        if ratio is not None and ratio < LEAST:
            return f"{assembly}: only {ratio:.1f} times as many peaks lie at transcription start sites as beside them"
    return ""


def gene_regions(genes: pa.Table, rule: str, promoter_bp: int) -> Intervals:
    """Return the region of each gene, in the order of the table; starts are clipped at 0."""
    start, end, tss = (genes.column(c).to_numpy() for c in ("start", "end", "tss"))
    plus = texts(genes, "strand") != "-"
    if rule != "gene_body+promoter":
        start, end = tss, tss + 1
    upstream = 0 if rule == "window" else promoter_bp
    return Intervals(
        _place(genes), np.maximum(np.where(plus, start - upstream, start), 0), np.where(plus, end, end + upstream)
    )


def _near(genes: pa.Table, peaks: pa.Table, rule: str, promoter_bp: int, window_bp: int) -> Rows:
    region = gene_regions(genes, rule, promoter_bp)
    peak = Intervals(_place(peaks), peaks.column("start").to_numpy(), peaks.column("end").to_numpy())
    g, p = within(region, peak, window_bp)
    if not len(g):
        seen = [
            f"{label} on {', '.join(sorted(set(at))[:3])}, ..."
            for label, at in (("genes", region.chrom), ("peaks", peak.chrom))
        ]
        raise InputError(
            f"no peak is near a gene: {'; '.join(seen)}",
            "are genes and peaks of one assembly, with the same chromosomes?",
        )
    frame = pd.DataFrame(
        {
            "start_id": peaks.column("id").take(p).to_numpy(),
            "end_id": genes.column("id").take(g).to_numpy(),
            "distance_bp": distance(region.start[g], region.end[g], peak.start[p], peak.end[p]),
            "tss_distance_bp": signed_distance(
                genes.column("tss").to_numpy()[g], texts(genes, "strand")[g], peak.start[p], peak.end[p]
            ),
        }
    )
    return Rows("", frame)


def _place(table: pa.Table) -> Texts:
    """Return assembly and chromosome in one: intervals of two assemblies never meet."""
    places: Texts = texts(table, "assembly") + ":" + texts(table, "chrom")
    return places
