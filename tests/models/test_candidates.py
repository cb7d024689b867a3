"""Pairs beyond the skeleton against a loop over all pairs, however small the blocks."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import false_discovery_control

from kg.guidance import GuidanceGraph
from kg.schema import GENE, PEAK
from models.blocks.windows import pairs_in_window, places
from models.training.loop import Trainer
from models.zoo.glue import Config, train
from models.zoo.glue.candidates import select_candidates
from models.zoo.glue.link_scores import Trained, greater_p
from models.zoo.glue.predicted import CANDIDATES, add_candidate_peaks, predicted_links, score_candidates
from tests.models.toy import toy

if TYPE_CHECKING:
    from pathlib import Path

GENES, PEAKS = 25, 120


def nodes(seed: int = 0) -> tuple[pa.Table, pa.Table]:
    rng = np.random.default_rng(seed)
    genes = [
        {
            "id": f"G{i:02d}", "symbol": "s", "species": "x", "assembly": "a1" if i % 7 else "a2",
            "chrom": f"chr{1 + i % 2}", "start": 0, "end": 1, "strand": "+", "tss": int(rng.integers(0, 20_000)),
        }
        for i in range(GENES)
    ]  # fmt: skip
    peaks = [
        {
            "id": f"P{i:03d}", "assembly": "a1" if i % 5 else "a2", "chrom": f"chr{1 + i % 2}", "start": start,
            "end": start + int(rng.integers(1, 900)),
        }
        for i, start in enumerate(rng.integers(0, 20_000, PEAKS).tolist())
    ]  # fmt: skip
    return pa.Table.from_pylist(genes, schema=GENE.schema), pa.Table.from_pylist(peaks, schema=PEAK.schema)


def trained(members: int = 2, seed: int = 0) -> Trained:
    """Return all features but G03 and P007, sorted by name; some peaks resemble a gene."""
    rng = np.random.default_rng(seed)
    names = [f"G{i:02d}" for i in range(GENES) if i != 3] + [f"P{i:03d}" for i in range(PEAKS) if i != 7]
    features = rng.normal(size=(members, len(names), 6)).astype(np.float32)
    alike = slice(names.index("P020"), names.index("P060"))
    features[:, alike] = features[:, :1] + 0.3 * rng.normal(size=(members, 40, 6))
    return Trained(np.array(names), features, {}, pd.DataFrame(), {})


def slow_near(window_bp: int) -> set[tuple[str, str]]:
    genes, peaks = (table.to_pylist() for table in nodes())
    return {
        (p["id"], g["id"])
        for g in genes
        for p in peaks
        if (g["assembly"], g["chrom"]) == (p["assembly"], p["chrom"]) and {g["id"], p["id"]}.isdisjoint({"G03", "P007"})
        if min(abs(base - g["tss"]) for base in (p["start"], p["end"] - 1)) <= window_bp
        or p["start"] <= g["tss"] < p["end"]
    }


@given(st.sampled_from([0, 1, 500, 5000, 50_000]), st.sampled_from([1, 7, 100, 10_000]))
def test_blocks_hold_every_pair_once_and_genes_whole(window_bp: int, n_pairs: int) -> None:
    fit = trained()
    pairs, whole = [], []
    for peak, gene in pairs_in_window(*places(*nodes(), fit.vertices), window_bp, n_pairs):
        pairs += list(zip(fit.vertices[peak].tolist(), fit.vertices[gene].tolist(), strict=True))
        whole += np.unique(gene).tolist()
    assert len(pairs) == len(set(pairs))
    assert set(pairs) == slow_near(window_bp)
    assert len(whole) == len(set(whole))


SKELETON = (["P001", "P002", "P010", "P011", "P007"], ["G01", "G02", "G00", "G01", "G00"])


@pytest.mark.parametrize("n_pairs", [3, 10_000])
def test_scores_and_q_values_are_those_of_one_table(n_pairs: int) -> None:
    fit, seen = trained(), list[pd.DataFrame]()
    blocks = pairs_in_window(*places(*nodes(), fit.vertices), 4000, n_pairs)
    table = select_candidates(fit, SKELETON, blocks, seed=4, best=2, every=seen.append)
    pairs = sorted(slow_near(4000) - set(zip(*SKELETON, strict=True)))
    at, _ = fit.places(*zip(*pairs, strict=True))
    unit = fit.features / np.linalg.norm(fit.features, axis=-1, keepdims=True)
    by_member = np.stack([[float(m[i] @ m[j]) for i, j in zip(*at, strict=True)] for m in unit])
    whole = pd.DataFrame(pairs, columns=["source", "target"]).assign(score=by_member.mean(0))
    # the null must be that of the skeleton's own links
    own, _ = fit.places(*SKELETON)
    whole["p"] = greater_p(whole["score"].to_numpy(), fit.null(*own, seed=4))
    whole["q"] = false_discovery_control(whole["p"])
    best = whole.groupby("target")["score"].rank(ascending=False) <= 2
    expected = whole[best | (whole["q"] < 0.05)].set_index(["source", "target"])
    selected = table.set_index(["source", "target"]).loc[expected.index]
    assert len(selected) == len(table) == len(expected)
    np.testing.assert_allclose(selected["score"], expected["score"], atol=1e-6)
    np.testing.assert_allclose(selected["p"], expected["p"])
    np.testing.assert_allclose(selected["q"], expected["q"])
    assert selected["called"].tolist() == (expected["q"] < 0.05).tolist()
    assert selected["called"].any()
    assert not selected["called"].all()
    every = pd.concat(seen).set_index(["source", "target"])
    assert sorted(every.index) == pairs
    np.testing.assert_allclose(every["p"].loc[selected.index], selected["p"])


def graph() -> GuidanceGraph:
    fit = trained()
    pairs = [(p, g) for p, g in zip(*SKELETON, strict=True) if p != "P007"]
    ends = np.searchsorted(fit.vertices, np.array(pairs).T)
    kinds = np.where(np.char.startswith(fit.vertices, "G"), "Gene", "Peak")
    n = len(pairs)
    return GuidanceGraph(fit.vertices, kinds, ends[0], ends[1], np.ones(n, np.float32), np.ones(n, np.int8))


def test_a_run_writes_both_and_marks_them(tmp_path: Path) -> None:
    fit = trained()
    more = score_candidates(graph(), fit, nodes(), 4000, tmp_path, seed=4)
    alone, both = predicted_links(graph(), fit, seed=4), predicted_links(graph(), fit, seed=4, candidates=more)
    rows, first = both.table.to_pylist(), alone.table.to_pylist()
    assert rows[: len(first)] == first, "the skeleton's answers do not depend on the window"
    assert [row["in_prior"] for row in rows] == [True] * 4 + [False] * len(more)
    every = pq.read_table(tmp_path / CANDIDATES)
    pairs = slow_near(4000) - set(zip(*SKELETON, strict=True))
    assert set(zip(every["peak"].to_pylist(), every["gene"].to_pylist(), strict=True)) == pairs
    assert len({(row["start_id"], row["end_id"]) for row in rows}) == len(rows)


def test_no_pair_is_no_candidate(tmp_path: Path) -> None:
    fit = trained()
    genes, peaks = nodes()
    none = score_candidates(graph(), fit, (genes, peaks.slice(0, 0)), 4000, tmp_path)
    assert len(none) == 0
    assert len(predicted_links(graph(), fit, candidates=none)) == 4


def test_peaks_that_no_edge_joins_are_trained_where_they_are_asked_for(tmp_path: Path) -> None:
    world = toy(n_cells=120, n_genes=12)
    cut = np.arange(len(world.graph.source)) % 3 > 0  # a third of the peaks keep no edge
    graph = replace(world.graph, **{n: getattr(world.graph, n)[cut] for n in ("source", "target", "weight", "sign")})
    starts = np.array([int(p.split(":")[2].split("-")[0]) for p in world.peak])
    genes = pa.Table.from_pylist(
        [
            {
                "id": g, "symbol": g, "species": "x", "assembly": "toy", "chrom": "chr1", "start": 0, "end": 1,
                "strand": "+", "tss": int(starts[world.gene == g].mean()),
            }
            for g in np.unique(world.gene).tolist()
        ],
        schema=GENE.schema,
    )  # fmt: skip
    peaks = pa.Table.from_pylist(
        [
            {"id": p, "assembly": "toy", "chrom": "chr1", "start": s, "end": s + 500}
            for p, s in zip(world.peak.tolist(), starts.tolist(), strict=True)
        ],
        schema=PEAK.schema,
    )
    cells = add_candidate_peaks(world.cells, (genes, peaks), 2000)
    short = Config(first_steps=20, second_steps=20, latent_dim=8, hidden_dim=16)
    narrow, wide = (train(graph, subset, short, Trainer()) for subset in (world.cells, cells))
    lone = set(world.peak[~cut].tolist())
    assert lone.isdisjoint(narrow.vertices.tolist())
    near_enough = {
        p for p, g, s in zip(world.peak, world.gene, starts, strict=True) if p in lone and near_tss(s, g, genes)
    }
    assert near_enough <= set(wide.vertices.tolist())
    more = score_candidates(graph, wide, (genes, peaks), 2000, tmp_path)
    assert set(more["source"]) & lone
    rows = {(r["start_id"], r["end_id"]): r for r in predicted_links(graph, wide, candidates=more).table.to_pylist()}
    for row in rows.values():
        same = row["without_prior"] == pytest.approx(row["score"], abs=1e-6)
        assert same != row["in_prior"], "leaving out an edge changes the score, and no edge cannot be left out"


def near_tss(start: int, gene: str, genes: pa.Table) -> bool:
    tss = next(row["tss"] for row in genes.to_pylist() if row["id"] == gene)
    return bool(max(start - tss, tss - start - 499, 0) <= 2000)
