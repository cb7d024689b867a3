"""Do genes and peaks belong to one assembly? Open chromatin is densest at transcription start sites.

Coordinates of two assemblies of a species mostly fit each other's chromosome ends, so ends tell little; but a shift of
some kilobases takes peaks and start sites apart. Measured: 3.7 and 13.6 times more peaks within 1 kb of a start site
than of places beside it where the assemblies agree (mouse cortex, human ES cells), 1.2 and 1.6 where they do not
(GRCm39 genes with mm10 peaks, hg19 genes with hg38 peaks).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from loaders.genome.intervals import Intervals, meeting

if TYPE_CHECKING:
    from numpy.typing import NDArray

NEAR_BP = 1000
SHIFTS_BP = (-200_000, -50_000, 50_000, 200_000)
FEWEST = 50  # peaks expected by chance: below that a ratio means nothing
LEAST = 2.0


def tss_enrichment(chrom: NDArray[np.object_], tss: NDArray[np.int64], peaks: Intervals) -> float | None:
    """Return how many times more peaks lie within 1 kb of a start site than of places 50 and 200 kb beside one.

    Args:
        chrom, tss: (G,) of the genes.
        peaks: of the same chromosomes' names.

    Returns:
        The ratio; None where too few peaks would do so by chance to tell.
    """
    middle = (peaks.start + peaks.end) // 2
    points = Intervals(peaks.chrom, middle, middle + 1)

    def near(shift: int) -> int:
        at = Intervals(chrom, tss + shift - NEAR_BP, tss + shift + NEAR_BP + 1)
        return len(np.unique(meeting(at, points)[1]))

    expected = float(np.mean([near(shift) for shift in SHIFTS_BP]))
    return near(0) / expected if expected >= FEWEST else None
