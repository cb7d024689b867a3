"""Orthologous genes of the species in the graph: homologene groups, or Ensembl Compara as BioMart or its dumps have it.

The format is recognised by the header; all are tab-separated. homologene: HID, Gene.Symbol, Taxonomy, Gene.ID, or
NCBI's own homologene.data without a header. A gene is found by its symbol among the genes of its species (the graph
has no Entrez ids), and every two genes of a group from different species form a pair: one2one where the group has
one gene of either species, one2many where it has one of one of them, else many2many, whether the graph knows them
all or not. A pair that two groups contain is rejected.

Compara's dump (Compara.*.homologies.tsv) has gene_stable_id, homology_gene_stable_id, homology_type and, if they are
there, identity, homology_identity and is_high_confidence. A BioMart export has "Gene stable ID" and, for one or more
species such as Mouse, "Mouse gene stable ID", "Mouse homology type" and, if they are there, both "%id." columns and
"Mouse orthology confidence [0 low, 1 high]". Genes are found by id, classes and identities are Compara's. A pair that
is not one2one needs --min-identity in both of its genes and must not be of low confidence, unless
--low-confidence is given. Paralogs, and genes or species that the graph does not have, count as filtered.

A pair is written once, from the species whose NCBITaxon CURIE sorts first; identity is that gene's.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd
import pyarrow as pa

from kg.errors import InputError
from kg.parameters import param
from kg.schema import GENE, ORTHOLOG_OF, EdgeType
from loaders.registry import loader
from loaders.tables.checks import check_columns, parse_integers, parse_numbers
from loaders.tables.files import InputFile
from loaders.tables.joins import leave_out, set_genes, texts
from loaders.tables.rows import Reason, Rows, read_delimited
from loaders.tables.source_context import SourceContext

NCBI = ("group", "taxon", "entrez", "symbol")
GROUPS = {"HID": "group", "Gene.Symbol": "symbol", "Taxonomy": "taxon", "Gene.ID": "entrez"}
DUMP = {
    "gene_stable_id": "gene",
    "homology_gene_stable_id": "other",
    "homology_type": "type",
    "identity": "gene_identity",
    "homology_identity": "other_identity",
    "is_high_confidence": "confident",
}
MART = {
    "Gene stable ID": "gene",
    "{} gene stable ID": "other",
    "{} homology type": "type",
    "%id. query gene identical to target {} gene": "gene_identity",
    "%id. target {} gene identical to query gene": "other_identity",
    "{} orthology confidence [0 low, 1 high]": "confident",
}
CLASSES = ("one2one", "one2many", "many2many")
NOTHING = ["NULL", "\\N"]
NEEDED, OPTIONAL = ("gene", "other", "type"), ("gene_identity", "other_identity", "confident")
HINT = "give homologene, Compara's dump of homologies, or BioMart's export with gene ids and homology type, as TSV"


@dataclass(frozen=True)
class Options:
    """Which pairs that are not one2one are loaded."""

    min_identity: float = param(
        "smallest percent identity in both genes of a pair that is not one2one", 50.0, low=0, high=100
    )
    low_confidence: bool = param("also load pairs that are not one2one and of low confidence", default=False)


@loader(
    files="homologene or Ensembl Compara, tab-separated",
    writes=(ORTHOLOG_OF,),
    lookup=(GENE,),
    cites="Ensembl Compara (doi:10.1093/database/bav096), homologene (doi:10.1093/nar/gks1189)",
)
def read(context: SourceContext, options: Options) -> Iterator[tuple[EdgeType, Rows]]:
    """Yield pairs of genes of every file."""
    groups = []
    for file in context.files:
        first = _first_line(file)
        if first[0] == "HID" or first[0].isdigit():
            groups.append(_homologene(file, context, headed=first[0] == "HID"))
            continue
        for rows in _compara(file, context, first):
            _set_pairs(rows, context)
            _leave_weak_out(rows, options.min_identity, low_confidence=options.low_confidence)
            yield ORTHOLOG_OF, rows
    for rows in _paired(groups, context):
        yield ORTHOLOG_OF, rows


def _first_line(file: InputFile) -> list[str]:
    lines = (line for line in file.head.decode(errors="replace").splitlines() if line and not line.startswith("#"))
    return next(lines, "").split("\t")


def _homologene(file: InputFile, context: SourceContext, *, headed: bool) -> Rows:
    rows = read_delimited(file, context.notes, None if headed else NCBI)
    rows.frame = rows.frame.rename(columns=GROUPS)
    check_columns(rows, ("group", "taxon", "symbol"), HINT)
    parse_integers(rows, "taxon")
    rows.set(species="NCBITaxon:" + rows["taxon"].astype(str))
    return rows


def _paired(parts: Sequence[Rows], context: SourceContext) -> Sequence[Rows]:
    """Pair every two genes of a group, of different species; a pair belongs to the file of its first gene."""
    if not parts:
        return parts
    every = pd.concat([rows.frame for rows in parts], keys=range(len(parts)))
    size = every.groupby(["group", "species"])["symbol"].transform("nunique")
    for number, rows in enumerate(parts):
        rows.set(size=size.loc[number], part=number)
        _find_by_symbol(rows, context)
        rows.set(at=np.arange(len(rows)))
    genes = pd.concat([rows.frame[["group", "species", "size", "gene", "part", "at"]] for rows in parts])
    pairs = genes.merge(genes, on="group", suffixes=("", "_other"))
    pairs = pairs[pairs["species"] < pairs["species_other"]]
    for number, rows in enumerate(parts):
        _take_pairs(rows, pairs[pairs["part"] == number], pairs["at_other"][pairs["part_other"] == number].to_list())
    return parts


def _find_by_symbol(rows: Rows, context: SourceContext) -> None:
    """Look up species and symbol as one name, since a symbol means a gene only within its species."""
    genes = context.graph[GENE.label]
    species = texts(genes, "species")
    at = genes.schema.get_field_index("symbol")
    named = genes.set_column(at, "symbol", pa.array(species + " " + texts(genes, "symbol"), pa.string()))
    leave_out(rows, ~rows["species"].isin(species), "are of a species without genes in the graph")
    rows.set(name=rows["species"] + " " + rows["symbol"])
    set_genes(rows, "name", replace(context, graph={GENE.label: named}), into="gene")


def _take_pairs(rows: Rows, own: pd.DataFrame, others: list[int]) -> None:
    """Take one row for each pair that begins in these rows; those in no pair are left out."""
    leave_out(rows, ~rows["at"].isin([*own["at"], *others]), "have no ortholog among the genes of the graph")
    several = (own["size"] > 1).astype(int) + (own["size_other"] > 1)
    rows.spread(
        pd.Index(rows["at"]).get_indexer(own["at"]),
        start_id=own["gene"].to_numpy(),
        end_id=own["gene_other"].to_numpy(),
        **{"class": np.array(CLASSES, dtype=object)[several]},
    )


def _compara(file: InputFile, context: SourceContext, header: Sequence[str]) -> Iterator[Rows]:
    """Yield rows with gene, other, type and what else there is; for each species of a BioMart export."""
    rows = read_delimited(file, context.notes, None)
    if "gene_stable_id" in header:
        yield _named(rows, DUMP)
        return
    others = [match[1] for name in header if (match := re.fullmatch(r"(.+) gene stable ID", name))]
    if not others:
        raise InputError(
            f"{file.name}: the header is neither homologene's nor Compara's: {', '.join(header[:6])}", HINT
        )
    whole = rows.frame
    for number, other in enumerate(others):
        part = Rows(file.name, whole) if number else rows
        yield _named(part, {name.format(other): meaning for name, meaning in MART.items()})


def _named(rows: Rows, names: Mapping[str, str]) -> Rows:
    check_columns(rows, tuple(name for name, meaning in names.items() if meaning in NEEDED), HINT)
    rows.frame = rows.frame.rename(columns=names)
    rows.set(**{name: rows[name].replace(NOTHING, "") if name in rows.frame else "" for name in OPTIONAL})
    parse_numbers(rows, "gene_identity", "other_identity", low=0, high=100, needed=False)
    return rows


def _set_pairs(rows: Rows, context: SourceContext) -> None:
    leave_out(rows, ~rows["type"].str.contains("ortholog"), "are not orthologs")
    rows.set(**{"class": rows["type"].str.extract(f"({'|'.join(CLASSES)})", expand=False)})
    rows.reject(rows["class"].isna(), "type", Reason.NO_ORTHOLOGY)
    for column in ("gene", "other"):
        set_genes(rows, column, context, into=f"{column}_id")
    genes = context.graph[GENE.label]
    species = pd.Series(texts(genes, "species"), index=texts(genes, "id"))
    first, second = (rows[f"{column}_id"].map(species) for column in ("gene", "other"))
    turned = first > second
    rows.set(
        start_id=rows["gene_id"].mask(turned, rows["other_id"]),
        end_id=rows["other_id"].mask(turned, rows["gene_id"]),
        identity=rows["gene_identity"].mask(turned, rows["other_identity"]),
    )
    leave_out(rows, first == second, "are of one species")


def _leave_weak_out(rows: Rows, min_identity: float, *, low_confidence: bool) -> None:
    several = rows["class"] != CLASSES[0]
    if not low_confidence:
        leave_out(rows, several & (rows["confident"] == "0"), "are not one2one and of low confidence")
        several = several.loc[rows.frame.index]
    shared = np.fmin(rows["gene_identity"], rows["other_identity"])
    leave_out(rows, several & (shared < min_identity), f"are not one2one and share less than {min_identity:g} %")
