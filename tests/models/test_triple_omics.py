"""RNA, ATAC and methylation of gene bodies: files, signed edges, training, and what each layer says of expression."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import scipy.sparse as sp

from kg.errors import InputError
from loaders.simulation.simulate import WorldConfig
from models.evaluation import diagnostics
from models.evaluation.metrics import joint_clusters, metacell_values
from models.inputs.cells import Cells, Modality
from models.inputs.preflight import problems_of
from models.inputs.preprocess import value_pca
from models.inputs.read_anndata import Reading
from models.training.loop import Trainer
from models.zoo import glue
from models.zoo.glue.minibatch import TrainingData
from tests.models.simulated import simulated
from tests.models.test_preflight import made as file_of
from tests.models.toy import dense, guidance

if TYPE_CHECKING:
    from pathlib import Path

    from kg.guidance import GuidanceGraph
    from loaders.simulation.simulate import SimulatedWorld

CONFIG = WorldConfig(seed=1, genes=60, peaks=400, cells=400, chromosomes=2, cell_types=4, sites_per_gene=6)
STEPS: dict[str, Any] = {"first_steps": 250, "second_steps": 500, "latent_dim": 16, "hidden_dim": 48}
Made = tuple["SimulatedWorld", "GuidanceGraph", Cells]


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Made:
    return simulated(CONFIG, tmp_path_factory.mktemp("triple"))


def test_three_files_are_read_as_what_they_are(made: Made) -> None:
    world, _, cells = made
    assert list(cells.modalities) == ["rna", "atac", "mCH"]
    assert {m.name: (m.likelihood, m.gene_sign) for m in cells.modalities.values()} == {
        "rna": ("nb", 0),
        "atac": ("nb", 0),
        "mCH": ("ziln", -1),
    }
    mch, share = cells["mCH"], world.cells.methylation
    assert share is not None
    assert mch.features.tolist() == [f"mCH:{gene}" for gene in world.genes.gene_id]
    assert mch.genes.tolist() == world.genes.gene_id.tolist()
    missing = np.isnan(share)
    assert 0 < missing.mean() < 0.2
    level = np.nanmean(share, 1, keepdims=True)
    np.testing.assert_allclose(dense(mch), share / level, rtol=1e-5)
    assert np.isfinite(mch.rep).all()
    assert cells.paired


def test_methylation_falls_where_genes_are_expressed(made: Made) -> None:
    world, _, _ = made
    share, rna = world.cells.methylation, world.cells.rna.toarray()
    assert share is not None
    kind = world.cells.cell_type
    types = np.arange(CONFIG.cell_types)
    by_type = [np.stack([np.nanmean(x[kind == t], 0) for t in types]) for x in (share, rna / rna.sum(1, keepdims=True))]
    correlation = [np.corrcoef(by_type[0][:, g], by_type[1][:, g])[0, 1] for g in range(CONFIG.genes)]
    assert np.median(correlation) < -0.6


def test_the_graph_gains_an_edge_of_sign_minus_one_for_each_gene(made: Made) -> None:
    world, graph, cells = made
    guided = cells.guide(graph)
    assert (np.sort(guided.vertices) == guided.vertices).all()

    def edges(g: GuidanceGraph) -> set[tuple[str, str, float, int]]:
        ends = g.vertices[g.source], g.vertices[g.target]
        return set(zip(*(c.tolist() for c in (*ends, g.weight, g.sign)), strict=True))

    known = [gene for gene in world.genes.gene_id if gene in graph.vertices]
    assert edges(guided) - edges(graph) == {(gene, f"mCH:{gene}", 1.0, -1) for gene in known}
    assert edges(graph) < edges(guided)
    assert set(guided.kinds[np.char.startswith(guided.vertices, "mCH:")]) == {"Layer"}
    assert guided.kinds[guided.vertices == known[0]].tolist() == ["Gene"]
    assert cells.guide(guided).hash == guided.hash
    two = replace(cells, modalities={k: v for k, v in cells.modalities.items() if k != "mCH"})
    assert two.guide(graph) is graph


def test_another_likelihood_can_be_asked_for(tmp_path: Path) -> None:
    _, _, cells = simulated(replace(CONFIG, cells=40), tmp_path, Reading(likelihoods={"mCH": "beta", "rna": "zinb"}))
    assert {m.name: m.likelihood for m in cells.modalities.values()} == {"rna": "zinb", "atac": "nb", "mCH": "beta"}
    for said, message in (({"mCG": "beta"}, "no modality of these cells is 'mCG'"), ({"rna": "x"}, "no likelihood")):
        with pytest.raises(InputError, match=message):
            simulated(replace(CONFIG, cells=40), tmp_path, Reading(likelihoods=said))


@pytest.mark.parametrize(
    ("likelihood", "value", "message"),
    [
        ("beta", 1.5, "1 values of X are above 1, in 1 cells (c1) and 1 features (f2)"),
        ("beta", np.inf, "1 values of X are not finite, in 1 cells (c1) and 1 features (f2)"),
        ("bernoulli", 0.5, "1 values of X are neither 0 nor 1, in 1 cells (c1) and 1 features (f2)"),
        ("ziln", -0.5, "1 values of X are negative, in 1 cells (c1) and 1 features (f2)"),
        ("zinb", np.nan, "1 values of X are not finite, in 1 cells (c1) and 1 features (f2)"),
        ("ziln", np.nan, None),
        ("normal", -0.5, None),
    ],
)
def test_values_a_likelihood_cannot_explain_are_named(likelihood: str, value: float, message: str | None) -> None:
    adata = file_of([[0, 1, 1], [0, 1, value]])
    assert problems_of(adata, likelihood) == ([message] if message else [])


def test_three_modalities_train_and_align(made: Made) -> None:
    _, graph, cells = made
    fit = glue.train(graph, cells, glue.Config(**STEPS), Trainer(threads=1))
    metrics = fit.metrics
    assert {f"foscttm_{pair}" for pair in ("rna_atac", "rna_mCH", "atac_mCH")} < metrics.keys()
    assert metrics["foscttm"] == pytest.approx(
        np.mean([metrics[f"foscttm_{pair}"] for pair in ("rna_atac", "rna_mCH", "atac_mCH")])
    )
    assert metrics["foscttm"] < 0.2
    assert metrics["label_transfer"] > 0.8
    assert metrics["consistency_20"] > 0.05
    unit = fit.features[0] / np.linalg.norm(fit.features[0], axis=1, keepdims=True)
    place = {name: i for i, name in enumerate(fit.vertices.tolist())}
    own = [unit[place[f]] @ unit[place[g]] for f, g in zip(cells["mCH"].features, cells["mCH"].genes, strict=True)]
    assert np.mean(own) < -0.3  # a gene and its methylation point away from each other
    assert metrics["r2_all"] >= max(metrics["r2_atac"], metrics["r2_mCH"])
    assert metrics["r2_mCH"] > 0.3


def test_a_discriminator_and_a_loss_for_each_modality(made: Made) -> None:
    _, graph, cells = made
    guided = cells.guide(graph)
    data = TrainingData(guided, cells.linked(guided), "cpu")
    module = glue.Glue(data, glue.Config(latent_dim=4, hidden_dim=8))
    assert module.discriminator[-1].out_features == 3
    assert [type(d).__name__ for d in module.decoders] == [
        "NegativeBinomialDecoder", "NegativeBinomialDecoder", "ZeroInflatedLogNormalDecoder",
    ]  # fmt: skip


def test_values_that_were_not_measured_say_nothing() -> None:
    rng = np.random.default_rng(0)
    dense = rng.random((40, 6)).astype(np.float32)
    holes = dense.copy()
    holes[rng.random(dense.shape) < 0.2] = np.nan
    rep = value_pca(sp.csr_matrix(holes), 3)
    filled = np.where(np.isnan(holes), np.nan, np.log1p(holes))
    filled = np.where(np.isnan(filled), np.nanmean(filled, 0), filled)
    scaled = np.minimum((filled - filled.mean(0)) / filled.std(0, ddof=1), 10)
    u, s, _ = np.linalg.svd(scaled - scaled.mean(0), full_matrices=False)
    np.testing.assert_allclose(np.abs(rep), np.abs((u * s)[:, :3]), atol=1e-4)
    m = Modality("m", sp.csr_matrix(holes), np.array(list("abcdef")), rep, np.arange(40).astype(str), likelihood="ziln")
    cluster = rng.integers(4, size=40)
    means = np.stack([np.nanmean(holes[cluster == c], 0) for c in range(4)])
    np.testing.assert_allclose(metacell_values(m, cluster, 4), means, rtol=1e-5)


def test_contributions_are_regressions_over_metacells() -> None:
    rng = np.random.default_rng(0)
    n, state = 600, rng.normal(size=(600, 3)).astype(np.float32)
    embeddings = [state + 0.05 * rng.normal(size=state.shape).astype(np.float32) for _ in range(3)]
    rate = np.exp(state @ rng.normal(size=(3, 4)))
    names = rng.permutation(n).astype(str)
    rna = Modality("rna", sp.csr_matrix(rng.poisson(50 * rate), dtype=np.float32), np.array(list("abcd")), state, names)
    peaks = np.array([f"p{i}" for i in range(8)])
    atac = Modality("atac", sp.csr_matrix(rng.poisson(np.repeat(rate, 2, 1)), dtype=np.float32), peaks, state, names)
    low = (1 / rate + rng.random(rate.shape)).astype(np.float32)
    layer = Modality(
        "mCH", sp.csr_matrix(low), np.array([f"mCH:{g}" for g in "abcd"]), state, names, None, None, "ziln", -1
    )
    graph = replace(guidance(np.repeat(list("abcd"), 2), peaks), weight=np.linspace(0.2, 1, 8, dtype=np.float32))
    graph = Cells({"rna": rna, "mCH": layer}).guide(graph)
    shares = diagnostics.contributions(graph, [rna, atac, layer], embeddings, seed=3)
    clusters = joint_clusters(embeddings, 120, seed=3)
    common = np.all([np.bincount(c, minlength=120) > 0 for c in clusters], axis=0)
    y, x1, x2 = (metacell_values(m, c, 120)[common] for m, c in zip([rna, atac, layer], clusters, strict=True))
    weight = np.linspace(0.2, 1, 8)
    scores: dict[str, list[float]] = {"atac": [], "mCH": [], "all": []}
    for g in range(4):
        open_ = x1[:, 2 * g : 2 * g + 2] @ weight[2 * g : 2 * g + 2]
        for name, columns in (("atac", [open_]), ("mCH", [x2[:, g]]), ("all", [open_, x2[:, g]])):
            design = np.column_stack([np.ones(len(y)), *columns])
            residual = y[:, g] - design @ np.linalg.lstsq(design, y[:, g], rcond=None)[0]
            scores[name].append(1 - residual.var() / y[:, g].var())
    assert shares == pytest.approx({name: np.mean(values) for name, values in scores.items()}, rel=1e-5)
