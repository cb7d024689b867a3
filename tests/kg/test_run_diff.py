"""Run diffs: the noise test against SciPy and simulation, influence and hops by hand, causes of whole pairs of runs."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from kg.guidance import GuidanceGraph
from kg.run_diff import CAUSES, CHANGES, LINKS, compare, join_links
from kg.run_diff.attribution import DAMPING, ROWS, Evidence, trace
from kg.run_diff.significance import (
    MemberScores,
    Noise,
    of_members,
    of_runs,
    of_shifts,
    prior_variance,
    shift_test,
    weighted_q,
)

Pairs = dict[tuple[str, str], float]


def graph(pairs: Pairs) -> GuidanceGraph:
    vertices = np.unique([end for pair in pairs for end in pair] + ["g9", "p9"])
    source, target = (np.searchsorted(vertices, [pair[i] for pair in pairs]) for i in (0, 1))
    kinds = np.where(np.char.startswith(vertices, "g"), "Gene", "Peak")
    weight = np.array([abs(w) for w in pairs.values()], np.float32)
    sign = np.array([-1 if w < 0 else 1 for w in pairs.values()], np.int8)
    return GuidanceGraph(vertices, kinds, source, target, weight, sign)


def row(dataset: str, pair: tuple[str, str], before: float, after: float) -> dict[str, Any]:
    change = "added" if not before else "removed" if not after else "changed"
    row_id = f"{dataset} {pair[0]} {pair[1]}"
    return dict(zip(ROWS, ("EQTL", dataset, row_id, change, *pair, before, after), strict=True))


def evidence(before: Pairs, after: Pairs, *rows: dict[str, Any]) -> Evidence:
    return Evidence(graph(before), graph(after), pd.DataFrame(rows, columns=list(ROWS)))


CHAIN: Pairs = {("p1", "g1"): 0.5, ("p2", "g1"): 0.5, ("p2", "g2"): 0.5, ("p3", "g2"): 0.5, ("p4", "g4"): 0.5}


# --- the noise test ---


def run(scores: np.ndarray[Any, Any]) -> MemberScores:
    """A run of these members, (members, edges)."""
    return MemberScores(scores.mean(0), scores.std(0, ddof=1), len(scores))


def test_variances_that_follow_the_score_are_learnt_from_edges_of_similar_scores() -> None:
    rng = np.random.default_rng(6)
    score = rng.uniform(-0.98, 0.98, 20_000)
    true = 0.1 * (1 - score**2)
    a, b = (score + true * rng.normal(size=(3, 20_000)) for _ in range(2))
    tested = shift_test(b.mean(0) - a.mean(0), of_members(run(a), run(b)))
    off = np.abs(tested.spread / (true * np.sqrt(2 / 3)) - 1)[np.abs(score) < 0.9]
    assert np.mean(off < 0.25) > 0.999
    assert [np.mean(tested.p < level) for level in (0.05, 0.01)] == pytest.approx([0.05, 0.01], rel=0.15)


def test_members_are_tested_as_student_did_when_all_edges_share_one_variance() -> None:
    rng = np.random.default_rng(0)
    a, b = rng.normal(size=(5, 4000)), rng.normal(size=(3, 4000)) + 0.5
    noise = of_members(run(a), run(b))
    plain = stats.ttest_ind(b, a).pvalue
    np.testing.assert_allclose(2 * stats.t.sf(np.abs(b.mean(0) - a.mean(0)) / np.sqrt(noise.variance), noise.df), plain)
    # with a common variance moderation knows it: 1 / 5 + 1 / 3 of it
    tested = shift_test(b.mean(0) - a.mean(0), noise)
    assert tested.spread == pytest.approx(np.sqrt(8 / 15), rel=0.1)


def test_a_run_of_one_member_borrows_the_spread_of_the_other() -> None:
    spread = np.array([0.1, 0.2])
    noise = of_members(MemberScores(spread, np.full(2, np.nan), 1), MemberScores(spread, spread, 4))
    np.testing.assert_allclose(noise.variance, spread**2 * 1.25)
    assert noise.df == 3


def test_other_runs_give_the_spread_within_their_groups() -> None:
    one, two = np.array([[0.0, 1.0], [2.0, 1.0]]), np.array([[5.0, 5.0], [5.0, 7.0], [5.0, 9.0]])
    noise = of_runs([one, two])
    assert noise.df == 3
    np.testing.assert_allclose(noise.variance, [2 * 2 / 3, 2 * 8 / 3])


@pytest.mark.parametrize("prior_df", [3.0, 10.0])
def test_the_prior_of_variances_is_recovered(prior_df: float) -> None:
    rng = np.random.default_rng(1)
    true = 0.04 * prior_df / rng.chisquare(prior_df, 50_000)
    found, df = prior_variance(true * rng.chisquare(4, 50_000) / 4, 4)
    assert found == pytest.approx(0.04, rel=0.05)
    assert df == pytest.approx(prior_df, rel=0.1)


@pytest.mark.parametrize("members", [2, 3, 5])
def test_seeds_alone_are_hardly_ever_beyond_noise_and_p_is_uniform(members: int) -> None:
    rng = np.random.default_rng(members)
    spread = np.sqrt(4 * 0.01 / rng.chisquare(4, 20_000))
    a, b = (rng.normal(size=(members, 20_000)) * spread for _ in range(2))
    tested = shift_test(b.mean(0) - a.mean(0), of_members(run(a), run(b)))
    assert [np.mean(tested.p < level) for level in (0.05, 0.01)] == pytest.approx([0.05, 0.01], rel=0.15)
    assert np.mean(tested.q < 0.05) < 0.001


def test_two_runs_alone_find_the_few_that_moved_far() -> None:
    rng = np.random.default_rng(2)
    shift = 0.3 + rng.normal(size=3000) * 0.1  # a drift of all is no move of one
    shift[:30] += 5
    noise = of_shifts(shift)
    assert np.sqrt(noise.variance[0]) == pytest.approx(0.1, rel=0.1)
    beyond = shift_test(shift, noise).q < 0.05
    assert beyond[:30].all()
    assert beyond[30:].mean() < 0.002


@given(st.lists(st.floats(1e-6, 1), min_size=1, max_size=30))
def test_with_one_stratum_q_is_benjamini_and_hochbergs(p: list[float]) -> None:
    expected = stats.false_discovery_control(p)
    np.testing.assert_allclose(weighted_q(np.array(p), np.zeros(len(p), np.int64)), expected)


def test_strata_where_many_moved_need_less_to_be_believed() -> None:
    rng = np.random.default_rng(3)
    strata = np.repeat([0, 1], [9000, 1000])
    p = rng.random(10_000)
    p[9500:] = rng.random(500) * 0.005  # half of the second stratum moved
    plain, weighted = stats.false_discovery_control(p) < 0.05, weighted_q(p, strata) < 0.05
    assert weighted[9500:].sum() > 3 * max(plain[9500:].sum(), 50)
    assert weighted[:9500].sum() < 0.07 * weighted.sum()


# --- influence, hops, names ---


def test_hops_and_influence_along_a_chain() -> None:
    """p1 - g1 - p2 - g2 - p3, weights 0.5; the row p1 -> g1 goes."""
    after = {pair: w for pair, w in CHAIN.items() if pair != ("p1", "g1")}
    found = trace(
        evidence(CHAIN, after, row("eqtl", ("p1", "g1"), 0.5, 0)),
        ["p1", "p2", "p2", "p3", "p4"],
        ["g1", "g1", "g2", "g2", "g4"],
    )
    assert found["hops"][:4].tolist() == [0, 0, 1, 2]
    assert found["dataset"].tolist() == ["eqtl"] * 4 + [None]
    assert found["row_id"].tolist() == ["eqtl p1 g1"] * 4 + [None]
    # share of p1's weights that changed 1, of g1's 1/2; others take DAMPING of the mean of their neighbours
    index = {name: i for i, name in enumerate(["p1", "g1", "p2", "g2", "p3"])}
    walk = np.zeros((5, 5))
    walk[0, 1] = walk[4, 3] = 1
    walk[[1, 1, 2, 2, 3, 3], [0, 2, 1, 3, 2, 4]] = 0.5
    exact = np.linalg.solve(np.eye(5) - DAMPING * walk, [1, 0.5, 0, 0, 0])
    expected = [exact[index[p]] + exact[index[g]] for p, g in (("p1", "g1"), ("p2", "g1"), ("p2", "g2"), ("p3", "g2"))]
    np.testing.assert_allclose(found["influence"][:4].astype(float), expected, rtol=2e-3)


def test_of_two_datasets_at_the_ends_the_one_that_changes_more_is_named() -> None:
    before = CHAIN | {("p1", "g2"): 0.01}
    after = CHAIN | {("p1", "g2"): 0.012, ("p3", "g1"): 1.0}
    rows = row("near", ("p1", "g2"), 0.01, 0.012), row("eqtl", ("p3", "g1"), 0, 1.0)
    found = trace(evidence(before, after, *rows), ["p1", "p3"], ["g1", "g2"])
    assert found["dataset"].tolist() == ["eqtl", "eqtl"]
    assert (found["share"].astype(float) > 0.9).all()
    # a row at the end that hardly changes what the model reads is not named before a strong one beside it
    found = trace(evidence(before, after, *rows), ["p1"], ["g2"])
    assert found[["dataset", "hops"]].to_numpy().tolist() == [["eqtl", 1]]
    # of rows as strong the nearer one is
    after = CHAIN | {("p1", "g2"): 0.5, ("p3", "g1"): 0.5}
    rows = row("near", ("p1", "g2"), 0.01, 0.5), row("eqtl", ("p3", "g1"), 0, 0.5)
    found = trace(evidence(before, after, *rows), ["p1"], ["g2"])
    assert found[["dataset", "hops"]].to_numpy().tolist() == [["near", 0]]


def test_a_row_that_changes_no_weight_is_no_cause() -> None:
    """Beside a heavier row of the pair it is never seen; and a contact's score is no weight."""
    same = row("contacts", ("p1", "g1"), 0.5, 0.5), row("eqtl", ("p2", "g1"), 0.3, 0)
    found = trace(evidence(CHAIN, CHAIN, *same), ["p1", "p2"], ["g1", "g1"])
    assert found["dataset"].tolist() == [None, None]


