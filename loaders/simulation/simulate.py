"""`regkg simulate`: a seeded world in the field's own file formats, with the truth beside it.

The program that makes the counts is known: each gene belongs to a latent program, its true peaks
follow that program, the other peaks of its window follow other programs. So a model that finds which
peaks vary with a gene finds the planted links, while distance alone only hints at them.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from kg.progress import SILENT, Progress
from loaders.simulation.config import WorldConfig
from loaders.simulation.files import check_room, write_files
from loaders.simulation.genome import distance_auroc, draw_genes, draw_links, draw_peaks, find_pairs
from loaders.simulation.program import draw_cells, draw_gene_programs, draw_loadings, draw_methylation
from loaders.simulation.world import SimulatedWorld

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["SimulatedWorld", "Summary", "WorldConfig", "draw", "simulate"]


@dataclass(frozen=True)
class Summary:
    """What was written.

    Attributes:
        out: the folder.
        genes, peaks, cells: sizes; cells are per modality.
        pairs: candidate (gene, peak) pairs within the window; links: the planted ones among them.
        distance_auroc: of score = -distance for the links over the pairs.
        files: their names, sorted.
    """

    out: Path
    genes: int
    peaks: int
    cells: int
    pairs: int
    links: int
    distance_auroc: float
    files: tuple[str, ...]


def draw(config: WorldConfig, progress: Progress = SILENT) -> SimulatedWorld:
    """Draw a world in memory; nothing is written.

    Raises:
        SettingsError: the features do not fit into the genome.
    """
    # One generator for each stage: more cells do not move the genes.
    stage = [np.random.default_rng(child) for child in np.random.SeedSequence(config.seed).spawn(6)]
    genes = draw_genes(config, stage[0])
    peaks = draw_peaks(genes, config, stage[1])
    pairs = draw_links(find_pairs(genes, peaks, config.window_bp), config, stage[2])
    program = draw_gene_programs(genes, config, stage[3])
    loading = draw_loadings(pairs, program, config, stage[3])
    cells = draw_cells(pairs, loading, config, stage[4], progress)
    if config.sites_per_gene:
        cells = draw_methylation(cells, pairs, loading, config, stage[5])
    return SimulatedWorld(config, genes, peaks, pairs, program, loading, cells)


def simulate(config: WorldConfig, out: Path, *, force: bool = False, progress: Progress = SILENT) -> Summary:
    """Draw a world and write its files into `out`, all or nothing; `world.json` comes last.

    Args:
        config: sizes, noise and difficulty.
        out: a folder, made if needed.
        force: overwrite the world in a folder that is not empty; other files in it stay.
        progress: where to report.

    Raises:
        Conflict: `out` is not empty and `force` is not given.
        InputError: `out` is a file, or cannot be written.
        SettingsError: the features do not fit into the genome.
    """
    check_room(out, force=force)
    world = draw(config, progress)
    files = write_files(world, out, force=force, progress=progress)
    return Summary(
        out=out,
        genes=config.genes,
        peaks=config.peaks,
        cells=config.cells,
        pairs=len(world.pairs.gene),
        links=int(world.pairs.is_link.sum()),
        distance_auroc=distance_auroc(world.pairs),
        files=tuple(files),
    )
