"""Correlation over metacells: the baseline that needs no guidance graph and learns nothing.

Cells are grouped into metacells, paired cells by the principal components of their RNA, others by their position in the
joint space of another run. Pairs of a gene and a peak within a window around its start site, and pairs of a
transcription factor and a gene, are scored by Spearman correlation over metacells. The null consists of pairs that
cannot act in cis: peaks and genes on different chromosomes, and genes that are not factors in place of factors.
Pliner et al. 2018 (doi 10.1016/j.molcel.2018.06.044) and Ma et al. 2020 (doi 10.1016/j.cell.2020.09.056) score links
over aggregated cells; the null from peaks on other chromosomes is that of the latter.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
from scipy.stats import rankdata

from kg.parameters import param
from kg.schema import CONTACTS, EQTL, GENE, PEAK, PERTURBS, PREDICTED_LINK, PREDICTED_TARGET, TARGETS, TF
from kg.schema.batches import EdgeBatch
from models.blocks.windows import pairs_in_window, places
from models.contract import (
    Assay,
    Benchmark,
    Estimate,
    Evidence,
    Fit,
    Metric,
    Needs,
    Output,
    Reads,
    ScoredPairs,
    TinyWorld,
    model,
)
from models.evaluation.metacell_correlation import MetacellProfiles, assign_metacells, scaled_ranks
from models.inputs.backed_matrix import StoredCounts

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from models.contract import Inputs
    from models.training.loop import Trainer

    Floats = NDArray[np.float64]

NULL = 20_000  # pairs that cannot act in cis
CALLED = 0.05  # q below which a pair is called
BLOCK = 100_000  # pairs at a time
GIB = 2**30


@dataclass(frozen=True)
class Config:
    """Options of the correlation baseline."""

    window_bp: int = param("largest distance from a gene's start site to the nearest base of a peak", 150_000, low=0)
    metacells: int = param("largest number of groups of cells over which features are correlated", 200, low=3)
    space: str = param("run whose joint space groups unpaired cells; empty for paired cells", "")
    best: int = param("genes of each transcription factor that are written even when they are not called", 100, low=0)
    seed: int = param("seed of the metacells and of the null", 0, low=0)


@dataclass(frozen=True)
class Targets:
    """Correlations of factors with genes.

    Attributes:
        kept: tf, gene, score (|r|), sign, rank, p, q, called, by factor and rank: those called, and each factor's best.
        tested: number of pairs tested.
    """

    kept: pd.DataFrame
    tested: int


def estimate(inputs: Inputs, config: Config) -> Estimate:
    """Estimate memory from the cells and two copies of all features over metacells; time is a minute or two."""
    modalities = inputs.cells.modalities.values()
    cell_bytes = sum(0 if isinstance(m.counts, StoredCounts) else m.counts.nnz * 8 + m.rep.nbytes for m in modalities)
    features = sum(len(m.features) for m in modalities)
    profile_bytes = 3 * 8 * config.metacells * features + 3 * 8 * config.metacells * BLOCK
    return Estimate(0.8 + (cell_bytes + profile_bytes) / GIB, 0.2 * features * 60 / GIB, 1 + features / 50_000)


@model(
    config=Config,
    needs=Needs(
        evidence=Evidence(nodes=(GENE, PEAK, TF)),
        assays=(Assay("rna", rep="pca"), Assay("atac")),
        reads=(Reads.LABELS, Reads.PAIRED, Reads.STREAM),
    ),
    writes=(ScoredPairs, PREDICTED_LINK, PREDICTED_TARGET),
    gate=(
        Metric("split_half", tolerance=0.05, same_cells=True),
        Benchmark(PREDICTED_LINK, (CONTACTS, EQTL, PERTURBS)),
        Benchmark(PREDICTED_TARGET, (TARGETS,)),
    ),
    cites="doi:10.1016/j.cell.2020.09.056",
    tiny=TinyWorld(options={"metacells": 20, "best": 5}),
    estimate=estimate,
)
def fit(inputs: Inputs, config: Config, trainer: Trainer, start: None = None) -> Fit:
    """Correlate every pair within the window, and every factor with every gene; nothing is trained.

    Args:
        inputs: genes, peaks, factors and cells of RNA and ATAC; their joint space where they are not paired.
        config: options.
        trainer: its progress is reported to.
        start: always None.

    Returns:
        Links, and targets where the release has transcription factors that were measured.

    Raises:
        InputError: the cells are not paired, and no run's joint space is named.
    """
    del start
    space = [m.vectors for m in inputs.joint_space(config.space)] if config.space else []
    clusters = assign_metacells(inputs.cells, space, seed=config.seed, most=config.metacells)
    profiles = MetacellProfiles.of(inputs.cells, clusters)
    trainer.progress.begin("correlating over metacells")
    links = cis_links(inputs, profiles, config)
    outputs: list[Output] = [ScoredPairs(_links(links))]
    metrics = {"metacells": float(len(profiles.values)), "links": float(len(links))}
    metrics |= {"links_called": float(links["called"].sum()), "split_half": split_half(profiles, links)}
    targets = factor_targets(inputs, profiles, config)
    if targets is not None:
        outputs.append(ScoredPairs(_targets(targets.kept)))
        metrics |= {"targets": float(targets.tested), "targets_called": float(targets.kept["called"].sum())}
    trainer.progress.end(f"{len(links):,} links, {int(metrics['links_called']):,} called")
    return Fit(tuple(outputs), metrics=metrics)


def cis_links(inputs: Inputs, profiles: MetacellProfiles, config: Config) -> pd.DataFrame:
    """Return peak, gene, score, p, q, called of each measured pair within the window, peak by peak within a gene."""
    genes, peaks = inputs.nodes(GENE), inputs.nodes(PEAK)
    measured = np.unique(profiles.names.to_numpy(dtype=str))
    parts = []
    for peak, gene in pairs_in_window(*places(genes, peaks, measured), config.window_bp, BLOCK):
        scored = {"peak": measured[peak], "gene": measured[gene]}
        parts.append(pd.DataFrame({**scored, "score": profiles.correlation(scored["peak"], scored["gene"])}))
    links = pd.concat(parts, ignore_index=True) if parts else pd.DataFrame({"peak": [], "gene": [], "score": []})
    return _called(links, trans_null(inputs, profiles, seed=config.seed))


def trans_null(inputs: Inputs, profiles: MetacellProfiles, *, seed: int) -> Floats:
    """Return correlations of random pairs of a measured peak and a measured gene on different chromosomes."""
    rng = np.random.default_rng([seed, 1])
    drawn = []
    for type_ in (PEAK, GENE):
        nodes = inputs.nodes(type_).select(["id", "chrom"]).to_pandas()
        nodes = nodes[nodes["id"].isin(profiles.names)]
        drawn.append(nodes.iloc[rng.integers(len(nodes), size=2 * NULL)].reset_index(drop=True))
    peak, gene = drawn
    is_trans = (peak["chrom"] != gene["chrom"]).to_numpy()
    return profiles.correlation(peak["id"][is_trans][:NULL], gene["id"][is_trans][:NULL])


def factor_targets(inputs: Inputs, profiles: MetacellProfiles, config: Config) -> Targets | None:
    """Correlate every measured factor with every other measured gene; None if no factor was measured.

    The null is the same correlations for as many random genes that are not factors. All factors by all genes are
    30 million pairs in human, so they stay matrices until it is known which of them are written.
    """
    genes = np.sort(inputs.nodes(GENE)["id"].to_numpy(zero_copy_only=False).astype(str))
    genes = genes[np.isin(genes, profiles.names.to_numpy(dtype=str))]
    factors = genes[np.isin(genes, inputs.nodes(TF)["id"].to_pylist())]
    if not len(factors):
        return None
    others = np.setdiff1d(genes, factors)
    rng = np.random.default_rng([config.seed, 2])
    # without any other gene, factors themselves are the null
    stand_in = rng.choice(others if len(others) else genes, size=max(NULL // max(len(genes), 1), 1) + 1)
    null = np.sort(np.abs(_against_all(profiles, stand_in, genes))[stand_in[:, None] != genes])
    r = _against_all(profiles, factors, genes)
    pair = factors[:, None] != genes
    above = exceedances(np.abs(r), null)
    q = false_discovery_rate(np.bincount(above[pair], minlength=len(null) + 1))[above]
    rank = rankdata(np.where(pair, -np.abs(r), np.inf), axis=1)
    tf, gene = np.nonzero(pair & ((q < CALLED) | (rank <= config.best)))
    table = pd.DataFrame({"tf": factors[tf], "gene": genes[gene], "score": np.abs(r[tf, gene])})
    table["sign"] = np.where(r[tf, gene] < 0, -1, 1)
    table = table.assign(rank=rank[tf, gene], p=(1 + above[tf, gene]) / (1 + len(null)), q=q[tf, gene])
    table = table.assign(called=table["q"] < CALLED).sort_values(["tf", "rank", "gene"], ignore_index=True)
    return Targets(table, int(pair.sum()))


def split_half(profiles: MetacellProfiles, links: pd.DataFrame) -> float:
    """Return the Spearman correlation of link scores over even and over odd metacells; NaN for too few."""
    if len(links) < 3 or len(profiles.values) < 6:
        return float("nan")
    halves = (MetacellProfiles(profiles.names, scaled_ranks(profiles.values[side::2])) for side in (0, 1))
    a, b = (rankdata(half.correlation(links["peak"], links["gene"])) for half in halves)
    return float(np.corrcoef(a, b)[0, 1]) if a.std() > 0 and b.std() > 0 else float("nan")


def _against_all(profiles: MetacellProfiles, features: NDArray[np.str_], genes: NDArray[np.str_]) -> Floats:
    """Return (features, genes) correlations."""
    i, j = profiles.columns(features.tolist()), profiles.columns(genes.tolist())
    product: Floats = profiles.values[:, i].T @ profiles.values[:, j]
    return product


def _called(pairs: pd.DataFrame, null: Floats) -> pd.DataFrame:
    """Add p (one-sided greater than the null, never 0), q by Benjamini and Hochberg, and called."""
    above = exceedances(pairs["score"].to_numpy(np.float64), np.sort(null))
    q = false_discovery_rate(np.bincount(above, minlength=len(null) + 1))[above]
    return pairs.assign(p=(1 + above) / (1 + len(null)), q=q, called=q < CALLED)


def exceedances(scores: Floats, null: Floats) -> NDArray[np.int32]:
    """Count, for each score, the values of the null (sorted) that are at least as large."""
    return (len(null) - np.searchsorted(null, scores)).astype(np.int32)


def false_discovery_rate(counts: NDArray[np.int64]) -> Floats:
    """Return q by Benjamini and Hochberg, for tests whose p takes few values.

    Args:
        counts: (null + 1,) tests by the number of values of the null that reach them; p is (1 + number) / (1 + null).

    Returns:
        (null + 1,) q of a test that this many values reach; meaningless where there is no such test.
    """
    p = np.arange(1, len(counts) + 1) / len(counts)
    least = p * counts.sum() / np.maximum(np.cumsum(counts), 1)
    q: Floats = np.minimum(np.minimum.accumulate(least[::-1])[::-1], 1.0)
    return q


def _links(links: pd.DataFrame) -> EdgeBatch:
    return EdgeBatch.build(
        PREDICTED_LINK,
        start_id=links["peak"].to_numpy(dtype=object),
        end_id=links["gene"].to_numpy(dtype=object),
        score=links["score"].to_numpy(),
        score_kind="spearman_metacells",
        p_value=links["p"].to_numpy(),
        q_value=links["q"].to_numpy(),
        sign=np.where(links["score"] < 0, -1, 1),
        called=links["called"].to_numpy(dtype=bool),
        in_prior=np.zeros(len(links), bool),
        from_cells=links["score"].to_numpy(),
    )


def _targets(targets: pd.DataFrame) -> EdgeBatch:
    columns = {name: targets[name].to_numpy() for name in ("score", "rank", "sign", "called")}
    return EdgeBatch.build(
        PREDICTED_TARGET,
        start_id=targets["tf"].to_numpy(dtype=object),
        end_id=targets["gene"].to_numpy(dtype=object),
        score_kind="correlation",
        p_value=targets["p"].to_numpy(),
        q_value=targets["q"].to_numpy(),
        **columns,
    )
