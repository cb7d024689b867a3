"""Guidance graphs that are partly made up, and the trials on them."""

from __future__ import annotations

import sys
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING

import anndata
import numpy as np
import pandas as pd
import pytest
import scipy.sparse as sp
from hypothesis import given
from hypothesis import strategies as st
from scipy.spatial.distance import pdist
from scipy.stats import pearsonr

from kg.errors import Conflict, InputError, MissingInput, TrainingError
from kg.guidance import GuidanceGraph
from models.bench.corrupted_priors import Trial, Trials, corrupt, feature_consistency, foscttm_increases
from models.bench.peers import programs
from models.training.loop import Trainer
from models.zoo import glue
from tests.models.toy import toy

if TYPE_CHECKING:
    from models.bench.peers.programs import Embeddings

TINY = glue.Config(first_steps=10, second_steps=10, latent_dim=4, hidden_dim=8, members=1)


def made(n_genes: int, n_peaks: int, n_edges: int, seed: int) -> GuidanceGraph:
    rng = np.random.default_rng(seed)
    pairs = rng.choice(n_genes * n_peaks, n_edges, replace=False)
    names = [f"g{i:03}" for i in range(n_genes)] + [f"p{i:03}" for i in range(n_peaks)]
    return GuidanceGraph(
        vertices=np.array(names),
        kinds=np.array(["Gene"] * n_genes + ["Peak"] * n_peaks),
        source=n_genes + pairs % n_peaks,
        target=pairs // n_peaks,
        weight=rng.uniform(0.1, 1, n_edges).astype(np.float32),
        sign=rng.choice([-1, 1], n_edges).astype(np.int8),
    )


def edges(graph: GuidanceGraph) -> set[tuple[int, int]]:
    return set(zip(graph.source.tolist(), graph.target.tolist(), strict=True))


@given(st.floats(0, 1), st.integers(0, 1000), st.integers(1, 60))
def test_a_share_of_the_edges_is_replaced_by_pairs_that_were_none(rate: float, seed: int, n_edges: int) -> None:
    graph = made(12, 10, n_edges, seed)
    wrong = corrupt(graph, rate, seed)
    gone = edges(graph) - edges(wrong)
    assert len(edges(wrong)) == len(edges(graph)) == n_edges
    assert len(gone) == round(rate * n_edges)
    assert set(wrong.kinds[wrong.source]) == {"Peak"}
    assert set(wrong.kinds[wrong.target]) == {"Gene"}
    attributes = [Counter(zip(g.weight.tolist(), g.sign.tolist(), strict=True)) for g in (graph, wrong)]
    assert attributes[0] == attributes[1]
    assert (wrong.hash == graph.hash) == (not gone)
    assert corrupt(graph, rate, seed).hash == wrong.hash
    kept = {
        (s, t): w for s, t, w in zip(graph.source.tolist(), graph.target.tolist(), graph.weight.tolist(), strict=True)
    }
    for s, t, w in zip(wrong.source.tolist(), wrong.target.tolist(), wrong.weight.tolist(), strict=True):
        assert kept.get((s, t), w) == w, "an edge that stays keeps its weight"


def test_another_seed_makes_up_others() -> None:
    graph = made(12, 10, 40, 0)
    assert corrupt(graph, 0.5, 0).hash != corrupt(graph, 0.5, 1).hash


def test_a_graph_without_absent_pairs_is_refused() -> None:
    with pytest.raises(InputError, match="joins nearly all pairs of Peak and Gene"):
        corrupt(made(4, 5, 20, 0), 0.5, 0)


def test_feature_consistency_is_of_cosines() -> None:
    rng = np.random.default_rng(0)
    first = rng.normal(size=(50, 6)).astype(np.float32)
    turned = (first @ np.linalg.qr(rng.normal(size=(6, 6)))[0] * rng.uniform(0.5, 2, (50, 1))).astype(np.float32)
    second = rng.normal(size=(50, 6)).astype(np.float32)
    assert feature_consistency(first, turned) == pytest.approx(1, abs=1e-5)
    cosines = [1 - pdist(x.astype(float), "cosine") for x in (first, second)]
    assert feature_consistency(first, second) == pytest.approx(pearsonr(*cosines).statistic, abs=1e-5)


