"""Reading of registered AnnData files into `Cells`."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import anndata
import numpy as np
import psutil
from anndata.io import read_elem

from kg.cells import assay_of, is_gene_layer, match_features
from kg.cells import cells as registered_cells
from kg.cells.anndata_files import opened
from kg.errors import InputError
from kg.evidence.nodes import read_nodes
from kg.progress import SILENT, Progress
from kg.schema import GENE, PEAK
from models.inputs.cells import COUNTED, LIKELIHOODS, Cells, Modality
from models.inputs.preflight import check_cells, stored_values, values_of
from models.inputs.preprocess import atac_lsi, rna_pca, value_pca
from models.inputs.streamed_svd import streamed_lsi, streamed_pca

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    import pyarrow as pa
    from numpy.typing import NDArray

    from kg.cells import CellsFile
    from kg.store import Store
    from models.inputs.backed_matrix import Counts, StoredCounts

UNKNOWN = "unmapped:"  # prefix of features that the graph does not know, so that no id can clash
COMPONENTS = 100
COPIES = 40  # bytes that a value takes at worst on its way into training
MOST_MEMORY = 0.6  # share of what is free
ROW = "regkg_row"  # column of obs: the row in the file
METHYLATION = -1  # sign between a gene and the methylation of its body (Cao & Gao 2022, triple omics)


@dataclass(frozen=True)
class Reading:
    """How cell files are read.

    Attributes:
        labels: column of obs with cell types; ignored if missing. Metrics use it, and a model if its options say so.
        batch: column of obs with batches, which enter the decoder; None for one batch.
        paired: whether the modalities hold the same cells, used as labels are; None trusts uns["paired"].
        likelihoods: modality -> likelihood of its values, where it is not the default: negative binomial for counts,
            zero-inflated log-normal for layers of genes (methylation ratios).
        stream: whether values stay on disk and are read step by step; None: if memory would not hold them.
    """

    labels: str = "cell_type"
    batch: str | None = None
    paired: bool | None = None
    likelihoods: Mapping[str, str] = field(default_factory=dict)
    stream: bool | None = None

    def likelihood(self, modality: str) -> str:
        """Return the likelihood of the values of this modality."""
        return self.likelihoods.get(modality, "ziln" if is_gene_layer(modality) else "nb")


def read_registered(store: Store, name: str, release: int, how: Reading, progress: Progress = SILENT) -> Cells:
    """Read a set of cells by its name, with features matched to the nodes of a release.

    Raises:
        NotFound: there is no such set of cells.
        InputError: a file has changed since it was registered, or see `read_cells`.
    """
    files = registered_cells(store, name)
    for file in files:
        file.check_unchanged()
    return read_cells(files, read_nodes(store, GENE, release), read_nodes(store, PEAK, release), how, progress)


def read_cells(
    files: Sequence[CellsFile], genes: pa.Table, peaks: pa.Table, how: Reading, progress: Progress = SILENT
) -> Cells:
    """Read registered files, with features under their graph ids.

    Features without an id take part under a name of their own. Encoder inputs are computed from all features:
    100 LSI components for ATAC, otherwise 100 principal components.

    Args:
        files: of one set of cells, one per modality.
        genes, peaks: nodes of the release that is trained on.
        how: columns of obs, pairing.
        progress: where to report each file.

    Raises:
        InputError: counts are not raw, names repeat, a column of obs is missing, or paired files hold different cells.
        CoverageTooLow: the graph knows too few of a file's features.
    """
    adatas, stored = {}, {}
    streams = outgrow_memory(files, how) if how.stream is None else how.stream
    for file in sorted(files, key=lambda f: f.modality != "rna"):
        progress.begin(f"reading {file.modality}", 1, "files")
        adatas[file.modality] = names_of(file.path) if streams else _whole(file.path)
        if streams:
            stored[file.path] = stored_of(file, how)
        progress.end()
    by_name = {file.modality: file for file in files}
    _check_likelihoods(how, adatas)
    check_cells(
        {by_name[name].path: adata for name, adata in adatas.items()},
        {by_name[name].path: how.likelihood(name) for name in adatas},
        stored,
    )
    paired = is_paired(adatas.values(), how)
    if paired:
        adatas = _aligned(adatas)
    found = {}
    for name, adata in adatas.items():
        progress.begin(f"encoder inputs of {name}")
        values = stored.get(by_name[name].path)
        found[name] = _modality(by_name[name], adata, genes, peaks, how, values)
        progress.end()
    return Cells(found, paired)


def outgrow_memory(files: Sequence[CellsFile], how: Reading) -> bool:
    """Return whether reading the files whole would take most of the memory that is free now."""
    needed = 0
    for file in files:
        cells, features = file.shape
        needed += stored_of(file, how).nnz * COPIES + (0 if assay_of(file.modality) == "atac" else 4 * cells * features)
    return bool(needed > MOST_MEMORY * psutil.virtual_memory().available)


def stored_of(file: CellsFile, how: Reading) -> StoredCounts:
    """Return the values of a file that a run reads, left on disk."""
    return stored_values(file.path, file.layers, file.sha256, how.likelihood(file.modality))


def _whole(path: str) -> anndata.AnnData:
    try:
        return anndata.read_zarr(path) if Path(path).is_dir() else anndata.read_h5ad(path)
    except (OSError, RuntimeError, ValueError) as error:
        raise InputError(f"{path}: cannot be read: {error}", "copy or write it again") from error


def names_of(path: str) -> anndata.AnnData:
    """Read a file without its matrices; column ROW of obs has each cell's row."""
    with opened(path) as file:
        obs, var, uns = (read_elem(file[name]) if name in file else {} for name in ("obs", "var", "uns"))
    return anndata.AnnData(obs=obs.assign(**{ROW: np.arange(len(obs))}), var=var, uns=uns)


