"""The regulatory program of a simulated world: latent states -> peaks -> genes -> counts."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
import scipy.sparse as sp

from kg.progress import SILENT, Progress

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

    from loaders.simulation.config import WorldConfig
    from loaders.simulation.genome import Genes, Pairs

ENTRIES_PER_BLOCK = 4_000_000  # dense numbers in memory at a time; keeps large worlds small


@dataclass(frozen=True)
class SimulatedCells:
    """Cells and counts; row i is one cell in both modalities.

    Attributes:
        cell_type: (C,) number of the type.
        state: (C, K) activity of each program, standard normal over cells.
        rna: (C, G) raw counts, float32; atac: (C, P) raw counts, float32.
        methylation: (C, G) float32 share of the cytosines read in a gene's body that are methylated, NaN where none
            was read; None where it was not drawn.
    """

    cell_type: NDArray[np.int64]
    state: NDArray[np.float64]
    rna: sp.csr_matrix
    atac: sp.csr_matrix
    methylation: NDArray[np.float32] | None = None


def draw_gene_programs(genes: Genes, config: WorldConfig, rng: np.random.Generator) -> NDArray[np.int64]:
    """Give each gene a program that no other gene with an overlapping window has, while programs last.

    Two genes of one program in one window would make each other's peaks look like links.
    """
    program = rng.integers(0, config.programs, config.genes)
    first = 0
    for i in range(config.genes):
        while genes.chrom[first] != genes.chrom[i] or genes.tss[i] - genes.tss[first] > 2 * config.window_bp:
            first += 1
        free = np.setdiff1d(np.arange(config.programs), program[first:i])
        if len(free):
            program[i] = rng.choice(free)
    return program


def draw_loadings(
    pairs: Pairs, gene_program: NDArray[np.int64], config: WorldConfig, rng: np.random.Generator
) -> NDArray[np.float64]:
    """Draw what opens each peak, (P, K) of length 1, or 0 for a peak that is always open.

    A linked peak follows the programs of its genes (against them where it represses); any other
    follows a program that no gene in reach of it has, while programs last.
    """
    loading, in_reach = np.zeros((2, config.peaks, config.programs))
    np.add.at(loading, (pairs.peak, gene_program[pairs.gene]), pairs.sign)
    np.add.at(in_reach, (pairs.peak, gene_program[pairs.gene]), 1)
    own = (rng.random(in_reach.shape) - (in_reach > 0)).argmax(axis=1)
    unlinked = np.bincount(pairs.peak, pairs.is_link, config.peaks) == 0
    varies = unlinked & (rng.random(config.peaks) >= config.ubiquitous)
    loading[varies, own[varies]] = 1
    loading /= np.maximum(np.linalg.norm(loading, axis=1, keepdims=True), 1e-12)
    return loading


def draw_states(config: WorldConfig, rng: np.random.Generator) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Draw cell types (C,) of unequal size and program states (C, K): a level per type plus a continuous part."""
    share = np.linspace(2, 1, config.cell_types)
    cell_type = rng.choice(config.cell_types, config.cells, p=share / share.sum())
    level = rng.standard_normal((config.cell_types, config.programs))
    level = (level - level.mean(axis=0)) / level.std(axis=0)
    within = rng.standard_normal((config.cells, config.programs))
    return cell_type, np.sqrt(1 - config.continuous) * level[cell_type] + np.sqrt(config.continuous) * within


