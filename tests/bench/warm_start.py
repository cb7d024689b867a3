"""Retraining after a 1 % change of the evidence: steps from the parent's weights and from nothing to one loss.

A simulated world whose candidate pairs are the evidence, weighed by distance. The older release lacks half a percent
of the rows (all rows of some peaks, which are new features later), and has another half percent that the newer one
lacks. For each seed a parent is trained on the older one; on the newer one a run starts from nothing, another from the
parent's weights. Both follow the schedules of `models.zoo.glue.config`. The loss to reach is that of the held-out
cells at the end of the cold run; these cells are the same in all runs of a seed, and no second stage has seen them.
Called edges of warm and cold runs are compared by Jaccard, beside those of cold runs with different seeds. Programs are
many, for where few genes vary alike by chance, links are called.

    python tests/bench/warm_start.py [--seeds 3] [--cells 800] [--genes 150] [--peaks 900]
        [--first-steps 300] [--second-steps 1200] [--threads 1] [--world FOLDER]
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from itertools import combinations
from pathlib import Path
from typing import TYPE_CHECKING, Any

import anndata
import numpy as np
import pandas as pd

sys.path.insert(0, str(Path(__file__).parents[2]))

from world import read_world

from kg.guidance import GuidanceGraph
from kg.guidance.policy import power_decay
from kg.runs.cell_files import write_cell_files
from kg.runs.predictions import run_folder
from loaders.simulation.simulate import WorldConfig, simulate
from models.evaluation.metrics import auroc
from models.inputs.cells import Cells, Modality
from models.inputs.preprocess import atac_lsi, rna_pca
from models.training.loop import Trainer
from models.zoo import glue
from models.zoo.glue.config import Config
from models.zoo.glue.predicted import cell_outputs
from models.zoo.glue.warm import Start, read_start

if TYPE_CHECKING:
    from models.zoo.glue.link_scores import Trained

CHANGED = 0.01  # of all rows
NEW_PEAKS = 3  # whose rows are all new
WORLD = {"programs": 60, "cell_types": 20, "window_bp": 60_000}


def read_cells(folder: Path) -> Cells:
    """The cells of a simulated world, features under their graph ids."""
    modalities = {}
    for name, reduce in (("rna", rna_pca), ("atac", atac_lsi)):
        adata = anndata.read_h5ad(folder / f"{name}.h5ad")
        peaks = [f"GRCh38:{peak}" for peak in adata.var_names]
        ids = peaks if name == "atac" else adata.var["gene_id"].tolist()
        counts, kinds = adata.X.astype(np.float32).tocsr(), adata.obs["cell_type"].to_numpy(dtype=str)
        rep = reduce(counts.astype(np.float64), 100)
        obs_names = adata.obs_names.to_numpy(dtype=str)
        modalities[name] = Modality(name, counts, np.array(ids, dtype=str), rep, obs_names, kinds)
    return Cells(modalities, paired=True)


def simulated(said: argparse.Namespace) -> tuple[pd.DataFrame, Cells]:
    """Rows with their truth, and cells."""
    with tempfile.TemporaryDirectory() as folder:
        world = Path(folder) / "world"
        simulate(WorldConfig(genes=said.genes, peaks=said.peaks, cells=said.cells, **WORLD), world)
        return pd.read_csv(world / "truth.tsv", sep="\t"), read_cells(world)


def prepared(folder: Path) -> tuple[pd.DataFrame, Cells]:
    """Rows with their weights, and cells, of a folder that `world.read_world` reads."""
    links = pd.read_csv(folder / "links.tsv", sep="\t")
    return links.rename(columns={"gene": "gene_id", "peak": "peak_id"}), read_world(folder)[1]


def guidance(rows: pd.DataFrame) -> GuidanceGraph:
    """All rows of a release, weighed by distance."""
    vertices = np.unique(np.concatenate([rows["gene_id"], rows["peak_id"]]).astype(str))
    peaks, genes = (np.searchsorted(vertices, rows[c].to_numpy(str)) for c in ("peak_id", "gene_id"))
    kinds = np.where(np.isin(vertices, rows["gene_id"].to_numpy(str)), "Gene", "Peak")
    known = "weight" in rows
    weight = rows["weight"].to_numpy(np.float32) if known else power_decay(rows["distance_bp"].to_numpy(np.int64))
    return GuidanceGraph(vertices, kinds, peaks, genes, weight, np.ones(len(rows), np.int8))


def releases(rows: pd.DataFrame, seed: int) -> tuple[pd.DataFrame, pd.DataFrame]:
    """The older and the newer release, which differ by CHANGED of the rows."""
    rng = np.random.default_rng([seed, 1])
    half = round(len(rows) * CHANGED / 2)
    fresh = np.flatnonzero(rows["peak_id"].isin(rng.choice(rows["peak_id"].unique(), NEW_PEAKS, replace=False)))
    fresh = fresh[:half]
    others = rng.permutation(np.setdiff1d(np.arange(len(rows)), fresh))
    added, removed = np.concatenate([fresh, others[: half - len(fresh)]]), others[half : 2 * half]
    return rows.drop(rows.index[added]), rows.drop(rows.index[removed])


def trained(
    graph: GuidanceGraph, cells: Cells, config: Config, threads: int, home: Path, start: Start | None
) -> Trained:
    """One run, left under `home` as product runs are."""
    folder = run_folder(home, "parent")
    directory = None if start else folder / "checkpoints"
    fit: Trained = glue.train(graph, cells, config, Trainer(threads=threads, directory=directory), start)
    if directory:
        write_cell_files(folder, cell_outputs(cells.linked(graph), fit), "glue", {})
    return fit


def steps_to(fit: Trained, loss: float, per_epoch: int) -> int | None:
    """Steps of all stages until the second one's validation loss is at most `loss`; None when it never is."""
    history = fit.history.reset_index(drop=True)
    there = history.index[(history["stage"] == "second") & (history["val_total"] <= loss)]
    return (int(there[0]) + 1) * per_epoch if len(there) else None


