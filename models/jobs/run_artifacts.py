"""What a run leaves in its folder for people: how its losses went, and its cells in the joint space."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import anndata
import numpy as np
import pandas as pd

from kg.files import replaced
from models.evaluation.label_transfer import transferred

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from numpy.typing import NDArray

    from models.inputs.cells import Cells
    from models.zoo.glue.link_scores import Fit

HISTORY = "history.parquet"


@dataclass(frozen=True)
class Embedded:
    """Cells of one modality in the joint space.

    Attributes:
        name: of the modality.
        vectors: (cells, m).
        labels: (cells,) that the file gave, "" where there is none; None where it gave no labels.
        carried: (cells,) labels that came from the anchor's cells; None where none did.
        confidence: (cells,) of those.
    """

    name: str
    vectors: NDArray[np.float32]
    labels: NDArray[np.str_] | None = None
    carried: NDArray[np.str_] | None = None
    confidence: NDArray[np.float32] | None = None


def write_cells(folder: Path, cells: Cells, fit: Fit, key: str, provenance: Mapping[str, str]) -> list[Path]:
    """One h5ad a modality: obs names and labels, cell embeddings in obsm, feature embeddings in varm, no counts.

    Where the anchor has labels, cells of the others also have what `models.evaluation.label_transfer` gives them:
    transferred_label and transferred_confidence in obs.
    """
    written, carried = [], transferred(cells, fit.cells)
    for name, modality in cells.modalities.items():
        rows = np.searchsorted(fit.vertices, modality.features).clip(max=len(fit.vertices) - 1)
        trained = fit.vertices[rows] == modality.features
        obs = pd.DataFrame(index=modality.obs_names)
        if modality.labels is not None:
            obs["label"] = pd.Categorical(modality.labels)
        if name in carried:
            label, obs["transferred_confidence"] = carried[name]
            obs["transferred_label"] = pd.Categorical(label)
        adata = anndata.AnnData(obs=obs, var=pd.DataFrame(index=modality.features[trained]))
        adata.obsm[key] = fit.cells[name]
        adata.varm[key] = fit.features[0, rows[trained]]
        adata.uns["regkg"] = dict(provenance)
        path = folder / f"{name}.h5ad"
        with replaced(path) as temporary:
            adata.write_h5ad(temporary)
        written.append(path)
    return written


def keep_history(folder: Path, history: pd.DataFrame) -> Path:
    """Keep the rows of `Fit.history` as Parquet in a run's folder; the file appears whole or not at all."""
    path = folder / HISTORY
    with replaced(path) as temporary:
        history.to_parquet(temporary, index=False)
    return path


def read_history(folder: Path) -> pd.DataFrame | None:
    """What `keep_history` kept; None where the run is older than that or its folder is elsewhere."""
    path = folder / HISTORY
    return pd.read_parquet(path) if path.exists() else None


def read_embedded(folder: Path, model: str) -> list[Embedded]:
    """The cells of each modality that a run's folder holds, in the order in which models read them: RNA first."""
    paths = sorted(folder.glob("*.h5ad"), key=lambda path: (path.stem != "rna", path.stem))
    found = ((path.stem, anndata.read_h5ad(path)) for path in paths)
    return [
        Embedded(
            name,
            np.asarray(adata.obsm[f"X_{model}"], np.float32),
            _text(adata.obs, "label"),
            _text(adata.obs, "transferred_label"),
            adata.obs["transferred_confidence"].to_numpy() if "transferred_confidence" in adata.obs else None,
        )
        for name, adata in found
    ]


def _text(obs: pd.DataFrame, column: str) -> NDArray[np.str_] | None:
    return obs[column].astype(str).to_numpy(dtype=np.str_) if column in obs else None
