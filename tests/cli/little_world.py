"""Genes, peaks and their proximity of a small simulated world, loaded by the commands; cells are left to the test."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

    from tests.cli.test_loop import Shell

STATED = ("--assembly", "GRCh38", "--licence", "CC0-1.0", "--citation", "made here")


def load_little_world(regkg: Shell, world: Path) -> None:
    """30 genes, 150 peaks, and 120 cells whose files lie in `world`."""
    regkg("simulate", world, "--genes", "30", "--peaks", "150", "--cells", "120", "--chromosomes", "2")
    regkg("load", "genes", world / "genes.gtf.gz", *STATED)
    regkg("load", "peaks", world / "peaks.narrowPeak.gz", *STATED)
    regkg("load", "proximity", "--rule", "window", "--window-bp", "150000")
