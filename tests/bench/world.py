"""A prepared world: rna.h5ad, atac.h5ad (raw counts in X, obsm['X_rep'], obs['cell_type']) and links.tsv."""

from __future__ import annotations

from typing import TYPE_CHECKING

import anndata
import numpy as np
import pandas as pd
import scipy.sparse as sp

from kg.guidance import GuidanceGraph
from models.inputs.cells import Cells, Modality

if TYPE_CHECKING:
    from pathlib import Path


def read_world(folder: Path) -> tuple[GuidanceGraph, Cells]:
    """The graph and cells of a prepared folder; names serve as ids, gene and peak names never clash."""
    links = pd.read_csv(folder / "links.tsv", sep="\t")
    modalities = {}
    for name in ("rna", "atac"):
        adata = anndata.read_h5ad(folder / f"{name}.h5ad")
        modalities[name] = Modality(
            name=name,
            counts=sp.csr_matrix(adata.X, dtype=np.float32),
            features=adata.var_names.to_numpy(dtype=str),
            rep=np.asarray(adata.obsm["X_rep"], np.float32),
            obs_names=adata.obs_names.to_numpy(dtype=str),
            labels=adata.obs["cell_type"].to_numpy(dtype=str),
        )
    genes, peaks = links["gene"].to_numpy(dtype=str), links["peak"].to_numpy(dtype=str)
    vertices = np.unique(np.concatenate([genes, peaks]))
    graph = GuidanceGraph(
        vertices=vertices,
        kinds=np.where(np.isin(vertices, genes), "Gene", "Peak"),
        source=np.searchsorted(vertices, genes),
        target=np.searchsorted(vertices, peaks),
        weight=links["weight"].to_numpy(np.float32),
        sign=np.ones(len(links), np.int8),
    )
    return graph, Cells(modalities, paired=True)
