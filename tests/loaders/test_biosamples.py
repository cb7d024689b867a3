"""Ontologies and mapping tables: nodes, what is a kind of what, and what is left out."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from kg.errors import InputError
from loaders.tables.rows import messages
from tests.loaders.world import SAMPLES, run_source, write

if TYPE_CHECKING:
    from pathlib import Path

OBO = """format-version: 1.2
ontology: made

[Term]
id: CL:0000001 ! the root
name: cell

[Term]
id: CL:0000002
name: blood cell\\, white {source="x"} ! said here
def: "a cell: of blood" [made:here]
is_a: CL:0000001 {is_inferred="true"} ! cell
relationship: part_of UBERON:0000001

[Term]
id: CL:0000003
name: monocyte
is_a: CL:0000002
is_a: CL:0000001 ! cell
is_a: GO:0000009 ! a process

[Term]
id: CL:0000004
name: obsolete thing
is_obsolete: true

[Term]
id: GO:0000009
name: process

[Term]
name: nobody

[Typedef]
id: part_of
name: part of
is_a: CL:0000001
"""


def nodes(reading: Any) -> dict[str, tuple[str, str]]:
    rows: list[dict[str, str]] = next(b.table.to_pylist() for b in reading.batches if b.type.name == "Biosample")
    return {row["id"]: (row["name"], row["ontology"]) for row in rows}


def edges(reading: Any) -> set[tuple[str, str]]:
    rows: list[dict[str, str]] = next(
        (b.table.to_pylist() for b in reading.batches if b.type.name == "SUBCLASS_OF"), []
    )
    return {(row["start_id"], row["end_id"]) for row in rows}


CELLS = {
    "CL:0000001": ("cell", "CL"),
    "CL:0000002": ("blood cell, white", "CL"),
    "CL:0000003": ("monocyte", "CL"),
}
IS_A = {("CL:0000002", "CL:0000001"), ("CL:0000003", "CL:0000002"), ("CL:0000003", "CL:0000001")}


@pytest.mark.parametrize("name", ["made.obo", "made.obo.gz"])
def test_obo(tmp_path: Path, name: str) -> None:
    reading = run_source("biosamples", [write(tmp_path / name, OBO)])
    assert nodes(reading) == CELLS
    assert edges(reading) == IS_A
    assert (reading.read, reading.filtered) == (6, 3)  # obsolete, a process, and an edge to that
    assert list(messages(reading.rejected)) == [f"{name}:31 column 'id': the row has no id"]
    assert reading.warnings == (f"{name}: 1 rows name a parent that is not loaded, the first in line 15",)


def test_other_ontologies_on_request(tmp_path: Path) -> None:
    reading = run_source("biosamples", [write(tmp_path / "made.obo", OBO)], prefixes="CL,GO")
    assert nodes(reading) == CELLS | {"GO:0000009": ("process", "GO")}
    assert edges(reading) == IS_A | {("CL:0000003", "GO:0000009")}


def test_a_mapping_table() -> None:
    reading = run_source("biosamples", [SAMPLES / "biosamples" / "mapping.tsv"])
    assert nodes(reading) == {
        "CD14+ mono": ("CD14+ mono", "text"),
        "Monocytes": ("Monocytes", "text"),
        "monocyte, naive": ("monocyte, naive", "text"),
        "CL:0001054": ("CD14-positive monocyte", "CL"),
        "CL:0000576": ("monocyte", "CL"),
    }
    assert edges(reading) == {
        ("CD14+ mono", "CL:0001054"),
        ("Monocytes", "CL:0000576"),
        ("monocyte, naive", "CL:0000576"),
    }


def test_a_mapping_may_say_no_names_or_only_names(tmp_path: Path) -> None:
    table = write(
        tmp_path / "m.csv", 'text,id\n"mono, old",CL:0000576\nEFO:0002784,CL:0000236\nCL:0000001,CL:0000001\n'
    )
    reading = run_source("biosamples", [table])
    assert nodes(reading) == {
        "mono, old": ("mono, old", "text"),
        "CL:0000576": ("CL:0000576", "CL"),
        "EFO:0002784": ("EFO:0002784", "EFO"),
        "CL:0000236": ("CL:0000236", "CL"),
        "CL:0000001": ("CL:0000001", "CL"),
    }
    assert edges(reading) == {("mono, old", "CL:0000576"), ("EFO:0002784", "CL:0000236")}


def test_an_ontology_and_a_mapping_beside_it(tmp_path: Path) -> None:
    files = [
        write(tmp_path / "m.tsv", "text\tid\tname\nmono\tCL:0000003\tMONO\n"),
        write(tmp_path / "made.obo", OBO),
    ]
    reading = run_source("biosamples", files)
    assert nodes(reading) == CELLS | {"mono": ("mono", "text")}
    assert edges(reading) == IS_A | {("mono", "CL:0000003")}


def test_rows_without_a_text_or_a_curie_are_rejected(tmp_path: Path) -> None:
    reading = run_source("biosamples", [write(tmp_path / "m.tsv", "text\tid\n\tCL:0000576\nmono\tmonocyte\nm\tCL:1\n")])
    assert edges(reading) == {("m", "CL:1")}
    assert sorted(messages(reading.rejected)) == [
        "m.tsv:2 column 'text': the row has no id",
        "m.tsv:3 column 'id': 'monocyte' is not a CURIE such as CL:0000576",
    ]


def test_another_table_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no column text, id"):
        run_source("biosamples", [write(tmp_path / "x.tsv", "name\tterm\nmono\tCL:0000576\n")])
