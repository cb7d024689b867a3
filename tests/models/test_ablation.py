"""Scores without a pair's own edges, against graphs that are built anew without them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest
import torch

from models.zoo.glue import ablation
from models.zoo.glue.ablation import Linear, without_own
from models.zoo.glue.layers import GraphEncoder
from models.zoo.glue.propagation import Propagation
from tests.models.toy import edges_of

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from models.inputs.edges import Edges

# two edges of one pair with different signs, a pair without an edge, weights of all sizes
PAIRS = [
    (0, 3, 1.0, 1),
    (0, 4, 0.5, -1),
    (1, 3, 0.2, 1),
    (1, 3, 0.7, -1),
    (2, 5, 1.0, 1),
    (2, 3, 0.05, 1),
    (0, 5, 0.9, 1),
]


def encoder(edges: Edges, seed: int = 0) -> GraphEncoder:
    torch.manual_seed(seed)
    module = GraphEncoder(Propagation(edges, torch.device("cpu")), 4)
    torch.nn.init.normal_(module.vertices)
    return module


def rebuilt(module: GraphEncoder, kept: list[tuple[int, int, float, int]], i: int, j: int) -> float:
    """Return the cosine in a graph of these edges, by the module's own propagation."""
    module.graph = Propagation(edges_of(kept, 6), torch.device("cpu"))
    with torch.no_grad():
        v: NDArray[np.float32] = module()[0].numpy()
    return float(v[i] @ v[j] / np.linalg.norm(v[i]) / np.linalg.norm(v[j]))


@pytest.mark.parametrize("block", [2, 100])
def test_it_is_the_graph_without_the_pair_built_anew(block: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ablation, "PAIRS", block)
    edges = edges_of(PAIRS, 6)
    module = encoder(edges)
    pairs = [(0, 3), (3, 0), (4, 0), (1, 3), (5, 2), (3, 2), (0, 5), (1, 5)]
    i, j = np.array(pairs).T
    cosines = without_own(Linear.of(module, edges), i, j)
    for (a, b), cosine in zip(pairs, cosines, strict=True):
        kept = [pair for pair in PAIRS if {pair[0], pair[1]} != {a, b}]
        assert cosine == pytest.approx(rebuilt(encoder(edges), kept, a, b), abs=1e-5)
    whole = rebuilt(encoder(edges), PAIRS, 0, 3)
    assert abs(cosines[0] - whole) > 1e-3, "the edge matters here"
    assert cosines[-1] == pytest.approx(rebuilt(encoder(edges), PAIRS, 1, 5), abs=1e-5), "no edge, nothing to leave out"


def test_none_is_none() -> None:
    none = np.array([], np.int64)
    edges = edges_of(PAIRS, 6)
    assert without_own(Linear.of(encoder(edges), edges), none, none).shape == (0,)
