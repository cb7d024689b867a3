"""The gate: tolerances, and that no figure is made of edges that either run saw."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from kg import runs
from kg.errors import SettingsError
from kg.releases import publish
from kg.runs import Registration, Run, predictions
from kg.runs.outputs import FeatureEmbedding
from kg.runs.predictions import Predictions
from kg.schema import PREDICTED_LINK
from kg.schema.batches import EdgeBatch
from models.evaluation.gate import (
    FAILED,
    LEFT_OUT,
    PASSED,
    Gate,
    GateFigure,
    GateVerdict,
    as_json,
    judge,
    read_gate,
    unseen,
)
from tests.kg import toy
from tests.kg.test_staleness import PCHIC, contacts

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from kg.store import Store

PAIRS = [(start, gene) for gene in ("G1", "G2", "G3") for start in (0, 2000, 5000)]
CONTACTS = [(0, "G1"), (2000, "G2"), (5000, "G2")]  # nothing is known of G3
RIGHT = [0.9, 0.1, 0.2, 0.3, 0.8, 0.7, 0.0, 0.0, 0.0]
WRONG = [0.1, 0.9, 0.2, 0.8, 0.3, 0.7, 0.0, 0.0, 0.0]
ONE = Gate(min_positives=1)
METRICS = {"foscttm": 0.2, "consistency_10": 0.3, "consistency_20": 0.5, "consistency_50": None}


def made(
    store: Store,
    home: Path,
    scores: Sequence[float] = RIGHT,
    metrics: Mapping[str, Any] = METRICS,
    edge_types: tuple[str, ...] = ("NEAR",),
    parent: str | None = None,
    **environment: Any,
) -> Run:
    about = Registration("glue", "toy", 1, 0, 1, {}, "abc", "v1", {}, environment, edge_types, parent)
    run_id = runs.register(store, about)
    batch = EdgeBatch.build(
        PREDICTED_LINK,
        start_id=[toy.peak_id(start) for start, _ in PAIRS],
        end_id=[gene for _, gene in PAIRS],
        score=list(scores),
        score_kind="cosine",
        p_value=0.01,
        q_value=0.02,
        sign=1,
        called=True,
    )
    predictions.keep(home, run_id, Predictions([batch], FeatureEmbedding(["G1"], ["Gene"], toy.vectors()[:1])), metrics)
    return runs.write_back(store, home, run_id)


@pytest.fixture
def world(store: Store) -> Store:
    toy.load_world(store)
    toy.load(store, PCHIC, contacts(CONTACTS))
    publish(store)
    return store


def figures(store: Store, parent: Run, child: Run, gate: Gate = ONE) -> dict[str, GateFigure]:
    return {f.name: f for f in judge(store, gate, parent, child, 1).figures}


def slow_auroc(scores: Sequence[float]) -> float:
    """Return the share of positive and negative pairs of known genes in the right order."""
    known = [(s, pair in CONTACTS) for s, pair in zip(scores, PAIRS, strict=True) if pair[1] != "G3"]
    orders = [(1.0 if p > n else 0.5 if p == n else 0.0) for p, yes in known if yes for n, no in known if not no]
    return sum(orders) / len(orders)


@pytest.mark.parametrize(
    ("metrics", "verdicts"),
    [
        ({}, {"foscttm": PASSED, "consistency": PASSED}),
        ({"foscttm": 0.2199}, {"foscttm": PASSED, "consistency": PASSED}),
        ({"foscttm": 0.2201}, {"foscttm": FAILED, "consistency": PASSED}),
        ({"foscttm": 0.01, "consistency_10": 0.25}, {"foscttm": PASSED, "consistency": FAILED}),
        ({"consistency_10": 0.27, "consistency_50": 0.0}, {"foscttm": PASSED, "consistency": PASSED}),
        ({"foscttm": None}, {"foscttm": LEFT_OUT, "consistency": PASSED}),
    ],
)
def test_a_figure_may_be_worse_by_the_tolerance(
    world: Store, tmp_path: Path, metrics: dict[str, Any], verdicts: dict[str, str]
) -> None:
    parent, child = made(world, tmp_path), made(world, tmp_path, metrics={**METRICS, **metrics})
    by_name = figures(world, parent, child)
    assert {name: by_name[name].verdict for name in verdicts} == verdicts
    expected = (METRICS["consistency_10"] + child.metrics["consistency_20"]) / 2
    assert by_name["consistency"].parent == pytest.approx(expected)


def test_other_cells_are_not_compared(world: Store, tmp_path: Path) -> None:
    parent = made(world, tmp_path, cells={"rna": "a"})
    other, same = made(world, tmp_path, cells={"rna": "b"}), made(world, tmp_path, cells={"rna": "a"})
    assert {figures(world, parent, other)[n].verdict for n in ("foscttm", "consistency")} == {LEFT_OUT}
    assert {figures(world, parent, same)[n].verdict for n in ("foscttm", "consistency")} == {PASSED}


def test_types_that_did_not_guide_rank_everywhere(world: Store, tmp_path: Path) -> None:
    parent, child = made(world, tmp_path, RIGHT), made(world, tmp_path, WRONG)
    verdict = judge(world, ONE, parent, child, 1)
    figure = next(f for f in verdict.figures if f.name == "auroc_CONTACTS")
    assert (figure.parent, figure.child) == pytest.approx((slow_auroc(RIGHT), slow_auroc(WRONG)))
    assert figure.verdict == FAILED
    assert not verdict.passed
    assert verdict.reason.startswith(
        "gate failed: auroc_CONTACTS 0.2222, published run 1, tolerance 0.02, changed by -0.7778, 95 % over "
        "resampled genes "
    )
    # either gene alone falls from 1 to 0, and both together as told
    assert figure.interval == pytest.approx((-1, slow_auroc(WRONG) - slow_auroc(RIGHT)))
    assert not verdict.reason.endswith("within chance")
    fell_by = slow_auroc(RIGHT) - slow_auroc(WRONG)
    assert judge(world, replace(ONE, tolerances={"auroc": fell_by + 1e-9}), parent, child, 1).passed
    assert not judge(world, replace(ONE, tolerances={"auroc": fell_by - 1e-9}), parent, child, 1).passed
    few = figures(world, parent, child, Gate())["auroc_CONTACTS"]
    assert (few.verdict, few.why) == (LEFT_OUT, "3 of 6 pairs are positive, 20 are needed")
    assert "auroc_PERTURBS" not in {f.name for f in verdict.figures}, "the release has no such edge"


def test_a_fall_that_genes_do_not_tell_from_chance_fails_and_says_so() -> None:
    figure = GateFigure("auroc_EQTL", 0.64, 0.61, 0.02, FAILED, interval=(-0.07, 0.0125))
    assert str(figure) == (
        "auroc_EQTL 0.61, published run 0.64, tolerance 0.02, changed by -0.03, "
        "95 % over resampled genes -0.07 to +0.0125: within chance"
    )
    assert not GateVerdict((figure,)).passed
    assert as_json(GateVerdict((figure,)))["figures"][0]["interval"] == (-0.07, 0.0125)


def test_types_that_guided_rank_only_where_they_were_held_out(world: Store, tmp_path: Path) -> None:
    both = ("NEAR", "CONTACTS")
    saw = made(world, tmp_path, edge_types=both, request={})
    held = made(world, tmp_path, edge_types=both, request={"held_out": ["chr1", "chr2"]})
    child = made(world, tmp_path, edge_types=both, request={"held_out": ["chr1"], "warm": True}, parent=held.id)
    stained = made(world, tmp_path, edge_types=both, request={"held_out": ["chr1"], "warm": True}, parent=saw.id)
    elsewhere = made(world, tmp_path, edge_types=both, request={"held_out": ["chr3"]})
    verdicts = {
        (one.id, other.id): figures(world, one, other)["auroc_CONTACTS"].verdict
        for one, other in ((saw, held), (held, child), (held, stained), (held, elsewhere))
    }
    assert list(verdicts.values()) == [LEFT_OUT, PASSED, LEFT_OUT, LEFT_OUT]
    assert [unseen(world, r, "CONTACTS") for r in (held, child, stained)] == [
        frozenset({"chr1", "chr2"}),
        frozenset({"chr1"}),
        frozenset(),
    ]
    assert unseen(world, child, "EQTL") is None
    nothing_there = made(world, tmp_path, edge_types=both, request={"held_out": ["chr2"]})
    why = figures(world, held, nothing_there)["auroc_CONTACTS"].why
    assert why == "0 of 0 pairs on chr2 are positive, 1 are needed"


def test_where_nothing_can_be_compared_nothing_passes() -> None:
    left_out = GateFigure("foscttm", None, 0.1, 0.02, LEFT_OUT, "one of the runs has no such figure")
    assert not GateVerdict((left_out,)).passed
    assert GateVerdict((left_out,)).reason.startswith("gate failed: foscttm is not comparable")
    assert GateVerdict((left_out, GateFigure("consistency", 0.1, 0.1, 0.02, PASSED))).passed
    assert not GateVerdict(()).passed


def test_the_gate_is_read_from_toml_and_options_win(tmp_path: Path) -> None:
    path = tmp_path / "gate.toml"
    path.write_text("[gate]\nfoscttm_tolerance = 0.1\nmin_positives = 5\nauroc_tolerance = 1\n")
    assert read_gate(path, {"min_positives": 7, "consistency_tolerance": None}) == Gate(
        {"foscttm": 0.1, "auroc": 1.0}, 7
    )
    assert read_gate(None, {}) == Gate()


@pytest.mark.parametrize(
    "text", ["", "[gate\n", "[gate]\nfoo = 1\n", "[gate]\nmin_positives = 2.5\n", "[gate]\nauroc_tolerance = true\n"]
)
def test_a_gate_that_does_not_make_sense_is_refused(tmp_path: Path, text: str) -> None:
    path = tmp_path / "gate.toml"
    path.write_text(text)
    with pytest.raises(SettingsError, match=r"\[gate\]"):
        read_gate(path, {})
