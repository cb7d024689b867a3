"""Outputs of models check themselves when they are made: what is wrong is refused, what is right passes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from kg.errors import SchemaError
from kg.runs.outputs import (
    CellAnnotation,
    CellEmbedding,
    CellMatrix,
    Contacts,
    FeatureEmbedding,
    GraphNames,
    ScoredPairs,
)
from kg.runs.predictions import Predictions
from kg.schema import ANNOTATED_AS, IMPUTED_GENE, IMPUTED_PEAK, NEAR, PREDICTED_CONTACT, PREDICTED_TARGET
from kg.schema.batches import EdgeBatch

if TYPE_CHECKING:
    from pathlib import Path

QUICK = settings(max_examples=25)
NOT_FINITE = st.sampled_from([np.nan, np.inf, -np.inf])
NAMES = GraphNames("cortex", {"B cell": "CL:0000236", "CL:0000236": "CL:0000236", "neuron": "CL:0000540"})
LABELS = ["", "B cell", "CL:0000236", "neuron", "no such cell"]
SHARE = st.floats(0, 1, width=32)


def embedded(n: int, *, ids: int | None = None, kinds: list[str] | None = None) -> FeatureEmbedding:
    names = [f"G{i}" for i in range(n if ids is None else ids)]
    return FeatureEmbedding(names, ["Gene"] * n if kinds is None else kinds, np.ones((n, 3), np.float32))


@QUICK
@given(n=st.integers(0, 5), ids=st.integers(0, 5), kinds=st.integers(0, 5))
def test_vectors_ids_and_kinds_are_as_many(n: int, ids: int, kinds: int) -> None:
    if n == ids == kinds:
        assert list(embedded(n).ids) == [f"G{i}" for i in range(n)]
        return
    with pytest.raises(SchemaError, match=f"{ids} ids, {kinds} kinds and {n} vectors"):
        embedded(n, ids=ids, kinds=["Gene"] * kinds)


@QUICK
@given(wrong=NOT_FINITE, row=st.integers(0, 3), column=st.integers(0, 2))
def test_one_number_that_is_none_spoils_an_embedding(wrong: float, row: int, column: int) -> None:
    vectors = np.ones((4, 3), np.float32)
    vectors[row, column] = wrong
    cells = np.array(list("abcd"))
    for made in (
        lambda: FeatureEmbedding(list("abcd"), ["Peak"] * 4, vectors),
        lambda: CellEmbedding("rna", cells, vectors),
        lambda: CellEmbedding("rna", cells, np.ones((4, 3), np.float32), cells, vectors),
    ):
        with pytest.raises(SchemaError, match="not finite"):
            made()


def test_other_faults_of_embeddings() -> None:
    cells, vectors = np.array(["a", "b"]), np.ones((2, 3), np.float32)
    with pytest.raises(SchemaError, match="ids repeat"):
        FeatureEmbedding(["G1", "G1"], ["Gene", "Gene"], vectors)
    with pytest.raises(SchemaError, match=r"no nodes are labelled Cells, Gene \{id: 1\}"):
        embedded(2, kinds=["Cells", "Gene {id: 1}"])
    with pytest.raises(SchemaError, match=r"shape \(2,\)"):
        FeatureEmbedding(["G1", "G2"], ["Gene"] * 2, np.ones(2, np.float32))
    with pytest.raises(SchemaError, match="2 cells and 3 vectors"):
        CellEmbedding("rna", cells, np.ones((3, 3), np.float32))
    with pytest.raises(SchemaError, match="2 features and 0 vectors"):
        CellEmbedding("rna", cells, vectors, cells)
    with pytest.raises(SchemaError, match=r"\(2, 3\), \(2, 2\)"):
        CellEmbedding("rna", cells, vectors, cells, np.ones((2, 2), np.float32))
    with pytest.raises(SchemaError, match="features repeat"):
        CellEmbedding("rna", cells, vectors, np.array(["G1", "G1"]), vectors)


def annotated(labels: list[str], confidence: Any = None) -> CellAnnotation:
    cells = np.array([f"cell{i}" for i in range(len(labels))])
    sure = None if confidence is None else np.asarray(confidence, np.float32)
    return CellAnnotation("rna", cells, "transferred_label", np.array(labels, str), sure)


@QUICK
@given(cells=st.lists(st.tuples(st.sampled_from(LABELS), SHARE), max_size=30))
def test_an_annotation_becomes_counts_of_known_labels(cells: list[tuple[str, float]]) -> None:
    labels = [label for label, _ in cells]
    made = annotated(labels, [sure for _, sure in cells])
    assert made.unknown(NAMES) == sorted({label for label in labels if label == "no such cell"})
    (batch,) = made.batches(NAMES)
    rows = {row["label"]: row for row in batch.table.to_pylist()}
    assert set(rows) == set(labels) - {"", "no such cell"}
    for label, row in rows.items():
        own = [sure for other, sure in cells if other == label]
        assert row["n"] == len(own)
        assert row["share"] == pytest.approx(len(own) / len(cells))
        assert row["confidence"] == pytest.approx(np.mean(own), abs=1e-6)
        assert (row["start_id"], row["end_id"]) == ("cortex/rna", NAMES.biosamples[label])
        assert row["annotation"] == "transferred_label"
    # two labels of one biosample are two rows, each with an identity of its own
    assert len(set(batch.edge_ids)) == len(batch)


@QUICK
@given(
    sure=arrays(np.float32, 4, elements=SHARE),
    wrong=st.one_of(
        NOT_FINITE, st.floats(max_value=-1e-6, allow_infinity=False), st.floats(min_value=1.001, allow_infinity=False)
    ),
    at=st.integers(0, 3),
)
def test_a_confidence_lies_between_0_and_1(sure: Any, wrong: float, at: int) -> None:
    annotated(["neuron"] * 4, sure)
    with np.errstate(over="ignore"):
        sure[at] = wrong
    with pytest.raises(SchemaError, match="confidences outside 0 to 1"):
        annotated(["neuron"] * 4, sure)


def test_lengths_of_annotations_and_given_labels() -> None:
    with pytest.raises(SchemaError, match="1 cells and 2 labels"):
        CellAnnotation("rna", np.array(["a"]), "label", np.array(["x", "y"]))
    with pytest.raises(SchemaError, match="2 labels and 3 confidences"):
        annotated(["x", "y"], [0.1, 0.2, 0.3])
    given_labels = annotated(["neuron", "no such cell"])
    assert list(given_labels.batches(NAMES)) == []
    assert given_labels.unknown(NAMES) == []


def quality(**columns: Any) -> pd.DataFrame:
    good = {"feature": ["G1", "G2", "P1"], "kind": ["Gene", "Gene", "Peak"], "correlation": [0.5, np.nan, -1.0]}
    return pd.DataFrame({**good, "n": [3, 3, 0], **columns})


def test_a_matrix_says_how_good_each_feature_is(tmp_path: Path) -> None:
    (tmp_path / "x.h5ad").touch()

    def made(frame: pd.DataFrame, path: str = "x.h5ad") -> CellMatrix:
        return CellMatrix("atac", "imputed_rna", tmp_path / path, frame)

    genes, peaks = made(quality()).batches(NAMES)
    assert (genes.type, peaks.type) == (IMPUTED_GENE, IMPUTED_PEAK)
    about = {"start_id": "cortex/atac", "layer": "imputed_rna"}
    assert genes.table.to_pylist() == [{**about, "end_id": "G1", "correlation": 0.5, "n": 3}]
    assert peaks.table.to_pylist() == [{**about, "end_id": "P1", "correlation": -1.0, "n": 0}]
    for why, frame in {
        "no column correlation, n": quality().drop(columns=["n", "correlation"]),
        "is about Motif, nan, not genes": quality(kind=["Gene", "Motif", np.nan]),
        "features repeat": quality(feature=["G1", "G1", "P1"]),
        "outside -1 to 1": quality(correlation=[0.5, 1.01, 0.0]),
        "numbers of cells below 0": quality(n=[1, -1, 1]),
    }.items():
        with pytest.raises(SchemaError, match=why):
            made(frame)
    with pytest.raises(SchemaError, match="outside -1 to 1"):
        made(quality(correlation=[np.inf, 0.0, 0.0]))
    with pytest.raises(SchemaError, match="no file at"):
        made(quality(), "y.h5ad")


def contact(pairs: list[tuple[str, str]], resolution_bp: int = 5000) -> EdgeBatch:
    return EdgeBatch.build(
        PREDICTED_CONTACT,
        start_id=[a for a, _ in pairs],
        end_id=[b for _, b in pairs],
        score=[0.5] * len(pairs),
        score_kind="log_observed_over_expected",
        resolution_bp=resolution_bp,
        distance_bp=10_000,
        called=True,
    )


@QUICK
@given(pairs=st.lists(st.tuples(st.sampled_from("ABC"), st.sampled_from("DEF")), max_size=6))
def test_a_pair_is_said_once(pairs: list[tuple[str, str]]) -> None:
    batch = contact(pairs)
    if len(set(pairs)) == len(pairs):
        assert next(ScoredPairs(batch).batches(NAMES)) is batch
        assert next(Contacts(batch, 5000).batches(NAMES)) is batch
        return
    with pytest.raises(SchemaError, match="rows of PREDICTED_CONTACT repeat"):
        ScoredPairs(batch)
    with pytest.raises(SchemaError, match="pairs of peaks repeat"):
        Contacts(batch, 5000)


def test_contacts_and_pairs_are_of_their_own_types(tmp_path: Path) -> None:
    near = EdgeBatch.build(NEAR, start_id=["P"], end_id=["G"], distance_bp=[1], tss_distance_bp=[1])
    with pytest.raises(SchemaError, match="NEAR is not a type of predicted edges"):
        ScoredPairs(near)
    with pytest.raises(SchemaError, match="rows of NEAR"):
        Contacts(near, 5000)
    with pytest.raises(SchemaError, match=r"resolution of \[5000\] bp, not 10000"):
        Contacts(contact([("A", "B")]), 10_000)
    with pytest.raises(SchemaError, match="resolution of 0 bp"):
        Contacts(contact([("A", "B")], 0), 0)
    with pytest.raises(SchemaError, match="no file at"):
        Contacts(contact([("A", "B")]), 5000, tmp_path / "no.cool")


def test_outputs_of_a_run_go_together() -> None:
    labels = annotated(["neuron", "B cell"], [0.5, 1.0])
    both = Predictions.of([labels, embedded(2), Contacts(contact([("A", "B")]), 5000)], NAMES)
    assert [batch.type for batch in both.links] == [ANNOTATED_AS, PREDICTED_CONTACT]
    assert both.embedding is not None
    other = CellAnnotation("atac", labels.cells, labels.column, labels.labels, labels.confidence)
    (merged,) = Predictions.of([labels, other], NAMES).links
    assert len(merged) == 4
    with pytest.raises(SchemaError, match="rows of ANNOTATED_AS repeat"):
        Predictions.of([labels, labels], NAMES)
    with pytest.raises(SchemaError, match="one embedding of features"):
        Predictions.of([embedded(1), embedded(2)], NAMES)
    assert PREDICTED_TARGET not in [batch.type for batch in both.links]
