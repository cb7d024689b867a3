"""The simulated world: its difficulty, its truth against slow loops, its files under independent readers."""

import gzip
import itertools
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import anndata as ad
import numpy as np
import pandas as pd
import pyranges
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from kg.errors import Conflict, InputError, SettingsError
from loaders.genome.assemblies import assembly
from loaders.simulation import files
from loaders.simulation.config import DISTANCE_AUROC_BAND
from loaders.simulation.genome import distance_auroc
from loaders.simulation.simulate import SimulatedWorld, WorldConfig, draw, simulate

SMALL = WorldConfig(seed=3, genes=30, peaks=200, cells=120, chromosomes=2)
FILES = {"genes.gtf.gz", "peaks.narrowPeak.gz", "rna.h5ad", "atac.h5ad", "truth.tsv", "world.json"}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("worlds") / "small"
    simulate(SMALL, out)
    return out


@pytest.fixture(scope="module")
def world() -> SimulatedWorld:
    return draw(SMALL)


def slow_auroc(score: Any, is_link: Any) -> float:
    """Compute the AUROC by definition: how often a link outranks a non-link, ties counting one half."""
    links, others = score[is_link], score[~is_link]
    won = sum((link > others).sum() + 0.5 * (link == others).sum() for link in links)
    return float(won / (len(links) * len(others)))


def slow_distance(tss: int, start: int, end: int) -> int:
    """Return the distance from the TSS to the nearest base of the peak."""
    return min(abs(tss - base) for base in (start, end - 1)) if not start <= tss < end else 0


def metacell_correlation(world: SimulatedWorld) -> Any:
    """Return the Pearson correlation of each pair over cell types and the tails of every state."""
    state = world.cells.state
    groups = np.concatenate(
        [
            np.eye(world.config.cell_types)[world.cells.cell_type].T,
            (state > 1).T.astype(float),
            (state < -1).T.astype(float),
        ]
    )
    groups = groups[groups.sum(axis=1) > 5]
    scaled = []
    for counts in (world.cells.rna, world.cells.atac):
        total = groups @ counts
        logged = np.log1p(1e4 * total / total.sum(axis=1, keepdims=True))
        spread = logged.std(axis=0)
        scaled.append((logged - logged.mean(axis=0)) / np.where(spread > 0, spread, 1))
    return (scaled[0][:, world.pairs.gene] * scaled[1][:, world.pairs.peak]).mean(axis=0)


@pytest.mark.parametrize("base", [WorldConfig(), WorldConfig.quick()], ids=["default", "quick"])
@pytest.mark.parametrize("seed", range(10))
def test_distance_alone_stays_in_the_stated_band(base: WorldConfig, seed: int) -> None:
    pairs = draw(replace(base, seed=seed, cells=1)).pairs
    low, high = DISTANCE_AUROC_BAND
    auroc = distance_auroc(pairs)
    assert auroc == pytest.approx(slow_auroc(-pairs.distance_bp, pairs.is_link), abs=1e-12)
    assert low <= auroc <= high


@pytest.mark.parametrize("seed", range(3))
def test_the_counts_tell_links_from_their_neighbours(seed: int) -> None:
    world = draw(WorldConfig.quick(seed))
    assert slow_auroc(metacell_correlation(world), world.pairs.is_link) > 0.95


def test_far_links_are_as_clear_as_near_ones() -> None:
    world = draw(WorldConfig.quick())
    far = world.pairs.distance_bp > 50_000
    assert slow_auroc(metacell_correlation(world)[far], world.pairs.is_link[far]) > 0.95


def test_repressive_links_go_the_other_way() -> None:
    world = draw(replace(WorldConfig.quick(), repressive=1.0))
    assert set(world.pairs.sign[world.pairs.is_link]) == {-1}
    assert slow_auroc(-metacell_correlation(world), world.pairs.is_link) > 0.9


def test_pairs_are_exactly_those_within_the_window(world: SimulatedWorld) -> None:
    genes, peaks = world.genes, world.peaks
    expected = {}
    for g, p in itertools.product(range(len(genes.tss)), range(len(peaks.start))):
        distance = slow_distance(genes.tss[g], peaks.start[p], peaks.end[p])
        if genes.chrom[g] == peaks.chrom[p] and distance <= SMALL.window_bp:
            expected[g, p] = distance
    drawn = zip(world.pairs.gene, world.pairs.peak, world.pairs.distance_bp, strict=True)
    assert {(int(g), int(p)): int(d) for g, p, d in drawn} == expected


