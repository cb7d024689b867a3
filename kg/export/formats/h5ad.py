"""Embeddings as AnnData."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, BinaryIO

import h5py
import pandas as pd

from kg.export.registry import Format, Tally

if TYPE_CHECKING:
    from collections.abc import Sequence

    from kg.export.content import Content


def write(content: Content, streams: Sequence[BinaryIO]) -> Tally:
    """Write genes and peaks as obs and their vectors as X; `uns["regkg"]` holds the provenance."""
    import anndata  # noqa: PLC0415 - other formats need not wait for it
    from anndata.io import write_elem  # noqa: PLC0415

    assert content.vectors is not None  # noqa: S101 - formats are only given what they take
    ids, vectors = content.vectors()
    obs = content.nodes.reindex(ids)
    obs = obs.astype(dict.fromkeys(("label", "species", "assembly", "chrom", "strand"), "category"))
    obs = obs.astype(dict.fromkeys(("start", "end", "tss"), float))  # a missing whole number has no place in h5ad
    var = pd.DataFrame(index=[f"dim{i}" for i in range(vectors.shape[1])])
    embeddings = anndata.AnnData(
        vectors, obs=obs, var=var, uns={"regkg": json.dumps(dict(content.about), sort_keys=True)}
    )
    with h5py.File(streams[0], "w") as file:
        write_elem(file, "/", embeddings)
    return Tally(len(ids))


FORMAT = Format("AnnData of embeddings: genes and peaks in obs, vectors in X", "vectors", (".h5ad",), write, text=False)
