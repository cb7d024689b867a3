"""Diagnostics of a trained run: losses, alignment, and whether the alignment can be believed."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import combinations
from typing import TYPE_CHECKING

import numpy as np
import scipy.sparse as sp

from models.evaluation import metrics
from models.evaluation.metrics import joint_clusters, metacell_values

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

    from kg.guidance import GuidanceGraph
    from models.inputs.cells import Cells, Modality

    Float32 = NDArray[np.float32]
    Float = NDArray[np.float64]

TRUSTED = 0.05  # consistency; Cao & Gao 2022
MIXED = 0.6  # mixing above which modalities count as aligned; toy worlds reach 0.96 if matched, 0.3 to 0.9 if not
TRUST_METACELLS = 50  # or as many as there are
NEIGHBOURS = 30
SAMPLE = 2000  # cells of each modality
MAX_CELLS = 30_000  # cells of each modality by which a run is judged
METACELLS = 200
MIN_METACELLS = 20  # a regression on fewer is meaningless


def measure(
    graph: GuidanceGraph,
    cells: Cells,
    embeddings: Sequence[Float32],
    history: Sequence[Mapping[str, object]],
    *,
    saw_labels: bool = False,
) -> dict[str, float]:
    """Return the metrics of a run, from at most 30,000 cells of each modality, drawn at random where there are more.

    These are: train_* and val_* of the last epoch; consistency_N; mixing; the share of the variance of expression
    explained by each layer and by all of them (r2_*); FOSCTTM of paired cells, averaged over pairs of modalities, and
    label transfer, averaged over transfers from the anchor. If labels supervised the training, label transfer is called
    label_transfer_seen. If a first stage learned labels although none were given, it used matched groups of cells
    instead (`models.zoo.glue.matching`), and matched_clusters is 1.
    """
    losses = {n: v for n, v in history[-1].items() if n.startswith(("train_", "val_"))}
    measured = {name: float(value) for name, value in losses.items()}  # type: ignore[arg-type]
    if not saw_labels and any("train_labels" in row for row in history):
        measured["matched_clusters"] = 1.0
    modalities = list(cells.modalities.values())
    modalities, embeddings = _subsample(modalities, embeddings, paired=cells.paired)
    measured |= {f"consistency_{n}": s for n, s in metrics.consistency(modalities, embeddings, graph).items()}
    if len(modalities) > 1:
        measured["mixing"] = mixing(embeddings)
    measured |= {f"r2_{name}": value for name, value in contributions(graph, modalities, embeddings).items()}
    if cells.paired:
        measured |= _by_pair("foscttm", _foscttm(modalities, embeddings))
    return measured | _by_pair(
        "label_transfer_seen" if saw_labels else "label_transfer", _transfer(modalities, embeddings)
    )


def _subsample(
    modalities: Sequence[Modality], embeddings: Sequence[Float32], *, paired: bool
) -> tuple[list[Modality], list[Float32]]:
    """Draw at most `MAX_CELLS` cells of each modality, the same ones where they are paired."""
    drawn: list[NDArray[np.int64]] = []
    for embedding in embeddings:
        rng = np.random.default_rng(0 if paired else [0, len(drawn)])
        drawn.append(np.sort(rng.choice(len(embedding), min(MAX_CELLS, len(embedding)), replace=False)))
    subsampled = [
        m if len(rows) == len(m.obs_names) else m.take(rows) for m, rows in zip(modalities, drawn, strict=True)
    ]
    return subsampled, [embedding[rows] for embedding, rows in zip(embeddings, drawn, strict=True)]


def _by_pair(name: str, values: Mapping[str, float]) -> dict[str, float]:
    """Return the mean and, where there are several, the value of each pair of modalities."""
    each = {f"{name}_{pair}": value for pair, value in values.items()} if len(values) > 1 else {}
    return ({name: float(np.mean(list(values.values())))} if values else {}) | each


def _foscttm(modalities: Sequence[Modality], embeddings: Sequence[Float32]) -> dict[str, float]:
    return {
        f"{modalities[i].name}_{modalities[j].name}": metrics.foscttm(embeddings[i], embeddings[j])
        for i, j in combinations(range(len(modalities)), 2)
    }


def _transfer(modalities: Sequence[Modality], embeddings: Sequence[Float32]) -> dict[str, float]:
    """Return label transfer from the first modality to each other, over cells that have a label."""
    labelled = [None if m.labels is None or not m.labels.astype(bool).any() else m.labels != "" for m in modalities]
    first, accuracy = labelled[0], {}
    for modality, embedding, has in zip(modalities[1:], embeddings[1:], labelled[1:], strict=True):
        if first is not None and has is not None and modalities[0].labels is not None and modality.labels is not None:
            reference = embeddings[0][first], modalities[0].labels[first]
            accuracy[f"{modalities[0].name}_{modality.name}"] = metrics.label_transfer(
                *reference, embedding[has], modality.labels[has]
            )
    return accuracy


def mixing(embeddings: Sequence[Float32], *, seed: int = 0) -> float:
    """Return how well cells of different modalities mix: 1 as if pooled at random, 0 if they lie apart.

    The same number of cells (at most 2,000) is drawn from every modality. The value is the share of cells of other
    modalities among a cell's 30 nearest by cosine, over the share expected by chance, averaged over cells.
    """
    rng = np.random.default_rng(seed)
    n = min(SAMPLE, *map(len, embeddings))
    joint = np.concatenate([e[rng.choice(len(e), n, replace=False)] for e in embeddings])
    of = np.repeat(np.arange(len(embeddings)), n)
    k = min(NEIGHBOURS, len(joint) - 1)
    unit = joint / np.maximum(np.linalg.norm(joint, axis=1, keepdims=True), 1e-12)
    cosine = unit @ unit.T
    np.fill_diagonal(cosine, -np.inf)
    near = np.argpartition(cosine, -k, axis=1)[:, -k:]
    expected = (len(joint) - n) / (len(joint) - 1)
    return float((of[near] != of[:, None]).mean() / expected)


@dataclass(frozen=True)
class AlignmentVerdict:
    """Whether the alignment of a run can be believed.

    Attributes:
        kind: "aligned", "apart" (modalities do not mix, as should be where the samples do not match) or
            "overcorrected" (they mix although linked features do not vary together).
        sentence: the same in words.
    """

    kind: str
    sentence: str


def verdict(measured: Mapping[str, float]) -> AlignmentVerdict:
    """Judge the metrics of a run: modalities that mix must also agree on what their linked features do."""
    counts = sorted(int(name.rpartition("_")[2]) for name in measured if name.startswith("consistency_"))
    n = max((c for c in counts if c <= TRUST_METACELLS), default=0)
    consistency, mixed = measured.get(f"consistency_{n}", float("nan")), measured.get("mixing", float("nan"))
    summary = f"mixing {mixed:.2f}, consistency {consistency:.3f} over {n} metacells"
    if "matched_clusters" in measured:
        summary = f"links say little about these cells, so clusters were first matched by their geometry; {summary}"
    if mixed < MIXED:
        return AlignmentVerdict(
            "apart", f"{summary}: the modalities lie apart; if they come from one tissue, train longer"
        )
    if consistency >= TRUSTED:
        return AlignmentVerdict("aligned", f"{summary}: the modalities mix and linked features vary together")
    return AlignmentVerdict(
        "overcorrected", f"warning: {summary}: the modalities mix, but linked features do not vary together"
    )


def contributions(
    graph: GuidanceGraph, modalities: Sequence[Modality], embeddings: Sequence[Float32], *, seed: int = 0
) -> dict[str, float]:
    """Return how much of expression each layer explains: R^2 over metacells, averaged over genes.

    Over up to 200 metacells of the joint space, the anchor's log-normalised values of a gene are regressed linearly on
    one number per layer: the mean of the layer's features that evidence joins to the gene, weighted by weight and sign.
    R^2 is in-sample; only genes that vary in every layer count (Cao & Gao 2022, triple omics).

    Returns:
        Name of each layer -> R^2 of it alone, "all" -> of all together; empty where there are too few cells.
    """
    n = min(METACELLS, *(len(e) // 5 for e in embeddings))
    if len(modalities) < 2 or n < MIN_METACELLS:
        return {}
    clusters = joint_clusters(embeddings, n, seed=seed)
    in_all = np.all([np.bincount(c, minlength=n) > 0 for c in clusters], axis=0)
    if in_all.sum() < MIN_METACELLS:  # the modalities lie apart
        return {}
    values = [metacell_values(m, c, n)[in_all] for m, c in zip(modalities, clusters, strict=True)]
    layers = [_by_gene(graph, modalities[0], m, v) for m, v in zip(modalities[1:], values[1:], strict=True)]
    stacked = np.stack([values[0], *layers])
    stacked = stacked - stacked.mean(1, keepdims=True)
    stacked = stacked[:, :, (np.abs(stacked).max(1) > 1e-9).all(0)]  # (1 + layers, metacells, genes)
    if not stacked.shape[2]:
        return {}
    named = {m.name: [k] for k, m in enumerate(modalities[1:])} | {"all": list(range(len(layers)))}
    return {name: r_squared(stacked[0], stacked[1:][chosen]) for name, chosen in named.items()}


def _by_gene(graph: GuidanceGraph, anchor: Modality, layer: Modality, values: Float) -> Float:
    """Return (metacells, genes) weighted, signed means over the layer's features of each gene; 0 where it has none."""
    gene, feature, weight = graph.between(anchor.features, layer.features)
    joined = sp.csr_matrix((weight, (feature, gene)), shape=(len(layer.features), len(anchor.features)))
    total = np.maximum(np.asarray(abs(joined).sum(axis=0)).ravel(), 1e-12)
    return np.asarray(values @ joined) / total


def r_squared(y: Float, x: Float) -> float:
    """Return the mean R^2 over genes of y (n, genes) regressed on x (layers, n, genes), both centred."""
    design = np.moveaxis(x, 2, 0).swapaxes(1, 2)  # (genes, n, layers)
    fitted = (design @ (np.linalg.pinv(design) @ y.T[:, :, None]))[:, :, 0]
    residual = np.square(y.T - fitted).sum(1)
    return float((1 - residual / np.square(y.T).sum(1)).mean())
