"""Every piece of GLUE against what scglue 0.4.1 computed from the same inputs and weights (`record_scglue.py`)."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import pytest
import scipy.sparse as sp
import torch
from scipy.stats import false_discovery_control
from torch import Tensor

from kg.guidance import GuidanceGraph
from models.inputs.cells import Cells, Modality
from models.training.loop import Schedule, Trainer
from models.zoo import glue
from models.zoo.glue import balance
from models.zoo.glue.config import published_plan
from models.zoo.glue.decoders import DECODERS
from models.zoo.glue.likelihoods import CountMatrix
from models.zoo.glue.link_scores import Trained, cosines, greater_p
from models.zoo.glue.minibatch import TrainingData
from models.zoo.glue.sampling import Draw, EdgeSampler
from tests.models import scglue_inputs as inputs
from tests.models.test_train import Scripted

if TYPE_CHECKING:
    from collections.abc import Callable

THEIRS: dict[str, Any] = json.loads((Path(__file__).parent / "scglue.json").read_text())
CPU = torch.device("cpu")
KEYS = list(inputs.FEATURES)
RENAMED = {"scale": "scale_lin", "zero_logit": "zi_logits", "spread": "std_lin", "size": "size_lin"}


def near(ours: Any, expected: Any) -> None:
    if isinstance(ours, Tensor):
        ours = ours.detach().numpy()
    np.testing.assert_allclose(np.asarray(ours).ravel(), np.asarray(expected).ravel(), rtol=1e-5, atol=1e-5)


def their_name(name: str) -> str:
    """Return scglue's name of one of our parameters."""
    first, *rest = name.split(".")
    if first == "graph":
        return (
            "g2v."
            + {"vertices": "vrepr", "mean": "loc", "spread": "std_lin"}[rest[0]]
            + "".join(f".{r}" for r in rest[1:])
        )
    if first == "classifier":
        return f"u2c.{rest[0]}"
    if first == "discriminator":
        return f"du.{({'0': 'linear_0', '3': 'linear_1', '6': 'pred'})[rest[0]]}.{rest[1]}"
    modality = KEYS[int(rest[0])]
    if first == "decoders":
        return f"u2x.{modality}.{RENAMED.get(rest[1], rest[1])}"
    if rest[1] == "hidden":
        return f"x2u.{modality}.{({'0': 'linear', '2': 'bn'})[rest[3]]}_{rest[2]}.{rest[4]}"
    return f"x2u.{modality}.{({'mean': 'loc', 'spread': 'std_lin'})[rest[1]]}.{rest[2]}"


def fill(module: torch.nn.Module, named: Callable[[str], str]) -> None:
    with torch.no_grad():
        for name, value in module.state_dict().items():
            if value.is_floating_point():
                value.copy_(torch.from_numpy(inputs.weights(named(name), tuple(value.shape))))


@pytest.mark.parametrize("name", DECODERS)
def test_decoder(name: str) -> None:
    expected = THEIRS["decoders"][name]
    decoder = DECODERS[name](5, 2)
    fill(decoder, lambda own: RENAMED.get(own, own))
    u, v = (torch.from_numpy(inputs.sines(n, inputs.M, k=k)).requires_grad_() for n, k in ((inputs.N, 1.0), (5, 2.0)))
    x = CountMatrix.of(sp.csr_matrix(inputs.values(name, inputs.N, 5)), CPU).take(torch.arange(inputs.N))
    loss = decoder(u, v, x, 0)
    near(loss, expected["nll"])
    parameters = {RENAMED.get(own, own): p for own, p in decoder.named_parameters()}
    assert {"u", "v", *parameters} == expected["gradients"].keys()
    for (own, _), gradient in zip(
        [("u", u), ("v", v), *parameters.items()], torch.autograd.grad(loss, [u, v, *parameters.values()]), strict=True
    ):
        near(gradient, expected["gradients"][own])


