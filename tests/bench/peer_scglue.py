"""One scglue seed on the inputs of `glue_vs_scglue.py`; runs in the peer's own environment.

Both stages go through scglue's public API with its defaults. A plugin only watches: it measures
quality while the clock is stopped, so evaluation costs scglue nothing. Each stage is saved, so that a
killed run goes on with the stage it was in.

    python peer_scglue.py WORLD OUT --seed 0 [--minutes 90] [--epochs 2 --no-quality]
"""

from __future__ import annotations

import argparse
import json
import pathlib
import resource
import time
from typing import Any

import anndata
import ignite.engine
import networkx as nx
import numpy as np
import pandas as pd
import scglue
import torch
from quality import quality
from scglue.models.base import Trainer, TrainingPlugin

IMPORT_RSS_GB = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
Event = ignite.engine.Events


class Watch(TrainingPlugin):
    """Times the training part of each epoch and, every few epochs, the quality of the embedding."""

    def __init__(self, out: pathlib.Path, cells: dict[str, Any], options: argparse.Namespace, stage: str) -> None:
        self.out, self.cells, self.options, self.stage = out, cells, options, stage
        self.outside = 0.0  # evaluation, not training
        self.step_s = 0.0
        self.steps = 0

    def attach(self, net: Any, trainer: Any, train_engine: Any, *_: Any, **__: Any) -> None:
        start, cpu_start = time.perf_counter(), time.process_time()
        epoch_start = start
        already = sum(row["stage_s"] for row in read(self.out) if row["event"] == "stage")

        @train_engine.on(Event.EPOCH_STARTED)
        def _(engine: Any) -> None:
            nonlocal epoch_start
            epoch_start = time.perf_counter()
            self.last = epoch_start

        @train_engine.on(Event.ITERATION_COMPLETED)
        def _(engine: Any) -> None:
            self.last = time.perf_counter()
            self.steps += 1

        # EPOCH_COMPLETED handlers run in order of registration: validation comes before this one.
        @train_engine.on(Event.EPOCH_COMPLETED)
        def _(engine: Any) -> None:
            now = time.perf_counter()
            self.step_s += self.last - epoch_start
            row = {
                "event": "epoch",
                "stage": self.stage,
                "epoch": engine.state.epoch,
                "steps": self.steps,
                "train_s": self.step_s,
                "stage_s": now - start - self.outside,
                "cpu_s": time.process_time() - cpu_start,
            }
            row["seconds"] = already + row["stage_s"]
            if not self.options.no_quality and engine.state.epoch % 2 == 0:
                row |= self.measure(net)
            log(self.out, row)
            self.outside += time.perf_counter() - now
            if self.options.minutes and row["seconds"] > 60 * self.options.minutes:
                engine.terminate()

    @torch.no_grad()
    def measure(self, net: Any) -> dict[str, float]:
        net.eval()
        means = {}
        for key, adata in self.cells.items():
            x = torch.as_tensor(np.asarray(adata.obsm["X_rep"], np.float32), device=net.device)
            counts = torch.zeros(1, device=net.device)
            parts = [net.x2u[key](counts, x[i : i + 2048])[0].mean for i in range(0, len(x), 2048)]
            means[key] = torch.cat(parts).cpu().numpy()
        net.train()
        return quality(means["rna"], means["atac"], self.cells["rna"].obs["cell_type"].cat.codes.to_numpy())


def log(out: pathlib.Path, row: dict[str, Any]) -> None:
    with (out / "log.jsonl").open("a") as file:
        file.write(json.dumps(row) + "\n")


def read(out: pathlib.Path) -> list[dict[str, Any]]:
    path = out / "log.jsonl"
    return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


def guidance(links: pd.DataFrame, features: set[str]) -> nx.MultiDiGraph:
    graph = nx.MultiDiGraph()
    for gene, peak, weight in links[["gene", "peak", "weight"]].itertuples(index=False):
        graph.add_edge(gene, peak, weight=weight, sign=1, type="fwd")
        graph.add_edge(peak, gene, weight=weight, sign=1, type="rev")
    for name in features:
        graph.add_edge(name, name, weight=1.0, sign=1, type="loop")
    return graph


