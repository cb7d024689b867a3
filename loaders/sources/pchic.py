"""Promoter-capture Hi-C: interactions of baits as CHiCAGO scores them.

Formats, recognised by the header or the first row: CHiCAGO's ibed (bait_chr ... otherEnd_name, N_reads, score) and peak
matrix (baitChr ... dist, then one column of scores for each cell type, which is a biosample; clusterID and
clusterPostProb are left out), whose positions are 1-based with both ends inside; BEDPE (0-based half-open) and WashU
text or longrange, where the first anchor is the bait. `chinput` is refused: it holds the read counts that CHiCAGO
starts from, which depend mostly on distance and bait; load CHiCAGO's result.

Genes of a bait: the names in the file, or those of --fragments, a table of fragments with their genes (chrom, start,
end, id, names, as a baitmap has it; 1-based). Names are symbols or Ensembl ids, separated by `,` or `;`; for
transcripts (ENST) give --transcripts, a table of transcript and gene. Where no name is known to the graph, the genes
whose transcription start site lies in the bait, or within --tolerance-bp of it, are its genes; --bait-genes names or
promoters selects one of the two.

Every peak under the other end contacts every gene of the bait. Where the other end is a bait as well (it has a name in
the file or in --fragments), its genes contact the peaks under the first bait too. Of the two scores that two baits
have of each other, and of rows that come twice, the highest stays; the others count as folded.

A row counts as filtered when none of its scores reaches --min-score (5, as CHiCAGO's authors use it), when it has no
gene of the graph at the bait, or no peak under the other end; a warning counts each.

Where --lift-with lifted the fragments, `original` holds both old positions, first;second as in the file.
"""

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd

from kg.cells import match_names
from kg.errors import InputError
from kg.parameters import param
from kg.schema import BIOSAMPLE, CONTACTS, GENE, PEAK, RowType
from loaders.formats.pairs import (
    ANCHORS,
    AnchorHits,
    anchor,
    first_rows,
    label,
    pairs_meeting,
    parse_anchors,
    place_anchors,
    read_pairs,
    renumbered,
)
from loaders.registry import loader
from loaders.tables.checks import check_columns, parse_numbers
from loaders.tables.files import InputFile, check_file
from loaders.tables.joins import (
    biosamples,
    keep_best,
    leave_out,
    on_assembly,
    peaks_under,
    promoters_under,
    warn_unknown,
)
from loaders.tables.rows import Rows, read_delimited
from loaders.tables.source_context import SourceContext

IBED = ("bait_chr", "bait_start", "bait_end", "otherEnd_chr", "otherEnd_start", "otherEnd_end")
MATRIX = ("baitChr", "baitStart", "baitEnd", "oeChr", "oeStart", "oeEnd")
NAMES = {"bait_name": "names1", "otherEnd_name": "names2", "baitName": "names1", "oeName": "names2"}
NO_SCORE = {*MATRIX, "baitID", "oeID", "baitName", "oeName", "dist", "clusterID", "clusterPostProb"}
NO_BAIT = ("", ".")
FRAGMENTS = ("chrom", "start", "end", "id", "names")
_TRANSCRIPT = r"^ENS[A-Z]*T\d"
_NOTHING: AnchorHits = (np.empty(0, dtype=np.int64), np.empty(0, dtype=object))
_NO_GENE = {*NO_BAIT, "non-annotated", "not_annotated"}


class _Tables(NamedTuple):
    """What names mean: those of a fragment by (chromosome without chr, start, end), the gene of a transcript."""

    fragments: pd.Series
    transcripts: Mapping[str, str]


@dataclass(frozen=True)
class Options:
    """Which interactions count, and which genes a bait stands for."""

    min_score: float = param("smallest CHiCAGO score", 5.0)
    bait_genes: str = param(
        "genes of a bait: by name, by promoter, or by name and else by promoter",
        "both",
        choices=("both", "names", "promoters"),
    )
    tolerance_bp: int = param("largest distance between a bait and a transcription start site", 0, low=0)
    fragments: Path | None = param("table of fragments: chrom, start, end, id, gene names; a baitmap is one", None)
    transcripts: Path | None = param("table of two columns: transcript, gene id or symbol", None)


