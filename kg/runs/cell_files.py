"""MODALITY.h5ad in a run's folder: cells in the joint space and the labels that a model gave them, without counts."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import anndata
import numpy as np
import pandas as pd

from kg.files import replaced
from kg.runs.outputs import CellAnnotation, CellEmbedding

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from kg.runs.outputs import Output


@dataclass(frozen=True)
class EmbeddedCells:
    """Cells of one modality in the joint space.

    Attributes:
        name: of the modality.
        vectors: (cells, m); None where the model embeds no cells.
        labels: (cells,) labels in the file, "" for none; None if the file has no labels.
        carried: (cells,) labels transferred from the anchor's cells; None if none were.
        confidence: (cells,) confidence of the transferred labels.
    """

    name: str
    vectors: NDArray[np.float32]
    labels: NDArray[np.str_] | None = None
    carried: NDArray[np.str_] | None = None
    confidence: NDArray[np.float32] | None = None


def write_cell_files(folder: Path, outputs: Sequence[Output], model: str, provenance: Mapping[str, str]) -> list[Path]:
    """Write one h5ad for each modality that an output is about; each appears whole or not at all.

    obs holds labels and confidences, obsm X_MODEL the cells, varm X_MODEL the features of the modality if they lie
    in the same space, uns["regkg"] the provenance.
    """
    of_cells = [output for output in outputs if isinstance(output, CellEmbedding | CellAnnotation)]
    paths = []
    for modality in dict.fromkeys(output.modality for output in of_cells):
        path = folder / f"{modality}.h5ad"
        own = [output for output in of_cells if output.modality == modality]
        with replaced(path) as temporary:
            _adata(own, f"X_{model}", provenance).write_h5ad(temporary)
        paths.append(path)
    return paths


def read_cell_files(folder: Path, model: str) -> list[EmbeddedCells]:
    """Read the embedded cells of each modality in a run's folder, in the order in which models read them."""
    paths = sorted(folder.glob("*.h5ad"), key=lambda path: (path.stem != "rna", path.stem))
    files = ((path.stem, anndata.read_h5ad(path)) for path in paths)
    return [
        EmbeddedCells(
            name,
            np.asarray(adata.obsm[f"X_{model}"], np.float32),
            _text(adata.obs, "label"),
            _text(adata.obs, "transferred_label"),
            adata.obs["transferred_confidence"].to_numpy() if "transferred_confidence" in adata.obs else None,
        )
        for name, adata in files
        if f"X_{model}" in adata.obsm
    ]


def read_annotations(folder: Path) -> dict[tuple[str, str], pd.DataFrame]:
    """Read the predicted labels: (modality, column) -> columns label and confidence, by name of the cell."""
    annotations = {}
    for path in sorted(folder.glob("*.h5ad")):
        obs = anndata.read_h5ad(path, backed="r").obs
        for column in obs:
            confidence = f"{column.removesuffix('_label')}_confidence"
            if confidence in obs and confidence != column:
                frame = pd.DataFrame({"label": obs[column].astype(str), "confidence": obs[confidence]}, index=obs.index)
                annotations[path.stem, column] = frame
    return annotations


def _adata(
    outputs: Sequence[CellEmbedding | CellAnnotation], key: str, provenance: Mapping[str, str]
) -> anndata.AnnData:
    obs = pd.DataFrame(index=outputs[0].cells)
    for annotation in (o for o in outputs if isinstance(o, CellAnnotation)):
        if annotation.confidence is not None:
            obs[annotation.confidence_column] = annotation.confidence
        obs[annotation.column] = pd.Categorical(annotation.labels)
    embedding = next((o for o in outputs if isinstance(o, CellEmbedding)), None)
    features = None if embedding is None else embedding.features
    adata = anndata.AnnData(obs=obs, var=pd.DataFrame(index=np.array([], np.str_) if features is None else features))
    if embedding is not None:
        adata.obsm[key] = embedding.vectors
        if embedding.feature_vectors is not None:
            adata.varm[key] = embedding.feature_vectors
    adata.uns["regkg"] = dict(provenance)
    return adata


def _text(obs: pd.DataFrame, column: str) -> NDArray[np.str_] | None:
    return obs[column].astype(str).to_numpy(dtype=np.str_) if column in obs else None
