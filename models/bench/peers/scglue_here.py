"""Train scglue on a folder and write its embeddings there; run by the Python of an environment that has scglue.

The folder holds rna.h5ad-like files named in world.json (raw counts in X, obsm["X_rep"]) and links.tsv (source, target,
weight, sign). Both stages run with all of scglue's defaults, as in its `fit_SCGLUE`; the first stage is kept, so that a
killed run resumes with the second. It imports nothing of ours.

    PYTHON scglue_here.py FOLDER SEED THREADS
"""

from __future__ import annotations

import json
import pathlib
import sys
from typing import Any

import anndata
import networkx as nx
import numpy as np
import pandas as pd
import scglue
import torch


def guidance(links: pd.DataFrame, features: set[str]) -> nx.MultiDiGraph:
    """Return the graph with both directions of every link, and a loop on every feature."""
    graph = nx.MultiDiGraph()
    for source, target, weight, sign in links.itertuples(index=False):
        graph.add_edge(source, target, weight=weight, sign=sign)
        graph.add_edge(target, source, weight=weight, sign=sign)
    for name in features:
        graph.add_edge(name, name, weight=1.0, sign=1)
    return graph


def train_both_stages(
    cells: dict[str, anndata.AnnData], graph: nx.MultiDiGraph, seed: int, folder: pathlib.Path
) -> Any:
    """Train both stages; the first is loaded from the folder if it finished there."""
    kept, vertices = folder / "first.dill", sorted(graph.nodes)
    if not kept.exists():
        first = scglue.models.SCGLUEModel(cells, vertices, random_seed=seed)
        first.compile()
        first.fit(cells, graph, align_burnin=np.inf, safe_burnin=False, directory=str(folder / "first"))
        first.save(folder / "saving.dill")
        (folder / "saving.dill").rename(kept)
    first = scglue.models.load_model(kept)
    for name, adata in cells.items():
        adata.obsm["X_first"] = first.encode_data(name, adata)
    scglue.data.estimate_balancing_weight(*cells.values(), use_rep="X_first", key_added="balancing_weight")
    for adata in cells.values():
        adata.uns[scglue.config.ANNDATA_KEY]["use_dsc_weight"] = "balancing_weight"
    model = scglue.models.SCGLUEModel(cells, vertices, random_seed=seed)
    model.adopt_pretrained_model(first)
    model.compile()
    model.random_seed += 1  # as scglue does, for another order of cells
    model.fit(cells, graph, directory=str(folder / "second"))
    return model


def main(folder: pathlib.Path, seed: int, threads: int) -> None:
    """Train, encode, write cells.npz and features.npz."""
    torch.set_num_threads(threads)
    likelihoods: dict[str, str] = json.loads((folder / "world.json").read_text())
    cells = {name: anndata.read_h5ad(folder / f"{name}.h5ad") for name in likelihoods}
    links = pd.read_csv(folder / "links.tsv", sep="\t")
    for name, adata in cells.items():
        adata.var["highly_variable"] = True  # the folder holds only features that are trained on
        scglue.models.configure_dataset(adata, likelihoods[name].upper(), use_highly_variable=True, use_rep="X_rep")
    used = {feature for adata in cells.values() for feature in adata.var_names}
    graph = guidance(links[links["source"].isin(used) & links["target"].isin(used)], used)
    model = train_both_stages(cells, graph, seed, folder)
    np.savez(folder / "cells.npz", **{name: model.encode_data(name, adata) for name, adata in cells.items()})
    np.savez(folder / "features.npz", features=model.vertices.to_numpy(dtype=str), vectors=model.encode_graph(graph))


if __name__ == "__main__":
    main(pathlib.Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]))
