"""Cell types, tissues and cell lines, and which is a kind of which, from OBO or a mapping table -> SUBCLASS_OF.

- OBO (CL, UBERON, EFO and others of that format): every term becomes a biosample, every is_a an edge. Terms that are
  obsolete, or whose prefix is not among --prefixes, are filtered; so are parents that the file does not hold.
- A mapping table, CSV or TSV with a header: `text` (what evidence files wrote), `id` (a CURIE such as CL:0000576;
  CL_0000576 and the address of the term are read too) and optionally `name`. The text is then a kind of what it
  stands for, so that asking for monocytes finds evidence whose file names "CD14+ mono".

Both may be given at once, the ontology's names are taken first. `regkg biosamples` lists texts that are not mapped
to an ontology, `regkg biosamples NAME` all kinds of one.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pandas as pd

from kg.parameters import param
from kg.schema import BIOSAMPLE, SUBCLASS_OF
from loaders.registry import RowType, loader
from loaders.tables.checks import check_columns
from loaders.tables.files import InputFile, blocks
from loaders.tables.joins import leave_out, ontology_of
from loaders.tables.rows import Reason, Rows, read_delimited
from loaders.tables.source_context import SourceContext

_COMMENT = re.compile(r"(?<!\\)(?:!|\{[^}]*\}\s*(?:!|$)).*$")
_ESCAPED = re.compile(r"\\(.)")


@dataclass(frozen=True)
class Options:
    """Which terms of an ontology are loaded."""

    prefixes: str = param("ontologies whose terms are loaded from OBO files", "CL,UBERON,EFO,CLO,BTO")


@loader(
    files="an ontology in OBO format, or a table of texts with their CURIEs",
    writes=(BIOSAMPLE, SUBCLASS_OF),
    cites="Cell Ontology (doi:10.1186/s13326-016-0088-7), UBERON (doi:10.1186/gb-2012-13-1-r5), EFO",
)
def read(context: SourceContext, options: Options) -> Iterator[tuple[RowType, Rows]]:
    """Yield biosamples and what they are kinds of."""
    wanted = frozenset(options.prefixes.split(","))
    known: set[str] = set()
    obo = [file for file in context.files if _is_obo(file)]
    for file in obo:
        terms, edges = _ontology(file, context, wanted)
        known |= set(terms["id"])
        yield BIOSAMPLE, terms
        yield SUBCLASS_OF, edges
    tables = [_mapping(file, context) for file in context.files if file not in obo]
    yield BIOSAMPLE, _nodes(tables, known)
    for rows in tables:
        rows.keep(rows["start_id"] != rows["end_id"])  # such a row only names a CURIE
        yield SUBCLASS_OF, rows


def _is_obo(file: InputFile) -> bool:
    return file.head.startswith(b"format-version:") or b"[Term]" in file.head


def _ontology(file: InputFile, context: SourceContext, wanted: frozenset[str]) -> tuple[Rows, Rows]:
    """Return terms, and the parents that each has; the line of a term is where its stanza begins."""
    table = pd.DataFrame(_terms(file, context), columns=["line", "id", "name", "parents", "obsolete"], dtype=object)
    terms = Rows(file.name, table.set_index("line"))
    terms.reject(terms["id"] == "", "id", Reason.NO_ID)
    ontology = terms["id"].map(ontology_of)
    terms.set(ontology=ontology, name=terms["name"].where(terms["name"] != "", terms["id"]))
    good = ontology.isin(wanted) & (terms["obsolete"] != "true")
    terms.filtered += int((~good).sum())
    terms.keep(good)
    pairs = terms.frame[["id", "parents"]].explode("parents").dropna()
    edges = Rows(file.name, pairs.set_axis(["start_id", "end_id"], axis=1), counted=False)
    leave_out(edges, ~edges["end_id"].isin(set(terms["id"])), "name a parent that is not loaded")
    return terms, edges


def _terms(file: InputFile, context: SourceContext) -> list[dict[str, Any]]:
    """Return stanzas of terms; comments (after !) and qualifiers (in braces) are left out."""
    terms: list[dict[str, Any]] = []
    inside = False
    for first, lines in blocks(file, context.notes):
        for number, line in enumerate(lines, first):
            tag, _, value = line.decode().partition(":")
            if tag.startswith("["):
                inside = tag.strip() == "[Term]"
                terms += [{"line": number, "id": "", "name": "", "parents": [], "obsolete": ""}] * inside
            elif inside:
                _add(terms[-1], tag, _COMMENT.sub("", value).strip())
    return terms


def _add(term: dict[str, Any], tag: str, value: str) -> None:
    if tag == "is_a":
        term["parents"] += value.split()[:1]
    elif tag == "is_obsolete":
        term["obsolete"] = value
    elif tag in {"id", "name"}:
        term[tag] = _ESCAPED.sub(r"\1", value)


def _mapping(file: InputFile, context: SourceContext) -> Rows:
    rows = read_delimited(file, context.notes, None)
    check_columns(rows, ("text", "id"), "give the columns text, id and name, or an OBO file")
    rows.reject(rows["text"] == "", "text", Reason.NO_ID)
    # addresses end in CL_0000576
    curie = rows["id"].str.strip().str.replace(r"^(?:https?://\S*/)?([A-Za-z]+)[_:](\w+)$", r"\1:\2", regex=True)
    rows.reject(curie.map(ontology_of).isna(), "id", Reason.NO_CURIE)
    names = rows["name"] if "name" in rows.frame else ""
    rows.set(start_id=rows["text"], end_id=curie, name=names)
    return rows


def _nodes(tables: list[Rows], known: set[str]) -> Rows:
    """Return nodes of the texts and CURIEs of mapping tables, without those of an ontology loaded beside them."""
    columns = ["start_id", "end_id", "name"]
    pairs = pd.concat([pd.DataFrame(columns=columns, dtype=object), *(rows.frame[columns] for rows in tables)])
    named = pairs[pairs["name"] != ""].sort_values("name").drop_duplicates("end_id").set_index("end_id")["name"]
    ids = pd.Series(pd.unique(pairs[["end_id", "start_id"]].to_numpy().ravel()), dtype=object)
    ids = ids[~ids.isin(known)]
    ontology = ids.map(ontology_of)
    frame = {"id": ids, "name": ids.map(named).fillna(ids), "ontology": ontology.where(ontology.notna(), "text")}
    return Rows("", pd.DataFrame(frame, dtype=object), counted=False)