def world(*, holes: bool) -> tuple[GuidanceGraph, Cells]:
    prefixes = {"rna": "a", "atac": "b", "mCH": "c"}
    features = {k: np.array([f"{prefixes[k]}{i}" for i in range(n)]) for k, n in inputs.FEATURES.items()}
    vertices = np.concatenate(list(features.values()))  # sorted
    i, j, w, s = (np.array(column) for column in zip(*inputs.EDGES, strict=True))
    graph = GuidanceGraph(
        vertices, np.full(len(vertices), "Gene"), i, j, w.astype(np.float32), s.astype(np.int8)
    )  # fmt: skip
    modalities = {}
    for n, k in enumerate(KEYS):
        values = inputs.values(inputs.LIKELIHOODS[k], inputs.N, len(features[k]), holes=holes and k == "mCH")
        modalities[k] = Modality(
            k, sp.csr_matrix(values), features[k], inputs.sines(inputs.N, inputs.DIMS, k=1.1 + n),
            np.array([f"{k}{c}" for c in range(inputs.N)]),
            np.array([f"type {label}" if label >= 0 else "" for label in inputs.LABELS[k]]),
            np.array([f"batch {b}" for b in inputs.BATCH[k]]), inputs.LIKELIHOODS[k],
        )  # fmt: skip
    return graph, Cells(modalities)


@pytest.mark.parametrize("case", ["unpaired", "paired", "holes"])
def test_losses_and_gradients(case: str, monkeypatch: pytest.MonkeyPatch) -> None:
    theirs = THEIRS[case]["losses"]
    graph, cells = world(holes=case == "holes")
    config = glue.Config(latent_dim=inputs.M, hidden_dim=inputs.HIDDEN, use_labels=True, use_pairs=case == "paired")
    data = TrainingData(graph, cells, "cpu")
    module = glue.Glue(data, config, shared_batches=True).eval()
    fill(module, their_name)
    i, j, s, w = (torch.tensor(column) for column in zip(*inputs.STEPS, strict=True))
    edges = i, j, s.float(), w.float()
    weights = [torch.from_numpy(0.5 + np.abs(inputs.sines(inputs.N, k=3.0 + n))) for n in range(3)]
    step = data.minibatch(Draw([np.arange(inputs.N)] * 3, inputs.OWN), weights, edges, paired=case == "paired")

    def noise(like: Tensor) -> Tensor:
        return torch.from_numpy(inputs.sines(*like.shape, k=0.7))

    monkeypatch.setattr(torch, "randn_like", noise)
    encoded = module.encode(step)
    means = torch.cat([mean for mean, _ in encoded])
    parts = module.vae_loss(step, encoded)
    adversary = module.adversary_loss(means, step, 0.0)
    expected = {"graph_nll": "g_nll", "graph_kl": "g_kl", "labels": "sup_loss", "total": "vae_loss"}
    expected |= {f"{part}_{n}": f"x_{k}_{part}" for n, k in enumerate(KEYS) for part in ("nll", "kl")}
    if case == "paired":
        expected |= {"joint_cross": "joint_cross_loss", "real_cross": "real_cross_loss", "cosine": "cos_loss"}
    assert parts.keys() == expected.keys()
    for own, name in expected.items():
        near(parts[own], theirs[name])
    near(adversary, theirs["dsc_loss"])
    near(module.adversary_loss(means, step, glue.NOISE * 0.8), theirs["noisy_dsc_loss"])  # epoch 3 of 10
    generator = parts["total"] - config.align_weight * adversary
    near(generator, theirs["gen_loss"])
    named = dict(module.named_parameters())
    gradients = dict(zip(named, torch.autograd.grad(generator, list(named.values())), strict=True))
    if case == "holes":  # theirs are NaN
        assert all(bool(gradient.isfinite().all()) for gradient in gradients.values())
        return
    assert {their_name(name) for name in named} == THEIRS[case]["gradients"].keys()
    for name, gradient in gradients.items():
        near(gradient, THEIRS[case]["gradients"][their_name(name)])