@loader(
    files="ibed, peak matrix, BEDPE or WashU text of capture Hi-C",
    writes=(CONTACTS, BIOSAMPLE),
    lookup=(GENE, PEAK),
    assembly=True,
    biosample=True,
    cites="CHiCAGO (doi:10.1186/s13059-016-0992-2)",
)
def read(context: SourceContext, options: Options) -> Iterator[tuple[RowType, Rows]]:
    """Yield contacts of every file."""
    tables = _Tables(_fragments(options.fragments), _transcripts(options.transcripts))
    parts = []
    for file in context.files:
        rows, scores = _interactions(file, context)
        _set_names(rows, tables)
        place_anchors(rows, context)
        scores = scores.loc[rows.frame.index]
        leave_out(rows, ~(scores >= options.min_score).any(axis=1), f"have a score below {options.min_score:g}")
        genes = _genes(rows, context, tables, options.bait_genes, options.tolerance_bp)
        contacts = _contacts(rows, context, genes)
        rows.spread(
            contacts["at"].to_numpy(), **{str(name): contacts[name].to_numpy() for name in contacts if name != "at"}
        )
        _spread_biosamples(rows, scores, options.min_score)
        parts.append(rows)
    keep_best(parts, ("start_id", "end_id", *CONTACTS.keys), ("score", "original"))
    yield from ((CONTACTS, rows) for rows in parts)
    yield biosamples(name for rows in parts for name in rows["biosample"].unique())


def _interactions(file: InputFile, context: SourceContext) -> tuple[Rows, pd.DataFrame]:
    """Return rows with ANCHORS, names1 and names2 (null if absent), and scores, a column for each biosample."""
    header = next(iter(first_rows(file)), [])
    if {"baitID", "otherEndID", "N"} <= set(header):
        raise InputError(
            f"{file.name}: chinput holds read counts, not scores",
            "run CHiCAGO on it, then load the ibed or the peak matrix that it writes",
        )
    if set(IBED) <= set(header) or set(MATRIX) <= set(header):
        rows = read_delimited(file, context.notes, None)
        theirs = IBED if IBED[0] in header else MATRIX
        rows.frame = rows.frame.rename(columns=dict(zip(theirs, ANCHORS, strict=True)) | NAMES)
        parse_anchors(rows, one_based=True)
        scored = ["score"] if theirs is IBED else [name for name in header if name not in NO_SCORE]
    else:
        rows, _ = read_pairs(file, context.notes)
        rows.set(names1=None, names2=None)
        scored = ["score"]
    return rows, _scores(rows, scored, context)


def _scores(rows: Rows, columns: list[str], context: SourceContext) -> pd.DataFrame:
    check_columns(rows, (*columns, "names1", "names2"), "CHiCAGO's ibed and peak matrix name both fragments")
    is_matrix = columns != ["score"]
    if is_matrix and context.biosample:
        raise InputError(
            f"{rows.file}: its columns {', '.join(columns[:5])} name the biosamples", "leave --biosample out"
        )
    parse_numbers(rows, *columns, needed=not is_matrix)
    scores = rows.frame[columns].astype(np.float64)
    return scores if is_matrix else scores.set_axis([context.biosample], axis=1)


def _fragments(path: Path | None) -> pd.Series:
    """Return names by fragment, all of a fragment that has several rows."""
    if path is None:
        return pd.Series([], index=pd.MultiIndex.from_arrays([[], [], []]), dtype=object)
    rows = read_delimited(check_file(path), Counter(), FRAGMENTS)
    check_columns(rows, FRAGMENTS, "a table of fragments has chrom, start, end, id and names, separated by tabs")
    frame = rows.frame[rows["start"].str.isdigit() & rows["end"].str.isdigit()]
    chrom = frame["chrom"].str.replace("^chr", "", regex=True)
    keys = [chrom.rename("chrom"), frame["start"].astype(np.int64) - 1, frame["end"].astype(np.int64)]
    return frame["names"].groupby(keys).agg(",".join)


def _transcripts(path: Path | None) -> Mapping[str, str]:
    """Return gene by transcript, both without version; a header row is a transcript that nobody names."""
    if path is None:
        return {}
    rows = read_delimited(check_file(path), Counter(), ("transcript", "gene"))
    check_columns(rows, ("transcript", "gene"), "a table of transcripts has two columns, separated by tabs")
    return dict(zip(_bare(rows["transcript"]), rows["gene"], strict=True))


def _bare(transcripts: pd.Series) -> pd.Series:
    return transcripts.str.replace(r"^(ENS\w*T\d+)\.\d+$", r"\1", regex=True)


