"""GLUE programs as functions from a guidance graph and a seed to embeddings: ours, and scglue where it is installed."""

from __future__ import annotations

import json
import subprocess
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import anndata
import numpy as np
import pandas as pd

from kg.errors import MissingInput, TrainingError
from models.zoo import glue

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    from kg.guidance import GuidanceGraph
    from models.inputs.cells import Cells
    from models.training.loop import Trainer

    Embeddings = tuple[dict[str, NDArray[np.float32]], NDArray[np.str_], NDArray[np.float32]]
    Program = Callable[[GuidanceGraph, int], Embeddings]
"""Cells by modality, then names of the features and their embeddings."""

SCRIPT = Path(__file__).with_name("scglue_here.py")


def ours(cells: Cells, config: glue.Config, trainer: Trainer) -> Program:
    """Return the zoo's GLUE as a program."""

    def run(graph: GuidanceGraph, seed: int) -> Embeddings:
        fit = glue.train(graph, cells, replace(config, seed=seed), trainer)
        return dict(fit.cells), fit.vertices, fit.features[0]

    return run


def scglue(cells: Cells, python: Path, folder: Path, threads: int) -> Program:
    """Return scglue with its defaults, both stages, as a program run in a child process of another Python.

    Args:
        cells: cells whose encoder inputs and labels both programs see.
        python: interpreter of an environment with scglue.
        folder: for inputs, checkpoints and logs, in one folder for each graph and seed.
        threads: number of torch threads.

    Raises:
        MissingInput: that Python cannot import scglue.
    """
    check = subprocess.run([python, "-c", "import scglue"], capture_output=True, text=True, check=False)
    if check.returncode:
        raise MissingInput(
            f"{python} has no scglue: {check.stderr.strip().splitlines()[-1]}",
            'it needs: scglue==0.4.1 "pynndescent<0.6" "scikit-learn<1.8" "scipy<1.16" "anndata<0.13" "pandas<3"',
        )

    def run(graph: GuidanceGraph, seed: int) -> Embeddings:
        own = folder / f"{graph.hash[:12]}-seed{seed}"  # where a killed run resumes with its second stage
        write_world(graph, cells, own)
        log_file = own / "scglue.log"
        with log_file.open("a") as log:
            done = subprocess.run([python, SCRIPT, own, str(seed), str(threads)], stdout=log, stderr=log, check=False)
        if done.returncode:
            raise TrainingError(f"scglue exited with code {done.returncode}", f"see the end of {log_file}")
        embedded, features = np.load(own / "cells.npz"), np.load(own / "features.npz")
        return {name: embedded[name] for name in embedded.files}, features["features"], features["vectors"]

    return run


def write_world(graph: GuidanceGraph, cells: Cells, folder: Path) -> None:
    """Write the inputs of `scglue_here.py`: the features and edges that ours trains on."""
    folder.mkdir(parents=True, exist_ok=True)
    linked = cells.linked(graph)
    for name, modality in linked.modalities.items():
        obs, var = pd.DataFrame(index=modality.obs_names), pd.DataFrame(index=modality.features)
        anndata.AnnData(modality.counts, obs, var, obsm={"X_rep": modality.rep}).write_h5ad(folder / f"{name}.h5ad")
    (folder / "world.json").write_text(json.dumps({m.name: m.likelihood for m in linked.modalities.values()}))
    ends = {"source": graph.vertices[graph.source], "target": graph.vertices[graph.target]}
    links = pd.DataFrame({**ends, "weight": graph.weight, "sign": graph.sign})
    links.to_csv(folder / "links.tsv", sep="\t", index=False)
