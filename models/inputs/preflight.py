"""Checks before anything is trained: are counts raw and finite, names unique, and is there enough room?

All problems of all files are reported at once, with the names of the cells and features concerned, since a user who
learns of them one by one, or after an hour of training, has lost that hour.
"""

from __future__ import annotations

import shutil
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

import numpy as np
import psutil
import scipy.sparse as sp

from kg.errors import InputError, TrainingError
from models.inputs.backed_matrix import StoredCounts, blocks, row_sums
from models.inputs.cells import COUNTED

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence
    from pathlib import Path

    import pandas as pd
    from anndata import AnnData
    from numpy.typing import NDArray

    from models.contract import Estimate
    from models.inputs.cells import Cells

    _Tally = tuple[int, NDArray[np.int64], NDArray[np.int64]]

COUNTS = "counts"
NORM = "norm"  # layer with ratios relative to the level of the cell, as for methylation
SHARES = ("beta", "bernoulli")  # likelihoods of values from 0 to 1
SHOWN = 3
GIB = 2**30


def counts_of(adata: AnnData) -> tuple[sp.csr_matrix, str]:
    """Return the matrix of raw counts and its name: the layer "counts" if there is one, otherwise X."""
    name = f"layer {COUNTS!r}" if COUNTS in adata.layers else "X"
    return _rows(adata.layers.get(COUNTS, adata.X), name), name


def values_of(adata: AnnData, likelihood: str) -> tuple[sp.csr_matrix, str]:
    """Return what a decoder with this likelihood explains: counts; shares in X; else the layer "norm" if present."""
    if likelihood in COUNTED:
        return counts_of(adata)
    normed = NORM in adata.layers and likelihood not in SHARES
    matrix, name = (adata.layers[NORM], f"layer {NORM!r}") if normed else (adata.X, "X")
    return _rows(matrix, name), name


def stored_values(path: str, layers: Collection[str], digest: str, likelihood: str) -> StoredCounts:
    """Return the matrix that `values_of` would read from a file, left on disk."""
    layer = COUNTS if likelihood in COUNTED else NORM
    taken = layer in layers and likelihood not in SHARES
    return StoredCounts(path, f"layers/{layer}" if taken else "X", digest)


def check_cells(
    adatas: Mapping[str, AnnData],
    likelihoods: Mapping[str, str],
    stored: Mapping[str, StoredCounts] = MappingProxyType({}),
) -> None:
    """Refuse files that cannot be trained on.

    Args:
        adatas: path -> the file.
        likelihoods: path -> the likelihood of its values.
        stored: path -> its values, if they are on disk and `adatas` has only names.

    Raises:
        InputError: with all problems of all files.
    """
    problems = [
        f"{path}: {problem}"
        for path, adata in adatas.items()
        for problem in problems_of(adata, likelihoods[path], stored.get(path))
    ]
    if problems:
        raise InputError(
            "\n".join(problems),
            f"GLUE reads raw integer counts: put them in X or in a layer named {COUNTS!r} (other values in X or "
            f"{NORM!r}, NaN where not measured); rename duplicates (adata.obs_names_make_unique()) and drop "
            "values that are not finite",
        )


def problems_of(adata: AnnData, likelihood: str = "nb", stored: StoredCounts | None = None) -> list[str]:
    """Return what is wrong with one file, in sentences that name cells and features; empty if nothing is."""
    if not (adata.n_obs and adata.n_vars):
        return [f"there are {adata.n_obs} cells and {adata.n_vars} features"]
    matrix, where = values_of(adata, likelihood) if stored is None else (stored, stored.name)
    problems = [_repeated("cells", adata.obs_names), _repeated("features", adata.var_names)]
    tallies: dict[str, list[_Tally]] = {}
    silent = True
    for rows, block in blocks(matrix):
        silent &= not np.nan_to_num(block.data).any()
        for rule, mask in _rules(block.data, likelihood).items():
            tallies.setdefault(rule, []).append(_tally(rows.start, block, mask))
    problems += [_said(adata, parts, f"values of {where} are {rule}") for rule, parts in tallies.items()]
    if not any(problems) and silent:
        problems.append(f"{where} holds no {'count' if likelihood in COUNTED else 'value'} at all")
    return [problem for problem in problems if problem]


def _rules(values: NDArray[np.float32], likelihood: str) -> dict[str, NDArray[np.bool_]]:
    """What values are that cannot be trained on, and which of them."""
    finite = np.isfinite(values)
    endless = np.isinf(values) if likelihood not in COUNTED else ~finite
    return {"not finite": endless, **{what: finite & wrong for wrong, what in _broken(values, likelihood)}}


def _broken(values: NDArray[np.float32], likelihood: str) -> list[tuple[NDArray[np.bool_], str]]:
    """Which values a likelihood cannot explain, and what they are."""
    negative, fraction = (values < 0, "negative"), (values != np.round(values), "not integers")
    rules = {
        "nb": [negative, fraction],
        "zinb": [negative, fraction],
        "ziln": [negative],
        "beta": [negative, (values > 1, "above 1")],
        "bernoulli": [((values != 0) & (values != 1), "neither 0 nor 1")],
    }
    return rules.get(likelihood, [])


def silent_cells(cells: Cells) -> dict[str, list[str]]:
    """Modality -> names of cells without a single count; they train, but say nothing."""
    return {name: m.obs_names[row_sums(m.counts) == 0].tolist() for name, m in cells.modalities.items()}


def check_room(needed: Estimate, folder: Path) -> list[str]:
    """Refuse when the disk is too small; gives a warning when memory may be.

    Raises:
        TrainingError: the folder's disk has less free than is needed.
    """
    folder.mkdir(parents=True, exist_ok=True)
    free = shutil.disk_usage(folder).free / GIB
    if free < needed.disk_gib:
        raise TrainingError(
            f"{folder} has {free:.2f} GiB free, training needs {needed.disk_gib:.2f}", "free some, or move REGKG_HOME"
        )
    available = psutil.virtual_memory().available / GIB
    if available < needed.memory_gib:
        return [f"warning: {available:.1f} GiB of memory are free, training needs about {needed.memory_gib:.1f}"]
    return []


def _rows(matrix: Any, name: str) -> sp.csr_matrix:
    if matrix is None:
        raise InputError(f"the cells have no {name}", f"put raw counts into X or a layer named {COUNTS!r}")
    return sp.csr_matrix(matrix, dtype=np.float32)


def _repeated(what: str, names: pd.Index) -> str:
    repeated = names[names.duplicated()].unique()
    return f"{len(repeated)} names of {what} come more than once: {_listed(repeated.tolist())}" if len(repeated) else ""


def _tally(first: int, block: sp.csr_matrix, wrong: NDArray[np.bool_]) -> _Tally:
    """How many values of a block are wrong, in which cells and features."""
    at = np.flatnonzero(wrong)
    rows = np.unique(np.searchsorted(block.indptr, at, side="right") - 1)
    return len(at), first + rows, np.unique(block.indices[at])


def _said(adata: AnnData, parts: Sequence[_Tally], what: str) -> str:
    n = sum(number for number, _, _ in parts)
    if not n:
        return ""
    rows, columns = (np.unique(np.concatenate([part[k] for part in parts])) for k in (1, 2))
    return (
        f"{n:,} {what}, in {len(rows):,} cells ({_listed(adata.obs_names[rows].tolist())}) "
        f"and {len(columns):,} features ({_listed(adata.var_names[columns].tolist())})"
    )


def _listed(names: Sequence[str]) -> str:
    return ", ".join(names[:SHOWN]) + (", ..." if len(names) > SHOWN else "")