def test_expression_is_the_sum_of_its_peaks_activities() -> None:
    config = replace(SMALL, cells=4_000, umi_per_cell=20_000, depth_sd=0, dispersion=1e-4)
    world = draw(config)
    activity = np.exp(config.fold * world.cells.state @ world.loading.T)
    rna = world.cells.rna.toarray()
    for g in range(5):
        gene_links = np.flatnonzero((world.pairs.gene == g) & world.pairs.is_link)
        expected = sum(world.pairs.effect[i] * activity[:, world.pairs.peak[i]] for i in gene_links)
        ratio = rna[:, g].sum() / expected.sum()
        high, low = expected > np.quantile(expected, 0.9), expected < np.quantile(expected, 0.1)
        for part in (high, low):
            assert rna[part, g].mean() == pytest.approx(ratio * expected[part].mean(), rel=0.05)


def test_peaks_never_overlap_and_cover_each_tss(world: SimulatedWorld) -> None:
    genes, peaks = world.genes, world.peaks
    for chrom in np.unique(peaks.chrom):
        at = peaks.chrom == chrom
        assert (peaks.end[at][:-1] <= peaks.start[at][1:]).all()
    for g in range(len(genes.tss)):
        over = (peaks.chrom == genes.chrom[g]) & (peaks.start <= genes.tss[g]) & (genes.tss[g] < peaks.end)
        assert over.sum() == 1


def test_gtf_parses_and_gives_the_tss_by_strand(folder: Path, world: SimulatedWorld) -> None:
    table = pyranges.read_gtf(str(folder / "genes.gtf.gz")).df
    rows = table[table.Feature == "gene"].assign(bare=lambda t: t.gene_id.str.split(".").str[0]).set_index("bare")
    assert set(table.Feature) == {"gene", "transcript", "exon"}
    assert len(rows) == SMALL.genes
    for i, gene_id in enumerate(world.genes.gene_id):
        row = rows.loc[gene_id]
        tss = row.Start if row.Strand == "+" else row.End - 1  # pyranges is 0-based half-open
        assert (tss, row.gene_name, row.gene_biotype) == (
            world.genes.tss[i], world.genes.symbol[i], world.genes.biotype[i],
        )  # fmt: skip
        inside = table[(table.gene_id == row.gene_id)]
        assert (inside.Start.min(), inside.End.max()) == (row.Start, row.End)
    assert rows.gene_id.str.fullmatch(r"ENSG\d{11}\.\d+").all()


def test_narrow_peaks_parse_and_lie_on_the_assembly(folder: Path, world: SimulatedWorld) -> None:
    table = pd.read_csv(folder / "peaks.narrowPeak.gz", sep="\t", header=None)
    assert table.shape == (SMALL.peaks, 10)
    assert table[0].tolist() == world.peak_chrom.tolist()
    assert (table[1].tolist(), table[2].tolist()) == (world.peaks.start.tolist(), world.peaks.end.tolist())
    assert ((table[9] >= 0) & (table[9] < table[2] - table[1])).all()
    assert table[4].between(0, 1000).all()
    assert (table[2] <= table[0].map(assembly("GRCh38").lengths)).all()


def test_truth_agrees_with_the_files(folder: Path) -> None:
    truth = pd.read_csv(folder / "truth.tsv", sep="\t")
    genes = pyranges.read_gtf(str(folder / "genes.gtf.gz")).df.query("Feature == 'gene'")
    place = {str(row.gene_id).split(".")[0]: row for row in genes.itertuples()}
    for row in truth.itertuples():
        name, chrom, interval = str(row.peak_id).split(":")
        start, end = map(int, interval.split("-"))
        gene = place[str(row.gene_id)]
        tss = gene.Start if gene.Strand == "+" else gene.End - 1
        assert (name, chrom) == ("GRCh38", gene.Chromosome)
        assert row.distance_bp == slow_distance(tss, start, end) <= SMALL.window_bp
    assert ((truth.sign != 0) == (truth.is_link == 1)).all()
    linked = truth[truth.is_link == 1]
    assert set(linked.gene_id) == set(truth.gene_id)
    np.testing.assert_allclose(linked.groupby("gene_id").effect.sum(), 1, atol=1e-3)


def test_counts_are_raw_integers_of_the_same_cells(folder: Path, world: SimulatedWorld) -> None:
    rna, atac = (ad.read_h5ad(folder / f"{name}.h5ad") for name in ("rna", "atac"))
    for data in (rna, atac):
        assert data.X.format == "csr"
        assert data.X.dtype == np.float32
        assert (data.X.data == np.round(data.X.data)).all()
        assert data.X.data.min() >= 1
        assert data.obs_names.is_unique
        assert data.var_names.is_unique
        assert data.uns["assembly"] == "GRCh38"
        assert data.uns["paired"]
    assert rna.shape == (SMALL.cells, SMALL.genes)
    assert rna.var["gene_id"].tolist() == world.genes.gene_id.tolist()
    assert atac.var_names.tolist() == world.peak_name
    assert rna.obs["cell_type"].tolist() == atac.obs["cell_type"].tolist()
    assert not set(rna.obs_names) & set(atac.obs_names)


