"""A model of cell annotations in a few lines: the label of each cell's nearest labelled cell of the other half."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from sklearn.neighbors import KNeighborsClassifier

from kg.parameters import param
from models.contract import Assay, CellAnnotation, Evidence, Fit, Metric, Needs, Reads, TinyWorld, model


@dataclass(frozen=True)
class Config:
    """Options of the toy."""

    k: int = param("neighbours", 5, low=1)
    seed: int = param("of the halves", 0, low=0)


@model(
    config=Config,
    needs=Needs(evidence=Evidence(), assays=(Assay("rna", rep="pca"),), reads=(Reads.LABELS,)),
    writes=(CellAnnotation,),
    gate=(Metric("accuracy", tolerance=0.1, same_cells=True),),
    cites="doi:10.0000/toy",
    tiny=TinyWorld(),
)
def fit(inputs, config, trainer, start=None):  # type: ignore[no-untyped-def]
    """Carry the labels of one half of the cells to all of them."""
    rna = inputs.cells["rna"]
    known = np.random.default_rng(config.seed).random(len(rna.obs_names)) < 0.5
    learnt = KNeighborsClassifier(config.k).fit(rna.rep[known], rna.labels[known])
    share = learnt.predict_proba(rna.rep)
    labels = learnt.classes_[share.argmax(1)]
    annotation = CellAnnotation("rna", rna.obs_names, "toy_label", labels, share.max(1).astype(np.float32))
    return Fit((annotation,), metrics={"accuracy": float((labels == rna.labels)[~known].mean())})