def draw_cells(
    pairs: Pairs,
    loading: NDArray[np.float64],
    config: WorldConfig,
    rng: np.random.Generator,
    progress: Progress = SILENT,
) -> SimulatedCells:
    """Draw counts of both modalities from one set of cells.

    A peak's activity is exp(fold * loading . state), scaled to mean 1. A gene's expression is the sum
    of its links' activities (their inverse where they repress), weighted by effect. RNA counts are
    negative binomial, ATAC counts Poisson; both vary with the cell's depth.
    """
    cell_type, state = draw_states(config, rng)
    rna_rate = _base_rates(config.genes, config.umi_per_cell, rng)
    atac_rate = _base_rates(config.peaks, config.fragments_per_cell, rng)
    raises, lowers = (_regulation(pairs, config, sign) for sign in (1, -1))
    depth = np.exp(config.depth_sd * rng.standard_normal((2, config.cells, 1)))
    rna, atac = [], []
    progress.begin("drawing counts", config.cells, "cells")
    for rows in _blocks(config):
        activity, expressed = _active(state[rows], loading, raises, lowers, config)
        gamma = rng.gamma(1 / config.dispersion, config.dispersion, expressed.shape)
        rna.append(_sparse(rng.poisson(depth[0, rows] * rna_rate * expressed * gamma)))
        atac.append(_sparse(rng.poisson(depth[1, rows] * atac_rate * activity)))
        progress.advance(len(activity))
    progress.end()
    return SimulatedCells(cell_type, state, sp.vstack(rna, "csr"), sp.vstack(atac, "csr"))


def draw_methylation(
    cells: SimulatedCells,
    pairs: Pairs,
    loading: NDArray[np.float64],
    config: WorldConfig,
    rng: np.random.Generator,
) -> SimulatedCells:
    """Return the same cells with methylation of gene bodies, which falls where a gene is expressed.

    Log-odds = level of the gene + level of the cell - methylation_fold * log of the gene's expression before noise; of
    the cytosines that are read, Poisson in number, a binomial share is methylated.
    """
    raises, lowers = (_regulation(pairs, config, sign) for sign in (1, -1))
    gene_level = rng.normal(-1.0, 0.7, config.genes)
    cell_level = 0.2 * rng.standard_normal((config.cells, 1))
    read = config.sites_per_gene * np.exp(config.depth_sd * rng.standard_normal((config.cells, 1)))
    share = np.empty((config.cells, config.genes), np.float32)
    for rows in _blocks(config):
        _, expressed = _active(cells.state[rows], loading, raises, lowers, config)
        fall = config.methylation_fold * np.log(np.maximum(expressed, 1e-6))
        chance = 1 / (1 + np.exp(fall - gene_level - cell_level[rows]))
        sites = rng.poisson(read[rows], chance.shape)
        share[rows] = np.where(sites > 0, rng.binomial(sites, chance) / np.maximum(sites, 1), np.nan)
    return replace(cells, methylation=share)


def _active(
    state: NDArray[np.float64],
    loading: NDArray[np.float64],
    raises: sp.csr_matrix,
    lowers: sp.csr_matrix,
    config: WorldConfig,
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return activity of peaks (c, P), mean 1, and expression of genes (c, G) of cells in these states."""
    log_activity = config.fold * state @ loading.T
    mean = config.fold**2 / 2 * (loading**2).sum(axis=1)  # log of the mean of a log-normal
    activity = np.exp(log_activity - mean)
    return activity, activity @ raises + np.exp(-log_activity - mean) @ lowers


def _base_rates(n: int, total: float, rng: np.random.Generator) -> NDArray[np.float64]:
    rate = rng.lognormal(0, 0.7, n)
    return np.asarray(total * rate / rate.sum())


def _regulation(pairs: Pairs, config: WorldConfig, sign: int) -> sp.csr_matrix:
    of = pairs.sign == sign
    return sp.csr_matrix((pairs.effect[of], (pairs.peak[of], pairs.gene[of])), (config.peaks, config.genes))


def _blocks(config: WorldConfig) -> Iterator[slice]:
    step = max(ENTRIES_PER_BLOCK // (config.peaks + config.genes), 1)
    return (slice(at, min(at + step, config.cells)) for at in range(0, config.cells, step))


def _sparse(counts: NDArray[np.int64]) -> sp.csr_matrix:
    return sp.csr_matrix(counts.astype(np.float32))
