"""Tables of element-gene links that other programs predicted, brought to the same columns.

Each reader gives rows with chrom, start, end (0-based half-open), gene (an id or a symbol), model, score, score_kind,
threshold (NaN where the format has none), sign (NaN where it has none), tf (a symbol, or empty) and biosample (or
empty).
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
import pyarrow.parquet as pq

from kg.cells import split_positions
from kg.errors import InputError
from loaders.tables.checks import check_columns, parse_integers, parse_numbers, place
from loaders.tables.joins import ids_or_symbols
from loaders.tables.rows import Reason, Rows, read_delimited

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from loaders.tables.files import InputFile
    from loaders.tables.source_context import SourceContext

# column of the score -> model, kind of score; those that stand beside others' scores come first
SCORES = {
    "ENCODE-rE2G.Score": ("ENCODE-rE2G", "re2g"),
    "E2G.Score.qnorm": ("scE2G", "sce2g"),
    "ABC.Score": ("ABC", "abc"),
    "Score": ("ENCODE-rE2G", "re2g"),
}
GENE_IDS = ("TargetGeneEnsembl_ID", "TargetGeneEnsemblID")
BENGI = ("label", "distance", "chrom", "start", "end", "name", "tss_chrom", "tss_start", "tss_end", "tss")
NOT_FACTORS = ("", "index", "column1", "Unnamed: 0", "peak_id", "gene_short_name")
PLACE = ["chrom", "start", "end", "original", "gene", "tf"]
ZERO = ("0", "0.0", "", "False")
ROWS_A_STEP = 10_000


def read_links(file: InputFile, context: SourceContext, base_grn: InputFile | None, max_p: float) -> Rows:
    """Return the rows of a file of any of the formats.

    Args:
        file: of predictions.
        context: with the genes of the draft.
        base_grn: what links of CellOracle were fitted on.
        max_p: links of CellOracle with a larger p-value are filtered.

    Raises:
        InputError: the format is not known.
    """
    if file.is_parquet:
        return _base_grn(file, context)
    columns = set(_header(file))
    if "TargetGene" in columns:
        return _elements(file, context)
    if {"Region", "Gene", "TF"} <= columns:
        return _eregulons(file, context)
    if {"peak_id", "gene_short_name"} <= columns:
        return _base_grn(file, context)
    if {"source", "target", "coef_mean", "p"} <= columns:
        return _celloracle(file, context, base_grn, max_p)
    if b"|ENS" in _first_line(file):
        return _bengi(file, context)
    raise InputError(
        f"{file.name}: no known format of links has the columns {', '.join(sorted(columns)[:8])}",
        "known are ENCODE-rE2G, ABC, SCENIC+ eRegulons, CellOracle and BENGI",
    )


def _first_line(file: InputFile) -> bytes:
    return next((line for line in file.head.splitlines() if line.strip()), b"")


def _header(file: InputFile) -> list[str]:
    """Return names in the first line, which may begin with # as in #chr."""
    line = _first_line(file).decode(errors="replace").removeprefix("#")
    return re.split(r"[\t,]", line.replace('"', ""))


def _elements(file: InputFile, context: SourceContext) -> Rows:
    """Read ENCODE-rE2G or ABC: one row for each element and gene."""
    header = _header(file)
    rows = read_delimited(file, context.notes, header if file.head.startswith(b"#") else None)
    check_columns(rows, ("chr", "start", "end", "TargetGene"), "is it a table of ENCODE-rE2G or ABC?")
    score = next((c for c in SCORES if c in rows.frame), None)
    if score is None:
        raise InputError(f"{file.name}: no column holds the score", f"it is called {' or '.join(SCORES)}")
    ids = next((c for c in GENE_IDS if c in rows.frame), "TargetGene")
    rows.set(chrom=rows["chr"], gene=ids_or_symbols(rows, ids, "TargetGene", context), score=rows[score])
    parse_integers(rows, "start", "end")
    parse_numbers(rows, "score")
    place(rows, context)
    model, kind = SCORES[score]
    stated = re.search(r"threshold(\d*\.\d+)", file.name)  # as ABC names its files
    threshold = float(stated.group(1)) if stated else np.nan
    _describe(rows, model, kind, threshold, rows["CellType"] if "CellType" in rows.frame else "")
    return rows


def _eregulons(file: InputFile, context: SourceContext) -> Rows:
    """Read SCENIC+: a row for each region, gene and factor; 1.0 writes importance_R2G, older ones R2G_importance."""
    rows = read_delimited(file, context.notes, None)
    named = {"R2G_importance": "importance_R2G", "R2G_rho": "rho_R2G"}
    rows.frame = rows.frame.rename(columns={old: new for old, new in named.items() if new not in rows.frame})
    check_columns(rows, ("importance_R2G", "rho_R2G"), "give the eRegulon table of SCENIC+")
    rows.set(gene=rows["Gene"], tf=rows["TF"], score=rows["importance_R2G"], rho=rows["rho_R2G"])
    _positions(rows, "Region", context)
    parse_numbers(rows, "score", "rho")
    extended = rows["is_extended"].str.lower() == "true" if "is_extended" in rows.frame else False
    _describe(rows, "SCENIC+", "importance")
    rows.set(model=np.where(extended, "SCENIC+ extended", "SCENIC+"), sign=_sign(rows["rho"]))
    return rows


