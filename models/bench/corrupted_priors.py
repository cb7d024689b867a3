"""Robustness to a wrong prior: train on guidance graphs in which a share of the edges is made up.

A share r of the edges is deleted and replaced by as many pairs that no edge joins, with the weights and signs of the
deleted edges (Cao & Gao 2022, doi 10.1038/s41587-022-01284-4, "robustness to corrupted regulatory interactions").
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
    """The result of one program on one graph.

    Attributes:
        program, rate, seed: of the trial; rate is the share of edges that is made up.
        foscttm: of paired cells; None for unpaired cells.
        label_transfer: from the anchor to the other modality; None without labels.
        feature_consistency: Pearson correlation of pairwise cosines of features with those of the same program and
            seed at rate 0, mean over samples; None without such a run.
        edges, made_up: the number of edges, and how many of them were not evidence.
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
    """Return the graph with round(rate * E) of its edges replaced by pairs of the same kinds that no edge joins.

    Args:
        graph: the evidence.
        rate: 0 to 1.
        seed: for the choice of edges.

    Raises:
        InputError: the graph is too dense to have that many such pairs.
    """
    rng = np.random.default_rng([seed, round(1e6 * rate)])
    n = round(rate * len(graph.source))
    deleted = rng.choice(len(graph.source), n, replace=False)
    source, target = graph.source.copy(), graph.target.copy()
    kinds = np.char.add(np.char.add(graph.kinds[graph.source], ">"), graph.kinds[graph.target])
    for kind in np.unique(kinds[deleted]):
        of_kind = deleted[kinds[deleted] == kind]
        start, _, end = str(kind).partition(">")
        source[of_kind], target[of_kind] = _absent(graph, (start, end), len(of_kind), rng)
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
    """Return the ends of n different pairs of these kinds that no edge joins in either direction."""
    size = len(graph.vertices)
    taken = np.concatenate([graph.source * size + graph.target, graph.target * size + graph.source])
    starts, ends = (np.flatnonzero(graph.kinds == kind) for kind in kinds)
    pairs = np.zeros(0, np.int64)
    for _ in range(100):
        drawn = rng.choice(starts, 2 * n) * size + rng.choice(ends, 2 * n)
        pairs = np.concatenate([pairs, drawn[~np.isin(drawn, taken)]])
        pairs = pairs[np.sort(np.unique(pairs, return_index=True)[1])]  # in the order drawn
        if len(pairs) >= n:
            return pairs[:n] // size, pairs[:n] % size
    raise InputError(f"the graph joins nearly all pairs of {' and '.join(kinds)}: there are not {n:,} others")


def feature_consistency(a: NDArray[np.float32], b: NDArray[np.float32], *, seed: int = 0) -> float:
    """Return the Pearson correlation of pairwise cosines in two embeddings, mean over 4 samples of 2,000 features."""
    rng = np.random.default_rng(seed)
    correlations = []
    for _ in range(REPEATS):
        sample = rng.choice(len(a), min(SAMPLE, len(a)), replace=False)
        upper = np.triu_indices(len(sample), 1)
        cosines = [unit[sample] @ unit[sample].T for unit in map(_unit, (a, b))]
        correlations.append(pearsonr(cosines[0][upper], cosines[1][upper]).statistic)
    return float(np.mean(correlations))


def _unit(x: NDArray[np.float32]) -> NDArray[np.float32]:
    unit: NDArray[np.float32] = x / np.maximum(np.linalg.norm(x, axis=1, keepdims=True), 1e-12)
    return unit


class Trials:
    """Trials kept as JSON lines next to their embeddings: what has been done is not done again."""

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
            raise Conflict(f"{folder} holds trials on another graph, other cells or options", "choose another --out")
        known.write_text(json.dumps(identity))

    def done(self) -> list[Trial]:
        """Return the trials that have finished."""
        lines = self.log.read_text().splitlines() if self.log.exists() else []
        return [Trial(**json.loads(line)) for line in lines]

    def run(self, name: str, program: Program, rate: float, seed: int) -> Trial:
        """Train `program` on the corrupted graph, unless that has been done already."""
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
        first_cells, second_cells = cells[first.name], cells[second.name]
        transfer = None
        if first.labels is not None and second.labels is not None:
            transfer = label_transfer(first_cells, first.labels, second_cells, second.labels)
        return foscttm(first_cells, second_cells) if self.cells.paired else None, transfer

    def _consistency(
        self, name: str, rate: float, seed: int, features: NDArray[np.str_], vectors: NDArray[np.float32]
    ) -> float | None:
        kept = self.folder / f"{name}-seed{seed}-features.npz"
        if rate == 0:
            np.savez(kept, features=features, vectors=vectors)
        if not kept.exists():
            return None
        uncorrupted = np.load(kept)
        _, rows, uncorrupted_rows = np.intersect1d(features, uncorrupted["features"], return_indices=True)
        return feature_consistency(vectors[rows], uncorrupted["vectors"][uncorrupted_rows])


def foscttm_increases(trials: Sequence[Trial]) -> dict[str, dict[float, float]]:
    """Return how much FOSCTTM rises over that at rate 0: program -> rate -> mean over seeds that have both."""
    increases: dict[str, dict[float, list[float]]] = {}
    base = {(t.program, t.seed): t.foscttm for t in trials if t.rate == 0}
    for trial in trials:
        uncorrupted = base.get((trial.program, trial.seed))
        if trial.foscttm is not None and uncorrupted is not None:
            increases.setdefault(trial.program, {}).setdefault(trial.rate, []).append(trial.foscttm - uncorrupted)
    return {program: {rate: float(np.mean(v)) for rate, v in sorted(by.items())} for program, by in increases.items()}
