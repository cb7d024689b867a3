"""Cells as a model reads them: values, encoder inputs, feature ids, one `Modality` per assay."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from kg.errors import InputError
from models.inputs.backed_matrix import StoredCounts, restricted

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

    from kg.guidance import GuidanceGraph
    from models.inputs.backed_matrix import Counts

LIKELIHOODS = ("nb", "zinb", "normal", "zin", "ziln", "bernoulli", "beta")  # for the values of a modality
COUNTED = frozenset({"nb", "zinb"})  # likelihoods of counts, which add up over cells
LAYER = "Layer"  # kind of a vertex that is a layer of a gene; never a node in the graph


@dataclass(frozen=True)
class Modality:
    """One assay of a set of cells.

    Attributes:
        name: such as "rna" or "atac".
        counts: (cells, features) float32, in memory or on disk; what the decoder explains: raw counts or, for other
            likelihoods, other values, where NaN means not measured.
        features: (features,) vertex ids of the guidance graph, unique.
        rep: (cells, dims) float32; all that the encoder sees.
        obs_names: (cells,) unique names.
        labels: (cells,) cell types, "" for none; for metrics, and for training if requested.
        batch: (cells,) batch names; they enter the decoder, and the discriminator if batches are shared.
        likelihood: of the decoder, one of `LIKELIHOODS`.
        gene_sign: -1 or +1 if feature NAME:GENE (NAME of the modality) is a layer of gene GENE, such as methylation of
            its body (-1); 0 if evidence joins the features to genes.
    """

    name: str
    counts: Counts
    features: NDArray[np.str_]
    rep: NDArray[np.float32]
    obs_names: NDArray[np.str_]
    labels: NDArray[np.str_] | None = None
    batch: NDArray[np.str_] | None = None
    likelihood: str = "nb"
    gene_sign: int = 0

    @property
    def is_counted(self) -> bool:
        """Whether its values are counts that add up over cells."""
        return self.likelihood in COUNTED

    @property
    def genes(self) -> NDArray[np.str_]:
        """(features,) gene of each feature of a layer of genes."""
        return np.char.partition(self.features, ":")[:, 2]

    def restrict(self, keep: NDArray[np.bool_]) -> Modality:
        """Return the same cells with a subset of the features; `rep` stays as computed from all features."""
        return replace(self, counts=restricted(self.counts, keep), features=self.features[keep])

    def take(self, rows: NDArray[np.int64]) -> Modality:
        """Return some of the cells, with their values in memory."""
        return replace(
            self,
            counts=self.counts[rows],
            rep=self.rep[rows],
            obs_names=self.obs_names[rows],
            labels=None if self.labels is None else self.labels[rows],
            batch=None if self.batch is None else self.batch[rows],
        )


@dataclass(frozen=True)
class Cells:
    """The cells that a model is trained on.

    Attributes:
        modalities: name -> Modality, in the order the model keeps; the first is the anchor, whose features are genes.
        paired: row i is the same cell in every modality; for metrics, and for training if requested.
        also: features that a guided model explains although no edge joins them to one of the anchor's; None for none.
    """

    modalities: Mapping[str, Modality]
    paired: bool = False
    also: NDArray[np.str_] | None = None

    def __getitem__(self, name: str) -> Modality:
        return self.modalities[name]

    @property
    def anchor(self) -> str:
        """Name of the modality whose features are genes."""
        return next(iter(self.modalities))

    @property
    def hash(self) -> str:
        """sha256 over everything that training reads, except labels and pairs."""
        digest = hashlib.sha256()
        for m in self.modalities.values():
            batch = None if m.batch is None else m.batch.tolist()
            described = [m.name, m.features.tolist(), m.obs_names.tolist(), batch, m.likelihood]
            digest.update(json.dumps(described).encode())
            if isinstance(m.counts, StoredCounts):
                digest.update(m.counts.hash.encode())
            parts = () if isinstance(m.counts, StoredCounts) else (m.counts.indptr, m.counts.indices, m.counts.data)
            for array in (*parts, m.rep):
                digest.update(np.ascontiguousarray(array).reshape(-1).view(np.uint8).data)
        return digest.hexdigest()

    @property
    def labels_hash(self) -> str:
        """sha256 over the labels."""
        labels = [None if m.labels is None else m.labels.tolist() for m in self.modalities.values()]
        return hashlib.sha256(json.dumps(labels).encode()).hexdigest()

    def linked(self, graph: GuidanceGraph) -> Cells:
        """Return the same cells with the features that a guided model explains.

        These are all features of the anchor and, of the others, those that an edge joins to one of its features, or
        in `also`.

        Raises:
            InputError: a modality keeps no features.
        """
        anchor = self.anchor
        known = np.isin(graph.vertices, self[anchor].features)
        ends = np.concatenate([graph.source[known[graph.target]], graph.target[known[graph.source]]])
        reached = np.union1d(graph.vertices[np.unique(ends)], graph.vertices[:0] if self.also is None else self.also)
        kept = {}
        for name, modality in self.modalities.items():
            keep = np.isin(modality.features, reached) | (name == anchor)
            if not keep.any():
                raise InputError(
                    f"no feature of {name!r} is linked to a measured feature of {anchor!r} in release {graph.release}",
                    "load the peaks and links of these cells' features, or check their assembly",
                )
            kept[name] = modality.restrict(keep)
        return replace(self, modalities=kept)

    def guide(self, graph: GuidanceGraph) -> GuidanceGraph:
        """Add the layers of genes among these cells to a graph: an edge of weight 1 from gene to feature.

        Features whose gene is not a vertex get none, like peaks without evidence.
        """
        layers = [m for m in self.modalities.values() if m.gene_sign]
        if not layers:
            return graph
        features, genes = (np.concatenate([getattr(m, name) for m in layers]) for name in ("features", "genes"))
        sign = np.repeat(np.array([m.gene_sign for m in layers], np.int8), [len(m.features) for m in layers])
        kept = np.isin(genes, graph.vertices) & ~np.isin(features, graph.vertices)
        features, genes, sign = features[kept], genes[kept], sign[kept]
        named = np.concatenate([graph.vertices, features])
        order = np.argsort(named)
        place = np.argsort(order)  # of each name among the sorted
        own = np.searchsorted(graph.vertices, genes)
        return replace(
            graph,
            vertices=named[order],
            kinds=np.concatenate([graph.kinds, np.full(len(features), LAYER)])[order],
            source=np.concatenate([place[graph.source], place[own]]),
            target=np.concatenate([place[graph.target], place[len(graph.vertices) :]]),
            weight=np.concatenate([graph.weight, np.ones(len(features), np.float32)]),
            sign=np.concatenate([graph.sign, sign]),
        )
