"""Our GLUE and scglue on a prior of which a share is made up: by how much does FOSCTTM rise?

    python prior_corruption.py --world WORLD --peer-python PYTHON [--rate 0.9] [--seeds 1] [--genes 250] [--cells 2500]
        [--threads 1] [--out bench-results/corruption]

The trials of `regkg bench prior-corruption` on a prepared world (see glue_vs_scglue.py), cut to the genes with most
links, the peaks linked to them, and cells drawn with seed 0, for scglue takes hours on all of it. What is done is kept.
"""

from __future__ import annotations

import argparse
import json
import sys
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

sys.path.insert(0, str(Path(__file__).parents[2]))

from world import read_world

from cli.runs.bench import draw
from models.bench.corrupted_priors import Trials, foscttm_increases
from models.bench.peers import programs
from models.inputs.cells import Cells
from models.training.loop import Trainer
from models.zoo import glue

if TYPE_CHECKING:
    from kg.guidance import GuidanceGraph


def smaller(graph: GuidanceGraph, cells: Cells, n_genes: int, n_cells: int) -> tuple[GuidanceGraph, Cells]:
    """The genes with most links, what is linked to them, and some of the cells."""
    genes = np.flatnonzero(graph.kinds == "Gene")
    degree = np.bincount(graph.source, minlength=len(graph.vertices))[genes]
    chosen = genes[np.argsort(-degree, kind="stable")[:n_genes]]
    kept = np.isin(graph.source, chosen)
    used = np.unique(np.concatenate([graph.source[kept], graph.target[kept]]))
    place = np.searchsorted(used, np.arange(len(graph.vertices)))
    cut = replace(
        graph, vertices=graph.vertices[used], kinds=graph.kinds[used], source=place[graph.source[kept]],
        target=place[graph.target[kept]], weight=graph.weight[kept], sign=graph.sign[kept],
    )  # fmt: skip
    drawn = np.sort(np.random.default_rng(0).choice(len(cells["rna"].obs_names), n_cells, replace=False))
    some = {}
    for name, modality in cells.modalities.items():
        m = modality.restrict(np.isin(modality.features, cut.vertices))
        labels = None if m.labels is None else m.labels[drawn]
        some[name] = replace(m, counts=m.counts[drawn], rep=m.rep[drawn], obs_names=m.obs_names[drawn], labels=labels)
    return cut, Cells(some, paired=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--world", type=Path, required=True)
    parser.add_argument("--peer-python", type=Path, required=True)
    parser.add_argument("--rate", type=float, action="append")
    parser.add_argument("--out", type=Path, default=Path("bench-results/corruption"))
    for name, default in (("seeds", 1), ("genes", 250), ("cells", 2500), ("threads", 1)):
        parser.add_argument(f"--{name}", type=int, default=default)
    said = parser.parse_args()
    graph, cells = smaller(*read_world(said.world), said.genes, said.cells)
    config = glue.Config()
    trials = Trials(said.out, graph, cells, asdict(config))
    named = {
        "regkg": programs.ours(cells, config, Trainer(threads=said.threads)),
        "scglue": programs.scglue(cells, said.peer_python, said.out / "scglue", said.threads),
    }
    for seed in range(said.seeds):
        for rate in sorted({0.0, *(said.rate or [0.9])}):
            for name, program in named.items():
                print(json.dumps(asdict(trials.run(name, program, rate, seed))), file=sys.stderr, flush=True)
    draw(trials.done(), said.out / "prior-corruption.png")
    sizes = {"genes": said.genes, "peaks": int((graph.kinds == "Peak").sum()), "cells": said.cells}
    print(
        json.dumps(
            {**sizes, "trials": [asdict(t) for t in trials.done()], "foscttm_rise": foscttm_increases(trials.done())}
        )
    )


if __name__ == "__main__":
    main()
