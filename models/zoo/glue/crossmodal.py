"""Cross-modal prediction: the values of one modality decoded from cells of another."""

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

WEIGHTS = "member-0-second"  # the member whose embeddings a run keeps


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
    """Predict the values of the target for cells of the source (Cao & Gao 2022).

    Posterior means of u and v are decoded by the target's decoder. The result is dense: pass `rows` for many cells.

    Args:
        folder: of a run, with its h5ad files and checkpoints.
        source: modality of the cells.
        target: modality of the features.
        model: name under which embeddings are kept.
        likelihood: the likelihood that the target was trained with.
        library: total count of each cell, for likelihoods of counts; 1 gives shares.
        batch: index of the target's batch whose parameters are used, in the order of batch names.
        rows: cells of the source.

    Returns:
        X (cells, features) float32, obs of the source, var of the target; features that were not trained are left out.

    Raises:
        MissingInput: a file of the run is missing.
        InputError: the weights are for another likelihood, or have no such batch.
        CheckpointRefused: the weights are damaged.
    """
    cells, features = (_read(folder, name) for name in (source, target))
    decoder = _decoder(folder, target, likelihood, features.n_vars)
    if not 0 <= batch < decoder.shape[0]:
        raise InputError(f"{target} has no batch {batch}", f"it has {decoder.shape[0]}, counted from 0")
    key = f"X_{model}"
    u, v = (torch.from_numpy(np.asarray(x, np.float32)) for x in (cells.obsm[key][rows], features.varm[key]))
    a = torch.addmm(decoder.bias[batch], u, decoder.loading(v, batch).t())
    values = expected(decoder, likelihood, a, library, batch).numpy()
    return anndata.AnnData(values, obs=cells.obs.iloc[rows].copy(), var=features.var.copy(), uns=dict(cells.uns))


def expected(decoder: Decoder, likelihood: str, a: Tensor, library: float, batch: int) -> Tensor:
    """Return the (n, F) mean of each value; zeros of a zero-inflated likelihood count as zeros, unlike in scglue."""
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
        available = ", ".join(sorted(p.stem for p in folder.glob("*.h5ad"))) or "none"
        raise MissingInput(f"{path} does not exist", f"modalities of this run: {available}")
    return anndata.read_h5ad(path)


def _decoder(folder: Path, modality: str, likelihood: str, n_features: int) -> Decoder:
    """Return the decoder of a modality with its trained weights; modalities are in the order that models read."""
    path = folder / "checkpoints" / WEIGHTS
    if not checkpoint.exists(path):
        raise MissingInput(f"{path}.json does not exist, so there is no decoder", "train again")
    order = sorted((p.stem for p in folder.glob("*.h5ad")), key=lambda name: (name != "rna", name))
    prefix = f"module/decoders.{order.index(modality)}."
    tensors, _ = checkpoint.load(path, {})
    trained = {name.removeprefix(prefix): tensor for name, tensor in tensors.items() if name.startswith(prefix)}
    decoder = DECODERS[likelihood](n_features, len(trained["bias"])) if likelihood in DECODERS else None
    if decoder is None or {n: t.shape for n, t in decoder.state_dict().items()} != {
        n: t.shape for n, t in trained.items()
    }:
        raise InputError(
            f"{modality} was not trained as {likelihood}: its decoder has {', '.join(sorted(trained))}",
            f"name the likelihood it was trained with: {', '.join(DECODERS)}",
        )
    decoder.load_state_dict(trained)
    return decoder