def watched(out: pathlib.Path, cells: dict[str, Any], options: argparse.Namespace, stage: str) -> Watch:
    """Adds the watch to whatever plugins scglue itself attaches."""
    watch, original = Watch(out, cells, options, stage), Trainer.__dict__.get("_fit", Trainer.fit)
    Trainer._fit = original

    def fit(self: Any, *args: Any, plugins: Any = None, **kwargs: Any) -> None:
        if options.epochs:
            kwargs["max_epochs"] = options.epochs
        original(self, *args, plugins=[*(plugins or []), watch], **kwargs)

    Trainer.fit = fit
    return watch


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("world", type=pathlib.Path)
    parser.add_argument("out", type=pathlib.Path)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--minutes", type=float, default=0)
    parser.add_argument("--epochs", type=int, default=0)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--device", choices=["cpu", "cuda"], default="cpu")
    parser.add_argument("--no-quality", action="store_true")
    options = parser.parse_args()
    scglue.config.CPU_ONLY = options.device == "cpu"
    torch.set_num_threads(options.threads)
    options.out.mkdir(parents=True, exist_ok=True)
    cells = {key: anndata.read_h5ad(options.world / f"{key}.h5ad") for key in ("rna", "atac")}
    links = pd.read_csv(options.world / "links.tsv", sep="\t")
    cells["rna"].var["highly_variable"] = True
    cells["atac"].var["highly_variable"] = cells["atac"].var_names.isin(links["peak"])
    for adata in cells.values():
        scglue.models.configure_dataset(adata, "NB", use_highly_variable=True, use_rep="X_rep")
    used = {name for adata in cells.values() for name in adata.var_names[adata.var["highly_variable"]]}
    graph = guidance(links[links["gene"].isin(used)], used)
    vertices = sorted(graph.nodes)
    start = time.perf_counter()

    first = options.out / "first.dill"
    if not first.exists():
        model = scglue.models.SCGLUEModel(cells, vertices, random_seed=options.seed)
        model.compile()
        watched(options.out, cells, options, "first")
        model.fit(cells, graph, align_burnin=np.inf, safe_burnin=False, directory=options.out / "first")
        model.save(first)
        log(options.out, {"event": "stage", "stage": "first", "stage_s": read(options.out)[-1]["stage_s"]})
    if not options.epochs:
        pretrained = scglue.models.load_model(first)
        began = time.perf_counter()
        for key, adata in cells.items():
            adata.obsm["X_first"] = pretrained.encode_data(key, adata)
        scglue.data.estimate_balancing_weight(*cells.values(), use_rep="X_first", key_added="balancing_weight")
        for adata in cells.values():
            adata.uns[scglue.config.ANNDATA_KEY]["use_dsc_weight"] = "balancing_weight"
        log(options.out, {"event": "stage", "stage": "balance", "stage_s": time.perf_counter() - began})
        model = scglue.models.SCGLUEModel(cells, vertices, random_seed=options.seed)
        model.adopt_pretrained_model(pretrained)
        model.compile()
        model.random_seed += 1
        watch = watched(options.out, cells, options, "second")
        model.fit(cells, graph, directory=options.out / "second")
        model.save(options.out / "second.dill")
        log(options.out, {"event": "stage", "stage": "second", "stage_s": read(options.out)[-1]["stage_s"]})
        log(options.out, {"event": "final", **watch.measure(model.net)})
    log(
        options.out,
        {
            "event": "end",
            "seconds_here": time.perf_counter() - start,
            "device": options.device,
            "gpu_gb": torch.cuda.max_memory_allocated() / 1e9 if options.device == "cuda" else 0.0,
            "import_rss_gb": IMPORT_RSS_GB,
            "peak_rss_gb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20,
            "vertices": len(vertices),
            "edges": graph.number_of_edges(),
        },
    )


if __name__ == "__main__":
    main()
