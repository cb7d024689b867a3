"""Biosamples by kind: all that are a kind of one, and texts that nothing ties to an ontology."""

from __future__ import annotations

import difflib
from dataclasses import dataclass
from typing import TYPE_CHECKING

from kg.errors import UnknownBiosample
from kg.schema import BIOSAMPLE, EDGE_TYPES, OPEN, SUBCLASS_OF, Kind

if TYPE_CHECKING:
    from kg.schema import EdgeType
    from kg.store import Store

_VALID = "{0}.since <= $n AND $n < {0}.until"
# a name that is not the id says more, whichever dataset gives it
_NAMES = (
    f"COLLECT {{ MATCH (b)-[:HAS_RECORD]->(r:{BIOSAMPLE.record_label}) WHERE {_VALID.format('r')} "
    "RETURN r.name AS name ORDER BY r.name = b.id, r.dataset, r.name }"
)
_NAMED = f"""
MATCH (b:{BIOSAMPLE.label})-[:HAS_RECORD]->(r:{BIOSAMPLE.record_label})
WHERE {_VALID.format("r")} AND (b.id = $name OR toLower(r.name) = toLower($name))
RETURN DISTINCT b.id AS id
"""
_BELOW = f"""
UNWIND $ids AS id MATCH (top:{BIOSAMPLE.label} {{id: id}})<-[s:{SUBCLASS_OF.name}]-(b:{BIOSAMPLE.label})
WHERE {_VALID.format("s")} AND NOT b.id IN $seen
RETURN DISTINCT b.id AS id
"""
_ABOUT = f"UNWIND $ids AS id MATCH (b:{BIOSAMPLE.label} {{id: id}}) RETURN b.id AS id, head({_NAMES}) AS name"
_ALL_NAMES = f"MATCH (b:{BIOSAMPLE.label}) UNWIND {_NAMES} AS name RETURN DISTINCT name"
_UNMAPPED = f"""
MATCH (b:{BIOSAMPLE.label})-[:HAS_RECORD]->(r:{BIOSAMPLE.record_label} {{ontology: 'text'}})
WHERE {_VALID.format("r")} AND NOT EXISTS {{ (b)-[s:{SUBCLASS_OF.name}]->() WHERE {_VALID.format("s")} }}
RETURN DISTINCT b.id AS id
"""


@dataclass(frozen=True)
class Biosample:
    """A kind of a biosample: its CURIE or text, and its name."""

    id: str
    name: str


@dataclass(frozen=True)
class Unmapped:
    """A text that nothing ties to an ontology, and how many edges name it."""

    id: str
    edges: int


def closure(store: Store, name: str, number: int = OPEN - 1) -> list[str]:
    """Return the ids of a biosample and of all that are a kind of it, by way of others too; CURIEs and texts, sorted.

    Args:
        store: the graph.
        name: a CURIE, a text, or a name in any case; where several have the name, of all of them.
        number: of a release; by default the rows that are open now, those of the draft.

    Raises:
        UnknownBiosample: nothing has the name.
    """
    level = [row["id"] for row in store.read(_NAMED, name=name, n=number)]
    if not level:
        raise _unknown(store, name, number)
    reached = set(level)
    while level:
        rows = store.read(_BELOW, ids=level, seen=sorted(reached), n=number)
        level = [row["id"] for row in rows]
        reached |= set(level)
    return sorted(reached)


def kinds(store: Store, name: str, number: int = OPEN - 1) -> list[Biosample]:
    """Return the same with their names, by id; see `closure`."""
    rows = store.read(_ABOUT, ids=closure(store, name, number), n=number)
    return sorted((Biosample(row["id"], row["name"] or row["id"]) for row in rows), key=lambda b: b.id)


def unmapped(store: Store, number: int = OPEN - 1) -> list[Unmapped]:
    """Return the texts of evidence that are a kind of nothing, those that most edges name first."""
    edges = dict.fromkeys((row["id"] for row in store.read(_UNMAPPED, n=number)), 0)
    for type_ in EDGE_TYPES.values():
        query = _naming(type_)
        for row in store.read(query, ids=sorted(edges), n=number) if query and edges else []:
            edges[row["id"]] += row["edges"]
    return [Unmapped(id_, count) for id_, count in sorted(edges.items(), key=lambda item: (-item[1], item[0]))]


def _naming(type_: EdgeType) -> str:
    """Return Cypher: how many edges of a type name each text; empty where they name none."""
    if type_.kind is Kind.PREDICTED or type_ is SUBCLASS_OF:
        return ""
    if type_.end == BIOSAMPLE.label:
        start = f"UNWIND $ids AS id MATCH (b:{BIOSAMPLE.label} {{id: id}})<-[e:{type_.name}]-()"
    elif "biosample" in type_.schema.names:
        start = f"MATCH (:{type_.start})-[e:{type_.name}]->(:{type_.end}) WITH e, e.biosample AS id WHERE id IN $ids"
    else:
        return ""
    return f"{start} WITH e, id WHERE {_VALID.format('e')} RETURN id, count(e) AS edges"


def _unknown(store: Store, name: str, number: int) -> UnknownBiosample:
    names = {row["name"].lower(): row["name"] for row in store.read(_ALL_NAMES, n=number)}
    near = difflib.get_close_matches(name.lower(), sorted(names), n=3, cutoff=0.6)
    hint = f"did you mean {' or '.join(names[n] for n in near)}?" if near else "regkg load biosamples cl.obo"
    return UnknownBiosample(f"no biosample has the id or name {name!r}", hint)
