"""CRISPRi: verdicts, what is kept, the join that the data's README states, and that no guidance graph can have it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from kg.errors import Conflict, InputError
from kg.guidance import read_guidance
from kg.guidance.policy import POLICY
from kg.schema import EDGE_TYPES, NEAR, PERTURBS, EdgeType, Kind
from loaders.registry import find
from loaders.tables.rows import messages
from tests.loaders.world import SAMPLES, graph_of, run_source, write

if TYPE_CHECKING:
    from pathlib import Path

    from kg.store import Store

SAMPLE = SAMPLES / "crispri" / "crispri.tsv"


def edges(reading: Any) -> list[dict[str, Any]]:
    return next((b.table.to_pylist() for b in reading.batches if b.type is PERTURBS), [])


def test_pairs_with_and_without_an_effect() -> None:
    reading = run_source("crispri", [SAMPLE])
    same = {"study": "Made2026", "biosample": "K562", "original": None}
    one, two = "GRCh38:chr1:9500-9800", "GRCh38:chr1:11800-12100"
    assert {(r.pop("start_id"), r.pop("end_id")): r for r in edges(reading)} == {
        (one, "ENSG00000000101"): {
            **same,
            "effect": -0.5,
            "p_value": 0.001,
            "significant": True,
            "power": pytest.approx(0.9),
            "element": "chr1:9600-9900",
        },
        (one, "ENSG00000000104"): {
            **same,
            "effect": 0.25,
            "p_value": 0.01,
            "significant": False,
            "power": None,
            "element": "chr1:9600-9900",
        },
        (two, "ENSG00000000101"): {
            **same,
            "effect": None,
            "p_value": 1.0,
            "significant": False,
            "power": 0.5,
            "element": "chr1:11900-12000",
        },
    }
    assert (reading.read, reading.filtered) == (5, 2)  # one meets no peak, one is not a valid connection
    assert [b.table["id"].to_pylist() for b in reading.batches if b.type.name == "Biosample"] == [["K562"]]


def test_without_a_verdict_a_significant_loss_is_one(tmp_path: Path) -> None:
    head = "chrom\tchromStart\tchromEnd\tmeasuredGeneSymbol\tEffectSize\tSignificant\n"
    rows = [("AAA1", -0.5, "TRUE"), ("BBB2", 0.5, "TRUE"), ("CCC3", -0.5, "FALSE"), ("NA", -0.5, "maybe")]
    text = head + "".join(f"chr1\t9600\t9900\t{g}\t{e}\t{s}\n" for g, e, s in rows)
    reading = run_source("crispri", [write(tmp_path / "c.tsv", text)], biosample="EFO:0002067")
    assert {(r["end_id"][-3:], r["significant"]) for r in edges(reading)} == {
        ("101", True),
        ("104", False),
        ("106", False),
    }
    assert {(r["biosample"], r["study"]) for r in edges(reading)} == {("EFO:0002067", "")}
    assert list(messages(reading.rejected)) == ["c.tsv:5 column 'Significant': 'maybe' is neither true nor false"]


def test_another_table_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no column chromStart, chromEnd, measuredGeneSymbol, EffectSize, Significant"):
        run_source("crispri", [write(tmp_path / "x.tsv", "chrom\tstart\tend\nchr1\t1\t2\n")])


def test_what_this_source_writes_is_truth_and_has_no_weight() -> None:
    assert {t.kind for t in find("crispri").writes if isinstance(t, EdgeType)} == {Kind.TRUTH}
    assert not {t.name for t in EDGE_TYPES.values() if t.kind is not Kind.EVIDENCE} & set(POLICY)


@pytest.mark.parametrize("types", [[PERTURBS.name], [NEAR.name, PERTURBS.name]])
def test_no_guidance_graph_has_it(store: Store, types: list[str]) -> None:
    with pytest.raises(Conflict, match="PERTURBS must not guide a model"):
        read_guidance(store, 1, types)


def test_the_join_that_the_readme_of_the_data_states(data: Path) -> None:
    """1,898 rows (of 536 elements) lie over a peak; one of them names a gene that Ensembl has no more."""
    graph = graph_of([data / "genes" / "grch38.tsv.gz"], [data / "cells" / "h1_snare" / "atac.h5ad"])
    reading = run_source("crispri", [data / "crispri" / "training_K562.GRCh38.tsv.gz"], graph=graph)
    rows = edges(reading)
    pairs = {(r["element"], r["end_id"], r["study"]) for r in rows}
    assert len({r["element"] for r in rows}) == 536
    assert len(pairs) == 1_898 - 1
    assert len(rows) == 1_934  # elements over two peaks
    assert sum(r["significant"] for r in rows) == 48
    assert (reading.read, reading.filtered, len(reading.rejected)) == (10_356, 10_356 - len(pairs), 0)
