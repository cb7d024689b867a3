"""Causes of a run diff against a counterfactual: are edges that moved because of one dataset told so, and no others?

A simulated world, three datasets of which all change between two releases, and one (eqtl) is corrupted: rows of true
links are taken away and rows of wrong ones put there. Runs of other seeds, with and without the corruption, say which
edges truly moved because of it: their mean shifts by more than seeds spread. The diff sees none of them.

    python tests/bench/causes.py [--seeds 5] [--members 5] [--world 0] [--keep FOLDER] [--out FILE.json]
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from dataclasses import dataclass, replace
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from kg.guidance import GuidanceGraph
from kg.guidance.policy import power_decay
from kg.run_diff import RunDiff, compare, join_links
from kg.run_diff.attribution import ROWS, Evidence
from kg.run_diff.inputs import links_of, member_scores
from kg.run_diff.significance import of_members, of_shifts
from models.training.loop import Trainer
from models.zoo import glue
from models.zoo.glue.link_scores import cosines
from models.zoo.glue.predicted import predicted_links

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from tests.models.toy import Toy

CORRUPT = "eqtl:lab"
MEASURES = (("in_pooled", 3.0), ("in_pooled", 2.0), ("in_range", 1.0), ("in_sd", 1.0))
CONFIG = glue.Config(first_steps=200, second_steps=500, latent_dim=16, hidden_dim=32)
Rows = pd.DataFrame  # type, dataset, row_id, start_id, end_id, value (of which the weight is made)


@dataclass(frozen=True)
class World:
    """Cells, and the evidence of a first release, of a second one, and of the second without the corruption."""

    toy: Toy
    first: Rows
    second: Rows
    healthy: Rows


def world(seed: int = 0, n_genes: int = 60, n_cells: int = 300, n_corrupt: int = 40) -> World:
    """Each peak lies near its gene and the two beside it; half of the peaks of a gene follow it."""
    from tests.models.toy import toy  # a dependency brings a package `tests`, which main() puts aside

    made = toy(n_cells, n_genes, seed)
    rng = np.random.default_rng([seed, 1])
    genes = np.unique(made.gene)
    own = np.searchsorted(genes, made.gene)
    peak = np.tile(made.peak, 3)
    gene = genes[np.concatenate([own, (own + 1) % n_genes, (own - 1) % n_genes])]
    distance = np.concatenate([rng.integers(0, 50_000, len(own)), rng.integers(20_000, 150_000, 2 * len(own))])
    true = np.concatenate([made.planted, np.zeros(2 * len(own), bool)])
    near = rows("NEAR", "proximity:toy", peak, gene, distance)
    contacts = picked(rng, "CONTACTS", "pchic:lab", peak, gene, np.where(true, 0.4, 0.08))
    eqtl = picked(rng, "EQTL", CORRUPT, peak, gene, np.where(true, 0.4, 0.05))
    moved = near.assign(value=np.where(near["end_id"].isin(rng.choice(genes, n_genes // 8, replace=False)),
                                       (near["value"] + rng.integers(-20_000, 20_000, len(near))).clip(lower=0),
                                       near["value"]))  # fmt: skip
    more = picked(rng, "CONTACTS", "pchic:lab", peak, gene, np.where(true, 0.1, 0.02))
    later = pd.concat([contacts.drop(contacts.index[rng.random(len(contacts)) < 0.1]), more])
    later = later.drop_duplicates("row_id", ignore_index=True)
    healthy = pd.concat([moved, later, eqtl], ignore_index=True)
    second = pd.concat([moved, later, corrupted(rng, eqtl, peak, gene, true, n_corrupt)], ignore_index=True)
    return World(made, pd.concat([near, contacts, eqtl], ignore_index=True), second, healthy)


def rows(type_: str, dataset: str, peak: Any, gene: Any, value: Any) -> Rows:
    """Rows of a dataset; `value` is a distance in bp, or 0."""
    made = pd.DataFrame({"type": type_, "dataset": dataset, "start_id": peak, "end_id": gene, "value": value})
    return made.assign(row_id=dataset + "|" + made["start_id"] + "|" + made["end_id"])


def picked(rng: np.random.Generator, type_: str, dataset: str, peak: Any, gene: Any, chance: Any) -> Rows:
    """Rows for pairs drawn with these chances."""
    at = rng.random(len(peak)) < chance
    return rows(type_, dataset, peak[at], gene[at], 0)


def corrupted(rng: np.random.Generator, eqtl: Rows, peak: Any, gene: Any, true: Any, n: int) -> Rows:
    """As many rows as were taken from true links are given to wrong ones, in a quarter of the genes."""
    where = set(rng.choice(np.unique(gene), len(np.unique(gene)) // 4, replace=False))
    there = set(eqtl["row_id"])
    false = [i for i in np.flatnonzero(~true) if gene[i] in where]
    wrong = rows("EQTL", CORRUPT, peak[false], gene[false], 0)
    wrong = wrong[~wrong["row_id"].isin(there)].sample(n, random_state=rng)
    pairs = set(zip(peak[true], gene[true], strict=True))
    hit = [(p, g) in pairs and g in where for p, g in zip(eqtl["start_id"], eqtl["end_id"], strict=True)]
    return pd.concat([eqtl[~np.array(hit)], wrong], ignore_index=True)


def weights(evidence: Rows) -> pd.Series[float]:
    """By the policy of kg.guidance."""
    near = power_decay(evidence["value"].to_numpy(np.int64))
    return pd.Series(np.where(evidence["type"] == "NEAR", near, 1.0), evidence.index)


def guidance(evidence: Rows) -> GuidanceGraph:
    """The heaviest row of each pair."""
    best = evidence.assign(weight=weights(evidence)).groupby(["start_id", "end_id"], as_index=False)["weight"].max()
    vertices = np.unique(np.concatenate([best["start_id"], best["end_id"]]).astype(str))
    source, target = (np.searchsorted(vertices, best[c].to_numpy(str)) for c in ("start_id", "end_id"))
    kinds = np.where(np.isin(vertices, best["end_id"].to_numpy(str)), "Gene", "Peak")
    weight = best["weight"].to_numpy(np.float32)
    return GuidanceGraph(vertices, kinds, source, target, weight, np.ones(len(best), np.int8))


def changes(before: Rows, after: Rows) -> pd.DataFrame:
    """Changed rows as a diff of releases gives them, weighed."""
    keys = ["type", "dataset", "row_id", "start_id", "end_id"]
    sides = [side.assign(weight=weights(side))[[*keys, "weight"]] for side in (before, after)]
    both = sides[0].merge(sides[1], how="outer", on=keys, suffixes=("_a", "_b"))
    a, b = both["weight_a"], both["weight_b"]
    both["change"] = np.select([a.isna(), b.isna()], ["added", "removed"], "changed")
    both = both.assign(before=a.fillna(0), after=b.fillna(0))
    return both.loc[both["before"] != both["after"], list(ROWS)].reset_index(drop=True)


def links(made: World, evidence: Rows, seed: int, members: int, config: glue.Config = CONFIG) -> pd.DataFrame:
    """Links of a run of so many members on this evidence, as the product keeps them."""
    graph = guidance(evidence)
    fit = glue.train(graph, made.toy.cells, replace(config, seed=seed, members=members), Trainer(threads=1))
    found = links_of(predicted_links(graph, fit, seed=seed))
    unit = fit.features / np.linalg.norm(fit.features, axis=-1, keepdims=True)
    at = (np.searchsorted(fit.vertices, found[c].to_numpy(str)) for c in ("peak", "gene"))
    scores = cosines(unit, *at)
    return found.assign(range=scores.max(0) - scores.min(0))


def kept(folder: Path | None, name: str, made: World, evidence: Rows, seed: int, members: int) -> pd.DataFrame:
    """The same, from a file where it was trained before."""
    path = folder / f"{name}-{seed}-{members}.parquet" if folder else None
    if path and path.exists():
        return pd.read_parquet(path)
    found = links(made, evidence, seed, members)
    if path:
        path.parent.mkdir(parents=True, exist_ok=True)
        found.to_parquet(path)
    return found


def diff(a: pd.DataFrame, b: pd.DataFrame, members: int, before: Rows, after: Rows) -> RunDiff:
    """As `regkg runs diff` does it."""
    both = join_links(a, b)
    changed = changes(before, after)
    noise = (
        of_members(member_scores(both, "a", members), member_scores(both, "b", members))
        if members > 1
        else of_shifts((both["score_b"] - both["score_a"]).to_numpy())
    )
    evidence = None if changed.empty else Evidence(guidance(before), guidance(after), changed)
    return compare(both, noise, evidence)


def truth(with_it: pd.DataFrame, without: pd.DataFrame, others: Sequence[pd.DataFrame] = ()) -> pd.DataFrame:
    """How far each pair moved because of the corruption, by three measures of the seeds' spread.

    Returns:
        by edge_id, the mean shift over: in_range, the larger range (greatest less smallest score) of the two sets of
        seeds; in_sd, their pooled standard deviation; in_pooled, that of all runs there are, `others` too, which
        knows each pair's spread better. Infinite where one of the two did not score the pair.
    """
    both = with_it.merge(without, how="outer", on="edge_id", suffixes=("_a", "_b")).set_index("edge_id")
    moved = (both["score_a"] - both["score_b"]).abs()
    deviation = np.sqrt((both["stability_a"] ** 2 + both["stability_b"] ** 2) / 2)
    spreads = [run.set_index("edge_id")["stability"].reindex(both.index) ** 2 for run in (with_it, without, *others)]
    by = {
        "in_range": moved / both[["range_a", "range_b"]].max(axis=1),
        "in_sd": moved / deviation,
        "in_pooled": moved / np.sqrt(pd.concat(spreads, axis=1).mean(axis=1)),
    }
    return pd.DataFrame(by).fillna(np.inf)


def judged(found: RunDiff, moved: pd.DataFrame, spread: str, threshold: float = 1.0) -> Mapping[str, Any]:
    """Shares of the edges that moved, and of those that did not, that are put down to the corrupted dataset."""
    rows = found.rows.set_index("edge_id")
    blamed = rows["cause"].isin(["prior", "propagated"]) & rows["dataset"].eq(CORRUPT)
    truly = moved[spread].reindex(rows.index) > threshold
    return {
        "moved by more than": f"{threshold:g} {spread.removeprefix('in_')}",
        "moved": int(truly.sum()),
        "moved and blamed": round(float(blamed[truly].mean()), 4),
        "moved and called noise": round(float((rows["cause"] == "noise")[truly].mean()), 4),
        "unmoved": int((~truly).sum()),
        "unmoved and blamed": round(float(blamed[~truly].mean()), 4),
    }


def main() -> None:
    """Train, compare, print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--members", type=int, help="of the runs that are compared; the truth keeps --seeds")
    parser.add_argument("--world", type=int, default=0)
    parser.add_argument("--keep", type=Path, help="folder of trained links, so that they need not be trained again")
    parser.add_argument("--out", type=Path)
    said = parser.parse_args()
    sys.modules["tests"] = package = ModuleType("tests")
    package.__path__ = [str(Path(__file__).parents[1])]
    started, k, made = time.monotonic(), said.seeds, world(said.world)
    folder = said.keep / str(said.world) if said.keep else None

    def run(name: str, seed: int, members: int = k) -> pd.DataFrame:
        return kept(folder, name, made, getattr(made, name), seed, members)

    m = said.members or k
    a, b, again = run("first", 0, m), run("second", 100, m), run("first", 200, m)
    found = diff(a, b, m, made.first, made.second)
    moved = truth(run("second", 300), run("healthy", 300), [a, b, again])
    same = diff(a, again, m, made.first, made.first).rows["cause"].value_counts(normalize=True)
    told = {
        "pairs": len(found.rows),
        "changed rows": changes(made.first, made.second)["dataset"].value_counts().to_dict(),
        "causes": found.counts.loc[lambda t: t.sum(axis=1) > 0].to_dict("index"),
        "datasets": found.datasets.to_dict("index"),
        "judged": [judged(found, moved, *how) for how in MEASURES],
        "seed only": same.round(4).to_dict(),
        "seconds": round(time.monotonic() - started),
    }
    print(json.dumps(told, indent=1))
    if said.out:
        said.out.write_text(json.dumps(told, indent=1))


if __name__ == "__main__":
    main()