def test_rises_are_over_the_same_seed_of_the_same_program() -> None:
    def trial(program: str, rate: float, seed: int, foscttm: float | None) -> Trial:
        return Trial(program, rate, seed, foscttm, None, None, 10, 0, 1.0)

    of_a = [trial("a", 0, 0, 0.1), trial("a", 0.9, 0, 0.3), trial("a", 0, 1, 0.2), trial("a", 0.9, 1, 0.3)]
    others = [trial("b", 0, 0, 0.5), trial("b", 0.9, 0, 0.5), trial("b", 0.9, 1, 0.9), trial("c", 0, 0, None)]
    increases = foscttm_increases([*of_a, *others])
    assert increases == {"a": {0: 0.0, 0.9: pytest.approx(0.15)}, "b": {0: 0.0, 0.9: 0.0}}


def test_trials_that_are_done_are_not_run_again(tmp_path: Path) -> None:
    world = toy(60, 8, 0)
    graph, cells = world.graph, world.cells
    ours, seen = programs.ours(cells, TINY, Trainer(threads=1)), []

    def watched(given_: GuidanceGraph, seed: int) -> Embeddings:
        seen.append((given_.hash, seed))
        return ours(given_, seed)

    first = Trials(tmp_path, graph, cells, {"first_steps": 10})
    before = [first.run("regkg", watched, rate, 3) for rate in (0.0, 0.5)]
    assert seen == [(graph.hash, 3), (corrupt(graph, 0.5, 3).hash, 3)]
    again = Trials(tmp_path, graph, cells, {"first_steps": 10})
    assert [again.run("regkg", watched, rate, 3) for rate in (0.0, 0.5)] == before == again.done()
    assert len(seen) == 2
    whole, half = before
    assert (whole.made_up, half.made_up) == (0, round(0.5 * len(graph.source)))
    assert whole.feature_consistency == pytest.approx(1, abs=1e-6)
    assert half.feature_consistency is not None
    assert half.feature_consistency < 0.999
    assert whole.foscttm is not None
    assert 0 < whole.foscttm < 0.6
    with pytest.raises(Conflict, match="other cells or options"):
        Trials(tmp_path, graph, cells, {"first_steps": 11})


def test_the_other_program_is_given_what_ours_trains_on(tmp_path: Path) -> None:
    world = toy(30, 8, 0)
    programs.write_world(world.graph, world.cells, tmp_path)
    links = pd.read_csv(tmp_path / "links.tsv", sep="\t")
    assert list(links) == ["source", "target", "weight", "sign"]
    assert len(links) == len(world.graph.source)

    linked = world.cells.linked(world.graph)
    for name, modality in linked.modalities.items():
        adata = anndata.read_h5ad(tmp_path / f"{name}.h5ad")
        assert adata.var_names.tolist() == modality.features.tolist()
        assert isinstance(modality.counts, sp.csr_matrix)
        np.testing.assert_array_equal(adata.X.toarray(), modality.counts.toarray())
        np.testing.assert_array_equal(adata.obsm["X_rep"], modality.rep)


def test_a_python_without_scglue_is_refused_before_anything_is_trained(tmp_path: Path) -> None:
    with pytest.raises(MissingInput, match="has no scglue"):
        programs.scglue(toy(30, 8, 0).cells, Path(sys.executable), tmp_path, 1)


def test_what_the_other_program_says_when_it_fails_is_kept(tmp_path: Path) -> None:
    python = tmp_path / "python"
    python.write_text('#!/bin/sh\n[ "$1" = -c ] && exit 0\necho out of luck; exit 7\n')
    python.chmod(0o755)
    world = toy(30, 8, 0)
    run = programs.scglue(world.cells, python, tmp_path / "there", 1)
    with pytest.raises(TrainingError, match="exited with code 7"):
        run(world.graph, 0)
    with pytest.raises(TrainingError, match="exited with code 7"):
        run(world.graph, 1)
    logs = {path.parent.name: path.read_text() for path in (tmp_path / "there").glob("*/scglue.log")}
    assert logs == {f"{world.graph.hash[:12]}-seed{seed}": "out of luck\n" for seed in (0, 1)}