def test_a_sign_that_turns_is_a_change_and_the_pairs_own_row_is_named_first() -> None:
    after = CHAIN | {("p2", "g1"): -0.5, ("p1", "g1"): 1.0}
    rows = row("eqtl", ("p1", "g1"), 0.5, 1.0), row("eqtl", ("p2", "g1"), 0.5, -0.5)
    found = trace(evidence(CHAIN, after, *rows), ["p1", "p2", "p2"], ["g1", "g1", "g2"])
    assert found["row_id"].tolist() == ["eqtl p1 g1", "eqtl p2 g1", "eqtl p2 g1"]
    assert found["rows"].tolist() == [2, 2, 1]


# --- whole diffs ---


def links(score: list[float], *, called: list[bool] | None = None, spread: float = 0.01) -> pd.DataFrame:
    n = len(score)
    pairs = list(CHAIN)[:n] + [(f"p{i}", "g9") for i in range(10, 10 + n - len(CHAIN))]
    columns: dict[str, Any] = {
        "edge_id": [f"{p} {g}" for p, g in pairs], "peak": [p for p, _ in pairs], "gene": [g for _, g in pairs],
        "score": score, "stability": spread, "q_value": 0.5, "sign": np.sign(score).astype(int),
        "called": called or [False] * n,
    }  # fmt: skip
    return pd.DataFrame(columns)[list(LINKS)]


