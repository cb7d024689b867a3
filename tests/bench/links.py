"""Do the links of GLUE say more than distance and than correlation over metacells? On a world whose truth is known.

    python tests/bench/links.py [--seeds 0 1 2] [--cells 2000] [--threads 1] [--circe-python PATH/bin/python]

Draws the simulated world (400 genes, 3,000 peaks, world seed 1), trains on every pair of its window, and prints for
each seed one JSON line: matched AUROC (bins of 25 kb) of the run, of its scores without each pair's own edge, of what
the cells alone say of a pair where GLUE put them, of distance and of metacell correlation (which, unlike the others, is
told which cells are pairs), with intervals; by how much each is above the last two on the same resampled genes; the
share of planted links by tenth of the score; and how well factors' targets are found, where each program has a factor
that binds half of the program's planted links and one in twenty other peaks. Where the run calls no link, as with few
programs, the best tenth stand in for the called ones. With a Python that has CIRCE, its co-accessibility of peak and
promoter stands in the same table.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from functools import cache
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

sys.path.insert(0, str(Path(__file__).parents[2]))
from kg.runs.labelled_pairs import EXTRA_SCORES
from loaders.simulation.simulate import WorldConfig
from models.evaluation.feature_correlation import profiles
from models.evaluation.metacell_correlation import assign_metacells, correlation
from models.evaluation.metrics import auroc
from models.evaluation.ranking import METACELLS, compare
from models.evaluation.tf_targets import agreement
from models.jobs.targets import targets_of
from models.training.loop import Trainer
from models.zoo.glue import Config, train
from models.zoo.glue.predicted import predicted_links

if TYPE_CHECKING:
    from loaders.simulation.simulate import SimulatedWorld


def planted_factors(world: SimulatedWorld, rng: np.random.Generator) -> tuple[dict[str, list[str]], pd.DataFrame]:
    """Factor -> peaks with a site; and the pairs of factor and gene that are true, by a site in a planted link."""
    pairs, peaks = world.pairs, np.array(world.peak_id)
    gene, peak = pairs.gene[pairs.is_link], pairs.peak[pairs.is_link]
    sites, true = {}, []
    for program in np.unique(world.gene_program):
        own = (world.gene_program[gene] == program) & (rng.random(len(gene)) < 0.5)
        bound = np.union1d(peak[own], np.flatnonzero(rng.random(len(peaks)) < 0.05))
        tf = f"TF{program}"
        sites[tf] = peaks[bound].tolist()
        held = np.isin(peak, bound)
        true += [{"tf": tf, "gene": g} for g in np.unique(world.genes.gene_id[gene[held & own]]).tolist()]
    return sites, pd.DataFrame(true)


def judged(world: SimulatedWorld, links: pd.DataFrame, rng: np.random.Generator) -> dict[str, Any]:
    """Targets by a run's links against those that were planted."""
    sites, true = planted_factors(world, rng)
    if not links["called"].any():
        links = links.assign(called=links["score"] >= links["score"].quantile(0.9))
    table = targets_of(links, sites)
    genes = np.unique(links["gene"].to_numpy(dtype=str))
    whole = pd.MultiIndex.from_product([list(sites), genes], names=["tf", "gene"]).to_frame(index=False)
    whole = whole.merge(table[["tf", "gene", "score"]], how="left").fillna({"score": 0.0})
    positive = whole.merge(true.assign(true=True), how="left")["true"].notna().to_numpy()
    found = agreement(table.loc[table["called"], ["tf", "gene"]], true, genes)
    return {"auroc": auroc(positive, whole["score"].to_numpy()), "called": int(table["called"].sum()), **found}


def truth_of(world: SimulatedWorld) -> pd.DataFrame:
    """Every pair of the window: gene, peak, positive, distance_bp."""
    pairs, ids = world.pairs, np.array(world.peak_id)
    place = {"gene": world.genes.gene_id[pairs.gene], "peak": ids[pairs.peak]}
    return pd.DataFrame({**place, "positive": pairs.is_link, "distance_bp": pairs.distance_bp})


