"""`regkg simulate`: write a seeded world in the field's file formats, with the truth."""

from __future__ import annotations

from dataclasses import fields, replace
from pathlib import Path
from typing import TYPE_CHECKING

import click

from cli.output import emit, json_option, progress
from loaders.simulation.config import WorldConfig

if TYPE_CHECKING:
    from collections.abc import Callable

_HELP = {
    "seed": "Of every random draw; equal options and seed give equal files.",
    "genes": "Number of genes.",
    "peaks": "Number of peaks; each gene has one on its TSS.",
    "cells": "Cells in each of the h5ad files; row i is the same cell in all of them.",
    "cell_types": "Number of cell types.",
    "programs": "Number of latent programs that genes and peaks follow.",
    "chromosomes": "How many of chr1 ... chr22, chrX carry genes.",
    "gene_spacing_bp": "Mean distance between neighbouring TSSs.",
    "window_bp": "Candidate pairs lie within this distance of the TSS.",
    "links_per_gene": "Mean number of true peaks of a gene.",
    "distance_decay": "Difficulty: how much more likely near peaks are to be true; 0 makes distance uninformative.",
    "repressive": "Share of true peaks that lower their gene.",
    "ubiquitous": "Share of other peaks that are open in every cell.",
    "fold": "Natural-log change of activity per standard deviation of a program.",
    "continuous": "Share of variance within cell types.",
    "umi_per_cell": "Expected RNA counts of a cell.",
    "fragments_per_cell": "Expected ATAC counts of a cell.",
    "depth_sd": "Standard deviation of the log of a cell's depth.",
    "dispersion": "Of the negative binomial.",
    "sites_per_gene": "Cytosines of a gene's body that are read in a cell; above 0 writes mch.h5ad, a third modality.",
    "methylation_fold": "Fall of the log-odds of methylation with the log of expression.",
}


def _world_options(command: Callable[..., None]) -> Callable[..., None]:
    for field in reversed(fields(WorldConfig)):
        command = click.option(
            f"--{field.name.replace('_', '-')}",
            type={"int": int, "float": float}[str(field.type)],
            help=f"{_HELP[field.name]}  [default: {field.default}]",
        )(command)
    return command


@click.command("simulate")
@click.argument("out", type=click.Path(path_type=Path))
@click.option("--quick", is_flag=True, help="Make a small world: 150 genes, 1,000 peaks, 800 cells.")
@_world_options
@click.option("--force", is_flag=True, help="Overwrite the world in a folder that is not empty.")
@json_option
def command(out: Path, *, quick: bool, force: bool, as_json: bool, **options: float | None) -> None:
    """Write genes, peaks, RNA, ATAC and the true links of a simulated world into the folder OUT."""
    from loaders.simulation.simulate import simulate  # noqa: PLC0415 - `--help` need not import anndata

    config = WorldConfig.quick() if quick else WorldConfig()
    config = replace(config, **{name: value for name, value in options.items() if value is not None})  # type: ignore[arg-type]
    with progress(as_json=as_json) as reporter:
        emit(simulate(config, out, force=force, progress=reporter), as_json=as_json)
