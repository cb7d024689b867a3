"""Kinds of biosamples, as releases and the draft have them, against a walk over plain dictionaries."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING, Any

import pytest

from kg.errors import UnknownBiosample
from kg.evidence.biosamples import Biosample, Unmapped, closure, kinds, unmapped
from kg.evidence.draft import Snapshot, Source, open_draft
from kg.releases import publish
from kg.schema import ACCESSIBLE_IN, BIOSAMPLE, EQTL, SUBCLASS_OF
from kg.schema.batches import EdgeBatch, NodeBatch
from tests.kg import toy

if TYPE_CHECKING:
    from collections.abc import Mapping

    from kg.store import Store

ONTOLOGY = Source("biosamples:cl", "biosamples", licence="CC0", citation="made here")
MAPPING = Source("biosamples:mapping", "biosamples", licence="CC0", citation="made here")
EVIDENCE = Source("accessibility:x", "accessibility", licence="CC0", citation="made here")
NAMES = {
    "CL:1": "cell",
    "CL:2": "Monocyte",
    "CL:3": "classical monocyte",
    "CL:4": "lymphocyte",
    "CL:5": "natural killer cell",
    "CL:6": "monocyte-like thing",
}
IS_A = [("CL:2", "CL:1"), ("CL:3", "CL:2"), ("CL:4", "CL:1"), ("CL:5", "CL:4"), ("CL:5", "CL:1"), ("CL:6", "CL:2")]
TEXTS = ["CD14+ mono", "NK", "unheard of"]


def nodes(names: Mapping[str, str]) -> NodeBatch:
    kinds = [i.partition(":")[0] if ":" in i else "text" for i in names]
    return NodeBatch.build(BIOSAMPLE, id=list(names), name=list(names.values()), ontology=kinds)


def is_a(pairs: list[tuple[str, str]]) -> EdgeBatch:
    return EdgeBatch.build(SUBCLASS_OF, start_id=[a for a, _ in pairs], end_id=[b for _, b in pairs])


def load(store: Store, source: Source, *batches: Any, replace: bool = False) -> None:
    with open_draft(store, "test") as draft:
        draft.load(source, Snapshot((source.dataset,), "toy@1"), batches, replace=replace)


def evidence(texts: list[str]) -> list[Any]:
    """The first text has an open peak, the second one too and two eQTL."""
    peak, other = toy.peak_id(0), toy.peak_id(2000)
    accessible = EdgeBatch.build(
        ACCESSIBLE_IN, start_id=[peak] * len(texts), end_id=texts, score=1.0, score_kind="share", cells=5
    )
    eqtl = EdgeBatch.build(
        EQTL, start_id=[peak, other], end_id=["G1", "G2"], variant="v", kind="lead", score=3.0, score_kind="p",
        biosample=texts[1], study="", trait="",
    )  # fmt: skip
    return [nodes({t: t for t in texts} | {"CL:2": "CL:2"}), accessible, eqtl]


@pytest.fixture
def world(store: Store) -> Store:
    """Release 1 has the ontology and evidence, release 2 the mapping; the draft takes one is_a away."""
    toy.load_world(store)
    load(store, ONTOLOGY, nodes(NAMES), is_a(IS_A))
    load(store, EVIDENCE, *evidence(TEXTS))
    publish(store)
    tied = [("CD14+ mono", "CL:3"), ("NK", "CL:5")]
    load(store, MAPPING, nodes({"CD14+ mono": "CD14+ mono", "NK": "NK", "CL:3": "CL:3", "CL:5": "CL:5"}), is_a(tied))
    publish(store)
    load(store, ONTOLOGY, nodes(NAMES), is_a([pair for pair in IS_A if pair != ("CL:6", "CL:2")]))
    return store


def test_a_name_finds_all_kinds_of_it_and_their_texts(world: Store) -> None:
    assert closure(world, "monocyte", 1) == ["CL:2", "CL:3", "CL:6"]
    assert closure(world, "MONOCYTE", 2) == closure(world, "CL:2", 2) == ["CD14+ mono", "CL:2", "CL:3", "CL:6"]
    assert closure(world, "monocyte") == ["CD14+ mono", "CL:2", "CL:3"]
    assert closure(world, "NK", 2) == ["NK"]
    assert closure(world, "cell", 2) == sorted([*NAMES, "CD14+ mono", "NK"])


def test_the_name_that_says_more_is_shown(world: Store) -> None:
    """accessibility:x sorts first and calls CL:2 by its id; the mapping calls CL:3 so."""
    assert kinds(world, "CL:2") == [
        Biosample("CD14+ mono", "CD14+ mono"),
        Biosample("CL:2", "Monocyte"),
        Biosample("CL:3", "classical monocyte"),
    ]


def test_texts_that_nothing_ties(world: Store) -> None:
    assert unmapped(world, 1) == [Unmapped("NK", 3), Unmapped("CD14+ mono", 1), Unmapped("unheard of", 1)]
    assert unmapped(world) == unmapped(world, 2) == [Unmapped("unheard of", 1)]


def test_only_open_edges_count(world: Store) -> None:
    load(world, EVIDENCE, nodes({t: t for t in TEXTS} | {"CL:2": "CL:2"}), replace=True)
    assert unmapped(world) == [Unmapped("unheard of", 0)]
    assert unmapped(world, 2) == [Unmapped("unheard of", 1)]


def test_an_unknown_name_is_met_with_near_ones(world: Store) -> None:
    with pytest.raises(UnknownBiosample, match="'monocites'") as caught:
        closure(world, "monocites", 2)
    assert caught.value.hint.startswith("did you mean Monocyte")
    with pytest.raises(UnknownBiosample):
        closure(world, "CD14+ mono", 0)


def test_without_an_ontology_the_hint_says_how_to_get_one(store: Store) -> None:
    assert unmapped(store) == []
    with pytest.raises(UnknownBiosample) as caught:
        closure(store, "monocyte")
    assert caught.value.hint == "regkg load biosamples cl.obo"


def test_a_tangled_ontology_equals_a_walk(store: Store) -> None:
    """Many paths between the same terms, and a circle."""
    rng = random.Random(5)
    ids = [f"CL:{i}" for i in range(60)]
    pairs = {(ids[i], ids[j]) for i in range(1, 60) for j in rng.choices(range(i), k=3)} | {("CL:3", "CL:30")}
    load(store, ONTOLOGY, nodes({i: f"term {i}" for i in ids}), is_a(sorted(pairs)))
    for top in ("CL:0", "CL:3", "CL:30", "CL:59"):
        found, grew = {top}, True
        while grew:
            more = found | {a for a, b in pairs if b in found}
            found, grew = more, len(more) > len(found)
        assert closure(store, top) == sorted(found)
