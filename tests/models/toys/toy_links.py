"""A model of scored pairs in a few lines: peaks and genes by how near they lie, and a draw that tells seeds apart."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from kg.parameters import param
from kg.schema import CONTACTS, GENE, NEAR, PEAK, PERTURBS, PREDICTED_LINK
from kg.schema.batches import EdgeBatch
from models.blocks.windows import pairs_in_window, places
from models.contract import Benchmark, Evidence, Fit, Metric, Needs, ScoredPairs, TinyWorld, model


@dataclass(frozen=True)
class Config:
    """Options of the toy."""

    window_bp: int = param("how far a peak may lie", 100_000, low=0)
    seed: int = param("of the draw", 0, low=0)


@model(
    config=Config,
    needs=Needs(evidence=Evidence(guides=(NEAR,))),
    writes=(ScoredPairs, PREDICTED_LINK),
    gate=(Metric("mean_score", tolerance=1.0), Benchmark(PREDICTED_LINK, (CONTACTS, PERTURBS))),
    cites="doi:10.0000/toy",
    tiny=TinyWorld(),
)
def fit(inputs, config, trainer, start=None):  # type: ignore[no-untyped-def]
    """Score every pair of the window that the guidance joins."""
    genes, peaks = inputs.nodes(GENE), inputs.nodes(PEAK)
    names = np.unique(np.array(genes["id"].to_pylist() + peaks["id"].to_pylist()))
    blocks = list(pairs_in_window(*places(genes, peaks, names), config.window_bp))
    peak, gene = (np.concatenate([block[side] for block in blocks]) for side in (0, 1))
    score = np.random.default_rng(config.seed).random(len(peak))
    batch = EdgeBatch.build(
        PREDICTED_LINK,
        start_id=names[peak].astype(object),
        end_id=names[gene].astype(object),
        score=score,
        score_kind="draw",
        p_value=1 - score,
        q_value=1 - score,
        sign=np.ones(len(score), np.int64),
        called=score > 0.5,
    )
    return Fit((ScoredPairs(batch),), metrics={"mean_score": float(score.mean())})
