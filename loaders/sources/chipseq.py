"""ChIP-seq peaks of transcription factors: narrowPeak, broadPeak or BED, one file or many -> BINDS.

The factor of a file is, in this order: that of --metadata for the file, that of --tf for all files, or the one
part of the file's name (between . _ - and blanks) that is a gene of the graph, as in ENCFF002CEL_SPI1.narrowPeak.gz.
A file whose factor is not known is refused.

--metadata is a TSV with a header and a row for each file: `file` (its name, with or without ending), `tf` (symbol or
Ensembl id) and, where known, `experiment` and `biosample`. ENCODE's metadata.tsv is read as downloaded (File
accession, Experiment accession, Experiment target such as SPI1-human, Biosample term id or name). Without it the
experiment is the ENCODE accession in the file's name (ENCFF..., ENCSR...) or else the name without ending.
--biosample holds for files whose row does not name one.

A peak of the graph is bound when it shares a base with a ChIP-seq peak; of several, the one with the strongest
signal counts and the others are folded. The score is the signal (column 7; score_kind signal), in a BED file the
score (column 5; score_kind bed), and 1 where there is none (score_kind peak). ChIP-seq peaks that meet no peak of
the graph, or are weaker than --min-score, are filtered.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from kg.cells import match_names
from kg.errors import InputError
from kg.parameters import param
from kg.schema import BINDS, BIOSAMPLE, GENE, PEAK, TF
from loaders.registry import RowType, loader
from loaders.tables.checks import check_columns, parse_integers, parse_numbers, place
from loaders.tables.files import InputFile, check_file
from loaders.tables.joins import biosamples, factors, intervals_in, keep_best, on_assembly, peaks_under
from loaders.tables.rows import Rows, read_delimited
from loaders.tables.source_context import SourceContext

BED = ("chrom", "start", "end", "name", "score", "strand", "signal", "p_value", "q_value", "offset")
ENCODE = {"File accession": "file", "Experiment accession": "experiment", "Experiment target": "tf"}
ACCESSION = re.compile(r"ENC(?:SR|FF)\w{6}")
NAMED_BY = ("file", "tf", "experiment", "biosample")


@dataclass(frozen=True)
class Options:
    """Whose peaks the files hold, and which of them are loaded."""

    tf: str = param("factor of all files: a symbol or an Ensembl id; default: taken from the files' names", "")
    metadata: Path | None = param("table of files with their factors, experiments and biosamples", None)
    min_score: float = param("smallest score; weaker peaks are filtered", 0.0)


@loader(
    files="narrowPeak, broadPeak or BED of ChIP-seq peaks",
    writes=(TF, BIOSAMPLE, BINDS),
    lookup=(GENE, PEAK),
    assembly=True,
    biosample=True,
    cites="ENCODE (doi:10.1038/s41586-020-2493-4)",
)
def read(context: SourceContext, options: Options) -> Iterator[tuple[RowType, Rows]]:
    """Yield peaks bound by the factor of each file."""
    described = _described(options.metadata, context)
    parts = [
        _bound(file, context, _about(file, context, options.tf, described), options.min_score) for file in context.files
    ]
    keep_best(parts, ("start_id", "end_id", "biosample", "experiment"), ("score", "q_value", "place"))
    for rows in parts:
        yield BINDS, rows
    yield factors(id_ for rows in parts for id_ in rows["start_id"].unique())
    yield biosamples(name for rows in parts for name in rows["biosample"].unique())


def _described(metadata: Path | None, context: SourceContext) -> dict[str, dict[str, str]]:
    """Return the table's row for each file name without ending."""
    if metadata is None:
        return {}
    rows = read_delimited(check_file(metadata), context.notes, None)
    named = {**ENCODE, **_biosample_column(rows)}
    rows.frame = rows.frame.rename(columns={old: new for old, new in named.items() if new not in rows.frame})
    check_columns(rows, ("file", "tf"), "give the columns file and tf, or ENCODE's metadata.tsv")
    frame = rows.frame.reindex(columns=list(NAMED_BY), fill_value="").fillna("")
    frame["tf"] = frame["tf"].str.replace(r"-(human|mouse)$", "", regex=True)  # ENCODE names the species of a target
    frame["file"] = [_stem(name) for name in frame["file"]]
    return {str(row["file"]): row for row in frame.to_dict("records")}  # type: ignore[misc]


def _biosample_column(rows: Rows) -> dict[str, str]:
    columns = [c for c in ("Biosample term id", "Biosample term name") if c in rows.frame]
    return {columns[0]: "biosample"} if columns else {}


def _stem(name: str) -> str:
    return name.rpartition("/")[2].partition(".")[0]


def _about(file: InputFile, context: SourceContext, tf: str, described: dict[str, dict[str, str]]) -> dict[str, str]:
    """Return gene id of the factor, experiment and biosample of a file.

    Raises:
        InputError: the factor is not known, or it is not one gene of the graph.
    """
    row = described.get(_stem(file.name), {})
    if described and not row:
        raise InputError(f"{file.name}: --metadata has no row for it", f"it has {', '.join(list(described)[:5])}")
    accession = ACCESSION.search(file.name)
    return {
        "start_id": _factor(file, context, row.get("tf") or tf),
        "experiment": row.get("experiment") or (accession.group() if accession else _stem(file.name)),
        "biosample": row.get("biosample") or context.biosample,
    }


def _factor(file: InputFile, context: SourceContext, named: str) -> str:
    genes = on_assembly(context.graph[GENE.label], context.assembly.name)
    parts = [named] if named else re.split(r"[.\s_-]+", file.name)
    ids = sorted({id_ for id_ in match_names(parts, genes).ids if id_ is not None})
    if len(ids) == 1:
        return ids[0]
    if named:
        raise InputError(
            f"{file.name}: {named!r} is not one gene of the graph", "name the factor by its symbol or Ensembl id"
        )
    several = f"names several genes ({', '.join(ids)})" if ids else "names no gene of the graph"
    raise InputError(f"{file.name}: the name of the file {several}", "give --tf, or --metadata for many files")


def _bound(file: InputFile, context: SourceContext, about: dict[str, str], min_score: float) -> Rows:
    rows = read_delimited(file, context.notes, BED)
    check_columns(rows, ("chrom", "start", "end"), "BED has at least three columns: chrom, start, end")
    parse_integers(rows, "start", "end")
    place(rows, context)
    _score(rows)
    strong = rows["score"] >= min_score
    rows.filtered += int((~strong).sum())
    rows.keep(strong)
    at, peak = peaks_under(intervals_in(rows), context)
    rows.filtered += len(rows) - len(np.unique(at))
    rows.spread(at, end_id=peak, **about)
    rows.set(place=rows["chrom"] + ":" + rows["start"].astype(str) + "-" + rows["end"].astype(str))
    return rows


def _score(rows: Rows) -> None:
    column, kind = next(((c, k) for c, k in (("signal", "signal"), ("score", "bed")) if c in rows.frame), ("", "peak"))
    if column:
        parse_numbers(rows, column)
    q_value = pd.Series(np.nan, index=rows.frame.index)
    if "q_value" in rows.frame:
        parse_numbers(rows, "q_value", needed=False)
        q_value = rows["q_value"].where(rows["q_value"] >= 0)  # -1 says that there is none
    rows.set(score=rows[column] if column else 1.0, score_kind=kind, q_value=q_value)
