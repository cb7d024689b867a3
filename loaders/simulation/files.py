"""A simulated world as files: GTF, narrowPeak, h5ad, and the truth as TSV and JSON."""

from __future__ import annotations

import gzip
import json
import shutil
from dataclasses import asdict
from typing import TYPE_CHECKING

import anndata as ad
import numpy as np
import pandas as pd

from kg.errors import Conflict, InputError
from kg.progress import SILENT, Progress
from loaders.simulation.config import ASSEMBLY, DISTANCE_AUROC_BAND, SPECIES
from loaders.simulation.genome import distance_auroc

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from pathlib import Path

    import scipy.sparse as sp
    from numpy.typing import NDArray

    from loaders.simulation.world import SimulatedWorld


PARTIAL = ".partial"


def write_files(world: SimulatedWorld, out: Path, *, force: bool = False, progress: Progress = SILENT) -> list[str]:
    """Write the world's files into `out`; they are moved in when all are complete, `world.json` last.

    Returns:
        The names of the files.

    Raises:
        Conflict: `out` is not empty and `force` is not given.
        InputError: `out` is a file, or cannot be written.
    """
    check_room(out, force=force)
    writers = _writers(world)
    progress.begin("writing files", len(writers), "files")
    partial = out / PARTIAL
    try:
        shutil.rmtree(partial, ignore_errors=True)  # left there by a killed run
        partial.mkdir(parents=True)
        for name, write in writers.items():
            write(world, partial / name)
            progress.advance(1, name)
        (out / "world.json").unlink(missing_ok=True)
        for name in writers:
            (partial / name).replace(out / name)
    except OSError as error:
        raise InputError(f"cannot write to {out}: {error}", "check path, permissions and free space") from error
    finally:
        shutil.rmtree(partial, ignore_errors=True)
    progress.end(f"{len(writers)} files in {out}")
    return list(writers)


def check_room(out: Path, *, force: bool) -> None:
    """Refuse a folder that holds anything, unless `force`.

    Raises:
        Conflict: it is not empty.
        InputError: it is a file.
    """
    if out.exists() and not out.is_dir():
        raise InputError(f"{out} is a file", "name a folder")
    if out.is_dir() and not force and any(entry.name != PARTIAL for entry in out.iterdir()):
        raise Conflict(f"{out} is not empty", "name another folder, or add --force to overwrite the world in it")


def _write_genes(world: SimulatedWorld, path: Path) -> None:
    """GTF: 1-based, end inclusive; a gene, its transcript and its exons (the first and last third of it)."""
    genes = world.genes
    lines = [f"#!genome-build {ASSEMBLY}", f"#!genome-version {ASSEMBLY}", f"#!simulated seed {world.config.seed}"]
    for i, chrom in enumerate(world.gene_chrom):
        names = (
            f'gene_id "{genes.gene_id[i]}.{genes.version[i]}"; gene_name "{genes.symbol[i]}"; '
            f'gene_biotype "{genes.biotype[i]}";'
        )
        transcript = f'{names} transcript_id "{genes.gene_id[i].replace("ENSG", "ENST")}.1";'
        first, last = genes.start[i] + 1, genes.end[i]
        third = (last - first) // 3
        parts = [("gene", first, last, names), ("transcript", first, last, transcript)]
        exons = [(first, first + third), (last - third, last)]
        parts += [("exon", a, b, transcript) for a, b in exons]
        lines += [f"{chrom}\tregkg\t{kind}\t{a}\t{b}\t.\t{genes.strand[i]}\t.\t{text}" for kind, a, b, text in parts]
    _write_gzip(lines, path)


def _write_peaks(world: SimulatedWorld, path: Path) -> None:
    """ENCODE narrowPeak: 0-based half-open; the signal is the mean count of a cell."""
    signal = np.asarray(world.cells.atac.mean(axis=0)).ravel()
    score = np.minimum(1000 * signal / max(signal.max(), 1e-12), 1000).astype(int)
    rows = zip(world.peak_chrom, world.peaks.start, world.peaks.end, score, signal, world.peaks.summit, strict=True)
    _write_gzip(
        [f"{c}\t{a}\t{b}\tpeak_{i}\t{s}\t.\t{x:.5f}\t-1\t-1\t{top}" for i, (c, a, b, s, x, top) in enumerate(rows, 1)],
        path,
    )


def _write_rna(world: SimulatedWorld, path: Path) -> None:
    """AnnData, cells x genes: raw counts in X, symbols as names, Ensembl ids in var, cell types in obs."""
    genes = world.genes
    var = pd.DataFrame({"gene_id": genes.gene_id.astype(object)}, index=genes.symbol.astype(object))
    _anndata(world, world.cells.rna, var, "rna").write_h5ad(path, compression="gzip")