@cache
def co_accessibility(python: Path, cells: int) -> pd.DataFrame:
    """What CIRCE says of the pairs of the world, once for all seeds: peak, gene, score."""
    from tests.models.simulated import simulated  # as in `one`

    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        world, _, _ = simulated(WorldConfig(seed=1, cells=cells), folder)
        pairs, ids, chroms = world.pairs, np.array(world.peak_id), np.array(world.peak_chrom)
        place = {
            "chrom": chroms[pairs.peak],
            "start": world.peaks.start[pairs.peak],
            "end": world.peaks.end[pairs.peak],
        }
        told = pd.DataFrame({"peak": ids[pairs.peak], "gene": world.genes.gene_id[pairs.gene], **place})
        told.assign(tss=world.genes.tss[pairs.gene]).to_csv(folder / "pairs.tsv", sep="\t", index=False)
        script = Path(__file__).with_name("peer_circe.py")
        command = [python, script, folder / "atac.h5ad", folder / "pairs.tsv", folder / "circe.tsv"]
        subprocess.run(list(map(str, command)), check=True, stdout=sys.stderr)
        return pd.read_csv(folder / "circe.tsv", sep="\t")


def one(seed: int, asked: argparse.Namespace) -> dict[str, Any]:
    """A run and what is said of it."""
    from tests.models.simulated import simulated  # a dependency brings a package `tests`, which main() puts aside

    with tempfile.TemporaryDirectory() as folder:
        world, graph, cells = simulated(WorldConfig(seed=1, cells=asked.cells), Path(folder))
        start = time.perf_counter()
        trained = train(graph, cells, Config(seed=seed), Trainer("cpu", asked.threads))
        seconds = time.perf_counter() - start
        table = predicted_links(
            graph, trained, seed=seed, feature_profiles=profiles(cells, trained.cells)
        ).table.to_pandas()
        table = table.rename(columns={"start_id": "peak", "end_id": "gene"})
        scored = table.merge(truth_of(world), on=["peak", "gene"])
        others = {name: scored[name].to_numpy(dtype=float) for name in EXTRA_SCORES}
    if asked.circe_python:
        made = scored[["peak", "gene"]].merge(co_accessibility(asked.circe_python, asked.cells), "left")["score"]
        others["co-accessibility"] = made.fillna(made.min() - 1).to_numpy()  # what it does not name ranks last
    others[METACELLS] = correlation(
        cells, assign_metacells(cells, seed=seed), scored["peak"].tolist(), scored["gene"].tolist()
    )
    found = compare(scored, others)
    return {
        "seed": seed, "cells": asked.cells, "pairs": found.pairs, "planted": found.positives,
        "training_s": round(seconds, 1),
        "matched_auroc": {s.score: str(s.matched_auroc) for s in found.scores},
        "beyond_metacells": {s.score: str(s.beyond_metacells) for s in found.scores},
        "beyond_distance": {s.score: str(s.beyond_distance) for s in found.scores},
        "average_precision": {s.score: str(s.average_precision) for s in found.scores},
        "tenths": [[round(t.share, 3), round(t.by_distance, 3)] for t in found.calibration],
        "called": int(scored["called"].sum()), "called_planted": int(scored.loc[scored["called"], "positive"].sum()),
        "targets": judged(world, table, np.random.default_rng(seed)),
    }  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--cells", type=int, default=2000)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--circe-python", type=Path, help="of an environment with circe-py")
    asked = parser.parse_args()
    sys.modules["tests"] = package = ModuleType("tests")
    package.__path__ = [str(Path(__file__).parents[1])]
    for seed in asked.seeds:
        print(json.dumps(one(seed, asked)), flush=True)


if __name__ == "__main__":
    main()