def of_seed(seed: int, rows: pd.DataFrame, cells: Cells, said: argparse.Namespace) -> tuple[dict[str, Any], set[int]]:
    """What one seed says, and the edges that its cold run calls."""
    config = Config(first_steps=said.first_steps, second_steps=said.second_steps, seed=seed)
    truth = "is_link" in rows
    older, newer = releases(rows, seed)
    graph = guidance(newer)
    per_epoch = max(1, round(sum(len(m.obs_names) for m in cells.modalities.values()) * 0.9 / config.batch_size))
    with tempfile.TemporaryDirectory() as folder:
        parent = trained(guidance(older), cells, config, said.threads, Path(folder), None)
        start = read_start(Path(folder), "parent", 1, list(cells.modalities), same_cells=True)
        begun = time.perf_counter()
        warm = trained(graph, cells, config, said.threads, Path(folder), start)
        warm_s = time.perf_counter() - begun
    with tempfile.TemporaryDirectory() as folder:
        begun = time.perf_counter()
        cold = trained(graph, cells, config, said.threads, Path(folder), None)
        cold_s = time.perf_counter() - begun
    loss = float(cold.history["val_total"].iloc[-1])
    called = {name: called_of(fit, newer) for name, fit in (("warm", warm), ("cold", cold), ("parent", parent))}
    cold_steps, warm_steps = steps_to(cold, loss, per_epoch), steps_to(warm, loss, per_epoch)
    return {
        "seed": seed,
        "loss": loss,
        "warm_loss": float(warm.history["val_total"].iloc[-1]),
        "cold_steps": cold_steps,
        "warm_steps": warm_steps,
        "ratio": None if warm_steps is None or not cold_steps else warm_steps / cold_steps,
        "planned_cold_steps": len(cold.history) * per_epoch,
        "planned_warm_steps": len(warm.history) * per_epoch,
        "cold_s": cold_s,
        "warm_s": warm_s,
        "new_features": len(np.setdiff1d(warm.vertices, parent.vertices)),
        "jaccard_warm_cold": jaccard(called["warm"], called["cold"]),
        "jaccard_parent_cold": jaccard(called["parent"], called["cold"]),
        **{f"called_{name}": len(ids) for name, ids in called.items()},
        **({f"auroc_{name}": ranked(fit, newer) for name, fit in (("warm", warm), ("cold", cold))} if truth else {}),
        **{f"foscttm_{name}": fit.metrics["foscttm"] for name, fit in (("warm", warm), ("cold", cold))},
    }, called["cold"]


def called_of(fit: Trained, rows: pd.DataFrame) -> set[int]:
    """Called pairs, as rows of the world."""
    links = fit.links(rows["peak_id"].tolist(), rows["gene_id"].tolist())
    place = pd.Series(rows.index, pd.MultiIndex.from_frame(rows[["peak_id", "gene_id"]]))
    pairs = links.loc[links["called"], ["source", "target"]]
    return set(place.loc[pd.MultiIndex.from_frame(pairs)].tolist())


def ranked(fit: Trained, rows: pd.DataFrame) -> float:
    """AUROC of the scores for the planted links."""
    links = fit.links(rows["peak_id"].tolist(), rows["gene_id"].tolist())
    truth = rows.set_index(["peak_id", "gene_id"])["is_link"]
    planted = truth.loc[pd.MultiIndex.from_frame(links[["source", "target"]])].to_numpy(dtype=bool)
    return auroc(planted, links["score"].to_numpy())


def jaccard(one: set[int], other: set[int]) -> float:
    """Share of what either calls that both call."""
    return len(one & other) / max(len(one | other), 1)


def main() -> None:
    """Print one JSON value; progress goes to stderr."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name, default in (("seeds", 3), ("cells", 800), ("genes", 150), ("peaks", 900)):
        parser.add_argument(f"--{name}", type=int, default=default)
    for name, default in (("first-steps", 300), ("second-steps", 1200), ("threads", 1)):
        parser.add_argument(f"--{name}", type=int, default=default)
    parser.add_argument("--world", help="a prepared folder, as of glue_vs_scglue.py, instead of a simulated one")
    said = parser.parse_args()
    rows, cells = prepared(Path(said.world)) if said.world else simulated(said)
    found, called = [], []
    for seed in range(said.seeds):
        one, own = of_seed(10 * seed, rows, cells, said)  # members of a run use the seeds that follow its own
        found.append(one)
        called.append(own)
        print(json.dumps(one), file=sys.stderr, flush=True)
    between = [jaccard(a, b) for a, b in combinations(called, 2)]
    means = {name: [f[name] for f in found] for name in ("ratio", "jaccard_warm_cold")}
    print(json.dumps({
        "rows": len(rows), "changed": CHANGED, **vars(said), "runs": found,
        "ratio_max": None if None in means["ratio"] else max(means["ratio"]),
        "jaccard_warm_cold": float(np.mean(means["jaccard_warm_cold"])),
        "jaccard_cold_seeds": float(np.mean(between)) if between else None,
    }, indent=1))  # fmt: skip


if __name__ == "__main__":
    main()
