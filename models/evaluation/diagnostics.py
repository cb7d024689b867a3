"""What is said of a run once it is trained: losses, alignment, and whether the alignment can be believed."""

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
MIXED = 0.6  # mixing above which modalities count as aligned; toy worlds reach 0.96 matched, 0.3 to 0.9 with strangers
TRUST_METACELLS = 50  # or as many as there are
NEIGHBOURS = 30
SAMPLE = 2000  # cells of each modality
MOST = 30_000  # cells of each modality that a run is judged by
METACELLS = 200
LEAST_METACELLS = 20  # a regression on fewer says nothing


def measure(
    graph: GuidanceGraph,
    cells: Cells,
    embeddings: Sequence[Float32],
    history: Sequence[Mapping[str, object]],
    *,
    saw_labels: bool = False,
) -> dict[str, float]:
    """Metrics of a run, from at most 30,000 cells of each modality, drawn at random where there are more.

    train_* and val_* of the last epoch; consistency_N; mixing; share of variance of expression that each layer and all
    of them explain (r2_*); FOSCTTM of paired cells and label transfer, means over pairs of modalities and from the
    anchor to the others. Labels that supervised the training are named so: label_transfer_seen. A first stage that
    learnt labels without being given any had groups of cells for them (`models.zoo.glue.matching`): matched_clusters
    is 1.
    """
    found = {n: float(v) for n, v in history[-1].items() if n.startswith(("train_", "val_"))}  # type: ignore[arg-type]
    if not saw_labels and any("train_labels" in row for row in history):
        found["matched_clusters"] = 1.0
    modalities = list(cells.modalities.values())
    modalities, embeddings = _some(modalities, embeddings, paired=cells.paired)
    found |= {f"consistency_{n}": s for n, s in metrics.consistency(modalities, embeddings, graph).items()}
    if len(modalities) > 1:
        found["mixing"] = mixing(embeddings)
    found |= {f"r2_{name}": value for name, value in contributions(graph, modalities, embeddings).items()}
    if cells.paired:
        found |= _by_pair("foscttm", _foscttm(modalities, embeddings))
    return found | _by_pair(
        "label_transfer_seen" if saw_labels else "label_transfer", _transfer(modalities, embeddings)
    )


def _some(
    modalities: Sequence[Modality], embeddings: Sequence[Float32], *, paired: bool
) -> tuple[list[Modality], list[Float32]]:
    """At most `MOST` cells of each modality, the same ones where they are paired; their distances are many enough."""
    drawn: list[NDArray[np.int64]] = []
    for embedding in embeddings:
        rng = np.random.default_rng(0 if paired else [0, len(drawn)])
        drawn.append(np.sort(rng.choice(len(embedding), min(MOST, len(embedding)), replace=False)))
    some = [m if len(rows) == len(m.obs_names) else m.take(rows) for m, rows in zip(modalities, drawn, strict=True)]
    return some, [embedding[rows] for embedding, rows in zip(embeddings, drawn, strict=True)]


def _by_pair(name: str, values: Mapping[str, float]) -> dict[str, float]:
    """The mean and, where there are several, each pair of modalities."""
    each = {f"{name}_{pair}": value for pair, value in values.items()} if len(values) > 1 else {}
    return ({name: float(np.mean(list(values.values())))} if values else {}) | each


def _foscttm(modalities: Sequence[Modality], embeddings: Sequence[Float32]) -> dict[str, float]:
    return {
        f"{modalities[i].name}_{modalities[j].name}": metrics.foscttm(embeddings[i], embeddings[j])
        for i, j in combinations(range(len(modalities)), 2)
    }


def _transfer(modalities: Sequence[Modality], embeddings: Sequence[Float32]) -> dict[str, float]:
    """From the first modality to each other, over cells that have a label."""
    labelled = [None if m.labels is None or not m.labels.astype(bool).any() else m.labels != "" for m in modalities]
    first, found = labelled[0], {}
    for modality, embedding, has in zip(modalities[1:], embeddings[1:], labelled[1:], strict=True):
        if first is not None and has is not None and modalities[0].labels is not None and modality.labels is not None:
            reference = embeddings[0][first], modalities[0].labels[first]
            found[f"{modalities[0].name}_{modality.name}"] = metrics.label_transfer(
                *reference, embedding[has], modality.labels[has]
            )
    return found


