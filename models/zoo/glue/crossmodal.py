"""What cells of one modality would show in another: their place in the joint space, decoded as the other's values."""

from __future__ import annotations

from typing import TYPE_CHECKING

import anndata
import numpy as np
import torch

from kg.errors import InputError, MissingInput
from models.training import checkpoint
from models.zoo.glue.decoders import DECODERS, ZeroInflatedNegativeBinomialDecoder, ZeroInflatedNormalDecoder

if TYPE_CHECKING:
    from pathlib import Path

    from torch import Tensor

    from models.zoo.glue.decoders import Decoder

WEIGHTS = "member-0-second"  # of the member whose embeddings a run keeps


@torch.no_grad()
def decode(
    folder: Path,
    source: str,
    target: str,
    *,
    model: str = "glue",
    likelihood: str = "nb",
    library: float = 1.0,
    batch: int = 0,
    rows: slice = slice(None),
) -> anndata.AnnData:
    """Values of the target that are expected of cells of the source (Cao & Gao 2022).

    From posterior means of u and v, by the target's decoder. Dense: ask for `rows` at a time where cells are many.

    Args:
        folder: of a run, with its h5ad files and checkpoints.
        source: modality of the cells.
        target: modality of the features.
        model: the name that embeddings are kept under.
        likelihood: that the target was trained with.
        library: total count of each cell, where the likelihood is one of counts; 1 gives shares.
        batch: code of the target's batch whose parameters are used, in the order of their names.
        rows: cells of the source.

    Returns:
        X (cells, features) float32, obs of the source, var of the target; features that were not trained are left out.

    Raises:
        MissingInput: a file of the run is not there.
        InputError: the weights are of another likelihood, or have no such batch.
        CheckpointRefused: they are damaged.
    """
    cells, features = (_read(folder, name) for name in (source, target))
    decoder = _decoder(folder, target, likelihood, features.n_vars)
    if not 0 <= batch < decoder.shape[0]:
        raise InputError(f"{target} has no batch {batch}", f"it has {decoder.shape[0]}, counted from 0")
    key = f"X_{model}"
    u, v = (torch.from_numpy(np.asarray(x, np.float32)) for x in (cells.obsm[key][rows], features.varm[key]))
    a = torch.addmm(decoder.bias[batch], u, decoder.loading(v, batch).t())
    found = expected(decoder, likelihood, a, library, batch).numpy()
    return anndata.AnnData(found, obs=cells.obs.iloc[rows].copy(), var=features.var.copy(), uns=dict(cells.uns))


def expected(decoder: Decoder, likelihood: str, a: Tensor, library: float, batch: int) -> Tensor:
    """(n, F) mean of each value; zeros of a zero-inflated likelihood count as zeros, unlike in scglue."""
    mean = a
    if likelihood in {"nb", "zinb"}:
        mean = torch.softmax(a, 1) * library
    elif likelihood in {"bernoulli", "beta"}:
        mean = torch.sigmoid(a)
    if isinstance(decoder, ZeroInflatedNormalDecoder) and likelihood == "ziln":
        mean = (a + decoder.std(batch) ** 2 / 2).exp()
    if isinstance(decoder, ZeroInflatedNegativeBinomialDecoder | ZeroInflatedNormalDecoder):
        mean = mean * torch.sigmoid(-decoder.zero_logit[batch])
    return mean


def _read(folder: Path, modality: str) -> anndata.AnnData:
    path = folder / f"{modality}.h5ad"
    if not path.exists():
        there = ", ".join(sorted(p.stem for p in folder.glob("*.h5ad"))) or "none"
        raise MissingInput(f"{path} is not there", f"modalities of this run: {there}")
    return anndata.read_h5ad(path)


def _decoder(folder: Path, modality: str, likelihood: str, n_features: int) -> Decoder:
    """The decoder of a modality with the weights that training left; modalities stand as models read them."""
    path = folder / "checkpoints" / WEIGHTS
    if not checkpoint.exists(path):
        raise MissingInput(f"{path}.json is not there, so nothing says how to decode", "train again")
    order = sorted((p.stem for p in folder.glob("*.h5ad")), key=lambda name: (name != "rna", name))
    start = f"module/decoders.{order.index(modality)}."
    tensors, _ = checkpoint.load(path, {})
    held = {name.removeprefix(start): tensor for name, tensor in tensors.items() if name.startswith(start)}
    decoder = DECODERS[likelihood](n_features, len(held["bias"])) if likelihood in DECODERS else None
    if decoder is None or {n: t.shape for n, t in decoder.state_dict().items()} != {
        n: t.shape for n, t in held.items()
    }:
        raise InputError(
            f"{modality} was not trained as {likelihood}: its decoder has {', '.join(sorted(held))}",
            f"say with which likelihood: {', '.join(DECODERS)}",
        )
    decoder.load_state_dict(held)
    return decoder
