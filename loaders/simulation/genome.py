"""Where the genes and peaks of a simulated world lie, and which pairs are true links.

Coordinates are 0-based half-open. Genes and peaks are sorted by chromosome (in the order of
`CHROMOSOMES`) and start, so row numbers follow the genome.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from scipy.stats import rankdata

from kg.errors import SettingsError
from loaders.genome.assemblies import assembly
from loaders.simulation.config import ASSEMBLY, CHROMOSOMES

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from loaders.simulation.config import WorldConfig

SLOT_BP = 1_000  # at most one peak per slot, so that peaks never overlap
FIRST_TSS_BP = 5_000_000
LINK_SCALE_BP = 10_000


@dataclass(frozen=True)
class Genes:
    """Genes in genome order; all columns have length G.

    Attributes:
        chrom: row of `CHROMOSOMES`, int64.
        start, end: gene body; tss: its first base in reading direction.
        strand: "+" or "-".
        gene_id, symbol, version, biotype: names as an Ensembl file would give them.
    """

    chrom: NDArray[np.int64]
    start: NDArray[np.int64]
    end: NDArray[np.int64]
    tss: NDArray[np.int64]
    strand: NDArray[np.str_]
    gene_id: NDArray[np.str_]
    symbol: NDArray[np.str_]
    version: NDArray[np.int64]
    biotype: NDArray[np.str_]


@dataclass(frozen=True)
class Peaks:
    """Peaks in genome order, never overlapping; all columns have length P.

    Attributes:
        chrom: row of `CHROMOSOMES`, int64.
        start, end: the peak; summit: its highest base, as an offset from `start`.
    """

    chrom: NDArray[np.int64]
    start: NDArray[np.int64]
    end: NDArray[np.int64]
    summit: NDArray[np.int64]


@dataclass(frozen=True)
class Pairs:
    """Every (gene, peak) whose peak is within the window of the TSS; sorted by gene, then peak.

    Attributes:
        gene, peak: rows of `Genes` and `Peaks`, (N,) int64.
        distance_bp: from TSS to the nearest base of the peak; 0 when the peak covers the TSS.
        sign: 1 the peak raises the gene, -1 it lowers it, 0 not a link; int8.
        effect: share of the gene's regulation, (0, 1], adding up to 1 over a gene's links; 0 elsewhere.
    """

    gene: NDArray[np.int64]
    peak: NDArray[np.int64]
    distance_bp: NDArray[np.int64]
    sign: NDArray[np.int8]
    effect: NDArray[np.float64]

    @property
    def is_link(self) -> NDArray[np.bool_]:
        """(N,) whether the pair is a planted link."""
        held: NDArray[np.bool_] = self.sign != 0
        return held


def draw_genes(config: WorldConfig, rng: np.random.Generator) -> Genes:
    """Place genes along the chromosomes, about `gene_spacing_bp` apart.

    Raises:
        SettingsError: they do not fit into the chromosomes.
    """
    n = config.genes
    chrom = np.sort(np.arange(n) % config.chromosomes)
    gap = SLOT_BP * 12 + rng.exponential(config.gene_spacing_bp - SLOT_BP * 12, n)
    along = np.cumsum(gap).astype(np.int64)
    first = np.searchsorted(chrom, np.arange(config.chromosomes))
    tss = along - along[first[chrom]] + FIRST_TSS_BP + rng.integers(0, SLOT_BP, config.chromosomes)[chrom]
    length = np.clip(rng.lognormal(np.log(20_000), 0.9, n), 2_000, 200_000).astype(np.int64)
    _check_fit(chrom, tss + config.window_bp + length)
    forward = rng.random(n) < 0.5
    return Genes(
        chrom=chrom,
        start=np.where(forward, tss, tss + 1 - length),
        end=np.where(forward, tss + length, tss + 1),
        tss=tss,
        strand=np.where(forward, "+", "-"),
        gene_id=np.array([f"ENSG9{i:010d}" for i in range(1, n + 1)]),
        symbol=np.array([f"TOY{i:0{len(str(n))}d}" for i in range(1, n + 1)]),
        version=rng.integers(1, 10, n),
        biotype=np.where(rng.random(n) < 0.9, "protein_coding", "lncRNA"),
    )


def _check_fit(chrom: NDArray[np.int64], reach: NDArray[np.int64]) -> None:
    lengths = assembly(ASSEMBLY).lengths
    over = reach >= np.array([lengths[name] for name in CHROMOSOMES])[chrom] - SLOT_BP
    if over.any():
        first = CHROMOSOMES[chrom[over][0]]
        raise SettingsError(
            f"{over.sum()} of {len(over)} genes do not fit on their chromosomes, the first on {first}",
            "fewer genes, closer genes or more chromosomes",
        )


def draw_peaks(genes: Genes, config: WorldConfig, rng: np.random.Generator) -> Peaks:
    """Draw one peak on every TSS, the others scattered, denser near genes.

    Raises:
        SettingsError: more peaks than there is room for.
    """
    taken = _slots(genes.chrom, genes.tss)
    free = np.setdiff1d(_reachable_slots(genes, config.window_bp), taken)
    wanted = config.peaks - config.genes
    if wanted > len(free) // 2:
        raise SettingsError(f"{config.peaks} peaks do not fit beside {config.genes} genes", "fewer peaks or more genes")
    density = 0.15 + 1 / (1 + _slots_to_nearest(free, taken) / 5)
    extra = rng.choice(free, wanted, replace=False, p=density / density.sum())
    slot = np.concatenate([taken, extra])
    width = rng.integers(300, 801, config.peaks)
    start = rng.integers(0, SLOT_BP + 1 - width) + slot % _SLOTS_PER_CHROM * SLOT_BP
    home, room = taken % _SLOTS_PER_CHROM * SLOT_BP, SLOT_BP - width[: len(taken)]
    start[: len(taken)] = home + np.clip(genes.tss - home - width[: len(taken)] // 2, 0, room)
    summit = (width * rng.uniform(0.3, 0.7, config.peaks)).astype(np.int64)
    order = np.argsort(slot)
    return Peaks(slot[order] // _SLOTS_PER_CHROM, start[order], (start + width)[order], summit[order])


_SLOTS_PER_CHROM = 1_000_000  # slots of all chromosomes on one number line, with wide gaps between them


def _slots(chrom: NDArray[np.int64], position: NDArray[np.int64]) -> NDArray[np.int64]:
    return chrom * _SLOTS_PER_CHROM + position // SLOT_BP


def _reachable_slots(genes: Genes, window_bp: int) -> NDArray[np.int64]:
    reach = np.arange(-(window_bp // SLOT_BP) + 1, window_bp // SLOT_BP)
    return np.unique(_slots(genes.chrom, genes.tss)[:, None] + reach)


def _slots_to_nearest(slot: NDArray[np.int64], sites: NDArray[np.int64]) -> NDArray[np.int64]:
    after = np.searchsorted(sites, slot)
    left, right = sites[np.maximum(after - 1, 0)], sites[np.minimum(after, len(sites) - 1)]
    nearest: NDArray[np.int64] = np.minimum(np.abs(slot - left), np.abs(slot - right))
    return nearest


def find_pairs(genes: Genes, peaks: Peaks, window_bp: int) -> Pairs:
    """Return all pairs within the window, none of them a link yet."""
    tss, start, end = (
        chrom * _SLOTS_PER_CHROM * SLOT_BP + at
        for chrom, at in ((genes.chrom, genes.tss), (peaks.chrom, peaks.start), (peaks.chrom, peaks.end))
    )
    low = np.searchsorted(end, tss - window_bp + 1)
    count = np.searchsorted(start, tss + window_bp, side="right") - low
    gene = np.repeat(np.arange(len(tss)), count)
    peak = np.arange(len(gene)) - np.repeat(np.cumsum(count) - count, count) + np.repeat(low, count)
    distance = np.maximum(np.maximum(start[peak] - tss[gene], tss[gene] - end[peak] + 1), 0)
    return Pairs(gene, peak, distance, np.zeros(len(gene), np.int8), np.zeros(len(gene)))


def draw_links(pairs: Pairs, config: WorldConfig, rng: np.random.Generator) -> Pairs:
    """Choose each gene's true peaks among its candidates, near ones more often than far ones.

    Each gene gets 1 + Poisson(links_per_gene - 1) peaks, as far as it has candidates, drawn without
    replacement (Gumbel top-k) with odds that fall with distance.
    """
    wanted = 1 + rng.poisson(config.links_per_gene - 1, config.genes)
    odds = -config.distance_decay * np.log1p(pairs.distance_bp / LINK_SCALE_BP)
    best_first = np.lexsort((-(odds + rng.gumbel(size=len(odds))), pairs.gene))
    first = np.searchsorted(pairs.gene, np.arange(config.genes))
    chosen = best_first[np.arange(len(odds)) - first[pairs.gene] < wanted[pairs.gene]]
    sign, effect = np.zeros(len(odds), np.int8), np.zeros(len(odds))
    sign[chosen] = np.where(rng.random(len(chosen)) < config.repressive, -1, 1)
    effect[chosen] = rng.uniform(0.5, 1.5, len(chosen))
    effect /= np.bincount(pairs.gene, effect, config.genes)[pairs.gene]
    return Pairs(pairs.gene, pairs.peak, pairs.distance_bp, sign, effect)


def distance_auroc(pairs: Pairs) -> float:
    """Return AUROC of score = -distance for the planted links over all pairs; ties count one half."""
    rank, n = rankdata(-pairs.distance_bp), int(pairs.is_link.sum())
    return float((rank[pairs.is_link].sum() - n * (n + 1) / 2) / (n * (len(rank) - n)))