def _modality(
    file: CellsFile,
    adata: anndata.AnnData,
    genes: pa.Table,
    peaks: pa.Table,
    how: Reading,
    stored: StoredCounts | None = None,
) -> Modality:
    features = feature_ids(file, adata.var_names.tolist(), genes, peaks)
    likelihood = how.likelihood(file.modality)
    values: Counts
    if stored is None:
        values, _ = values_of(adata, likelihood)
        reduce = atac_lsi if assay_of(file.modality) == "atac" else rna_pca if likelihood in COUNTED else value_pca
        rep = reduce(values.astype(np.float64), COMPONENTS)
    else:
        rows = adata.obs[ROW].to_numpy()
        values = stored if (np.diff(rows) == 1).all() else stored.ordered(rows)
        pca = partial(streamed_pca, counted=likelihood in COUNTED)
        rep = (streamed_lsi if assay_of(file.modality) == "atac" else pca)(values, COMPONENTS)
    return Modality(
        name=file.modality,
        counts=values,
        features=features,
        rep=rep,
        obs_names=adata.obs_names.to_numpy(dtype=np.str_),
        labels=_column(adata, how.labels) if how.labels in adata.obs else None,
        batch=None if how.batch is None else _column(adata, how.batch, file.path),
        likelihood=likelihood,
        gene_sign=METHYLATION if is_gene_layer(file.modality) else 0,
    )


def feature_ids(file: CellsFile, names: Sequence[str], genes: pa.Table, peaks: pa.Table) -> NDArray[np.str_]:
    """Return the name of each feature of a file in a run: its graph id, or a name of its own.

    Raises:
        CoverageTooLow: the graph knows too few of them.
    """
    match = match_features(names, genes, peaks, file.assembly)
    match.check(file.path)
    named = zip(match.ids, names, strict=True)
    return np.array([graph_id or f"{UNKNOWN}{file.modality}:{name}" for graph_id, name in named], dtype=np.str_)


def is_paired(adatas: Iterable[anndata.AnnData], how: Reading) -> bool:
    """Return whether the files hold the same cells, by row or by name."""
    return all(a.uns.get("paired", False) for a in adatas) if how.paired is None else how.paired


def _check_likelihoods(how: Reading, adatas: Mapping[str, Any]) -> None:
    for name, likelihood in how.likelihoods.items():
        if name not in adatas:
            raise InputError(f"no modality of these cells is {name!r}", f"available: {', '.join(adatas)}")
        if likelihood not in LIKELIHOODS:
            raise InputError(f"no likelihood is called {likelihood!r}", f"available: {', '.join(LIKELIHOODS)}")


def _column(adata: anndata.AnnData, name: str, path: str = "") -> NDArray[np.str_]:
    if name not in adata.obs:
        raise InputError(f"{path}: obs has no column {name!r}", f"it has: {', '.join(adata.obs.columns)}")
    column = adata.obs[name]
    return np.where(column.isna(), "", column.astype(str)).astype(np.str_)


def _aligned(adatas: Mapping[str, Any]) -> dict[str, Any]:
    """Order cells as in the first file, by name if names agree, otherwise row by row."""
    first, *others = adatas.items()
    lengths = {name: a.n_obs for name, a in adatas.items()}
    if len(set(lengths.values())) > 1:
        raise InputError(f"paired files must have the same number of cells, got {lengths}", "train without --paired")
    same_names = all(set(a.obs_names) == set(first[1].obs_names) for _, a in others)
    return {first[0]: first[1], **{n: a[first[1].obs_names] if same_names else a for n, a in others}}
