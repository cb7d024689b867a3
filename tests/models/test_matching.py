"""Clusters of two modalities are matched by geometry where guidance says nothing, and the other way round."""

from __future__ import annotations

from dataclasses import replace
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest
import scipy.sparse as sp

from kg.guidance import GuidanceGraph
from models.evaluation.diagnostics import verdict
from models.inputs.cells import Cells, Modality
from models.training.launch import launch
from models.training.loop import Trainer
from models.zoo import glue
from models.zoo.glue import matching, model
from models.zoo.glue.config import Config
from models.zoo.glue.matching import agreement, clusters, match_cells
from models.zoo.glue.minibatch import TrainingData
from tests.models.toy import toy

if TYPE_CHECKING:
    from numpy.typing import NDArray

EACH = 8  # features that a type raises, in each modality


def world(
    places: NDArray[np.float64], sizes: list[int], *, linked: bool, n_cells: int = 600, spread: float = 0.05
) -> tuple[GuidanceGraph, Cells, list[NDArray[np.int64]]]:
    """Place types in both modalities' inputs, the second rotated and scaled, with values raised by type.

    Linked genes and peaks are raised in the same type; else no edge joins the two.
    """
    rng = np.random.default_rng(5)
    n_types, dims = places.shape
    turn = np.linalg.qr(rng.normal(size=(dims, dims)))[0] * 3.0
    share = np.array(sizes) / sum(sizes)
    kinds = [rng.choice(n_types, n_cells, p=share) for _ in range(2)]
    names = [np.array([f"{of}{i:03d}" for i in range(n_types * EACH)]) for of in ("gene", "peak")]
    owner = np.repeat(np.arange(n_types), EACH)
    modalities = {}
    for name, kind, features, how in zip(("rna", "atac"), kinds, names, (np.eye(dims), turn), strict=True):
        rep = (places[kind] + spread * rng.normal(size=(n_cells, dims))) @ how
        counts = rng.poisson(np.where(owner == kind[:, None], 5.0, 1.0)).astype(np.float32)
        ids = np.array([f"{name}-{i}" for i in range(n_cells)])
        modalities[name] = Modality(name, sp.csr_matrix(counts), features, rep.astype(np.float32), ids)
    n = len(owner) if linked else 0
    ends = np.arange(n)
    graph = GuidanceGraph(
        np.concatenate(names), np.repeat(["Gene", "Peak"], len(owner)), ends, ends + len(owner),
        np.ones(n, np.float32), np.ones(n, np.int8),
    )  # fmt: skip
    return graph, Cells(modalities), kinds


def kept_type(groups: list[NDArray[np.int64]] | None, kinds: list[NDArray[np.int64]]) -> float:
    """Return the share of the other modality's cells whose group is mostly of their type in the anchor."""
    assert groups is not None
    of = np.array([np.bincount(kinds[0][groups[0] == g]).argmax() if (groups[0] == g).any() else -1 for g in range(20)])
    return float(np.mean(of[groups[1]] == kinds[1]))


UNEVEN = np.random.default_rng(3).normal(size=(6, 5))
EVEN = np.eye(6)  # all equally far from each other
SIZES = [6, 5, 4, 4, 3, 2]


