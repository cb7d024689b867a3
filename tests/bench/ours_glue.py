"""One seed of our GLUE on a prepared world, watched as `peer_scglue.py` watches scglue.

Quality is measured while the clock is stopped. A killed run goes on from its last checkpoint.

    python ours_glue.py WORLD OUT --seed 0 [--minutes 90] [--epochs 2 --no-quality] [--set schedule=published]
"""

from __future__ import annotations

import argparse
import ast
import json
import resource
import sys
import time
from pathlib import Path
from typing import Any

import anndata
import numpy as np
import torch

sys.path.insert(0, str(Path(__file__).parents[2]))

from quality import quality
from world import read_world

from models.training.loop import Trainer
from models.zoo import glue

IMPORT_RSS_GB = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20


class OutOfTime(Exception):  # noqa: N818
    """The minutes asked for are over."""


class Watch:
    """Logs each epoch and, every few epochs, the quality of the embedding."""

    def __init__(self, out: Path, labels: Any, options: argparse.Namespace) -> None:
        self.out, self.labels, self.options = out, labels, options
        before = [row for row in read(out) if row["event"] == "epoch"]
        self.already = before[-1]["seconds"] if before else 0.0
        self.cpu_already = before[-1]["cpu_seconds"] if before else 0.0
        self.start, self.cpu_start = time.perf_counter(), time.process_time()
        self.outside = self.cpu_outside = 0.0

    def __call__(self, stage: str, task: Any, epoch: dict[str, float]) -> None:
        now, cpu_now = time.perf_counter(), time.process_time()
        stage = stage.rpartition("-")[2]
        row = {
            "event": "epoch", "stage": stage, "epoch": int(epoch["epoch"]),
            "steps": int(epoch["epoch"]) * task.n_steps, "train_s": epoch["train_seconds"],
            "seconds": self.already + now - self.start - self.outside,
            "cpu_seconds": self.cpu_already + cpu_now - self.cpu_start - self.cpu_outside,
            "val_total": epoch["val_total"], "adversary": epoch["train_adversary"], "lr": epoch["lr"],
        }  # fmt: skip
        if not self.options.no_quality and epoch["epoch"] % self.options.every == 0:
            row |= quality(*glue.embed_cells(task.module, task.data), self.labels)
        log(self.out, row)
        self.outside += time.perf_counter() - now
        self.cpu_outside += time.process_time() - cpu_now
        over = self.options.minutes and row["seconds"] > 60 * self.options.minutes
        if over or (self.options.epochs and epoch["epoch"] >= self.options.epochs):
            raise OutOfTime


def log(out: Path, row: dict[str, Any]) -> None:
    with (out / "log.jsonl").open("a") as file:
        file.write(json.dumps(row) + "\n")


def read(out: Path) -> list[dict[str, Any]]:
    path = out / "log.jsonl"
    return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("world", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--minutes", type=float, default=0)
    parser.add_argument("--epochs", type=int, default=0, help="of the first stage, then stop")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--device", choices=["cpu", "cuda"], default="cpu")
    parser.add_argument("--every", type=int, default=2, help="epochs between measurements of quality")
    parser.add_argument("--no-quality", action="store_true")
    parser.add_argument("--set", action="append", default=[], metavar="OPTION=VALUE", help="of the model's Config")
    options = parser.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)
    torch.set_num_threads(options.threads)
    graph, cells = read_world(options.world)
    labels = np.unique(cells["rna"].labels, return_inverse=True)[1]
    config = glue.Config(seed=options.seed, **{k: value(v) for k, _, v in (s.partition("=") for s in options.set)})
    checkpoints = options.out / "checkpoints" if not options.epochs else None
    watch = Watch(options.out, labels, options)
    trainer = Trainer(options.device, options.threads, directory=checkpoints, on_epoch=watch)
    try:
        fit = glue.train(graph, cells, config, trainer)
        log(options.out, {"event": "final", **quality(fit.cells["rna"], fit.cells["atac"], labels), **fit.metrics})
    except OutOfTime:
        pass
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    ended = {"event": "end", "import_rss_gb": IMPORT_RSS_GB, "peak_rss_gb": peak, "threads": options.threads}
    log(options.out, {**ended, "device": trainer.device, "gpu_gb": gpu_gb(options.device)})


def gpu_gb(device: str) -> float:
    """The most memory that tensors took on the GPU."""
    return torch.cuda.max_memory_allocated() / 1e9 if device == "cuda" else 0.0


def value(text: str) -> Any:
    """A number where it reads as one, else the text."""
    try:
        return ast.literal_eval(text)
    except (ValueError, SyntaxError):
        return text


if __name__ == "__main__":
    assert anndata
    main()