def _set_names(rows: Rows, tables: _Tables) -> None:
    """Replace the file's names by those of --fragments, and set is_bait1 and is_bait2; before positions are lifted."""
    for k in "12":
        chrom = rows[f"chrom{k}"].str.replace("^chr", "", regex=True)
        at = pd.MultiIndex.from_arrays([chrom, rows[f"start{k}"], rows[f"end{k}"]])
        listed = pd.Series(tables.fragments.reindex(at).to_numpy(dtype=object), rows.frame.index, dtype=object)
        names = listed.combine_first(rows[f"names{k}"].astype(object)).fillna("")
        in_file = ~rows[f"names{k}"].fillna("").isin(NO_BAIT)
        rows.set(**{f"names{k}": names, f"is_bait{k}": (k == "1") | in_file | listed.notna()})


def _genes(rows: Rows, context: SourceContext, tables: _Tables, how: str, tolerance_bp: int) -> list[AnchorHits]:
    """Return positions of rows and their genes, for both fragments where they are baits."""
    named = _named(rows, context, tables) if how != "promoters" else [_NOTHING, _NOTHING]
    if how == "names":
        return named
    genes = []
    for k, (named_at, ids) in zip("12", named, strict=True):
        at, promoted = promoters_under(anchor(rows, k), context, tolerance_bp=tolerance_bp)
        others = rows[f"is_bait{k}"].to_numpy(dtype=bool)[at] & ~np.isin(at, named_at)
        genes.append((np.append(named_at, at[others]), np.append(ids, promoted[others])))
    return genes


def _named(rows: Rows, context: SourceContext, tables: _Tables) -> list[AnchorHits]:
    """Return genes of the graph that the baits are named after, of both fragments."""
    names = [_split(rows[f"names{k}"].where(rows[f"is_bait{k}"], ""), tables) for k in "12"]
    unique = list(pd.unique(pd.concat(names)))
    match = match_names(unique, on_assembly(context.graph[GENE.label], context.assembly.name))
    lost = pd.Series([*match.unmapped, *match.ambiguous], dtype=object)
    is_transcript = lost.str.match(_TRANSCRIPT).astype(bool)
    warn_unknown(rows, lost[~is_transcript], "genes that baits are named after")
    if transcripts := int(is_transcript.sum()):
        rows.warnings.append(
            f"{rows.file}: {transcripts:,} transcripts have no gene: give --transcripts or --fragments"
        )
    ids = dict(zip(unique, match.ids, strict=True))
    found_genes = [names_of_end.map(ids).dropna() for names_of_end in names]
    return [
        (names_of_end.index.to_numpy(dtype=np.int64), names_of_end.to_numpy(dtype=object))
        for names_of_end in found_genes
    ]


def _split(names: "pd.Series[str]", tables: _Tables) -> "pd.Series[str]":
    """Return one name in each row, by position; a transcript is replaced by its gene where the table has it."""
    single = pd.Series(names.to_numpy(dtype=object), dtype=object).str.split("[,;]", regex=True).explode()
    single = _bare(single.str.strip())
    single = single[~single.isin(_NO_GENE)]
    return single.map(tables.transcripts).combine_first(single) if tables.transcripts else single


def _contacts(rows: Rows, context: SourceContext, genes: list[AnchorHits]) -> pd.DataFrame:
    """Pair peaks under an end with genes of the opposite bait; `at` counts rows without those that have none."""
    parts = []
    for bait, other in ("12", "21"):
        pairs = pairs_meeting(peaks_under(anchor(rows, other), context), genes[int(bait) - 1])
        at = pairs["at"].to_numpy()
        opposite = rows[f"is_bait{other}"].to_numpy(dtype=bool)
        parts.append(
            pd.DataFrame(
                {
                    "at": at,
                    "start_id": pairs["left"],
                    "end_id": pairs["right"],
                    "bait": label(rows, bait)[at],
                    "other_end": label(rows, other)[at],
                    "bait_to_bait": opposite[at],
                }
            )
        )
    every = pd.concat(parts, ignore_index=True)
    used = np.isin(np.arange(len(rows)), every["at"])
    no_gene = ~np.isin(np.arange(len(rows)), np.concatenate([at for at, _ in genes]))
    leave_out(rows, no_gene, "have no gene of the graph at the bait")
    leave_out(rows, ~used[~no_gene], "have no peak under the other end")
    return renumbered(every, used)


def _spread_biosamples(rows: Rows, scores: pd.DataFrame, min_score: float) -> None:
    """Take one row for each biosample whose score is high enough."""
    of_row = scores.loc[rows.frame.index].to_numpy()
    at, column = np.nonzero(of_row >= min_score)
    names = scores.columns.to_numpy(dtype=object)
    rows.spread(at, score=of_row[at, column], score_kind="chicago", biosample=names[column])