@pytest.fixture(autouse=True)
def six(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(matching, "GROUPS", 6)


def test_geometry_is_enough_where_clusters_lie_unevenly() -> None:
    graph, cells, kinds = world(UNEVEN, SIZES, linked=False)
    assert kept_type(match_cells(graph, cells), kinds) > 0.95


def test_guidance_decides_where_clusters_lie_evenly(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(matching, "INFORMATIVE", 1.0)
    for linked in (True, False):
        graph, cells, kinds = world(EVEN, [1] * 6, linked=linked)
        assert (kept_type(match_cells(graph, cells), kinds) > 0.95) == linked


def test_a_graph_that_says_enough_is_left_to_training() -> None:
    graph, cells, kinds = world(UNEVEN, SIZES, linked=True)
    assert match_cells(graph, cells) is None
    other = world(UNEVEN, SIZES, linked=False)[1]["atac"]
    unlinked = replace(other, name="mch", features=np.char.replace(other.features, "peak", "site"))
    groups = match_cells(graph, replace(cells, modalities={**cells.modalities, "mch": unlinked}))
    assert groups is not None
    assert (groups[1] == -1).all()
    assert kept_type([groups[0], groups[2]], kinds) > 0.95


@pytest.mark.slow
def test_edges_that_join_at_random_do_not_overrule_geometry() -> None:
    graph, cells, kinds = world(UNEVEN, SIZES, linked=True)
    for seed in (4, 6, 9):  # which happen to say most: a fifth of their variance
        assert kept_type(match_cells(wrongly(graph, seed), cells), kinds) > 0.95


def wrongly(graph: GuidanceGraph, seed: int) -> GuidanceGraph:
    return replace(graph, target=np.random.default_rng(seed).permutation(graph.target))


def test_agreement_is_what_a_loop_says_shrunk_by_what_chance_says() -> None:
    graph, cells, _ = world(UNEVEN, SIZES, linked=True)
    sign = np.where(np.arange(len(graph.source)) % 3 == 0, -1, 1).astype(np.int8)
    signed = replace(graph, sign=sign, weight=np.linspace(0.1, 1, len(sign), dtype=np.float32))
    sides = [clusters(modality, 6) for modality in cells.modalities.values()]
    looped = np.zeros((6, 6))
    standard = []
    for side in sides:
        values = side.values - np.average(side.values, axis=0, weights=side.share)
        standard.append(values / np.sqrt(np.average(values**2, axis=0, weights=side.share)))
    for i, j, w, s in zip(signed.source, signed.target, signed.weight, signed.sign, strict=True):
        looped += float(s * w) * np.outer(standard[0][:, i], standard[1][:, j - len(sign)])
    found, _ = agreement(signed, *cells.modalities.values(), *sides)
    assert np.corrcoef(found.ravel(), looped.ravel())[0, 1] > 0.99  # the rest is the mean of the permuted ones
    swapped = replace(signed, source=signed.target, target=signed.source)
    np.testing.assert_allclose(agreement(swapped, *cells.modalities.values(), *sides)[0], found)
    agreed, share = agreement(graph, *cells.modalities.values(), *sides)
    assert 0.8 < share < 1
    assert np.sqrt(np.square(agreed).mean()) == pytest.approx(share)
    chance = [agreement(wrongly(graph, seed), *cells.modalities.values(), *sides)[1] for seed in range(20)]
    assert np.mean(chance) < 0.15
    none = np.zeros(0, np.int64)
    silent = replace(graph, source=none, target=none, weight=graph.weight[:0], sign=graph.sign[:0])
    agreed, share = agreement(silent, *cells.modalities.values(), *sides)
    assert share == 0
    assert not agreed.any()


def test_clusters_by_hand() -> None:
    _, cells, kinds = world(UNEVEN, [1] * 6, linked=False)
    clustered = clusters(cells["rna"], 6, seed=1)
    assert len(np.unique(clustered.of)) == 6
    of = [int(clustered.of[kinds[0] == k][0]) for k in range(6)]
    np.testing.assert_allclose(clustered.share[of], np.bincount(kinds[0]) / 600)
    apart = np.linalg.norm(UNEVEN[:, None] - UNEVEN[None], axis=2)
    np.testing.assert_allclose(
        clustered.distances[np.ix_(of, of)], apart / apart[np.triu_indices(6, 1)].mean(), atol=0.02
    )


def test_of_many_cells_a_sample_is_looked_at(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(matching, "MAX_CELLS", 200)
    graph, cells, kinds = world(UNEVEN, SIZES, linked=False)
    groups = match_cells(graph, cells)
    assert groups is not None
    assert [len(of) for of in groups] == [600, 600]
    assert kept_type(groups, kinds) > 0.95


def test_cells_that_lie_in_few_places_are_few_clusters() -> None:
    """Without spread no number of clusters but that of the types is to be had; with all in one place none matches."""
    graph, cells, kinds = world(UNEVEN, SIZES, linked=False, spread=0.0)
    assert len(clusters(cells["rna"], 8).share) == 6
    assert kept_type(match_cells(graph, cells), kinds) == 1.0
    single = Cells({name: replace(m, rep=np.ones_like(m.rep)) for name, m in cells.modalities.items()})
    groups = match_cells(graph, single)
    assert groups is not None
    assert [np.unique(of).tolist() for of in groups] == [[0], [0]]


def test_few_cells_are_not_told_apart() -> None:
    graph, cells, _ = world(UNEVEN, [1] * 6, linked=False, n_cells=29)
    assert match_cells(graph, cells) is None


def test_only_the_first_stage_of_the_quick_schedule_sees_groups(monkeypatch: pytest.MonkeyPatch) -> None:
    world = toy(60, 12)
    tiny = Config(first_steps=4, second_steps=4, latent_dim=4, hidden_dim=8, hidden_layers=1)
    data = TrainingData(world.graph, world.cells.linked(world.graph), "cpu")
    assert model.initial_labels(data, tiny, Trainer("cpu", 1)) == (data, tiny)  # this graph says enough
    monkeypatch.setattr(matching, "INFORMATIVE", 1.1)
    monkeypatch.setattr(matching, "GROUPS", 3)
    monkeypatch.setattr(matching, "CLUSTER_NUMBERS", (3, 4))
    fit = glue.train(world.graph, world.cells, tiny, Trainer("cpu", 1))
    by_stage = fit.history.groupby("stage")["train_labels"].count()
    assert by_stage["first"] > 0
    assert by_stage["second"] == 0
    assert fit.metrics["matched_clusters"] == 1
    assert "first matched by their geometry" in verdict(fit.metrics).sentence
    labelled = glue.train(world.graph, world.cells, replace(tiny, use_labels=True), Trainer("cpu", 1))
    assert "matched_clusters" not in labelled.metrics
    seen, asked = model.initial_labels(data, tiny, Trainer("cpu", 1))
    assert asked == replace(tiny, use_labels=True)
    assert seen.labels == [str(k) for k in range(int(max(label.max() for label in seen.label)) + 1)]
    assert data.labels == np.unique(world.cells["rna"].labels).tolist()
    for other in (replace(tiny, schedule="published"), replace(tiny, use_labels=True), replace(tiny, use_pairs=True)):
        assert model.initial_labels(data, other, Trainer("cpu", 1)) == (data, other)


SHORT = Config(latent_dim=4, hidden_dim=8, batch_size=32, first_steps=40, second_steps=40)


def test_a_killed_run_has_the_same_groups_again(tmp_path: Path) -> None:
    """Links at random say so little that cells are matched."""
    world = toy(200, 40)
    graph, one = wrongly(world.graph, 1), Trainer(threads=1)
    unbroken = glue.train(graph, world.cells, SHORT, one)
    assert unbroken.metrics["matched_clusters"] == 1

    def stop(_stage: str, _task: object, row: dict[str, float]) -> None:
        if row["epoch"] == 3:
            raise InterruptedError

    with pytest.raises(InterruptedError):
        glue.train(graph, world.cells, SHORT, replace(one, directory=tmp_path, checkpoint_s=0, on_epoch=stop))
    resumed = glue.train(graph, world.cells, SHORT, replace(one, directory=tmp_path))
    np.testing.assert_array_equal(resumed.features, unbroken.features)
    np.testing.assert_array_equal(resumed.cells["atac"], unbroken.cells["atac"])


@pytest.mark.slow
def test_the_first_of_two_processes_tells_the_other_its_groups(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(Path(__file__).parent)
    world = toy(200, 40)
    inputs = wrongly(world.graph, 1), world.cells
    found = launch(import_module("apart").train_on, Trainer(devices=2, threads=1), inputs, SHORT)
    assert found.metrics["matched_clusters"] == 1
    first = found.history["stage"] == "first"
    assert (found.history["train_labels"].notna() == first).all()
    assert 0 < first.sum() < len(first)
