"""Labels carried over, held to loops over sets of neighbours."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import anndata
import numpy as np
import pandas as pd
import pytest

from kg.runs.cell_files import write_cell_files
from models.evaluation import label_transfer
from models.evaluation.label_transfer import sample, transfer_labels, transferred
from models.inputs.cells import Cells
from models.zoo.glue.link_scores import Trained
from models.zoo.glue.predicted import cell_outputs
from tests.models.toy import toy

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray


def nearest(cells: NDArray[np.float32], cell: NDArray[np.float32], k: int) -> set[int]:
    distance = [float(np.square(other.astype(float) - cell).sum()) for other in cells]
    return set(sorted(range(len(cells)), key=lambda i: distance[i])[:k])


def slow(
    reference: NDArray[np.float32],
    labels: NDArray[np.str_],
    query: NDArray[np.float32],
    k: int,
    among: NDArray[np.float32] | None = None,
) -> tuple[list[str], list[float]]:
    """Compute neighbours in the reference and among query cells, Jaccard indices, and votes by label, in loops."""
    guesses, confidence = [], []
    among = query if among is None else among
    of_reference = [(nearest(reference, cell, k), nearest(among, cell, k)) for cell in reference]
    for cell in query:
        own = nearest(reference, cell, k), nearest(among, cell, k)
        votes: dict[str, float] = {}
        for label, other in zip(labels.tolist(), of_reference, strict=True):
            shared = sum(len(a & b) for a, b in zip(own, other, strict=True))
            together = sum(len(a | b) for a, b in zip(own, other, strict=True))
            votes[label] = votes.get(label, 0.0) + shared / together
        total = sum(votes.values())
        best = max(sorted(votes), key=lambda name: votes[name])
        guesses.append(best if total else "")
        confidence.append(votes[best] / total if total else 0.0)
    return guesses, confidence


@pytest.mark.parametrize(("k", "block", "most"), [(5, 2048, 20_000), (30, 7, 20_000), (5, 2048, 40)])
def test_as_loops_say(k: int, block: int, most: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(label_transfer, "BLOCK", block)
    monkeypatch.setattr(label_transfer, "MAX_CELLS", most)
    rng = np.random.default_rng(3)
    labels = rng.choice(["b", "a", "c"], 60)
    centre = {"a": 0.0, "b": 1.5, "c": 3.0}
    reference = (rng.normal(size=(60, 4)) + [[centre[x]] for x in labels]).astype(np.float32)
    query = (rng.normal(size=(45, 4)) + rng.choice(list(centre.values()), (45, 1))).astype(np.float32)
    guessed, confidence = transfer_labels(reference, labels, query, k)
    one, other = sample(60), sample(45)
    assert (len(set(one.tolist())), len(set(other.tolist()))) == (min(60, most), min(45, most))
    expected, sure = slow(reference[one], labels[one], query, k, query[other])
    assert guessed.tolist() == expected
    assert len(set(expected)) == 3
    np.testing.assert_allclose(confidence, sure, atol=1e-6)


def test_by_hand() -> None:
    """Neighbours (k=2): reference 0, 1 | 2, 3 among themselves; the query cell at 0 sees 0, 1 and both query cells."""
    reference = np.array([[0.0], [1.0], [10.0], [11.0]], np.float32)
    query = np.array([[0.2], [0.4]], np.float32)
    guessed, confidence = transfer_labels(reference, np.array(["x", "y", "y", "y"]), query, 2)
    # 0 and 1 share all four (4/4 = 1) with it, 2 and 3 only the two query cells (2/6): x has 1 of 1 + 1 + 1/3 + 1/3
    assert guessed.tolist() == ["y", "y"]
    np.testing.assert_allclose(confidence, [(1 + 2 / 3) / (2 + 2 / 3)] * 2, rtol=1e-6)


def test_who_shares_no_neighbour_has_no_label() -> None:
    reference = np.array([[-9.0], [-10.0]], np.float32)
    query = np.array([[10.0], [11.0], [-9.0], [-9.1]], np.float32)
    guessed, confidence = transfer_labels(reference, np.array(["x", "x"]), query, 1)
    assert guessed[2] == "x"
    assert slow(reference, np.array(["x", "x"]), query, 1)[0] == guessed.tolist()
    assert ((guessed == "") == (confidence == 0)).all()


def test_written_beside_the_embedding_that_it_came_from(tmp_path: Path) -> None:
    world = toy(60, 8)
    rng = np.random.default_rng(0)
    names = np.unique(np.concatenate([m.features for m in world.cells.modalities.values()]))
    space = {name: rng.normal(size=(60, 3)).astype(np.float32) for name in ("rna", "atac")}
    fit = Trained(names, np.ones((1, len(names), 3), np.float32), space, pd.DataFrame(), {})
    labels = world.cells["rna"].labels
    assert labels is not None
    partial = np.where(np.arange(60) < 40, labels, "")
    rna, atac = (
        replace(world.cells[name], labels=by_modality) for name, by_modality in (("rna", partial), ("atac", None))
    )
    cells = Cells({"rna": rna, "atac": atac})
    write_cell_files(tmp_path, cell_outputs(cells, fit), "glue", {"run": "r"})
    obs = anndata.read_h5ad(tmp_path / "atac.h5ad").obs
    guessed, confidence = transfer_labels(space["rna"][:40], labels[:40], space["atac"])
    assert obs["transferred_label"].tolist() == guessed.tolist()
    np.testing.assert_array_equal(obs["transferred_confidence"], confidence)
    assert "label" not in obs
    assert list(anndata.read_h5ad(tmp_path / "rna.h5ad").obs) == ["label"]
    assert transferred(Cells({"rna": replace(rna, labels=None), "atac": world.cells["atac"]}), space) == {}