def _base_grn(file: InputFile, context: SourceContext) -> Rows:
    """Read CellOracle's base GRN: a row for each peak and gene, a column for each factor, 1 where its motif is."""
    steps = _parquet_steps(file.path) if file.is_parquet else _text_steps(file, context)
    parts = []
    for rows in steps:
        check_columns(rows, ("peak_id", "gene_short_name"), "give the base GRN as CellOracle writes it")
        factors = np.array([c for c in rows.frame if c not in NOT_FACTORS], dtype=object)
        has = ~rows.frame[factors].isin([*ZERO, 0]).to_numpy()
        rows.set(gene=rows["gene_short_name"], row=np.arange(len(rows)))
        rows.frame = rows.frame[["peak_id", "gene", "row"]]
        _positions(rows, "peak_id", context)
        has = has[rows["row"]]
        rows.filtered += int((~has.any(axis=1)).sum())
        at, factor = np.nonzero(has)
        rows.spread(at, tf=factors[factor])
        parts.append(rows)
    whole = _joined(file.name, parts)
    whole.set(score=1.0)
    _describe(whole, "CellOracle base GRN", "motif")
    return whole


def _text_steps(file: InputFile, context: SourceContext) -> Iterable[Rows]:
    yield read_delimited(file, context.notes, None)


def _parquet_steps(path: Path) -> Iterable[Rows]:
    """Yield some rows at a time: a thousand factors make a wide table."""
    first = 1
    for batch in pq.ParquetFile(path).iter_batches(ROWS_A_STEP):
        frame = batch.to_pandas().set_axis(pd.RangeIndex(first, first + len(batch)))
        first += len(batch)
        yield Rows(path.name, frame)


def _joined(name: str, parts: list[Rows]) -> Rows:
    whole = Rows(name, pd.concat([rows.frame for rows in parts]), [t for rows in parts for t in rows.rejected])
    whole.warnings = [warning for rows in parts for warning in rows.warnings]
    for count in ("read", "filtered", "renamed"):
        setattr(whole, count, sum(getattr(rows, count) for rows in parts))
    return whole


def _celloracle(file: InputFile, context: SourceContext, base_grn: InputFile | None, max_p: float) -> Rows:
    """Read CellOracle's links of one cluster and put them on the peaks by which the base GRN joins factor and gene."""
    if base_grn is None:
        raise InputError(
            f"{file.name}: CellOracle's links name no peaks",
            "give --base-grn: the base GRN that they were fitted on",
        )
    rows = read_delimited(file, context.notes, None)
    parse_numbers(rows, "coef_mean", "p")
    sure = rows["p"] <= max_p
    rows.filtered += int((~sure).sum())
    rows.keep(sure)
    rows.set(line=np.arange(len(rows)))
    base = _base_grn(base_grn, context)
    matched = rows.frame[["source", "target", "line"]].merge(
        base.frame.reindex(columns=PLACE), left_on=["source", "target"], right_on=["tf", "gene"]
    )
    rows.filtered += len(rows) - matched["line"].nunique()
    rows.spread(matched["line"].to_numpy(), **{c: matched[c].to_numpy() for c in PLACE})
    if base.rejected:
        problem = f"{base_grn.name}: {sum(map(len, base.rejected)):,} rows were rejected, the first because "
        rows.warnings.append(problem + str(base.rejected[0]["reason"].iloc[0]))
    rows.set(score=rows["coef_mean"].abs())
    _describe(rows, "CellOracle", "coefficient", biosample=rows["cluster"] if "cluster" in rows.frame else file.stem)
    rows.set(sign=_sign(rows["coef_mean"]))
    return rows


def _bengi(file: InputFile, context: SourceContext) -> Rows:
    """Read BENGI as TransEPI writes it: a row for each element and TSS; label 1 for linked, 0 for not linked."""
    rows = read_delimited(file, context.notes, BENGI)
    check_columns(rows, BENGI, "is it a table of BENGI pairs?")
    parse_integers(rows, "start", "end")
    place(rows, context)
    rows.set(score=rows["label"], gene=rows["tss"].str.split("|").str[2])
    parse_numbers(rows, "score", low=0, high=1)
    rows.reject(rows["gene"].isna() | (rows["gene"] == ""), "tss", Reason.NO_ID)
    named = re.search(r"([\w-]+)-Benchmark", file.name)
    _describe(rows, f"BENGI {named.group(1)}" if named else "BENGI", "label", 0.5, rows["name"].str.split("|").str[1])
    return rows


def _positions(rows: Rows, column: str, context: SourceContext) -> None:
    parts = split_positions(rows[column])
    rows.set(chrom=parts["chrom"].to_numpy(), start=parts["start"].to_numpy(), end=parts["end"].to_numpy())
    rows.reject(rows["start"].isna(), column, Reason.BAD_POSITION)
    parse_integers(rows, "start", "end")
    place(rows, context)


def _describe(
    rows: Rows, model: str, kind: str, threshold: float = np.nan, biosample: pd.Series[str] | str = ""
) -> None:
    rows.set(model=model, score_kind=kind, threshold=threshold, biosample=biosample, sign=np.nan)
    if "tf" not in rows.frame:
        rows.set(tf="")


def _sign(value: pd.Series[float]) -> pd.Series[float]:
    return pd.Series(np.sign(value), index=value.index).where(value != 0)
