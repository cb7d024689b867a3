"""What inference costs: targets of factors, and pairs beyond the skeleton, at the sizes of a whole genome.

    python tests/bench/inference.py [--genes 20000] [--peaks 100000] [--factors 700] [--window-bp 150000]

Prints one JSON line for each part: sizes, seconds, and how far the peak of memory rose above what was held before.
Beside the targets stands the way of GLUE, so many draws of random peaks, for a part of the draws, scaled up.
"""

from __future__ import annotations

import argparse
import json
import resource
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import scipy.sparse as sp

sys.path.insert(0, str(Path(__file__).parents[2]))
from models.blocks.windows import Places, pairs_in_window
from models.evaluation.tf_targets import length_bins, rank_targets
from models.zoo.glue.candidates import select_candidates
from models.zoo.glue.link_scores import Trained

if TYPE_CHECKING:
    from collections.abc import Callable

DRAWS, OF_DRAWS = 5, 1000


def measured(work: Callable[[], Any]) -> tuple[Any, dict[str, float]]:
    """What it gives; seconds, and MiB above the peak before."""
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    start = time.perf_counter()
    made = work()
    seconds = time.perf_counter() - start
    return made, {"s": round(seconds, 2), "mib": (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) // 1024}


def targets(rng: np.random.Generator, asked: argparse.Namespace) -> None:
    """Ten called links a gene, two hundredths of the peaks hold a site of a factor."""
    n = 10 * asked.genes
    keys = np.unique(rng.integers(asked.genes, size=n) * asked.peaks + rng.integers(asked.peaks, size=n))
    gene, peak = keys // asked.peaks, keys % asked.peaks
    sites = sp.csr_matrix(sp.random(asked.peaks, asked.factors, density=0.02, random_state=0))
    lengths = rng.integers(200, 1500, asked.peaks)
    table, cost = measured(lambda: rank_targets(gene, peak, sites, lengths, asked.genes))
    _, drawn = measured(lambda: draws(rng, gene, sites, length_bins(lengths), peak, asked.genes))
    scaled = {"draws_s": round(drawn["s"] * OF_DRAWS / DRAWS, 1)}
    print(json.dumps({"part": "targets", "links": len(gene), "pairs": len(table), **cost, **scaled}))


def draws(
    rng: np.random.Generator, gene: np.ndarray, sites: sp.csr_matrix, bins: np.ndarray, peak: np.ndarray, genes: int
) -> None:
    """Some of GLUE's draws: each linked peak replaced by one of its bin, sites counted."""
    order = np.argsort(bins, kind="stable")
    size = np.bincount(bins)
    first = np.cumsum(size) - size
    for _ in range(DRAWS):
        drawn = order[first[bins[peak]] + rng.integers(size[bins[peak]])]
        member = sp.csr_matrix((np.ones(len(gene)), (gene, drawn)), shape=(genes, sites.shape[0]))
        _ = (member @ sites).toarray()


def candidates(rng: np.random.Generator, asked: argparse.Namespace) -> None:
    """Genes and peaks spread over 24 chromosomes of 125 Mb; one member of 50 dimensions."""
    n = asked.genes + asked.peaks
    chrom, start = rng.integers(24, size=n), rng.integers(125_000_000, size=n)
    order = [np.lexsort((start[some], chrom[some])) for some in (slice(asked.genes), slice(asked.genes, n))]
    genes, peaks = (
        Places(at + shift, chrom[at + shift], start[at + shift], start[at + shift] + width)
        for at, shift, width in ((order[0], 0, 1), (order[1], asked.genes, 500))
    )
    vertices = np.array([f"{'G' if i < asked.genes else 'P'}{i:07d}" for i in range(n)])
    fit = Trained(vertices, rng.normal(size=(1, n, 50)).astype(np.float32), {}, pd.DataFrame(), {})
    pairs = [(p, g) for p, g in pairs_in_window(genes, peaks, 2000)]
    skeleton = tuple(vertices[np.concatenate(side)].tolist() for side in zip(*pairs, strict=True))
    seen = []
    _ = fit.unit
    table, cost = measured(
        lambda: select_candidates(
            fit, skeleton, pairs_in_window(genes, peaks, asked.window_bp), every=lambda block: seen.append(len(block))
        )
    )
    told = {"skeleton": len(skeleton[0]), "scored": sum(seen), "kept": len(table)}
    print(json.dumps({"part": "candidates", **told, **cost, "pairs_per_s": round(sum(seen) / cost["s"])}))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    for name, default in (("genes", 20_000), ("peaks", 100_000), ("factors", 700), ("window-bp", 150_000)):
        parser.add_argument(f"--{name}", type=int, default=default)
    asked = parser.parse_args()
    rng = np.random.default_rng(0)
    candidates(rng, asked)
    targets(rng, asked)


if __name__ == "__main__":
    main()
