"""eQTLs: variants that go with a gene's expression, for the peaks that they lie in.

Formats, told from the header; a variant is chr1_1000_A_G (1-based), its ALT allele is the effect allele:

- eQTL Catalogue nominal: molecular_trait_id, variant, pvalue, beta, se (and gene_id, rsid); kept to --max-p.

- SuSiE credible sets: molecular_trait_id or phenotype_id, variant, pip (and beta, se, pvalue); kept from --min-pip.

- SuSiE log Bayes factors: molecular_trait_id, region, variant, lbf_variable1 ...: each effect's factors become
probabilities by a softmax over the variants of the region (SuSiE's flat prior), PIP = 1 - prod(1 - alpha) over the
effects that are not all 0; kept from --min-pip. All variants of a region must be in the load.

- lead pairs: molecular_trait_id and variant, perhaps a p-value (permuted files); the score is 1, a lead variant.

- colocalisations with a GWAS: gwas_id (the trait), qtl_subset, variant, molecular_trait_id, PP.H4.abf; kept from
--min-pp-h4. qtl_subset study.context_method gives the study and the biosample (context).

- GTEx significant pairs: variant_id chr1_1000_A_G_b38, gene_id with version, pval_nominal, slope, slope_se; those up
to pval_nominal_threshold, which is GTEx's own per gene, are kept, and --max-p counts where there is no such column.

Defaults are the usual ones: p 1e-5, near the per-gene thresholds that a 5 % FDR comes to; PIP 0.1; PP.H4 0.8. What is
below, is in no peak, or whose gene is not in the graph counts as filtered; so do symbolic alleles (<CN0>), whose
length is not known. A variant spans its reference allele, so a deletion may lie in two peaks.

A kept row gives the variant, its peak (IN_PEAK), and peak -> gene (EQTL) with its score: minus_log10_p (a p of 0
counts as 1e-300), pip or pp_h4. The gene is gene_id where there is one, else the molecular trait. Of several rows of
one peak, gene, variant, kind, biosample, study and trait, such as those of several probes or transcripts, the highest
score stays and the others count as folded.

Where --lift-with lifted the position to the other strand, alleles are complemented; whether the reference
allele of the other assembly is the same one is not checked.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np
import pandas as pd

from kg.errors import AssemblyMismatch, InputError
from kg.parameters import param
from kg.schema import BIOSAMPLE, EQTL, GENE, IN_PEAK, PEAK, VARIANT, RowType
from loaders.formats.finemapping import PREFIX, factor_columns, set_pip
from loaders.registry import loader
from loaders.tables.checks import ABSENT, parse_integers, parse_numbers, place
from loaders.tables.files import InputFile
from loaders.tables.joins import biosamples, intervals_in, keep_best, leave_out, peaks_under, set_genes
from loaders.tables.rows import Reason, Rows, read_delimited
from loaders.tables.source_context import SourceContext

RENAMED = {
    "variant_id": "variant",
    "phenotype_id": "molecular_trait_id",
    "pval_nominal": "pvalue",
    "slope": "beta",
    "slope_se": "se",
    "PP.H4.abf": "pp_h4",
    "chr": "chromosome",
    "pos": "position",
}
NUMBERS = {"pvalue": (0, 1), "beta": (-np.inf, np.inf), "se": (0, np.inf), "pip": (0, 1), "pp_h4": (0, 1)}
SCORED = {"coloc": "pp_h4", "credible": "pip", "nominal": "pvalue"}
SCORE_KINDS = {"coloc": "pp_h4", "credible": "pip", "nominal": "minus_log10_p", "lead": "lead"}
SMALLEST_P = 1e-300
USED = {
    *NUMBERS,
    *("molecular_trait_id", "gene_id", "variant", "chromosome", "position", "rsid", "region"),
    *("gwas_id", "qtl_subset", "pval_nominal_threshold", "p_beta", "p_perm"),
}
_VARIANT = (
    r"^(?P<chrom>[^_:\s]+)[_:](?P<pos>\d{1,15})[_:](?P<ref>[ACGTN]+)[_:](?P<alt>[ACGTN]+|<[^>\s]+>|\*)"
    r"(?:_b(?P<build>37|38))?$"
)
_COMPLEMENT = str.maketrans("ACGT", "TGCA")
_METHODS = r"_(?:ge|exon|tx|txrev|leafcutter|microarray|aptamer)$"


@dataclass(frozen=True)
class Options:
    """From which figures on a row is loaded, and of which study it is."""

    max_p: float = param("largest nominal p-value", 1e-5, low=0, high=1)
    min_pip: float = param("smallest posterior inclusion probability", 0.1, low=0, high=1)
    min_pp_h4: float = param("smallest posterior probability of a shared causal variant", 0.8, low=0, high=1)
    study: str = param("study of all rows; default: what the file states", "")


@loader(
    files="eQTL Catalogue, GTEx or SuSiE tables",
    writes=(VARIANT, IN_PEAK, EQTL, BIOSAMPLE),
    lookup=(GENE, PEAK),
    assembly=True,
    biosample=True,
    cites="eQTL Catalogue (doi:10.1038/s41588-021-00924-w), GTEx (doi:10.1126/science.aaz1776)",
)
def read(context: SourceContext, options: Options) -> Iterator[tuple[RowType, Rows]]:
    """Yield variants, the peaks that they lie in, and peaks -> genes, of every file."""
    files = [_table(file, context) for file in context.files]
    set_pip([rows for rows in files if factor_columns(rows)])
    for rows in files:
        _set_score(rows, options.max_p, {"pip": options.min_pip, "pp_h4": options.min_pp_h4})
        _set_variants(rows, context)
        place(rows, context)
        _set_ids(rows, context)
        set_genes(rows, "gene", context, into="end_id")
        _set_context(rows, context, options.study)
        at, peaks = peaks_under(intervals_in(rows), context)
        leave_out(rows, ~np.isin(np.arange(len(rows)), at), "have a variant in no peak")
        rows.spread(np.unique(at, return_inverse=True)[1], start_id=peaks)
    every = pd.concat([rows.frame for rows in files], ignore_index=True)
    yield VARIANT, _variants(every, context)
    in_peak = every[["variant", "start_id"]].drop_duplicates()
    yield IN_PEAK, Rows("", in_peak.set_axis(["start_id", "end_id"], axis=1), counted=False)
    keep_best(files, ("start_id", "end_id", *EQTL.keys), ("score", "p_value", "beta", "se", "pip", "pp_h4"))
    yield from ((EQTL, rows) for rows in files)
    yield biosamples(every["biosample"].unique())


def _table(file: InputFile, context: SourceContext) -> Rows:
    """Return the rows of a file with our names for columns."""
    rows = read_delimited(file, context.notes, None)
    rows.frame = rows.frame.rename(columns={old: new for old, new in RENAMED.items() if new not in rows.frame})
    if "variant" not in rows.frame or not {"molecular_trait_id", "gene_id"} & {*rows.frame}:
        raise InputError(
            f"{file.name}: not a table of eQTLs: its columns are {', '.join(map(str, rows.frame.columns[:12]))}",
            "`regkg load eqtl --help` lists the headers that are read",
        )
    rows.frame = rows.frame[[name for name in rows.frame if name in USED or str(name).startswith(PREFIX)]]
    rows.set(gene=_gene(rows))
    if "rsid" not in rows.frame:
        rows.set(rsid="")
    return rows


def _kind(rows: Rows) -> str:
    columns = set(rows.frame.columns)
    if "pp_h4" in columns:
        return "coloc"
    if "pip" in columns or factor_columns(rows):
        return "credible"
    return "nominal" if "pvalue" in columns and not columns & {"p_beta", "p_perm"} else "lead"


def _gene(rows: Rows) -> "pd.Series[str]":
    trait = rows["molecular_trait_id"] if "molecular_trait_id" in rows.frame else rows["gene_id"]
    return rows["gene_id"].where(~rows["gene_id"].isin(ABSENT), trait) if "gene_id" in rows.frame else trait


def _set_score(rows: Rows, max_p: float, least: Mapping[str, float]) -> None:
    """Keep rows to their threshold, and set score and measurements, missing where the file has none."""
    kind = _kind(rows)
    column = SCORED.get(kind)
    if column:
        _parse(rows, column, needed=True)
    if kind == "nominal":
        own = "pval_nominal_threshold" in rows.frame
        parse_numbers(rows, *["pval_nominal_threshold"] * own)
        most = rows["pval_nominal_threshold"] if own else max_p
        leave_out(rows, rows["pvalue"] > most, f"have a p-value above {'their own threshold' if own else max_p}")
        rows.set(score=-np.log10(rows["pvalue"].clip(lower=SMALLEST_P)))
    elif column:
        leave_out(rows, rows[column] < least[column], f"have a {column} below {least[column]:g}")
        rows.set(score=rows[column])
    else:
        rows.set(score=1.0)
    for name in NUMBERS:
        if name != column:
            _parse(rows, name, needed=False)
    rows.set(kind=kind, score_kind=SCORE_KINDS[kind], p_value=rows["pvalue"])


def _parse(rows: Rows, name: str, *, needed: bool) -> None:
    if name in rows.frame:
        low, high = NUMBERS[name]
        parse_numbers(rows, name, low=low, high=high, needed=needed)
    else:
        rows.set(**{name: np.nan})


def _set_variants(rows: Rows, context: SourceContext) -> None:
    """Set chrom, start, end, ref and alt of the variant; what the file says of its position elsewhere must agree."""
    parts = rows["variant"].str.extract(_VARIANT)
    rows.set(**{str(name): parts[name] for name in parts})
    rows.reject(rows["chrom"].isna(), "variant", Reason.BAD_VARIANT)
    if {"chromosome", "position"} <= set(rows.frame.columns):
        chrom, other = (rows[name].str.replace("^chr", "", regex=True) for name in ("chrom", "chromosome"))
        rows.reject((chrom != other) | (rows["pos"] != rows["position"]), "variant", Reason.VARIANT_ELSEWHERE)
    _check_build(rows, context)
    leave_out(rows, rows["alt"].str.match(r"[<*]").astype(bool), "have an allele of unknown length, such as <CN0>")
    parse_integers(rows, "pos")
    rows.set(start=rows["pos"] - 1, end=rows["pos"] - 1 + rows["ref"].str.len().astype(np.int64))


def _check_build(rows: Rows, context: SourceContext) -> None:
    """Refuse variants of GTEx that are on another build, in which their names end."""
    of = (context.lift.of if context.lift else context.assembly).name
    wrong = rows["build"].dropna()
    wrong = wrong[wrong != of.removeprefix("GRCh")]
    if not wrong.empty:
        raise AssemblyMismatch(
            f"{rows.file}:{wrong.index[0]} the variant is on build {wrong.iloc[0]}, not on {of}",
            f"pass --assembly GRCh{wrong.iloc[0]}",
        )


def _set_ids(rows: Rows, context: SourceContext) -> None:
    if "inverted" in rows.frame:
        inverted = rows["inverted"].fillna(value=False).astype(bool)
        for allele in ("ref", "alt"):
            rows.set(**{allele: rows[allele].where(~inverted, rows[allele].str.translate(_COMPLEMENT).str[::-1])})
    text = [rows["chrom"], (rows["start"] + 1).astype(str), rows["ref"], rows["alt"]]
    ids = pd.Series(context.assembly.name, rows.frame.index, dtype=object)
    for part in text:
        ids = ids + ":" + part
    rows.set(variant=ids)


def _set_context(rows: Rows, context: SourceContext, study: str) -> None:
    """Set the effect, and where it was seen: the command, or qtl_subset such as BLUEPRINT_PE.T-cell_ge."""
    subset = rows["qtl_subset"] if "qtl_subset" in rows.frame else pd.Series("", rows.frame.index, dtype=object)
    parts = subset.str.extract(r"^(?:([^.]+)\.)?(.*)$").fillna("")
    sign = np.sign(rows["beta"])
    rows.set(
        study=study or parts[0],
        biosample=context.biosample or parts[1].str.replace(_METHODS, "", regex=True),
        trait=rows["gwas_id"] if "gwas_id" in rows.frame else "",
        allele=rows["alt"].where(rows["beta"].notna(), None),
        sign=sign.where(sign != 0).astype("Int64"),
    )


def _variants(rows: pd.DataFrame, context: SourceContext) -> Rows:
    """Return each variant once, with the oldest of its dbSNP ids."""
    number = rows["rsid"].str.extract(r"^rs(\d{1,15})$", expand=False).astype(np.float64)
    first = rows.assign(number=number).sort_values(["variant", "number"], kind="stable").drop_duplicates("variant")
    known = first["number"].notna()
    rsid = ("rs" + first["number"].fillna(0).astype(np.int64).astype(str)).where(known, None)
    frame = first.drop(columns="id", errors="ignore").rename(columns={"variant": "id"})
    return Rows("", frame.assign(rsid=rsid, assembly=context.assembly.name), counted=False)
