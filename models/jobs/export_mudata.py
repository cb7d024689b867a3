"""A run and the cells that it read as one MuData file: values as they were registered, the joint space beside them."""

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
OWN = "regkg_name"  # column of obs: the name of a cell in its file, where it has another now
AT_ONCE = 1 << 22  # values in memory


@dataclass(frozen=True)
class Written:
    """What an h5mu holds.

    Attributes:
        modalities: name -> cells, features.
        cells: in all; paired ones count once.
    """

    run: str
    modalities: Mapping[str, tuple[int, int]]
    cells: int
    paired: bool


def write_h5mu(store: Store, home: Path, run_id: str, out: Path, progress: Progress = SILENT) -> Written:
    """One modality for each file of the cells: obs, var, X as the run read it, and what the run made of them.

    obsm["X_MODEL"] has the cells' places in the joint space, varm["X_MODEL"] the features' (NaN where one was not
    trained), obs the labels that were read and transferred, uns["regkg"] where all that comes from. Cells of a paired
    set have one name in all modalities; of an unpaired one, names that clash get the modality before them.

    Args:
        store: the graph.
        home: whose runs/RUN holds the embeddings.
        run_id: a complete run.
        out: written whole or not at all; memory holds names and embeddings, never the values.
        progress: told of values.

    Raises:
        Conflict: the run does not say how it read its cells.
        ChecksumMismatch: the cells are other ones now.
        MissingInput: a file of the run or of the cells is not there.
    """
    run = runs.run(store, run_id)
    asked = runs.environment(store, run_id)
    if "request" not in asked:
        raise Conflict(f"run {run_id} does not say how it read its cells", "train it again")
    how = Reading(**asked["request"]["reading"])
    files = sorted(_unchanged(store, run, asked["cells"]), key=lambda f: (f.modality != "rna", f.modality))
    named = {file.modality: names_of(file.path) for file in files}
    paired = is_paired(named.values(), how)
    nodes = tuple(read_nodes(store, type_, run.release) for type_ in (GENE, PEAK))
    made = {}
    for file in files:
        names = named[file.modality]
        ids = feature_ids(file, names.var_names.tolist(), *nodes)
        made[file.modality] = _modality(_kept(home, run, file.modality), names, ids, f"X_{run.model}")
        made[file.modality].uns["regkg"]["values"] = stored_of(file, how).name
    _name_alike(made, paired=paired)
    with replaced(out) as temporary:
        n = _write_names(made, temporary)
        with h5py.File(temporary, "r+") as target:
            for file in files:
                progress.begin(f"writing {file.modality}")
                group = target["mod"][file.modality]
                group.pop("X", None)  # mudata says in it that there are no values
                with opened(file.path) as source:
                    _copy(source[stored_of(file, how).name], group, "X")
                progress.end(f"{file.shape[0]:,} cells")
    return Written(run_id, {name: one.shape for name, one in made.items()}, n, paired)


def _write_names(made: Mapping[str, anndata.AnnData], path: Path) -> int:
    """All but the values; gives the number of cells."""
    with mudata.set_options(pull_on_update=False):
        together = mudata.MuData(dict(made))
        about = next(iter(made.values())).uns["regkg"]
        together.uns["regkg"] = {name: said for name, said in about.items() if name != "values"}
        together.write_h5mu(path)
    return int(together.n_obs)


def _unchanged(store: Store, run: Run, read: Mapping[str, str]) -> list[CellsFile]:
    """The files that the run read."""
    files = registered_cells(store, run.cells)
    if {file.modality: file.sha256 for file in files} != read:
        raise ChecksumMismatch(
            f"cells {run.cells!r} are other files than those that run {run.id} read",
            f"regkg load cells FILES --name {run.cells} with those, or train again",
        )
    for file in files:
        file.check_unchanged()
    return files


def _kept(home: Path, run: Run, modality: str) -> anndata.AnnData:
    path = run_folder(home, run.id) / f"{modality}.h5ad"
    if not path.exists():
        hint = "runs that were derived embed no cells" if run.derived else "the folder of a run is where it was trained"
        raise MissingInput(f"{path}: the cells of run {run.id} are not there", hint)
    return anndata.read_h5ad(path)


def _modality(kept: anndata.AnnData, names: anndata.AnnData, ids: Any, key: str) -> anndata.AnnData:
    """Cells and features in the order of their file, without values; columns of the run win over those of the file."""
    cells, features = kept.obs_names.get_indexer(names.obs_names), kept.var_names.get_indexer(ids)
    own = {name: column.to_numpy() for name, column in names.obs.items() if name not in {ROW, *kept.obs}}
    obs = pd.DataFrame(own, names.obs_names).join(kept.obs.iloc[cells])
    made = anndata.AnnData(obs=obs, var=names.var.assign(**{ID: ids}), uns={"regkg": dict(kept.uns["regkg"])})
    made.obsm[key] = kept.obsm[key][cells]
    made.varm[key] = np.where((features < 0)[:, None], np.float32(np.nan), kept.varm[key][features])
    return made


def _name_alike(made: Mapping[str, anndata.AnnData], *, paired: bool) -> None:
    """One name for one cell, as MuData joins cells by their names."""
    first, *others = made.values()
    clashing = any(set(first.obs_names) & set(a.obs_names) for a in others)
    if paired and not all(set(first.obs_names) == set(a.obs_names) for a in others):
        for adata in others:
            adata.obs[OWN] = adata.obs_names
            adata.obs_names = first.obs_names
    elif not paired and clashing:
        for modality, adata in made.items():
            adata.obs[OWN] = adata.obs_names
            adata.obs_names = f"{modality}:" + adata.obs_names


def _copy(node: Any, group: h5py.Group, name: str) -> None:
    """A matrix, sparse or dense, of an h5ad or zarr store, piece by piece."""
    if node.attrs.get("encoding-type", "array") in SPARSE:
        made = group.create_group(name)
        for part in ("data", "indices", "indptr"):
            _copy(node[part], made, part)
    else:
        made = group.create_dataset(name, node.shape, node.dtype, compression="gzip", compression_opts=1, chunks=True)
        step = max(1, AT_ONCE // max(int(np.prod(node.shape[1:])), 1))
        for start in range(0, node.shape[0], step):
            made[start : start + step] = node[start : start + step]
    made.attrs.update(dict(node.attrs))
