"""A simulated world as cells and a guidance graph, read from its files as a training job reads them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa

from kg.cells import CellsFile, read_header
from kg.guidance import GuidanceGraph
from kg.guidance.policy import power_decay
from kg.schema import GENE, PEAK
from loaders.simulation.files import write_files
from loaders.simulation.simulate import draw
from models.inputs.read_anndata import Reading, read_cells

if TYPE_CHECKING:
    from pathlib import Path

    from loaders.simulation.simulate import SimulatedWorld, WorldConfig
    from models.inputs.cells import Cells

NO_READING = Reading()


def files_of(folder: Path) -> list[CellsFile]:
    """Return the h5ad files of a folder, as if registered."""
    files = []
    for path in sorted(folder.glob("*.h5ad")):
        header = read_header(path)
        shape = header.cells, len(header.features)
        files.append(CellsFile("set", header.modality, "", str(path), shape, header.layers, "GRCh38", "", 1.0))
    return files


def nodes_of(world: SimulatedWorld) -> tuple[pa.Table, pa.Table]:
    """Return genes and peaks as in a release."""
    g, p = world.genes, world.peaks
    same = {"species": "NCBITaxon:9606", "assembly": "GRCh38"}
    genes = [
        {**same, "id": i, "symbol": s, "chrom": c, "start": a, "end": b, "strand": strand, "tss": tss}
        for i, s, c, a, b, strand, tss in zip(
            g.gene_id.tolist(), g.symbol.tolist(), world.gene_chrom.tolist(), g.start.tolist(), g.end.tolist(),
            g.strand.tolist(), g.tss.tolist(), strict=True,
        )
    ]  # fmt: skip
    peaks = [
        {"id": i, "assembly": "GRCh38", "chrom": c, "start": a, "end": b}
        for i, c, a, b in zip(
            world.peak_id, world.peak_chrom.tolist(), p.start.tolist(), p.end.tolist(), strict=True
        )
    ]  # fmt: skip
    return pa.Table.from_pylist(genes, schema=GENE.schema), pa.Table.from_pylist(peaks, schema=PEAK.schema)


def graph_of(world: SimulatedWorld) -> GuidanceGraph:
    """Return every candidate pair, weighted by distance."""
    gene, peak = world.genes.gene_id[world.pairs.gene], np.array(world.peak_id)[world.pairs.peak]
    vertices = np.unique(np.concatenate([gene, peak]))
    return GuidanceGraph(
        vertices,
        np.where(np.isin(vertices, gene), "Gene", "Peak"),
        np.searchsorted(vertices, peak),
        np.searchsorted(vertices, gene),
        power_decay(world.pairs.distance_bp),
        np.ones(len(gene), np.int8),
    )


def simulated(
    config: WorldConfig, folder: Path, how: Reading = NO_READING
) -> tuple[SimulatedWorld, GuidanceGraph, Cells]:
    """Return a drawn world, its graph, and its cells read from their files."""
    world = draw(config)
    write_files(world, folder, force=True)
    return world, graph_of(world), read_cells(files_of(folder), *nodes_of(world), how)