def flat(n: int, df: float = 40) -> Noise:
    return Noise(np.full(n, 1e-4), df, "made")


def test_each_change_and_each_cause() -> None:
    n = 40
    still = [0.2] * n
    moved = [0.9, -0.9, 0.9, 0.9, 0.9, *still[5:]]
    a, b = (
        links(still, called=[False] * 5 + [True] * (n - 5)),
        links(moved, called=[True] + [False] * 5 + [True] * (n - 6)),
    )
    after = {pair: w for pair, w in CHAIN.items() if pair != ("p1", "g1")}
    read = evidence(CHAIN, after, row("eqtl", ("p1", "g1"), 0.5, 0))
    found = compare(join_links(a, b), flat(n), read).rows.set_index("edge_id")
    expected = {
        "p1 g1": ("gained", "prior", 0),
        "p2 g1": ("flipped", "prior", 0),
        "p2 g2": ("shifted", "propagated", 1),
        "p3 g2": ("shifted", "propagated", 2),
        "p4 g4": ("shifted", "unexplained", None),
        "p10 g9": ("lost", "noise", None),
        "p11 g9": ("none", "noise", None),
    }
    for edge, (change, cause, hops) in expected.items():
        assert (found["change"][edge], found["cause"][edge]) == (change, cause)
        assert found["hops"][edge] is pd.NA if hops is None else found["hops"][edge] == hops
    assert found["shift"]["p2 g1"] == pytest.approx(-1.1)
    assert found["row_start_id"]["p3 g2"] == "p1"
    with_code = compare(join_links(a, b), flat(n), read, ("code",)).rows.set_index("edge_id")
    assert with_code["cause"]["p4 g4"] == "code/config"
    whole = compare(join_links(a, b), flat(n), read)
    assert whole.counts.sum().sum() == n
    assert (list(whole.counts.index), list(whole.counts.columns)) == (list(CHANGES), list(CAUSES))
    assert whole.datasets.to_dict("index") == {"eqtl": {"prior": 2, "propagated": 2}}
    assert whole.rows["edge_id"][0] == "p1 g1"
    assert whole.rows["cause"].iloc[5:].eq("noise").all()


