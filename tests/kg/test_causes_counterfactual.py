"""Causes against a counterfactual: what moved because of one dataset is known, for the change is made with and without.

The model is a small one: each seed's random features spread over the guidance graph, and the cosine of two vertices is
a score. It takes a second, moves edges as far as their neighbourhood has changed, and knows nothing of
`kg.run_diff.attribution`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
import pytest

from kg.guidance import GuidanceGraph
from kg.run_diff import LINKS, compare, join_links
from kg.run_diff.attribution import ROWS, Evidence
from kg.run_diff.significance import MemberScores, of_members

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]

GENES, PEAKS_EACH, DIMS = 60, 6, 12
REACH, STEPS = 0.9, 12  # of features over the graph
SEEDS = (0, 1, 2)  # of worlds
FIRST, SECOND, OTHERS = range(5), range(100, 105), range(200, 240)  # seeds of the runs and of the counterfactual
MOVED, STILL = 3.0, 1.0  # standard deviations over seeds
CORRUPT = "eqtl:lab"
KEYS = ["type", "dataset", "row_id", "start_id", "end_id"]


@dataclass(frozen=True)
class World:
    """Evidence of two releases, and of the second as it were without the corruption, one row a row, with its weight.

    Attributes:
        wobble: of the features from seed to seed.
    """

    first: pd.DataFrame
    second: pd.DataFrame
    healthy: pd.DataFrame
    seed: int
    wobble: float


def world(seed: int, wobble: float = 0.15) -> World:
    """All three datasets change; in a fifth of the genes eqtl's rows are taken away and others put there."""
    rng = np.random.default_rng([seed, 0])
    peak = np.arange(GENES * PEAKS_EACH).repeat(3)
    gene = (peak // PEAKS_EACH + np.tile([-1, 0, 1], GENES * PEAKS_EACH)) % GENES
    pairs = pd.DataFrame({"start_id": [f"p{p:03d}" for p in peak], "end_id": [f"g{g:03d}" for g in gene]})
    near = rows("NEAR", "proximity:toy", pairs, rng.uniform(0.02, 0.4, len(pairs)))
    contacts, later = (rows("CONTACTS", "pchic:lab", pairs[rng.random(len(pairs)) < share]) for share in (0.15, 0.01))
    eqtl = rows("EQTL", CORRUPT, pairs[rng.random(len(pairs)) < 0.15])
    moved = near["end_id"].isin(chosen(rng, 6))
    nearer = near.assign(weight=np.where(moved, rng.uniform(0.02, 0.4, len(near)), near["weight"]))
    kept = contacts[rng.random(len(contacts)) > 0.05]
    other = pd.concat([nearer, kept, later]).drop_duplicates("row_id")
    hit = chosen(rng, GENES // 5)
    wrong = rows("EQTL", CORRUPT, pairs[pairs["end_id"].isin(hit) & (rng.random(len(pairs)) < 0.3)])
    bad = pd.concat([eqtl[~eqtl["end_id"].isin(hit)], wrong])
    releases = ([near, contacts, eqtl], [other, bad], [other, eqtl])
    first, second, healthy = (pd.concat(parts, ignore_index=True) for parts in releases)
    return World(first, second, healthy, seed, wobble)


def chosen(rng: np.random.Generator, n: int) -> list[str]:
    return [f"g{g:03d}" for g in rng.choice(GENES, n, replace=False)]


def rows(type_: str, dataset: str, pairs: pd.DataFrame, weight: Floats | float = 1.0) -> pd.DataFrame:
    row_id = dataset + "|" + pairs["start_id"] + "|" + pairs["end_id"]
    return pairs.assign(type=type_, dataset=dataset, row_id=row_id, weight=weight)


def guidance(evidence: pd.DataFrame) -> GuidanceGraph:
    """The heaviest row of each pair."""
    best = evidence.groupby(["start_id", "end_id"], as_index=False)["weight"].max()
    vertices = np.unique(best[["start_id", "end_id"]].to_numpy(str))
    source, target = (np.searchsorted(vertices, best[c].to_numpy(str)) for c in ("start_id", "end_id"))
    kinds = np.where(np.char.startswith(vertices, "g"), "Gene", "Peak")
    return GuidanceGraph(
        vertices, kinds, source, target, best["weight"].to_numpy(np.float32), np.ones(len(best), np.int8)
    )


def changes(before: pd.DataFrame, after: pd.DataFrame) -> pd.DataFrame:
    """Changed rows as a diff of releases gives them."""
    both = before.merge(after, how="outer", on=KEYS, suffixes=("_a", "_b"))
    a, b = both["weight_a"], both["weight_b"]
    both["change"] = np.select([a.isna(), b.isna()], ["added", "removed"], "changed")
    both = both.assign(before=a.fillna(0), after=b.fillna(0))
    return both.loc[both["before"] != both["after"], list(ROWS)].reset_index(drop=True)


def members(made: World, evidence: pd.DataFrame, seeds: range) -> pd.DataFrame:
    """Scores (edges, seeds) of the pairs of the graph, by "peak gene"."""
    graph = guidance(evidence)
    n = len(graph.vertices)
    weight = np.zeros((n, n))
    weight[graph.source, graph.target] = weight[graph.target, graph.source] = graph.weight
    spread = weight / weight.sum(1, keepdims=True)
    fixed = np.random.default_rng([made.seed, 1]).normal(size=(n, DIMS))
    scores = {}
    for seed in seeds:
        feature = fixed + made.wobble * np.random.default_rng([made.seed, 2, seed]).normal(size=(n, DIMS))
        joint = feature
        for _ in range(STEPS):
            joint = feature + REACH * spread @ joint
        joint /= np.linalg.norm(joint, axis=1, keepdims=True)
        scores[seed] = (joint[graph.source] * joint[graph.target]).sum(1)
    names = [f"{p} {g}" for p, g in zip(graph.vertices[graph.source], graph.vertices[graph.target], strict=True)]
    return pd.DataFrame(scores, index=names)


def links(scores: pd.DataFrame) -> pd.DataFrame:
    """As a run keeps them."""
    mean = scores.mean(axis=1)
    ends = scores.index.str.split(" ")
    made = {"edge_id": scores.index, "peak": ends.str[0], "gene": ends.str[1], "score": mean.to_numpy()}
    more = {"stability": scores.std(axis=1).to_numpy(), "q_value": 0.5, "sign": 1, "called": (mean > 0.5).to_numpy()}
    return pd.DataFrame(made | more)[list(LINKS)]


def diff(made: World, before: pd.DataFrame, after: pd.DataFrame) -> pd.DataFrame:
    """Two runs of five members, of other seeds; rows of a RunDiff by edge_id."""
    return compared(links(members(made, before, FIRST)), links(members(made, after, SECOND)), before, after)


def compared(a: pd.DataFrame, b: pd.DataFrame, before: pd.DataFrame, after: pd.DataFrame) -> pd.DataFrame:
    both = join_links(a, b)
    sides = (MemberScores(both[f"score_{x}"].to_numpy(), both[f"stability_{x}"].to_numpy(), len(FIRST)) for x in "ab")
    changed = changes(before, after)
    evidence = None if changed.empty else Evidence(guidance(before), guidance(after), changed)
    return compare(both, of_members(*sides), evidence).rows.set_index("edge_id")


def in_spreads(made: World) -> pd.Series[float]:
    """By how many standard deviations over seeds the corruption moves each edge, of many seeds that no run has."""
    with_it, without = (members(made, e, OTHERS) for e in (made.second, made.healthy))
    spread = np.sqrt((with_it.var(axis=1) + without.var(axis=1)) / 2)
    by: pd.Series[float] = (with_it.mean(axis=1) - without.mean(axis=1)).abs() / spread
    return by


@pytest.mark.parametrize("seed", SEEDS)
def test_what_a_corrupted_dataset_moved_is_put_down_to_it_and_nothing_else_is(seed: int) -> None:
    made = world(seed)
    found = diff(made, made.first, made.second)
    by = in_spreads(made).reindex(found.index)
    blamed = found["cause"].isin(["prior", "propagated"]) & (found["dataset"] == CORRUPT)
    assert (by > MOVED).sum() > 50
    assert (by < STILL).sum() > 500
    assert blamed[by > MOVED].mean() >= 0.8
    assert blamed[by < STILL].mean() <= 0.05
    assert set(found["dataset"].dropna()) == {CORRUPT, "pchic:lab", "proximity:toy"}


@pytest.mark.parametrize("seed", SEEDS)
def test_what_moved_away_from_every_changed_row_is_propagated(seed: int) -> None:
    made = world(seed, wobble=0.05)  # less noise, so that more is seen from afar
    found = diff(made, made.healthy, made.second)
    by = in_spreads(made).reindex(found.index)
    heaviest = [e.groupby(["start_id", "end_id"])["weight"].max() for e in (made.healthy, made.second)]
    differs = pd.concat(heaviest, axis=1).fillna(0).diff(axis=1).iloc[:, 1]
    ends = differs[differs != 0].index.to_frame()
    here = found["peak"].isin(ends["start_id"]) | found["gene"].isin(ends["end_id"])
    assert set(found["cause"][here]) == {"prior", "noise"}
    assert set(found["cause"][~here]) == {"propagated", "noise"}
    assert (~here & (by > MOVED)).sum() > 10
    for cause, where in (("prior", here), ("propagated", ~here)):
        assert (found["cause"][where & (by > MOVED)] == cause).mean() >= 0.8
    assert (found["cause"][by < STILL / 2] == "noise").mean() >= 0.95


@pytest.mark.parametrize("seed", SEEDS)
def test_what_seeds_alone_move_is_noise(seed: int) -> None:
    made = world(seed)
    for evidence in (made.first, made.second):
        causes = diff(made, evidence, evidence)["cause"].value_counts(normalize=True)
        assert not {"prior", "propagated"} & set(causes.index)
        assert causes["noise"] > 0.95
    # nor does evidence that changed, where the model did not follow it, make a cause of chance
    a, b = (links(members(made, made.first, seeds)) for seeds in (FIRST, SECOND))
    causes = compared(a, b, made.first, made.second)["cause"].value_counts(normalize=True)
    assert causes["noise"] > 0.95
