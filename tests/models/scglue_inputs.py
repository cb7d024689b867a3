"""Small inputs that our tests and `record_scglue.py` both make: sines of integers, so that nothing need be stored."""

from __future__ import annotations

from typing import Any
from zlib import crc32

import numpy as np

N, M = 6, 3
FEATURES = {"rna": 4, "atac": 5, "mCH": 3}  # in the order of the vertices
LIKELIHOODS = {"rna": "nb", "atac": "zinb", "mCH": "ziln"}
DIMS, HIDDEN = 4, 5
# source, target, weight, sign: between vertices in the order above; reversed copies and loops are added
EDGES = [
    (4, 0, 1.0, 1),
    (5, 0, 0.5, 1),
    (6, 1, 0.25, 1),
    (7, 2, 1.0, -1),
    (8, 3, 0.7, 1),
    (0, 9, 1.0, -1),
    (1, 10, 1.0, -1),
]
STEPS = [(0, 4, 1, 1), (4, 0, 1, 1), (0, 9, -1, 1), (3, 3, 1, 1), (2, 6, 1, 0), (0, 8, -1, 0), (10, 5, 1, 0)]
LABELS = {"rna": [0, 1, 2, -1, 0, 1], "atac": [-1] * 6, "mCH": [2, 2, -1, 0, 1, 0]}
BATCH = {"rna": [0, 1, 0, 1, 1, 0], "atac": [1, 1, 1, 0, 0, 0], "mCH": [0, 0, 1, 1, 0, 1]}
OWN = np.array([[1, 1, 0, 1, 1, 0], [1, 0, 1, 1, 0, 0], [1, 1, 0, 0, 0, 1]], bool)
LOSSES = [
    [5, 5, 5, 5, 4, 3, 3.5, 2, 2.5, 2.2, 2.4, 2.6, 9, 9, 9, 9, 9, 9],
    [9, 8, 7, 6, 5, 4, 3, 3, 3, 3, 3, 2.9999, 2.9, 2.95, 2.95, 2.95, 2.95, 2.95, 2.95, 2.95],
    [3, 2, 4, 4, 4, 4, 4, 4, 4, 4, 4, 4, 4, 4, 1, 1, 1, 1, 1, 1],
]
PATIENCE = {"lr_patience": 1, "patience": 4, "burnin": 2}
SIZES = [18380, 500, 200000]


def sines(*shape: int, k: float) -> np.ndarray:
    return np.sin(k * (1 + np.arange(int(np.prod(shape)), dtype=np.float64))).reshape(shape).astype(np.float32)


def weights(name: str, shape: tuple[int, ...]) -> np.ndarray:
    """Return a parameter or buffer of scglue's network, by its name there."""
    signed = 0.4 * sines(*shape, k=0.5 + crc32(name.encode()) % 997 / 31)
    return np.abs(signed) + np.float32(0.5) if "running_var" in name else signed


def values(likelihood: str, n: int, features: int, *, holes: bool = False) -> np.ndarray:
    waves = sines(n, features, k=2.3)
    by_likelihood = {
        "nb": np.floor(6 * waves).clip(0), "zinb": np.floor(5 * waves).clip(0), "normal": waves,
        "zin": np.where(waves > 0.2, waves, 0), "ziln": np.where(waves > 0.1, 2 * waves, 0),
        "bernoulli": (waves > 0).astype(np.float32), "beta": waves.clip(0),
    }[likelihood].astype(np.float32)  # fmt: skip
    if holes:
        by_likelihood[sines(n, features, k=4.1) > 0.6] = np.nan
    return by_likelihood


def directed() -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Return every edge both ways and one loop per vertex: source, target, weight, sign."""
    n = sum(FEATURES.values())
    rows = [*EDGES, *((j, i, w, s) for i, j, w, s in EDGES), *((i, i, 1.0, 1) for i in range(n))]
    source, target, weight, sign = (np.array(column) for column in zip(*rows, strict=True))
    return source, target, weight.astype(np.float32), sign.astype(np.float32)


def clusters(k: int) -> tuple[np.ndarray, np.ndarray]:
    """Return embeddings of modality k and the cluster of each cell."""
    kind = np.repeat(np.arange(3), [[12, 5, 3], [5, 10, 10], [3, 9, 18]][k])
    centre = (np.eye(3, M) + 0.4).astype(np.float32)
    return 3 * centre[kind] + 0.5 * sines(len(kind), M, k=5.1 + k), kind


def embeddings() -> tuple[list[np.ndarray], list[tuple[int, int]]]:
    """Return embeddings of 40 features by two models, and the pairs of a skeleton over all of them."""
    pairs = [(i, 20 + (7 * i + j) % 20) for i in range(20) for j in range(3)]
    own = sines(40, 6, k=9.0)
    own[[20 + 7 * i % 20 for i in range(8)]] = own[:8]  # the first pairs of eight are alike
    return [own + 0.2 * sines(40, 6, k=3.3 + member) for member in range(2)], pairs


def listed(array: Any) -> list[Any]:
    """Return values as JSON stores them."""
    return np.asarray(array, np.float64).round(9).tolist()
