"""How robust a model is to a wrong prior: train on guidance graphs of which a share of the edges is made up.

A share r of the edges is deleted and as many pairs that no edge joins are put there, with the weights and signs of the
deleted ones (Cao & Gao 2022, doi 10.1038/s41587-022-01284-4, "robustness to corrupted regulatory interactions").
"""

from __future__ import annotations

import json
import time
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
from scipy.stats import pearsonr

from kg.errors import Conflict, InputError
from models.evaluation.metrics import foscttm, label_transfer

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from kg.guidance import GuidanceGraph
    from models.bench.peers.programs import Program
    from models.inputs.cells import Cells


SAMPLE, REPEATS = 2000, 4  # features whose pairwise cosines are compared, and how often


@dataclass(frozen=True)
class Trial:
    """What one program made of one graph.

    Attributes:
        program, rate, seed: which; rate is the share of edges that is made up.
        foscttm: of paired cells; None where cells are not paired.
        label_transfer: from the anchor to the other modality; None without labels.
        feature_consistency: Pearson correlation of pairwise cosines of features with those of the same program and
            seed at rate 0, mean over samples; None without such a run.
        edges, made_up: how many the graph had, and how many of them were no evidence.
        seconds: of training.
    """

    program: str
    rate: float
    seed: int
    foscttm: float | None
    label_transfer: float | None
    feature_consistency: float | None
    edges: int
    made_up: int
    seconds: float


def corrupt(graph: GuidanceGraph, rate: float, seed: int) -> GuidanceGraph:
    """The graph with round(rate * E) of its edges replaced by pairs of the same kinds that no edge joins.

    Args:
        graph: evidence.
        rate: 0 to 1.
        seed: of the choice.

    Raises:
        InputError: the graph is so dense that there are not as many such pairs.
    """
    rng = np.random.default_rng([seed, round(1e6 * rate)])
    n = round(rate * len(graph.source))
    gone = rng.choice(len(graph.source), n, replace=False)
    source, target = graph.source.copy(), graph.target.copy()
    kinds = np.char.add(np.char.add(graph.kinds[graph.source], ">"), graph.kinds[graph.target])
    for kind in np.unique(kinds[gone]):
        own = gone[kinds[gone] == kind]
        start, _, end = str(kind).partition(">")
        source[own], target[own] = _absent(graph, (start, end), len(own), rng)
    order = np.lexsort((graph.sign, target, source))
    return replace(
        graph,
        source=source[order],
        target=target[order],
        weight=graph.weight[order],
        sign=graph.sign[order],
        datasets={},
        release_hash="",
    )


def _absent(
    graph: GuidanceGraph, kinds: tuple[str, str], n: int, rng: np.random.Generator
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Ends of n different pairs of these kinds that no edge joins, either way."""
    size = len(graph.vertices)
    taken = np.concatenate([graph.source * size + graph.target, graph.target * size + graph.source])
    starts, ends = (np.flatnonzero(graph.kinds == kind) for kind in kinds)
    found = np.zeros(0, np.int64)
    for _ in range(100):
        drawn = rng.choice(starts, 2 * n) * size + rng.choice(ends, 2 * n)
        found = np.concatenate([found, drawn[~np.isin(drawn, taken)]])
        found = found[np.sort(np.unique(found, return_index=True)[1])]  # in the order in which they came
        if len(found) >= n:
            return found[:n] // size, found[:n] % size
    raise InputError(f"the graph joins nearly all pairs of {' and '.join(kinds)}: there are no {n:,} others")


def feature_consistency(one: NDArray[np.float32], other: NDArray[np.float32], *, seed: int = 0) -> float:
    """Pearson correlation of pairwise cosines of the same features in two embeddings, mean over 4 samples of 2,000."""
    rng = np.random.default_rng(seed)
    found = []
    for _ in range(REPEATS):
        some = rng.choice(len(one), min(SAMPLE, len(one)), replace=False)
        above = np.triu_indices(len(some), 1)
        cosines = [unit[some] @ unit[some].T for unit in map(_unit, (one, other))]
        found.append(pearsonr(cosines[0][above], cosines[1][above]).statistic)
    return float(np.mean(found))


def _unit(x: NDArray[np.float32]) -> NDArray[np.float32]:
    unit: NDArray[np.float32] = x / np.maximum(np.linalg.norm(x, axis=1, keepdims=True), 1e-12)
    return unit


class Trials:
    """Trials that are kept as JSON lines with the embeddings beside them: what is done is not done again."""

    def __init__(self, folder: Path, graph: GuidanceGraph, cells: Cells, config: Mapping[str, Any]) -> None:
        """Open the folder.

        Raises:
            Conflict: it holds trials on other inputs.
        """
        self.folder, self.graph, self.cells = folder, graph, cells
        folder.mkdir(parents=True, exist_ok=True)
        self.log = folder / "trials.jsonl"
        identity = {"graph": graph.hash, "cells": cells.hash, "config": dict(config)}
        known = folder / "inputs.json"
        if known.exists() and json.loads(known.read_text()) != identity:
            raise Conflict(f"{folder} holds trials on another graph, other cells or options", "say another --out")
        known.write_text(json.dumps(identity))

    def done(self) -> list[Trial]:
        """Those that came to their end."""
        lines = self.log.read_text().splitlines() if self.log.exists() else []
        return [Trial(**json.loads(line)) for line in lines]

    def run(self, name: str, program: Program, rate: float, seed: int) -> Trial:
        """Train `program` on the corrupted graph, unless that is done already."""
        for trial in self.done():
            if (trial.program, trial.rate, trial.seed) == (name, rate, seed):
                return trial
        started = time.perf_counter()
        cells, features, vectors = program(corrupt(self.graph, rate, seed), seed)
        seconds = time.perf_counter() - started
        consistency = self._consistency(name, rate, seed, features, vectors)
        n = len(self.graph.source)
        trial = Trial(name, rate, seed, *self._quality(cells), consistency, n, round(rate * n), seconds)
        with self.log.open("a") as file:
            file.write(json.dumps(asdict(trial)) + "\n")
        return trial

    def _quality(self, cells: dict[str, NDArray[np.float32]]) -> tuple[float | None, float | None]:
        first, second = list(self.cells.modalities.values())[:2]
        one, other = cells[first.name], cells[second.name]
        transfer = None
        if first.labels is not None and second.labels is not None:
            transfer = label_transfer(one, first.labels, other, second.labels)
        return foscttm(one, other) if self.cells.paired else None, transfer

    def _consistency(
        self, name: str, rate: float, seed: int, features: NDArray[np.str_], vectors: NDArray[np.float32]
    ) -> float | None:
        kept = self.folder / f"{name}-seed{seed}-features.npz"
        if rate == 0:
            np.savez(kept, features=features, vectors=vectors)
        if not kept.exists():
            return None
        whole = np.load(kept)
        _, here, there = np.intersect1d(features, whole["features"], return_indices=True)
        return feature_consistency(vectors[here], whole["vectors"][there])


def rises(trials: Sequence[Trial]) -> dict[str, dict[float, float]]:
    """By how much FOSCTTM rises over that at rate 0: program -> rate -> mean over seeds that have both."""
    found: dict[str, dict[float, list[float]]] = {}
    base = {(t.program, t.seed): t.foscttm for t in trials if t.rate == 0}
    for trial in trials:
        start = base.get((trial.program, trial.seed))
        if trial.foscttm is not None and start is not None:
            found.setdefault(trial.program, {}).setdefault(trial.rate, []).append(trial.foscttm - start)
    return {program: {rate: float(np.mean(v)) for rate, v in sorted(by.items())} for program, by in found.items()}
