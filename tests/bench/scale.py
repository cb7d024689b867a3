"""How GLUE's cost grows: with features, nonzeros, cells on disk and edges of the guidance graph.

    python tests/bench/scale.py [--parts growth,disk,memory,graph] [--cells 100000] [--big 1000000] [--json]

growth: time of a step when features, or nonzeros of a cell, are once, twice and four times as many.
disk: cells a second from disk against in memory, at --cells cells of 20,000 genes and 100,000 peaks.
memory: reading, reducing and training at --cells and at --big cells from disk: peak memory, cells a second.
graph: share of the graph in a step at one and ten million edges, with and without sampling neighbours.

Simulated cells have 200 counts of genes and 500 of peaks; --big 1000000 takes 6 GB of disk under --folder. Each part
runs in a process of its own. Rates are of 128 cells of each modality a step; a step's time is the median of --steps.
Where others use the machine, REGKG_CLOCK=cpu counts processor time instead.
"""

from __future__ import annotations

import argparse
import itertools
import json
import os
import resource
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pandas as pd
import scipy.sparse as sp
import torch

sys.path.insert(0, str(Path(__file__).parents[2]))

from anndata.io import write_elem

from kg.guidance import GuidanceGraph
from models.inputs.backed_matrix import StoredCounts
from models.inputs.cells import Cells, Modality
from models.inputs.streamed_svd import streamed_lsi, streamed_pca
from models.training.loop import Schedule, Trainer
from models.training.runtime import keep_freed_memory
from models.zoo.glue import Config, Glue
from models.zoo.glue.layers import edge_nll, posterior
from models.zoo.glue.minibatch import TrainingData
from models.zoo.glue.task import GlueTask

GENES, PEAKS, OF_GENES, OF_PEAKS = 20_000, 100_000, 200, 500
DIMS, CHUNK, WARM_UP = 100, 10_000, 5
CLOCK = time.process_time if os.environ.get("REGKG_CLOCK") == "cpu" else time.perf_counter


def rows(n: int, features: int, each: int, rng: np.random.Generator) -> sp.csr_matrix:
    """Cells with `each` counts of different features, spread evenly."""
    column = ((np.arange(each) + rng.random((n, each))) * (features / each)).astype(np.int32)
    value = 1 + rng.poisson(0.5, n * each).astype(np.float32)
    return sp.csr_matrix((value, column.ravel(), np.arange(0, n * each + 1, each)), shape=(n, features))


def write(path: Path, n: int, features: int, each: int) -> None:
    """An h5ad, written in chunks as anndata lays it out."""
    rng = np.random.default_rng(0)
    with h5py.File(path, "w") as file:
        write_elem(file, "obs", pd.DataFrame(index=[f"c{i}" for i in range(n)]))
        write_elem(file, "var", pd.DataFrame(index=[f"f{i}" for i in range(features)]))
        group = file.create_group("X")
        group.attrs.update({"encoding-type": "csr_matrix", "encoding-version": "0.1.0", "shape": (n, features)})
        group["indptr"] = np.arange(0, n * each + 1, each)
        for name, kind in (("data", "f4"), ("indices", "i4")):
            group.create_dataset(name, (n * each,), kind, chunks=(1 << 16,))
        for start in range(0, n, CHUNK):
            part = rows(min(CHUNK, n - start), features, each, rng)
            at = slice(start * each, start * each + part.nnz)
            group["data"][at], group["indices"][at] = part.data, part.indices


def files(folder: Path, n: int) -> list[Path]:
    """The two files of so many cells, made when they are not there."""
    found = [folder / f"{name}-{n}.h5ad" for name in ("rna", "atac")]
    for path, features, each in zip(found, (GENES, PEAKS), (OF_GENES, OF_PEAKS), strict=True):
        if not path.exists():
            write(path, n, features, each)
    return found


def modality(name: str, counts: Any, rep: Any = None) -> Modality:
    n, features = counts.shape
    rep = np.random.default_rng(1).normal(size=(n, DIMS)).astype(np.float32) if rep is None else rep
    names = np.array([f"{name}{i}" for i in range(features)])
    return Modality(name, counts, names, rep, np.array([f"c{i}" for i in range(n)]))


