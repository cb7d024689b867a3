"""Binding motifs and the transcription factors they belong to: JASPAR, MEME, HOCOMOCO or plain matrices.

Files: JASPAR (>ID NAME and a row for each base, with or without its letter and brackets), MEME (minimal or full,
DNA), and the matrices of HOCOMOCO and gimmemotifs (>ID and a row for each position). They hold counts or
probabilities; MEME's probabilities become counts where nsites is stated. Matrices of log-odds (.pwm) are rejected:
counts cannot be derived from them. A motif's id is JASPAR's with version, or the first word of its name. A damaged
matrix is rejected with its line, the others are kept. JASPAR itself comes with `regkg motifs jaspar JASPAR2024
FILE`.

Factors of a motif come from --factors, a TSV with a header: motif and factor (symbol or Ensembl id; one row for each
factor) and, where known, evidence and family; gimmemotifs' motif2factors.txt is read unchanged. Without it
the motif's name is taken for symbols: FOS::JUN gives both genes, (var.2) is left out. HOCOMOCO 11 needs the table:
its names are UniProt's. A symbol that the graph has only in another case, as ARNT for Arnt, is accepted if it
is the only one, and the evidence records it. Names that are not genes of the graph count as filtered. All genes found
become transcription factors (TF). A collection of all kingdoms also names yeast and plant factors, some of which are
symbols of unrelated human genes: load the part for your taxa.
"""

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path

import pandas as pd

from kg.parameters import param
from kg.schema import GENE, MOTIF, MOTIF_OF, TF
from loaders.motifs.formats import Motif, consensus, read_motifs, split_name, without_id
from loaders.registry import RowType, loader
from loaders.tables.checks import check_columns
from loaders.tables.files import check_file
from loaders.tables.joins import factors as factor_rows
from loaders.tables.joins import of_species, set_genes, texts
from loaders.tables.rows import Reason, Rows, read_delimited
from loaders.tables.source_context import SourceContext

TABLE = {"motif_id": "motif", "matrix_id": "motif", "tf": "factor", "gene": "factor", "symbol": "factor"}
OTHER_CASE = "symbol in other case"


@dataclass(frozen=True)
class Options:
    """Which factors the motifs are of, and how the collection is called."""

    factors: Path | None = param(
        "table (TSV) of motif and factor; default: factors are taken from the motifs' names", None
    )
    collection: str = param("name of the collection, such as JASPAR2024; default: taken from the ids", "")
    species: str = param("look for factors only among genes of this species, such as NCBITaxon:9606", "")


@loader(
    files="motifs: JASPAR, MEME, .pfm or .pcm",
    writes=(MOTIF, MOTIF_OF, TF),
    lookup=(GENE,),
    cites="JASPAR (doi:10.1093/nar/gkad1059), HOCOMOCO (doi:10.1093/nar/gkad1077), MEME format (meme-suite.org)",
)
def read(context: SourceContext, options: Options) -> Iterator[tuple[RowType, Rows]]:
    """Yield motifs of every file, the genes they belong to, and that these are factors."""
    context = of_species(context, options.species)
    parts = [_motifs(file.name, read_motifs(file, context.notes), options.collection) for file in context.files]
    for rows in parts:
        yield MOTIF, rows
    held = pd.concat([rows.frame[["id", "name"]] for rows in parts])
    named = (
        _from_names(context.files[0].name, held)
        if options.factors is None
        else _from_table(options.factors, held, context)
    )
    _match_case(named, context)
    set_genes(named, "factor", context, into="end_id")
    _merge(named)
    yield MOTIF_OF, named
    yield factor_rows(*_families(named))