def mixing(embeddings: Sequence[Float32], *, seed: int = 0) -> float:
    """How much cells of different modalities lie among each other: 1 as if thrown together, 0 apart.

    Of each of as many cells of every modality (at most 2,000), the share of cells of other modalities among its 30
    nearest by cosine, over the share that chance would give; the mean over cells.
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
        kind: "aligned", "apart" (modalities do not mix, as they should where the samples do not match) or
            "overcorrected" (they mix although linked features do not vary together).
        sentence: the same for people.
    """

    kind: str
    sentence: str


def verdict(found: Mapping[str, float]) -> AlignmentVerdict:
    """Judge the metrics of a run: modalities that mix must agree on what their linked features do."""
    counts = sorted(int(name.rpartition("_")[2]) for name in found if name.startswith("consistency_"))
    n = max((c for c in counts if c <= TRUST_METACELLS), default=0)
    agreed, mixed = found.get(f"consistency_{n}", float("nan")), found.get("mixing", float("nan"))
    said = f"mixing {mixed:.2f}, consistency {agreed:.3f} over {n} metacells"
    if "matched_clusters" in found:
        said = f"links say little of these cells, which were first matched by how clusters lie; {said}"
    if mixed < MIXED:
        return AlignmentVerdict("apart", f"{said}: the modalities lie apart; if they are of one tissue, train longer")
    if agreed >= TRUSTED:
        return AlignmentVerdict("aligned", f"{said}: the modalities mix and linked features vary together")
    return AlignmentVerdict(
        "overcorrected", f"warning: {said}: the modalities mix, but linked features do not vary together"
    )


def contributions(
    graph: GuidanceGraph, modalities: Sequence[Modality], embeddings: Sequence[Float32], *, seed: int = 0
) -> dict[str, float]:
    """How much of expression each layer explains: in-sample R^2 of linear regressions over metacells, mean over genes.

    Up to 200 metacells of the joint space. The anchor's log-normalised values of a gene are regressed on one number of
    each layer: the mean of the layer's features that evidence joins to the gene, weighted by weight and sign. Genes
    that vary, and do so in every layer (Cao & Gao 2022, triple omics).

    Returns:
        name of each layer -> R^2 of it alone, "all" -> of all together; nothing where there are too few cells.
    """
    n = min(METACELLS, *(len(e) // 5 for e in embeddings))
    if len(modalities) < 2 or n < LEAST_METACELLS:
        return {}
    clusters = joint_clusters(embeddings, n, seed=seed)
    common = np.all([np.bincount(c, minlength=n) > 0 for c in clusters], axis=0)
    if common.sum() < LEAST_METACELLS:  # the modalities lie apart
        return {}
    values = [metacell_values(m, c, n)[common] for m, c in zip(modalities, clusters, strict=True)]
    layers = [_by_gene(graph, modalities[0], m, v) for m, v in zip(modalities[1:], values[1:], strict=True)]
    every = np.stack([values[0], *layers])
    every = every - every.mean(1, keepdims=True)
    every = every[:, :, (np.abs(every).max(1) > 1e-9).all(0)]  # (1 + layers, metacells, genes)
    if not every.shape[2]:
        return {}
    named = {m.name: [k] for k, m in enumerate(modalities[1:])} | {"all": list(range(len(layers)))}
    return {name: r_squared(every[0], every[1:][chosen]) for name, chosen in named.items()}


def _by_gene(graph: GuidanceGraph, anchor: Modality, layer: Modality, values: Float) -> Float:
    """(metacells, genes) weighted, signed mean over the layer's features of each gene; 0 where it has none."""
    gene, feature, weight = graph.between(anchor.features, layer.features)
    joined = sp.csr_matrix((weight, (feature, gene)), shape=(len(layer.features), len(anchor.features)))
    total = np.maximum(np.asarray(abs(joined).sum(axis=0)).ravel(), 1e-12)
    return np.asarray(values @ joined) / total


def r_squared(y: Float, x: Float) -> float:
    """Mean over genes of 1 - residual / total of y (n, genes) on its columns of x (layers, n, genes), both centred."""
    design = np.moveaxis(x, 2, 0).swapaxes(1, 2)  # (genes, n, layers)
    fitted = (design @ (np.linalg.pinv(design) @ y.T[:, :, None]))[:, :, 0]
    residual = np.square(y.T - fitted).sum(1)
    return float((1 - residual / np.square(y.T).sum(1)).mean())