def guidance(genes: int, peaks: int, edges: int) -> GuidanceGraph:
    """Random pairs, each peak in one at least."""
    rng = np.random.default_rng(2)
    peak = np.resize(np.arange(peaks), max(edges, peaks))
    gene = rng.integers(genes, size=len(peak))
    vertices = np.array([f"rna{i}" for i in range(genes)] + [f"atac{i}" for i in range(peaks)])
    order = np.argsort(vertices)
    place = np.argsort(order)
    return GuidanceGraph(
        vertices[order],
        np.where(order < genes, "Gene", "Peak"),
        place[genes + peak],
        place[gene],
        rng.uniform(0.1, 1, len(gene)).astype(np.float32),
        np.ones(len(gene), np.int8),
    )


def task_of(modalities: list[Modality], graph: GuidanceGraph, **options: Any) -> GlueTask:
    config = Config(**options)
    data = TrainingData(graph, Cells({m.name: m for m in modalities}), "cpu", config.fanout)
    with Trainer().seeded(0):
        module = Glue(data, config)
    return GlueTask(data, module, Schedule(1, config.lr), 0.0, [torch.ones(n) for n in data.sizes], 0)


def step_times(task: GlueTask, steps: int) -> list[float]:
    """Seconds of each step after the first few, drawing and reading included."""
    task.module.train()
    found, last = [], 0.0
    rng = np.random.default_rng(0)
    epochs = itertools.chain.from_iterable(task.steps(epoch, rng) for epoch in itertools.count(1))
    for _ in itertools.islice(epochs, steps + WARM_UP):
        now = CLOCK()
        found.append(now - last)
        last = now
    return found[WARM_UP:]


