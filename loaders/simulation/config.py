"""What can be chosen about a simulated world, and what is stated about its difficulty."""

from __future__ import annotations

from dataclasses import dataclass

from kg.errors import SettingsError

ASSEMBLY = "GRCh38"
SPECIES = "NCBITaxon:9606"
CHROMOSOMES = (*(f"chr{n}" for n in range(1, 23)), "chrX")
DISTANCE_AUROC_BAND = (0.60, 0.75)
NOT_NEGATIVE = ("distance_decay", "fold", "depth_sd", "sites_per_gene", "methylation_fold")


@dataclass(frozen=True)
class WorldConfig:
    """Sizes, noise and difficulty of one world; equal configs give equal worlds.

    The difficulty that matters is `distance_decay`: how much likelier a near peak is to be a true
    link than a far one. At the default, ranking all (gene, peak) pairs of the window by -distance
    reaches an AUROC inside `DISTANCE_AUROC_BAND`, so a model has something to prove.

    Attributes:
        seed: of every random draw.
        genes, peaks: numbers of features; each gene has a peak on its TSS.
        cells: rows of each h5ad file; row i is the same cell in all of them.
        cell_types: discrete groups of unequal size.
        programs: latent regulatory programs; each gene belongs to one.
        chromosomes: how many of chr1 ... chr22, chrX carry genes, in that order.
        gene_spacing_bp: mean distance between neighbouring TSSs.
        window_bp: a pair is a candidate when the peak is at most this far from the TSS.
        links_per_gene: mean number of peaks that regulate a gene, at least one.
        distance_decay: a candidate is drawn with odds ((d + 10 kb) / 10 kb) ** -distance_decay.
        repressive: share of links whose peak lowers its gene, 0 to 1.
        ubiquitous: share of unlinked peaks that are open alike in every cell, 0 to 1.
        fold: natural-log change of a peak's activity per standard deviation of its program.
        continuous: share of each program's variance that varies within cell types, 0 to 1.
        umi_per_cell, fragments_per_cell: expected counts of a cell of median depth.
        depth_sd: standard deviation of the log of a cell's depth.
        dispersion: of the negative binomial, variance = mean + dispersion * mean ** 2.
        sites_per_gene: cytosines of a gene's body that are read in a cell of median depth; 0 makes no methylation.
        methylation_fold: fall of the log-odds of methylation with the log of expression.
    """

    seed: int = 0
    genes: int = 400
    peaks: int = 3_000
    cells: int = 2_000
    cell_types: int = 8
    programs: int = 12
    chromosomes: int = 5
    gene_spacing_bp: int = 75_000
    window_bp: int = 150_000
    links_per_gene: float = 3.0
    distance_decay: float = 0.8
    repressive: float = 0.0
    ubiquitous: float = 0.2
    fold: float = 1.4
    continuous: float = 0.3
    umi_per_cell: float = 1_000.0
    fragments_per_cell: float = 800.0
    depth_sd: float = 0.3
    dispersion: float = 0.3
    sites_per_gene: float = 0.0
    methylation_fold: float = 0.6

    def __post_init__(self) -> None:
        """Refuse what cannot be drawn.

        Raises:
            SettingsError: names every field that is out of range.
        """
        wrong = [f"{name} is {getattr(self, name)}: expected {rule}" for name, rule in self._broken()]
        if wrong:
            raise SettingsError("; ".join(wrong), "see `regkg simulate --help` for the ranges")

    def _broken(self) -> list[tuple[str, str]]:
        rules = {
            "seed": (self.seed >= 0, "0 or more"),
            "genes": (self.genes >= 1, "1 or more"),
            "peaks": (self.genes <= self.peaks <= 30 * self.genes, "between 1 and 30 times the genes"),
            "cells": (self.cells >= 1, "1 or more"),
            "cell_types": (self.cell_types >= 2, "2 or more"),
            "programs": (self.programs >= 2, "2 or more"),
            "chromosomes": (1 <= self.chromosomes <= len(CHROMOSOMES), f"1 to {len(CHROMOSOMES)}"),
            "gene_spacing_bp": (self.gene_spacing_bp >= 50_000, "50,000 or more"),
            "window_bp": (self.window_bp >= 1_000, "1,000 or more"),
            "links_per_gene": (self.links_per_gene >= 1, "1 or more"),
            "umi_per_cell": (self.umi_per_cell > 0, "more than 0"),
            "fragments_per_cell": (self.fragments_per_cell > 0, "more than 0"),
            "dispersion": (self.dispersion > 0, "more than 0"),
        }
        rules |= {n: (0 <= getattr(self, n) <= 1, "0 to 1") for n in ("repressive", "ubiquitous", "continuous")}
        rules |= {n: (getattr(self, n) >= 0, "0 or more") for n in NOT_NEGATIVE}
        return [(name, rule) for name, (holds, rule) in rules.items() if not holds]

    @classmethod
    def quick(cls, seed: int = 0) -> WorldConfig:
        """Return a small world for quick demos: 150 genes, 1,000 peaks, 800 cells."""
        return cls(seed=seed, genes=150, peaks=1_000, cells=800, chromosomes=3)