def test_a_pair_that_one_run_alone_scored_is_never_noise() -> None:
    a, b = links([0.2] * 4), links([0.2] * 5, called=[False] * 4 + [True])
    after = CHAIN
    before = {pair: w for pair, w in CHAIN.items() if pair != ("p4", "g4")}
    found = compare(join_links(a, b), flat(5), evidence(before, after, row("near", ("p4", "g4"), 0, 0.5))).rows
    assert [found[c][0] for c in ("edge_id", "change", "cause", "row_change")] == ["p4 g4", "gained", "prior", "added"]
    assert np.isnan(found["q"][0])
    back = compare(join_links(b.assign(called=False), a), flat(5), None).rows
    assert [back[c][0] for c in ("edge_id", "change", "cause")] == ["p4 g4", "left", "unexplained"]


def test_without_changed_evidence_nothing_is_prior() -> None:
    rng = np.random.default_rng(4)
    a, b = (links(list(rng.normal(size=200)), spread=0.01) for _ in range(2))
    found = compare(join_links(a, b), flat(200), None)
    assert set(found.rows["cause"]) == {"noise", "unexplained"}
    assert found.datasets.empty


def test_a_shift_that_single_seeds_scatter_over_is_noise_however_sure() -> None:
    """With many members a shift of the mean is sure long before any reader of one run would see it."""
    rng = np.random.default_rng(8)
    moves = np.repeat([0.0, 1.0, 2.5], 100)  # in standard deviations over members
    a, b = rng.normal(size=(2, 50, 300))
    noise = of_members(run(a), run(b + moves))
    pairs = [links(list(scores.mean(0))).assign(edge_id=[f"{i:03d}" for i in range(300)]) for scores in (a, b + moves)]
    found = compare(join_links(*pairs), noise, None).rows
    moved = moves[found["edge_id"].astype(int)]
    assert (found["q"][moved == 1] < 0.05).mean() > 0.9
    beyond = found["cause"] != "noise"
    assert [beyond[moved == m].mean() for m in (0, 1, 2.5)] == pytest.approx([0, 0, 1], abs=0.03)


def test_scatter_is_that_of_one_seed() -> None:
    rng = np.random.default_rng(9)
    a, b = rng.normal(0, 0.1, (2, 8, 3000))
    assert shift_test(b.mean(0) - a.mean(0), of_members(run(a), run(b))).scatter == pytest.approx(0.1, rel=0.05)
    assert shift_test(b[0] - a[0], of_runs([a, b])).scatter == pytest.approx(0.1, rel=0.05)
    assert not shift_test(b[0] - a[0], of_shifts(b[0] - a[0])).scatter.any()