def growth(options: argparse.Namespace) -> dict[str, Any]:
    rng, found = np.random.default_rng(0), {}
    for what, sizes in (
        ("features", [(g, 5 * g, 100, 250) for g in (5000, 10_000, 20_000)]),
        ("nonzeros", [(10_000, 50_000, k, 5 * k // 2) for k in (100, 200, 400)]),
    ):
        seconds = []
        for genes, peaks, of_genes, of_peaks in sizes:
            counts = rows(2000, genes, of_genes, rng), rows(2000, peaks, of_peaks, rng)
            each = [modality(name, c) for name, c in zip(("rna", "atac"), counts, strict=True)]
            seconds.append(float(np.median(step_times(task_of(each, guidance(genes, peaks, peaks)), options.steps))))
        found[what] = {"step_s": seconds, "per_doubling": [b / a for a, b in itertools.pairwise(seconds)]}
    return found


def disk(options: argparse.Namespace) -> dict[str, Any]:
    paths = files(options.folder, options.cells)
    graph, found = guidance(GENES, PEAKS, PEAKS), {}
    for how in ("memory", "disk", "memory again", "disk again"):
        stored = [StoredCounts(str(path), "X", "") for path in paths]
        counts = stored if how.startswith("disk") else [s[np.arange(s.shape[0])] for s in stored]
        each = [modality(name, c) for name, c in zip(("rna", "atac"), counts, strict=True)]
        seconds = step_times(task_of(each, graph), 4 * options.steps)
        found[how] = 256 * len(seconds) / sum(seconds)
    ratio = (found["disk"] + found["disk again"]) / (found["memory"] + found["memory again"])
    return {"cells": options.cells, "cells_per_s": found, "disk_over_memory": ratio}


def memory(options: argparse.Namespace) -> dict[str, Any]:
    """One size, in this process."""
    paths, peak, done = files(options.folder, options.cells), [0], threading.Event()

    def watch() -> None:
        while not done.wait(0.1):
            status = Path("/proc/self/status").read_text()
            peak[0] = max(peak[0], int(status.partition("RssAnon:")[2].split()[0]))

    watcher = threading.Thread(target=watch, daemon=True)
    watcher.start()
    start = time.perf_counter()
    stored = [StoredCounts(str(path), "X", "") for path in paths]
    reps = streamed_pca(stored[0], DIMS), streamed_lsi(stored[1], DIMS)
    reduced = time.perf_counter() - start
    each = [modality(name, c, rep) for name, c, rep in zip(("rna", "atac"), stored, reps, strict=True)]
    seconds = step_times(task_of(each, guidance(GENES, PEAKS, PEAKS)), 8 * options.steps)
    done.set()
    watcher.join()
    return {
        "cells": options.cells,
        "disk_gb": sum(path.stat().st_size for path in paths) / 1e9,
        "reduce_s": reduced,
        "cells_per_s": 256 * len(seconds) / sum(seconds),
        "peak_anonymous_gb": peak[0] / 2**20,
        "peak_rss_gb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20,
    }


def graph(options: argparse.Namespace) -> dict[str, Any]:
    """One number of edges: the graph's part of a step is drawing edges, encoding all features, and their losses."""
    rng = np.random.default_rng(0)
    counts = rows(4000, GENES, OF_GENES, rng), rows(4000, PEAKS, OF_PEAKS, rng)
    each = [modality(name, c) for name, c in zip(("rna", "atac"), counts, strict=True)]
    evidence, found = guidance(GENES, PEAKS, options.edges), {}
    for how, said in (
        ("a walk a step, 32 parts", {"graph_edges": sys.maxsize, "graph_every": 1}),
        ("a walk a step", {"graph_every": 1}),
        ("all neighbours", {}),
        ("8 neighbours", {"fanout": 8}),
    ):
        task = task_of(each, evidence, **said)
        whole = float(np.mean(step_times(task, options.steps // 4 * 4)))  # some steps walk, others do not
        encoder, edges = task.module.graph, task._edge_batches(np.random.default_rng(0))
        parameters, times = list(encoder.parameters()), []
        for _ in range(options.steps // 4 + 2):
            start = CLOCK()
            v, kl = posterior(*encoder())
            torch.autograd.grad(edge_nll(v, *next(edges)) + kl / len(v) ** 2, parameters)
            times.append(CLOCK() - start)
        part = float(np.median(times[1:]))
        found[how] = {"step_s": whole, "walk_s": part, "steps_a_walk": task.every, "share": part / task.every / whole}
    return {"edges": options.edges, **found}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--parts", default="growth,disk,memory,graph")
    parser.add_argument("--cells", type=int, default=100_000)
    parser.add_argument("--big", type=int, default=1_000_000)
    parser.add_argument("--edges", type=int, help="of one part `graph`")
    parser.add_argument("--steps", type=int, default=20)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--folder", type=Path, help="of simulated cells, kept; default: a temporary one")
    parser.add_argument("--alone", action="store_true", help="one part in this process")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    keep_freed_memory()  # as training does
    if options.alone:
        print(json.dumps(globals()[options.parts](options)))
        return
    with tempfile.TemporaryDirectory() as temporary:
        folder = options.folder or Path(temporary)
        folder.mkdir(parents=True, exist_ok=True)
        for part in options.parts.split(","):
            for size in sizes_of(part, options):
                found = apart(part, folder, options, size)
                print(json.dumps({"part": part, **found}) if options.json else f"{part}: {shown(found)}", flush=True)


def sizes_of(part: str, options: argparse.Namespace) -> list[list[str]]:
    """Arguments of each process of a part."""
    if part == "memory":
        return [["--cells", str(n)] for n in (options.cells, options.big)]
    if part == "graph":
        return [["--edges", str(n)] for n in ([options.edges] if options.edges else [1_000_000, 10_000_000])]
    return [["--cells", str(options.cells)]]


def apart(part: str, folder: Path, options: argparse.Namespace, size: list[str]) -> dict[str, Any]:
    same = ["--steps", str(options.steps), "--threads", str(options.threads), "--folder", str(folder)]
    command = [sys.executable, __file__, "--alone", "--parts", part, *same, *size]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found


def shown(found: Any) -> str:
    if isinstance(found, dict):
        return "  ".join(f"{name} {shown(value)}" for name, value in found.items())
    if isinstance(found, list):
        return "/".join(shown(value) for value in found)
    return f"{found:.4g}" if isinstance(found, float) else str(found)


if __name__ == "__main__":
    main()
