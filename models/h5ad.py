"""AnnData files in and out: registered files become `Cells`, trained embeddings become AnnData again."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import anndata
import numpy as np
import pandas as pd

from kg.cells import match_features
from kg.errors import InputError
from kg.files import replaced
from kg.progress import SILENT, Progress
from models.cells import Cells, Modality
from models.preflight import check_cells, counts_of
from models.preprocess import atac_lsi, rna_pca

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    import pyarrow as pa
    from numpy.typing import NDArray

    from kg.cells import CellsFile
    from models.fit import Fit

UNKNOWN = "unmapped:"  # put before the name of a feature that the graph does not know, so that no id can clash
COMPONENTS = 100


@dataclass(frozen=True)
class Reading:
    """How the files of a set of cells are read.

    Attributes:
        labels: column of obs with cell types, for metrics only; ignored where it is missing.
        batch: column of obs with batches, which enter the decoder; None for one batch.
        paired: whether the modalities hold the same cells, for metrics only; None believes uns["paired"].
    """

    labels: str = "cell_type"
    batch: str | None = None
    paired: bool | None = None


def read_cells(
    files: Sequence[CellsFile], genes: pa.Table, peaks: pa.Table, how: Reading, progress: Progress = SILENT
) -> Cells:
    """Registered files as a model reads them, features under their graph ids.

    Features without an id take part under a name of their own. Encoder inputs are computed from all features:
    100 principal components for RNA, 100 LSI components for ATAC.

    Args:
        files: of one set of cells, one a modality.
        genes, peaks: nodes of the release that is trained on.
        how: columns of obs, pairing.
        progress: told of each file.

    Raises:
        InputError: counts are not raw, names repeat, a column of obs is missing, or paired files hold different cells.
        CoverageTooLow: the graph knows too few of a file's features.
    """
    adatas = {}
    for file in sorted(files, key=lambda f: f.modality != "rna"):
        progress.begin(f"reading {file.modality}", 1, "files")
        adatas[file.modality] = anndata.read_h5ad(file.path)
        progress.end()
    by_name = {file.modality: file for file in files}
    check_cells({by_name[name].path: adata for name, adata in adatas.items()})
    paired = all(a.uns.get("paired", False) for a in adatas.values()) if how.paired is None else how.paired
    if paired:
        adatas = _aligned(adatas)
    return Cells({name: _modality(by_name[name], a, genes, peaks, how) for name, a in adatas.items()}, paired)


def write_cells(folder: Path, cells: Cells, fit: Fit, key: str, provenance: Mapping[str, str]) -> list[Path]:
    """One h5ad a modality: obs names and labels, cell embeddings in obsm, feature embeddings in varm, no counts."""
    written = []
    for name, modality in cells.modalities.items():
        rows = np.searchsorted(fit.vertices, modality.features).clip(max=len(fit.vertices) - 1)
        trained = fit.vertices[rows] == modality.features
        obs = pd.DataFrame(index=modality.obs_names)
        if modality.labels is not None:
            obs["label"] = pd.Categorical(modality.labels)
        adata = anndata.AnnData(obs=obs, var=pd.DataFrame(index=modality.features[trained]))
        adata.obsm[key] = fit.cells[name]
        adata.varm[key] = fit.features[0, rows[trained]]
        adata.uns["regkg"] = dict(provenance)
        path = folder / f"{name}.h5ad"
        with replaced(path) as temporary:
            adata.write_h5ad(temporary)
        written.append(path)
    return written


def _modality(file: CellsFile, adata: anndata.AnnData, genes: pa.Table, peaks: pa.Table, how: Reading) -> Modality:
    match = match_features(adata.var_names.tolist(), genes, peaks, file.assembly)
    match.check(file.path)
    named = zip(match.ids, adata.var_names, strict=True)
    features = np.array([graph_id or f"{UNKNOWN}{file.modality}:{name}" for graph_id, name in named], dtype=np.str_)
    counts, _ = counts_of(adata)
    reduce = atac_lsi if file.modality == "atac" else rna_pca
    return Modality(
        name=file.modality,
        counts=counts,
        features=features,
        rep=reduce(counts.astype(np.float64), COMPONENTS),
        obs_names=adata.obs_names.to_numpy(dtype=np.str_),
        labels=_column(adata, how.labels) if how.labels in adata.obs else None,
        batch=None if how.batch is None else _column(adata, how.batch, file.path),
    )


def _column(adata: anndata.AnnData, name: str, path: str = "") -> NDArray[np.str_]:
    if name not in adata.obs:
        raise InputError(f"{path}: obs has no column {name!r}", f"it has: {', '.join(adata.obs.columns)}")
    return np.array(adata.obs[name].astype(str).tolist(), dtype=np.str_)


def _aligned(adatas: Mapping[str, Any]) -> dict[str, Any]:
    """Cells in the order of the first file, by name where names agree; else row by row."""
    first, *others = adatas.items()
    lengths = {name: a.n_obs for name, a in adatas.items()}
    if len(set(lengths.values())) > 1:
        raise InputError(f"paired cells must be as many in each file, got {lengths}", "train without --paired")
    same_names = all(set(a.obs_names) == set(first[1].obs_names) for _, a in others)
    return {first[0]: first[1], **{n: a[first[1].obs_names] if same_names else a for n, a in others}}