def _motifs(file: str, motifs: Sequence[Motif], collection: str) -> Rows:
    columns = {
        "id": [m.id for m in motifs],
        "name": [m.name for m in motifs],
        "base_id": [m.base_id for m in motifs],
        "collection": [collection or m.collection or "unknown" for m in motifs],
        "length": [len(m.matrix) for m in motifs],
        "consensus": [consensus(m.matrix) for m in motifs],
        "matrix": [_as_json(m) for m in motifs],
        "fault": [m.fault for m in motifs],
        "text": [m.text for m in motifs],
    }
    rows = Rows(file, pd.DataFrame(columns, index=[m.line for m in motifs]))
    rows.reject(rows["fault"] != "", "matrix", Reason.MATRIX)
    rows.set(digest=[sha256(matrix.encode()).hexdigest() for matrix in rows["matrix"]])
    return rows


def _as_json(motif: Motif) -> str:
    """Return counts as whole numbers where they are, so that 19 and 19.0 are one matrix."""
    numbers = [[int(x) if x.is_integer() else x for x in row] for row in motif.matrix.round(6).tolist()]
    return json.dumps(numbers, separators=(",", ":"))


def _from_names(file: str, held: pd.DataFrame) -> Rows:
    names = held["name"].str.replace(r"\(.*?\)", "", regex=True).str.split("::")
    frame = pd.DataFrame({"start_id": held["id"], "factor": names}).explode("factor", ignore_index=True)
    return Rows(file, frame.assign(factor=frame["factor"].str.strip(), evidence="name", family=""), counted=False)


def _from_table(path: Path, held: pd.DataFrame, context: SourceContext) -> Rows:
    rows = read_delimited(check_file(path), context.notes, None)
    rows.frame = rows.frame.rename(columns=str.lower).rename(columns=TABLE)
    check_columns(rows, ("motif", "factor"), "give a TSV with the columns motif and factor")
    rows = Rows(rows.file, rows.frame, rows.rejected, counted=False)
    columns = {name: rows[name].fillna("") if name in rows.frame else "" for name in ("evidence", "family")}
    rows.set(start_id=[split_name(name)[0] for name in rows["motif"]], **columns)
    rows.set(factor=rows["factor"].map(without_id).str.strip())
    known = rows["start_id"].isin(set(held["id"]))
    rows.filtered += int((~known).sum())
    rows.keep(known)
    without = sorted(set(held["id"]) - set(rows["start_id"]))
    if without:
        rows.warnings.append(f"{rows.file}: no factor for {len(without):,} motifs, the first {without[0]}")
    return rows


def _match_case(rows: Rows, context: SourceContext) -> None:
    """Replace symbols that the graph has in one other case only, as other species write them."""
    symbols = set(texts(context.graph[GENE.label], "symbol"))
    by_case = pd.Series(sorted(symbols), dtype=object)
    folded = by_case.str.casefold()
    only = by_case[~folded.duplicated(keep=False)]
    other = dict(zip(only.str.casefold(), only, strict=True))
    meant = rows["factor"].str.casefold().map(other)
    change = meant.notna() & ~rows["factor"].isin(symbols)
    rows.set(
        factor=rows["factor"].mask(change, meant),
        evidence=rows["evidence"].mask(change, (rows["evidence"] + f", {OTHER_CASE}").str.removeprefix(", ")),
    )


def _merge(rows: Rows) -> None:
    """Keep one row for each motif and gene; one found by its symbol wins over one found in another case."""
    frame = rows.frame.sort_values("evidence", key=lambda evidence: evidence.str.contains(OTHER_CASE), kind="stable")
    first = frame.groupby(["start_id", "end_id"], sort=False)
    joined = first["evidence"].transform(
        lambda evidence: "; ".join(dict.fromkeys(evidence)) if len(evidence) > 1 else evidence
    )
    kept = ~frame.duplicated(["start_id", "end_id"])
    rows.folded += int((~kept).sum())
    rows.frame = frame.assign(evidence=joined.where(joined != "", None))[kept]


def _families(rows: Rows) -> tuple[list[str], list[str | None]]:
    """Return the family of each gene; the one named most often, if a table calls it by several."""
    by_gene = rows.frame[rows["family"] != ""].groupby("end_id")["family"].agg(lambda names: names.mode().iloc[0])
    ids = sorted(set(rows["end_id"]))
    return ids, [by_gene.get(id_) for id_ in ids]