def test_methylation_is_a_file_more_and_moves_nothing_else(tmp_path: Path, folder: Path, world: SimulatedWorld) -> None:
    simulate(replace(SMALL, sites_per_gene=5.0, depth_sd=SMALL.depth_sd), tmp_path)
    assert {path.name for path in tmp_path.iterdir()} == FILES | {"mch.h5ad"}
    for name in FILES - {"world.json"}:
        assert (tmp_path / name).read_bytes() == (folder / name).read_bytes()
    mch = ad.read_h5ad(tmp_path / "mch.h5ad")
    assert mch.shape == (SMALL.cells, SMALL.genes)
    assert mch.var_names.tolist() == [f"mCH:{gene}" for gene in world.genes.gene_id]
    share = np.asarray(mch.X)
    assert np.nanmin(share) == 0
    assert np.nanmax(share) <= 1
    np.testing.assert_allclose(np.nanmean(mch.layers["norm"], axis=1), 1, rtol=1e-5)


def test_methylation_follows_the_stated_odds() -> None:
    config = replace(SMALL, cells=3_000, sites_per_gene=400.0, depth_sd=0, continuous=1.0)
    world = draw(config)
    share = world.cells.methylation
    assert share is not None
    activity = np.exp(config.fold * world.cells.state @ world.loading.T)
    for g in range(5):
        gene_links = np.flatnonzero((world.pairs.gene == g) & world.pairs.is_link)
        log_expressed = np.log(sum(world.pairs.effect[i] * activity[:, world.pairs.peak[i]] for i in gene_links))
        inside = (share[:, g] > 0.02) & (share[:, g] < 0.98)
        odds = np.log(share[inside, g] / (1 - share[inside, g]))
        slope = np.polyfit(log_expressed[inside], odds, 1)[0]
        assert slope == pytest.approx(-config.methylation_fold, abs=0.05)


def test_depth_follows_the_config(world: SimulatedWorld) -> None:
    still = draw(replace(SMALL, cells=1_500, depth_sd=0, fold=0))
    assert still.cells.rna.sum() / 1_500 == pytest.approx(SMALL.umi_per_cell, rel=0.05)
    assert still.cells.atac.sum() / 1_500 == pytest.approx(SMALL.fragments_per_cell, rel=0.02)
    counts = still.cells.rna.toarray()
    mean, variance = counts.mean(axis=0), counts.var(axis=0)
    np.testing.assert_allclose(variance, mean + SMALL.dispersion * mean**2, rtol=0.35)
    assert np.std(np.log(world.cells.atac.toarray().sum(axis=1))) > 0.2


def test_world_json_states_what_was_planted(folder: Path) -> None:
    recorded = json.loads((folder / "world.json").read_text())
    truth = pd.read_csv(folder / "truth.tsv", sep="\t")
    assert recorded["config"]["seed"] == SMALL.seed
    assert (recorded["pairs"], recorded["links"]) == (len(truth), truth.is_link.sum())
    expected = slow_auroc(-truth.distance_bp.to_numpy(), truth.is_link.to_numpy() == 1)
    assert recorded["distance_auroc"] == pytest.approx(expected, abs=1e-4)
    assert set(recorded["files"]) == FILES == {p.name for p in folder.iterdir()}


def test_one_seed_one_world(folder: Path, tmp_path: Path) -> None:
    simulate(SMALL, tmp_path / "again")
    for name in FILES:
        one, other = folder / name, tmp_path / "again" / name
        if name.endswith(".h5ad"):
            a, b = ad.read_h5ad(one), ad.read_h5ad(other)
            assert (a.X != b.X).nnz == 0
            pd.testing.assert_frame_equal(a.obs, b.obs)
            pd.testing.assert_frame_equal(a.var, b.var)
        else:
            assert one.read_bytes() == other.read_bytes(), name


def test_another_seed_another_world_and_more_cells_the_same_genome() -> None:
    one, other, more = draw(SMALL), draw(replace(SMALL, seed=4)), draw(replace(SMALL, cells=150))
    assert one.genes.tss.tolist() != other.genes.tss.tolist()
    assert one.genes.tss.tolist() == more.genes.tss.tolist()
    assert one.pairs.sign.tolist() == more.pairs.sign.tolist()


