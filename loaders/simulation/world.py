"""A simulated world as one value."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from loaders.simulation.config import ASSEMBLY, CHROMOSOMES

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from loaders.simulation.config import WorldConfig
    from loaders.simulation.genome import Genes, Pairs, Peaks
    from loaders.simulation.program import SimulatedCells


@dataclass(frozen=True)
class SimulatedWorld:
    """Everything that was drawn, the hidden parts included.

    Attributes:
        config: that it was drawn from.
        genes, peaks: features in genome order.
        pairs: every candidate pair within the window, with the planted links.
        gene_program: (G,) program of each gene.
        loading: (P, K) program mix that opens each peak.
        cells: cell types, states and counts.
    """

    config: WorldConfig
    genes: Genes
    peaks: Peaks
    pairs: Pairs
    gene_program: NDArray[np.int64]
    loading: NDArray[np.float64]
    cells: SimulatedCells

    @property
    def gene_chrom(self) -> NDArray[np.str_]:
        """(G,) chromosome names."""
        return np.array(CHROMOSOMES)[self.genes.chrom]

    @property
    def peak_chrom(self) -> NDArray[np.str_]:
        """(P,) chromosome names."""
        return np.array(CHROMOSOMES)[self.peaks.chrom]

    @property
    def peak_name(self) -> list[str]:
        """P names as ATAC files give them: chrom:start-end, 0-based half-open."""
        columns = zip(self.peak_chrom, self.peaks.start, self.peaks.end, strict=True)
        return [f"{chrom}:{start}-{end}" for chrom, start, end in columns]

    @property
    def peak_id(self) -> list[str]:
        """P ids as the graph gives them: assembly:chrom:start-end."""
        return [f"{ASSEMBLY}:{name}" for name in self.peak_name]
