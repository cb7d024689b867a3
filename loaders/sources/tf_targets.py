"""Curated targets of transcription factors: CollecTRI, DoRothEA or TRRUST -> TARGETS.

The format is recognised by its content, in CSV or TSV:

- CollecTRI: a header with source, target, weight and, in newer files, resources, references and sign_decision. The
  mode is the sign of the weight; where sign_decision says that activation was only assumed, it is unknown.
- DoRothEA: a header with tf, confidence, target, mor (mode of regulation). Grades are A (curated) to E (predicted);
  those below --confidence are filtered.
- TRRUST: four columns without a header: factor, target, mode, PubMed ids.

Factors and targets are named by symbol or Ensembl id. Pairs with a gene that the graph lacks are filtered, those with
a symbol of several genes are rejected. --species tells the species of a graph apart where their symbols are
written alike, such as those of human and macaque.

Two names in these collections are complexes, not genes: AP1 (FOS, FOSB, FOSL1, FOSL2, JUN, JUNB, JUND) and NFKB
(NFKB1, NFKB2, REL, RELA, RELB). A row of a complex becomes one of each member, with `resources` naming the complex;
where the member has a row of its own for the target and mode, that one stays. --complexes leave-out filters them.
A pair that comes again with the same mode is folded, and keeps the references of all.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import pandas as pd

from kg.parameters import param
from kg.schema import GENE, TARGETS, TF
from loaders.registry import RowType, loader
from loaders.tables.checks import check_columns, parse_numbers
from loaders.tables.files import InputFile
from loaders.tables.joins import factors, keep_best, of_species, set_genes
from loaders.tables.rows import Reason, Rows, read_delimited
from loaders.tables.source_context import SourceContext

COMPLEXES = {
    "AP1": ("FOS", "FOSB", "FOSL1", "FOSL2", "JUN", "JUNB", "JUND"),
    "NFKB": ("NFKB1", "NFKB2", "REL", "RELA", "RELB"),
}
TRRUST = ("source", "target", "mode", "references")
MODES = {"activation": 1, "repression": -1, "unknown": 0}
MODE_OF = {sign: mode for mode, sign in MODES.items()}
GRADES = "ABCDE"
IDENTITY = ("start_id", "end_id", "mode")


@dataclass(frozen=True)
class Options:
    """Which pairs are loaded, and for genes of which species."""

    confidence: str = param("lowest grade of DoRothEA to load", "C", choices=("A", "B", "C", "D", "E"))
    complexes: str = param(
        "whether complexes are replaced by their members or left out", "members", choices=("members", "leave-out")
    )
    species: str = param("look for genes of this species only, such as NCBITaxon:9606", "")


@loader(
    files="CollecTRI, DoRothEA or TRRUST",
    writes=(TF, TARGETS),
    lookup=(GENE,),
    cites="CollecTRI (doi:10.1093/nar/gkad841), DoRothEA (doi:10.1101/gr.240663.118), TRRUST (doi:10.1093/nar/gkx1013)",
)
def read(context: SourceContext, options: Options) -> Iterator[tuple[RowType, Rows]]:
    """Yield signed pairs of factor and target."""
    context = of_species(context, options.species)
    parts = [_pairs(file, context, options.confidence) for file in context.files]
    for rows in parts:
        set_genes(rows, "target", context, into="end_id")
        _split_complexes(rows, keep=options.complexes == "members")
        set_genes(rows, "source", context, into="start_id")
    _merge(parts)
    for rows in parts:
        yield TARGETS, rows
    yield factors(id_ for rows in parts for id_ in rows["start_id"].unique())


def _pairs(file: InputFile, context: SourceContext, confidence: str) -> Rows:
    """Return rows with source, target, mode, sign and whatever of the other columns the format has."""
    first = file.head.partition(b"\n")[0].lower()
    if b"target" not in first:
        rows = _trrust(read_delimited(file, context.notes, TRRUST))
    else:
        rows = _signed(read_delimited(file, context.notes, None), confidence)
    absent = {c: None for c in ("confidence", "references", "resources") if c not in rows.frame}
    rows.set(**absent)
    return rows


def _trrust(rows: Rows) -> Rows:
    hint = "give CollecTRI (source, target, weight), DoRothEA (tf, confidence, target, mor) or TRRUST (no header)"
    check_columns(rows, TRRUST, hint)
    rows.set(mode=rows["mode"].str.lower())
    rows.reject(~rows["mode"].isin(MODES), "mode", Reason.NO_MODE)
    rows.set(sign=rows["mode"].map(MODES))
    return rows


def _signed(rows: Rows, confidence: str) -> Rows:
    rows.frame = rows.frame.rename(columns={"tf": "source", "mor": "weight"})
    check_columns(rows, ("source", "target", "weight"), "CollecTRI: source, target, weight; DoRothEA: tf, target, mor")
    parse_numbers(rows, "weight")
    sign = np.sign(rows["weight"]).astype(np.int64)
    if "sign_decision" in rows.frame:
        sign = sign.where(~rows["sign_decision"].str.contains("default", case=False), 0)
    rows.set(sign=sign, mode=sign.map(MODE_OF))
    if "confidence" in rows.frame:
        rows.reject(~rows["confidence"].isin(list(GRADES)), "confidence", Reason.NO_GRADE)
        good = rows["confidence"] <= confidence
        rows.filtered += int((~good).sum())
        rows.keep(good)
    return rows


def _split_complexes(rows: Rows, *, keep: bool) -> None:
    """Replace the row of a complex by a row for each member; `own` marks rows that named the factor itself."""
    members = [_members(str(name)) for name in rows["source"]]
    own = np.array([group is None for group in members], dtype=bool)
    if not keep:
        rows.filtered += int((~own).sum())
    groups = [[name] if group is None else group * keep for name, group in zip(rows["source"], members, strict=True)]
    rows.set(own=own, resources=rows["resources"].where(own, "complex " + rows["source"]))
    rows.spread(np.repeat(np.arange(len(rows)), [len(g) for g in groups]), source=[name for g in groups for name in g])


def _members(name: str) -> list[str] | None:
    """Return symbols of a complex, written as its name is: Nfkb of a mouse has Rela."""
    members = COMPLEXES.get(name.upper())
    return None if members is None else [m if name.isupper() else m.capitalize() for m in members]


def _merge(parts: list[Rows]) -> None:
    """Merge rows of a factor, target and mode, with the references of all; own rows win over those of a complex."""
    every = pd.concat([rows.frame for rows in parts], ignore_index=True)
    again = every[every.duplicated([*IDENTITY, "own"], keep=False)]
    for column in ("references", "resources"):
        every.loc[again.index, column] = again.groupby([*IDENTITY, "own"])[column].transform(_union)
    at = 0
    for rows in parts:
        merged = every.iloc[at : at + len(rows)]
        rows.set(references=merged["references"].to_numpy(), resources=merged["resources"].to_numpy())
        at += len(rows)
    keep_best(parts, (*IDENTITY, "confidence"), ("own", "references", "resources"))


def _union(listed: "pd.Series[str]") -> str | None:
    parts = {part for text in listed.dropna() for part in str(text).split(";") if part}
    return ";".join(sorted(parts)) or None
