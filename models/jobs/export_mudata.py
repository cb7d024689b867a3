"""Export of a run and its cells as one MuData file: values as registered, with the joint space."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import anndata
import h5py
import mudata
import numpy as np
import pandas as pd

from kg import runs
from kg.cells import cells as registered_cells
from kg.cells.anndata_files import SPARSE, opened
from kg.errors import ChecksumMismatch, Conflict, MissingInput
from kg.evidence.nodes import read_nodes
from kg.files import replaced
from kg.progress import SILENT, Progress
from kg.runs.predictions import run_folder
from kg.schema import GENE, PEAK
from models.inputs.read_anndata import ROW, Reading, feature_ids, is_paired, names_of, stored_of

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from kg.cells import CellsFile
    from kg.runs import Run
    from kg.store import Store

ID = "regkg_id"  # column of var: the id of the feature in the graph
OWN = "regkg_name"  # column of obs: the name of a cell in its file, if it was renamed
AT_ONCE = 1 << 22  # values in memory


@dataclass(frozen=True)
class WrittenMuData:
    """The contents of a written h5mu file.

    Attributes:
        modalities: name -> cells, features.
        cells: number of cells; paired ones count once.
    """

    run: str
    modalities: Mapping[str, tuple[int, int]]
    cells: int
    paired: bool


def write_h5mu(store: Store, home: Path, run_id: str, out: Path, progress: Progress = SILENT) -> WrittenMuData:
    """Write one modality per cell file: obs, var, X as the run read it, and the run's embeddings and labels.

    obsm["X_MODEL"] has the cells' positions in the joint space, varm["X_MODEL"] the features' (NaN where one was not
    trained), obs the labels that were read and transferred, uns["regkg"] the provenance. Cells of a paired set have one
    name in all modalities; in an unpaired set, clashing names are prefixed with the modality.

    Args:
        store: the graph.
        home: REGKG_HOME, where runs/RUN holds the embeddings.
        run_id: a complete run.
        out: written whole or not at all; only names and embeddings are held in memory, never the values.
        progress: where to report the writing of values.

    Raises:
        Conflict: the run does not record how it read its cells.
        ChecksumMismatch: the cell files are no longer those that the run read.
        MissingInput: a file of the run or of the cells is missing.
    """
    run = runs.run(store, run_id)
    environment = runs.environment(store, run_id)
    if "request" not in environment:
        raise Conflict(f"run {run_id} does not record how it read its cells", "train it again")
    reading = Reading(**environment["request"]["reading"])
    files = sorted(_unchanged(store, run, environment["cells"]), key=lambda f: (f.modality != "rna", f.modality))
    names_by_modality = {file.modality: names_of(file.path) for file in files}
    paired = is_paired(names_by_modality.values(), reading)
    nodes = tuple(read_nodes(store, type_, run.release) for type_ in (GENE, PEAK))
    modalities = {}
    for file in files:
        names = names_by_modality[file.modality]
        ids = feature_ids(file, names.var_names.tolist(), *nodes)
        modalities[file.modality] = _modality(_kept(home, run, file.modality), names, ids, f"X_{run.model}")
        modalities[file.modality].uns["regkg"]["values"] = stored_of(file, reading).name
    _name_alike(modalities, paired=paired)
    with replaced(out) as temporary:
        n = _write_names(modalities, temporary)
        with h5py.File(temporary, "r+") as target:
            for file in files:
                progress.begin(f"writing {file.modality}")
                group = target["mod"][file.modality]
                group.pop("X", None)  # mudata's marker that there are no values
                with opened(file.path) as source:
                    _copy(source[stored_of(file, reading).name], group, "X")
                progress.end(f"{file.shape[0]:,} cells")
    return WrittenMuData(run_id, {name: adata.shape for name, adata in modalities.items()}, n, paired)


def _write_names(modalities: Mapping[str, anndata.AnnData], path: Path) -> int:
    """Write everything but the values; return the number of cells."""
    with mudata.set_options(pull_on_update=False):
        joined = mudata.MuData(dict(modalities))
        provenance = next(iter(modalities.values())).uns["regkg"]
        joined.uns["regkg"] = {name: value for name, value in provenance.items() if name != "values"}
        joined.write_h5mu(path)
    return int(joined.n_obs)


def _unchanged(store: Store, run: Run, read: Mapping[str, str]) -> list[CellsFile]:
    """Return the cell files that the run read, after checking that they have not changed."""
    files = registered_cells(store, run.cells)
    if {file.modality: file.sha256 for file in files} != read:
        raise ChecksumMismatch(
            f"cells {run.cells!r} are other files than those that run {run.id} read",
            f"register those again: regkg load cells FILES --name {run.cells}; or train again",
        )
    for file in files:
        file.check_unchanged()
    return files


def _kept(home: Path, run: Run, modality: str) -> anndata.AnnData:
    path = run_folder(home, run.id) / f"{modality}.h5ad"
    if not path.exists():
        hint = "derived runs embed no cells" if run.derived else "run folders stay on the machine that trained them"
        raise MissingInput(f"{path}: the cells of run {run.id} are missing", hint)
    return anndata.read_h5ad(path)


def _modality(embedded: anndata.AnnData, names: anndata.AnnData, ids: Any, key: str) -> anndata.AnnData:
    """Return cells and features in the order of their file, without values; the run's columns replace the file's."""
    cells, features = embedded.obs_names.get_indexer(names.obs_names), embedded.var_names.get_indexer(ids)
    own = {name: column.to_numpy() for name, column in names.obs.items() if name not in {ROW, *embedded.obs}}
    obs = pd.DataFrame(own, names.obs_names).join(embedded.obs.iloc[cells])
    adata = anndata.AnnData(obs=obs, var=names.var.assign(**{ID: ids}), uns={"regkg": dict(embedded.uns["regkg"])})
    adata.obsm[key] = embedded.obsm[key][cells]
    adata.varm[key] = np.where((features < 0)[:, None], np.float32(np.nan), embedded.varm[key][features])
    return adata


def _name_alike(modalities: Mapping[str, anndata.AnnData], *, paired: bool) -> None:
    """Give each cell one name, since MuData joins cells by name."""
    first, *others = modalities.values()
    clashing = any(set(first.obs_names) & set(a.obs_names) for a in others)
    if paired and not all(set(first.obs_names) == set(a.obs_names) for a in others):
        for adata in others:
            adata.obs[OWN] = adata.obs_names
            adata.obs_names = first.obs_names
    elif not paired and clashing:
        for modality, adata in modalities.items():
            adata.obs[OWN] = adata.obs_names
            adata.obs_names = f"{modality}:" + adata.obs_names


def _copy(node: Any, group: h5py.Group, name: str) -> None:
    """Copy a matrix, sparse or dense, of an h5ad or zarr store, piece by piece."""
    if node.attrs.get("encoding-type", "array") in SPARSE:
        copy = group.create_group(name)
        for part in ("data", "indices", "indptr"):
            _copy(node[part], copy, part)
    else:
        copy = group.create_dataset(name, node.shape, node.dtype, compression="gzip", compression_opts=1, chunks=True)
        step = max(1, AT_ONCE // max(int(np.prod(node.shape[1:])), 1))
        for start in range(0, node.shape[0], step):
            copy[start : start + step] = node[start : start + step]
    copy.attrs.update(dict(node.attrs))