def test_edges_and_what_is_drawn_of_them() -> None:
    graph, cells = world(holes=False)
    edges = TrainingData(graph, cells, "cpu").edges
    theirs, (source, target, _, sign) = THEIRS["edges"], inputs.directed()
    place = {key: k for k, key in enumerate(zip(source.tolist(), target.tolist(), sign.tolist(), strict=True))}
    at = [place[key] for key in zip(edges.source.tolist(), edges.target.tolist(), edges.sign.tolist(), strict=True)]
    near(edges.norm, np.array(theirs["norm"])[at])
    sampler = EdgeSampler(edges, 10, 32)
    near(sampler._real.chances, [theirs["real"][f"{i}-{j}"] for i, j in zip(edges.source, edges.target, strict=True)])
    near(sampler._target.chances, theirs["absent"])
    assert (sampler.n_real, 11 * sampler.n_real) == (theirs["n_real"], theirs["size"])
    assert sum(len(batch[0]) for batch in sampler.epoch(np.random.default_rng(0))) == theirs["size"]


def test_balancing_weights_of_three_modalities(monkeypatch: pytest.MonkeyPatch) -> None:
    clustered = [inputs.clusters(k) for k in range(3)]
    known = {len(kind): kind for _, kind in clustered}
    monkeypatch.setattr(balance, "leiden", lambda embedding, *, seed: known[len(embedding)])
    for ours, theirs in zip(
        balance.balancing_weights([e for e, _ in clustered], published=True), THEIRS["balancing"], strict=True
    ):
        assert np.std(theirs) > 0.1
        near(ours, theirs)


@pytest.mark.parametrize(("n", "theirs"), list(zip(inputs.SIZES, THEIRS["schedules"], strict=True)))
def test_schedule(n: int, theirs: dict[str, int]) -> None:
    plan, burnin = published_plan(n, glue.Config(), first=False)
    assert theirs == {
        "align_burnin": burnin, "max_epochs": plan.max_epochs,
        "patience": plan.patience, "reduce_lr_patience": plan.lr_patience,
    }  # fmt: skip


@pytest.mark.parametrize(("script", "theirs"), list(zip(inputs.LOSSES, THEIRS["stopping"], strict=True)))
def test_learning_rate_stopping_and_what_is_restored(script: list[float], theirs: dict[str, Any]) -> None:
    task, kept = Scripted(script, lr=1.0), {}
    plan = Schedule(len(script), 1.0, **inputs.PATIENCE)

    def watch(_stage: str, task: Scripted, row: dict[str, float]) -> None:
        rates.append(float(task.optimisers["one"].param_groups[0]["lr"]))
        if row["epoch"] < theirs["epochs"]:  # after the last one the weights are those restored
            kept[task.module[0].weight.sum().item()] = int(row["epoch"])

    rates: list[float] = []
    trainer = Trainer(on_epoch=watch)
    with trainer.seeded(0):
        trainer.train(task, plan, "stage", 0, {})
    assert len(rates) == theirs["epochs"]
    near(rates, theirs["rates"])
    assert kept.get(task.module[0].weight.sum().item(), theirs["epochs"]) == theirs["restored"]


def test_regulatory_inference() -> None:
    members, pairs = inputs.embeddings()
    theirs = {name: np.array(values) for name, values in THEIRS["inference"].items()}
    names = np.array([f"v{i:02d}" for i in range(40)])
    fit = Trained(names, np.stack(members), {}, pd.DataFrame(), {})
    i, j = np.array(pairs).T
    links = fit.links(names[i].tolist(), names[j].tolist())
    near(links["score"], theirs["score"])
    state = np.random.RandomState(0)  # theirs permutes the rows of each member with it, and so can be repeated
    unit = np.stack([state.permutation(member) for member in members])
    null = cosines(unit / np.linalg.norm(unit, axis=-1, keepdims=True), i, j).ravel()
    ours = greater_p(links["score"].to_numpy(np.float64), null)
    near(ours, (1 + len(null) * theirs["pval"]) / (1 + len(null)))  # we count the score itself, so that no p is 0
    near(false_discovery_control(theirs["pval"]), theirs["qval"])
    assert np.ptp(theirs["qval"]) > 0.3