def test_blocks_of_cells_change_nothing_but_the_draw(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("loaders.simulation.program.ENTRIES_PER_BLOCK", 7 * (SMALL.genes + SMALL.peaks))
    world = draw(SMALL)
    assert world.cells.rna.shape == (SMALL.cells, SMALL.genes)
    assert world.cells.atac.shape == (SMALL.cells, SMALL.peaks)
    assert world.cells.rna.sum(axis=1).min() > 0


def test_a_folder_with_anything_in_it_is_refused(tmp_path: Path) -> None:
    (tmp_path / "thesis.tex").write_text("mine")
    with pytest.raises(Conflict, match="not empty"):
        simulate(SMALL, tmp_path)
    assert [p.name for p in tmp_path.iterdir()] == ["thesis.tex"]
    simulate(SMALL, tmp_path, force=True)
    assert {p.name for p in tmp_path.iterdir()} == FILES | {"thesis.tex"}
    assert (tmp_path / "thesis.tex").read_text() == "mine"


def test_a_file_is_not_a_folder(tmp_path: Path) -> None:
    (tmp_path / "taken").write_text("")
    with pytest.raises(InputError, match="is a file"):
        simulate(SMALL, tmp_path / "taken")


def test_a_failure_leaves_the_old_world_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    simulate(SMALL, tmp_path)
    before = {p.name: p.read_bytes() for p in tmp_path.iterdir()}

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setitem(files._WRITERS, "truth.tsv", full)
    with pytest.raises(InputError, match="No space left"):
        simulate(replace(SMALL, seed=9), tmp_path, force=True)
    assert {p.name: p.read_bytes() for p in tmp_path.iterdir()} == before


def test_what_a_killed_run_left_is_no_obstacle(tmp_path: Path) -> None:
    (tmp_path / files.PARTIAL).mkdir()
    (tmp_path / files.PARTIAL / "rna.h5ad").write_text("half")
    simulate(SMALL, tmp_path)
    assert {p.name for p in tmp_path.iterdir()} == FILES


def test_gzip_headers_hold_no_time(folder: Path) -> None:
    for name in ("genes.gtf.gz", "peaks.narrowPeak.gz"):
        raw = (folder / name).read_bytes()
        assert raw[4:8] == b"\0\0\0\0"
        assert gzip.decompress(raw).endswith(b"\n")


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"genes": 0}, "genes is 0"),
        ({"genes": 10, "peaks": 9}, "peaks is 9"),
        ({"cells": 0}, "cells is 0"),
        ({"continuous": 1.5}, "continuous is 1.5"),
        ({"dispersion": 0.0, "seed": -1}, "seed is -1.*dispersion is 0"),
        ({"chromosomes": 24}, "chromosomes is 24"),
    ],
)
def test_what_cannot_be_drawn_is_refused_by_name(wrong: dict[str, Any], message: str) -> None:
    with pytest.raises(SettingsError, match=message):
        WorldConfig(**wrong)


def test_features_that_do_not_fit_are_refused() -> None:
    with pytest.raises(SettingsError, match=r"do not fit on their chromosomes.*chr1"):
        draw(WorldConfig(genes=9_000, peaks=9_000, cells=1, chromosomes=1))
    with pytest.raises(SettingsError, match="do not fit beside"):
        draw(WorldConfig(genes=10, peaks=300, cells=1, window_bp=2_000))


@settings(deadline=None, max_examples=60, suppress_health_check=[HealthCheck.too_slow])
@given(
    st.builds(
        WorldConfig,
        seed=st.integers(0, 2**32),
        genes=st.integers(1, 12),
        peaks=st.integers(12, 30),
        cells=st.integers(1, 12),
        cell_types=st.integers(2, 5),
        programs=st.integers(2, 6),
        chromosomes=st.integers(1, 23),
        links_per_gene=st.floats(1, 8),
        distance_decay=st.floats(0, 3),
        repressive=st.floats(0, 1),
        ubiquitous=st.floats(0, 1),
        fold=st.floats(0, 2),
        continuous=st.floats(0, 1),
        window_bp=st.integers(60_000, 300_000),
    )
)
def test_any_world_holds_together(config: WorldConfig) -> None:
    world = draw(config)
    genes, pairs = world.genes, world.pairs
    assert len(world.peaks.start) == config.peaks
    assert (genes.start <= genes.tss).all()
    assert (genes.tss < genes.end).all()
    assert (np.where(genes.strand == "+", genes.start, genes.end - 1) == genes.tss).all()
    assert len(set(world.peak_id)) == config.peaks
    assert (world.peaks.end - world.peaks.start >= 300).all()
    assert (pairs.distance_bp <= config.window_bp).all()
    assert set(pairs.gene[pairs.is_link]) == set(range(config.genes))
    assert ((pairs.effect > 0) == pairs.is_link).all()
    assert np.isfinite(world.loading).all()
    for counts, width in ((world.cells.rna, config.genes), (world.cells.atac, config.peaks)):
        assert counts.shape == (config.cells, width)
        assert (counts.data == np.round(counts.data)).all()
        assert (counts.data >= 0).all()