def _write_atac(world: SimulatedWorld, path: Path) -> None:
    """AnnData, cells x peaks: raw counts in X, chrom:start-end as names; row i is the cell of row i in rna.h5ad."""
    columns = {"chrom": world.peak_chrom.astype(object), "start": world.peaks.start, "end": world.peaks.end}
    _anndata(world, world.cells.atac, pd.DataFrame(columns, index=world.peak_name), "atac").write_h5ad(
        path, compression="gzip"
    )


def _write_methylation(world: SimulatedWorld, path: Path) -> None:
    """AnnData, cells x genes: methylated share of cytosines read in X (NaN: none), over its cell's mean in "norm"."""
    share = world.cells.methylation
    assert share is not None  # noqa: S101 - written only where it was drawn
    adata = _anndata(world, share, pd.DataFrame(index=[f"mCH:{gene}" for gene in world.genes.gene_id]), "mch")
    level = np.nansum(share, axis=1, keepdims=True) / np.maximum(np.isfinite(share).sum(axis=1, keepdims=True), 1)
    adata.layers["norm"] = share / np.maximum(level, 1e-6)
    adata.write_h5ad(path, compression="gzip")


def _anndata(
    world: SimulatedWorld, counts: sp.csr_matrix | NDArray[np.float32], var: pd.DataFrame, modality: str
) -> ad.AnnData:
    """Make AnnData whose row i is the same cell in all modalities, under names as in two separate experiments."""
    width = len(str(world.config.cells))
    names = [f"{modality}_{i:0{width}d}" for i in range(1, world.config.cells + 1)]
    types = [f"type_{t + 1}" for t in world.cells.cell_type]
    obs = pd.DataFrame({"cell_type": pd.Categorical(types)}, index=names)
    uns = {"assembly": ASSEMBLY, "species": SPECIES, "paired": True, "simulated_seed": world.config.seed}
    return ad.AnnData(counts, obs=obs, var=var, uns=uns)


def _write_truth(world: SimulatedWorld, path: Path) -> None:
    """Every candidate pair: ids as in the graph, distance of the peak to the TSS, whether it is a planted link."""
    pairs = world.pairs
    columns = {
        "gene_id": world.genes.gene_id[pairs.gene],
        "peak_id": np.array(world.peak_id)[pairs.peak],
        "distance_bp": pairs.distance_bp,
        "is_link": pairs.is_link.astype(int),
        "sign": pairs.sign,
        "effect": np.round(pairs.effect, 4),
    }
    pd.DataFrame(columns).to_csv(path, sep="\t", index=False, lineterminator="\n")


def _write_summary(world: SimulatedWorld, path: Path) -> None:
    """What was asked for, what was planted, and how far distance alone gets."""
    pairs = world.pairs
    summary = {
        "simulated": True,
        "assembly": ASSEMBLY,
        "species": SPECIES,
        "config": asdict(world.config),
        "pairs": len(pairs.gene),
        "links": int(pairs.is_link.sum()),
        "distance_auroc": round(distance_auroc(pairs), 4),
        "distance_auroc_band": DISTANCE_AUROC_BAND,
        "files": {name: (write.__doc__ or "").strip() for name, write in _writers(world).items()},
    }
    path.write_text(json.dumps(summary, indent=2) + "\n", encoding="utf-8")


def _write_gzip(lines: Iterable[str], path: Path) -> None:
    """Without name and time in the header, so that equal worlds are equal byte for byte."""
    with path.open("wb") as raw, gzip.GzipFile("", "wb", fileobj=raw, mtime=0) as packed:
        packed.write(("\n".join(lines) + "\n").encode())


_WRITERS: dict[str, Callable[[SimulatedWorld, Path], None]] = {
    "genes.gtf.gz": _write_genes,
    "peaks.narrowPeak.gz": _write_peaks,
    "rna.h5ad": _write_rna,
    "atac.h5ad": _write_atac,
    "truth.tsv": _write_truth,
    "world.json": _write_summary,
}


def _writers(world: SimulatedWorld) -> dict[str, Callable[[SimulatedWorld, Path], None]]:
    """Return what to write; `world.json` last."""
    if world.cells.methylation is None:
        return _WRITERS
    last = "world.json"
    return {**{k: w for k, w in _WRITERS.items() if k != last}, "mch.h5ad": _write_methylation, last: _WRITERS[last]}
