"""Values of another modality, held to the module that was trained and to draws from each likelihood."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import torch
from torch.distributions import Bernoulli, Beta, LogNormal, NegativeBinomial, Normal
from torch.nn.functional import softplus

from kg.errors import InputError, MissingInput
from kg.runs.cell_files import write_cell_files
from models.training.loop import Trainer
from models.zoo import glue
from models.zoo.glue.config import Config
from models.zoo.glue.crossmodal import decode, expected
from models.zoo.glue.decoders import DECODERS, MAX_SIZE
from models.zoo.glue.likelihoods import EPS
from models.zoo.glue.predicted import cell_outputs
from tests.models.toy import toy

if TYPE_CHECKING:
    from pathlib import Path

    from torch import Tensor

    from models.training.loop import Row

SMALL = Config(first_steps=6, second_steps=12, hidden_dim=16, latent_dim=8, batch_size=64)


def test_as_the_trained_module_says(tmp_path: Path) -> None:
    world = toy(90, 10)
    kept: dict[str, Any] = {}

    def hold(_stage: str, task: glue.GlueTask, _row: Row) -> None:
        kept["module"], kept["data"] = task.module, task.data

    trainer = Trainer(threads=1, directory=tmp_path / "checkpoints", on_epoch=hold)
    write_cell_files(
        tmp_path, cell_outputs(world.cells, glue.train(world.graph, world.cells, SMALL, trainer)), "glue", {"run": "r"}
    )
    decoded = decode(tmp_path, "rna", "atac", library=50.0, rows=slice(3, 6))
    module, data = kept["module"].eval(), kept["data"]
    assert decoded.obs_names.tolist() == ["rna-3", "rna-4", "rna-5"]
    with torch.no_grad():
        u = module.encoders[0](data.rep[0][3:6])[0].numpy()
        v = module.graph()[0].numpy()[module.sizes[0] :]
        scale, bias = (getattr(module.decoders[1], name)[0].numpy() for name in ("scale", "bias"))
    place = {name: j for j, name in enumerate(data.cells["atac"].features.tolist())}
    assert set(decoded.var_names) == set(place)
    for i in range(3):
        weight = {n: np.exp(np.log1p(np.exp(scale[j])) * float(u[i] @ v[j]) + bias[j]) for n, j in place.items()}
        total = sum(weight.values())
        np.testing.assert_allclose(decoded.X[i], [50 * weight[n] / total for n in decoded.var_names], rtol=1e-4)
    back = decode(tmp_path, "atac", "rna")
    np.testing.assert_allclose(back.X.sum(1), 1, rtol=1e-5)
    with pytest.raises(InputError, match="was not trained as normal"):
        decode(tmp_path, "rna", "atac", likelihood="normal")
    with pytest.raises(InputError, match="was not trained as poisson"):
        decode(tmp_path, "rna", "atac", likelihood="poisson")
    with pytest.raises(InputError, match="no batch 1"):
        decode(tmp_path, "rna", "atac", batch=1)
    with pytest.raises(MissingInput, match=r"mCH\.h5ad"):
        decode(tmp_path, "rna", "mCH")


@pytest.mark.parametrize("likelihood", list(DECODERS))
def test_means_of_many_draws(likelihood: str) -> None:
    torch.manual_seed(4)
    decoder = DECODERS[likelihood](3, 2)
    with torch.no_grad():
        for parameter in decoder.parameters():
            parameter.normal_(0, 0.5)
        a = torch.randn(1, 3)
        held = {name: value[1] for name, value in decoder.named_parameters()}
        x = draws(likelihood, a, held, 400_000)
        x = x * torch.bernoulli(torch.sigmoid(-held["zero_logit"]).expand_as(x)) if "zero_logit" in held else x
        error = 5 * x.std(0) / len(x) ** 0.5
        assert ((x.mean(0) - expected(decoder, likelihood, a, 20.0, 1)[0]).abs() < error).all()


def draws(likelihood: str, a: Tensor, held: dict[str, Tensor], n: int) -> Tensor:
    """Draw n values of each feature without the zeros that a likelihood adds."""
    drawn: Any
    if likelihood in {"nb", "zinb"}:
        theta, mean = held["log_theta"].exp(), torch.softmax(a, 1)[0] * 20
        drawn = NegativeBinomial(theta, probs=mean / (mean + theta))
    elif likelihood == "bernoulli":
        drawn = Bernoulli(logits=a[0])
    elif likelihood == "beta":
        mean, size = torch.sigmoid(a[0]), softplus(held["size"]).clamp(max=MAX_SIZE)
        drawn = Beta(mean * size, (1 - mean) * size)
    else:
        of = LogNormal if likelihood == "ziln" else Normal
        drawn = of(a[0], softplus(held["spread"]) + EPS)
    values: Tensor = drawn.sample((n,))
    return values
