"""What scglue computes for the inputs of `scglue_inputs.py`; run in an environment of its own with scglue 0.4.1.

python tests/models/record_scglue.py            writes tests/models/scglue.json, which test_scglue_parity.py reads
"""

from __future__ import annotations

import json
import sys
import tempfile
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from unittest import mock

import anndata
import networkx as nx
import numpy as np
import pandas as pd
import scglue
import torch
import torch.distributions as D  # noqa: N812
from ignite.engine import Engine, Events
from scglue.models import base, plugins, sc
from scglue.models import scglue as model
from scglue.models.data import GraphDataset
from scglue.num import normalize_edges

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE))
import scglue_inputs as inputs  # noqa: E402

DECODERS = {
    "nb": sc.NBDataDecoder, "zinb": sc.ZINBDataDecoder, "normal": sc.NormalDataDecoder, "zin": sc.ZINDataDecoder,
    "ziln": sc.ZILNDataDecoder, "bernoulli": sc.BernoulliDataDecoder, "beta": sc.BetaDataDecoder,
}  # fmt: skip
ENCODERS = {"nb": sc.NBDataEncoder, "zinb": sc.NBDataEncoder, "ziln": sc.VanillaDataEncoder}


def tensor(array: Any) -> torch.Tensor:
    return torch.as_tensor(np.asarray(array))


def fill(module: torch.nn.Module) -> None:
    with torch.no_grad():
        for name, value in [*module.named_parameters(), *module.named_buffers()]:
            if value.is_floating_point() and not name.startswith("prior"):
                value.copy_(tensor(inputs.weights(name, tuple(value.shape))))


def decoders() -> dict[str, Any]:
    """Record mean negative log-likelihoods and their gradients."""
    found = {}
    for name, kind in DECODERS.items():
        decoder = kind(5, n_batches=2)
        fill(decoder)
        u, v = (tensor(inputs.sines(n, inputs.M, k=k)).requires_grad_() for n, k in ((inputs.N, 1.0), (5, 2.0)))
        x = tensor(inputs.values(name, inputs.N, 5))
        batch = torch.zeros(inputs.N, dtype=torch.long)
        loss = -decoder(u, v, batch, x.sum(1, keepdim=True)).log_prob(x).nanmean()
        parameters = dict(sorted(decoder.named_parameters()))
        gradients = torch.autograd.grad(loss, [u, v, *parameters.values()])
        found[name] = {
            "nll": loss.item(),
            "gradients": {k: inputs.listed(g) for k, g in zip(("u", "v", *parameters), gradients, strict=True)},
        }
    return found


def network() -> model.SCGLUE:
    ends = np.cumsum(list(inputs.FEATURES.values()))
    keys, n = list(inputs.FEATURES), inputs.FEATURES
    net = model.SCGLUE(
        sc.GraphEncoder(int(ends[-1]), inputs.M),
        sc.GraphDecoder(),
        {k: ENCODERS[inputs.LIKELIHOODS[k]](inputs.DIMS, inputs.M, 2, inputs.HIDDEN, 0.2) for k in keys},
        {k: DECODERS[inputs.LIKELIHOODS[k]](n[k], n_batches=2) for k in keys},
        {k: torch.arange(end - n[k], end) for k, end in zip(keys, ends, strict=True)},
        sc.Discriminator(inputs.M, 3, n_batches=2, h_depth=2, h_dim=inputs.HIDDEN),
        sc.Prior(),
        u2c=sc.Classifier(inputs.M, 3),
    )
    fill(net)
    return net.eval()


def losses(kind: type, *, paired: bool = False, holes: bool = False) -> dict[str, Any]:
    """Record all parts of the loss of one minibatch of three modalities, batches, labels; and its gradients.

    Where values were not measured, only its value: scglue's gradients of a ZILN are NaN there.
    """
    net = network()
    extra = {"lam_joint_cross": 0.02, "lam_real_cross": 0.02, "lam_cos": 0.02} if paired else {}
    trainer = kind(
        net, lam_data=1.0, lam_kl=1.0, lam_graph=0.02, lam_align=0.05, lam_sup=0.02, dsc_steps=1, normalize_u=False,
        modality_weight=dict.fromkeys(net.keys, 1.0), optim="RMSprop", lr=2e-3, **extra,
    )  # fmt: skip
    source, target, weight, sign = inputs.directed()
    trainer.eidx, trainer.esgn = tensor(np.stack([source, target])), tensor(sign)
    trainer.enorm = tensor(normalize_edges(np.stack([source, target]), weight))
    keys, lk = list(net.keys), inputs.LIKELIHOODS
    x = [tensor(inputs.values(lk[k], inputs.N, inputs.FEATURES[k], holes=holes and k == "mCH")) for k in keys]
    rep = [tensor(inputs.sines(inputs.N, inputs.DIMS, k=1.1 + i)) for i in range(3)]
    i, j, s, w = (np.array(c) for c in zip(*inputs.STEPS, strict=True))
    data = [
        *x, *rep, *(tensor(inputs.BATCH[k]) for k in keys), *(tensor(inputs.LABELS[k]) for k in keys),
        *(tensor(0.5 + np.abs(inputs.sines(inputs.N, k=3.0 + n))) for n in range(3)),
        tensor(inputs.OWN.T), tensor(np.stack([i, j])), tensor(w.astype(np.float32)), tensor(s.astype(np.float32)),
    ]  # fmt: skip
    data = trainer.format_data(data)

    def noise(self: D.Normal, shape: Any = ()) -> torch.Tensor:
        size = self._extended_shape(torch.Size(shape))
        return self.loc + self.scale * tensor(inputs.sines(*size, k=0.7))

    with mock.patch.object(D.Normal, "rsample", noise), mock.patch.object(D.Normal, "sample", noise):
        plain = trainer.compute_losses(data, 1)
        trainer.align_burnin = 10
        noisy = trainer.compute_losses(data, 3, dsc_only=True)["dsc_loss"] / 0.05
    found = {name: value.item() for name, value in plain.items()} | {"noisy_dsc_loss": noisy.item()}
    if holes:
        return {"losses": found}
    gradients = torch.autograd.grad(plain["gen_loss"], [p for _, p in net.named_parameters()])
    return {
        "losses": found,
        "gradients": {n: inputs.listed(g) for (n, _), g in zip(net.named_parameters(), gradients, strict=True)},
    }


def edges() -> dict[str, Any]:
    """Record edge normalisation and the distributions that positives and negatives are drawn from."""
    source, target, weight, sign = inputs.directed()
    graph = nx.MultiDiGraph()
    for i, j, w, s in zip(source, target, weight, sign, strict=True):
        graph.add_edge(int(i), int(j), weight=w, sign=s)
    data = GraphDataset(graph, pd.Index(range(int(source.max()) + 1)), neg_samples=10)
    real = {}
    for (i, j), p in zip(data.eidx.T, data.eprob, strict=True):
        real[f"{i}-{j}"] = float(p)
    return {
        "norm": inputs.listed(normalize_edges(np.stack([source, target]), weight)),
        "absent": inputs.listed(data.vprob), "real": real, "n_real": int(data.effective_enum), "size": int(data.size),
    }  # fmt: skip


def balancing() -> list[Any]:
    """Record weights of cells whose clusters are given."""
    made = []
    for k in range(3):
        embedding, kind = inputs.clusters(k)
        obs = pd.DataFrame({"leiden": pd.Categorical(kind.astype(str))}, index=[f"{k}-{i}" for i in range(len(kind))])
        made.append(anndata.AnnData(obs=obs, obsm={"X": embedding}))
    with mock.patch.object(scglue.data.sc.pp, "neighbors"), mock.patch.object(scglue.data.sc.tl, "leiden"):
        scglue.data.estimate_balancing_weight(*made, use_rep="X", key_added="w")
    return [inputs.listed(adata.obs["w"]) for adata in made]


def schedules() -> list[dict[str, int]]:
    """Record burn-in, epochs and patience that `SCGLUEModel.fit` chooses."""
    found = []
    for n in inputs.SIZES:
        fake = object.__new__(model.SCGLUEModel)
        fake.__dict__.update(
            random_seed=0, modalities={}, vertices=[], _net=SimpleNamespace(keys=[]),
            _trainer=SimpleNamespace(lr=2e-3, freeze_u=False),
        )  # fmt: skip
        kept: dict[str, Any] = {}
        with (
            mock.patch.object(model, "AnnDataset", lambda *_, n=n, **__: SimpleNamespace(size=n)),
            mock.patch.object(model, "GraphDataset", return_value=SimpleNamespace(size=3200)),
            mock.patch.object(model, "check_graph"),
            mock.patch.object(base.Model, "fit", lambda *_, kept=kept, **options: kept.update(options)),
            mock.patch.object(model.SCGLUEModel, "net", SimpleNamespace(keys=[])),
            mock.patch.object(model.SCGLUEModel, "trainer", SimpleNamespace(lr=2e-3, freeze_u=False)),
        ):
            model.SCGLUEModel.fit(fake, {}, None)
        found.append({k: int(kept[k]) for k in ("align_burnin", "max_epochs", "patience", "reduce_lr_patience")})
    return found


def stopping(script: list[float]) -> dict[str, Any]:
    """Record the learning rate after each epoch, the last epoch and the one that is restored."""
    net = torch.nn.Linear(1, 1)
    optimiser = torch.optim.RMSprop(net.parameters(), 1.0)
    trainer = SimpleNamespace(state_dict=dict, load_state_dict=lambda _: None)
    train, val = Engine(lambda *_: {"loss": torch.zeros(())}), Engine(lambda *_: None)
    rates: list[float] = []

    @train.on(Events.EPOCH_COMPLETED)
    def _(engine: Engine) -> None:
        val.state.metrics = {"loss": script[engine.state.epoch - 1]}
        net.weight.data.fill_(engine.state.epoch)

    said = inputs.PATIENCE
    with tempfile.TemporaryDirectory() as folder:
        rest = (net, trainer, train, val, [], [], Path(folder))
        scheduler = plugins.LRScheduler(optimiser, monitor="loss", patience=said["lr_patience"], burnin=said["burnin"])
        scheduler.attach(*rest)
        plugins.EarlyStopping("loss", said["patience"], burnin=said["burnin"], wait_n_lrs=1).attach(*rest)
        train.add_event_handler(Events.EPOCH_COMPLETED, lambda _: rates.append(optimiser.param_groups[0]["lr"]))
        train.run([0], max_epochs=len(script))
    return {"rates": inputs.listed(rates), "epochs": len(rates), "restored": int(net.weight.item())}


def inference() -> dict[str, Any]:
    """Record score, p and q of the pairs of a skeleton, one-sided greater."""
    members, pairs = inputs.embeddings()
    skeleton = nx.MultiDiGraph()
    skeleton.add_nodes_from(range(40))
    skeleton.add_edges_from(pairs)
    found = scglue.genomics.regulatory_inference(
        pd.Index(range(40)), members, skeleton, alternative="greater", random_state=0
    )
    table = nx.to_pandas_edgelist(found).set_index(["source", "target"]).loc[pairs]
    return {name: inputs.listed(table[name]) for name in ("score", "pval", "qval")}


def main() -> None:
    D.Distribution.set_default_validate_args(False)  # its ZILN refuses NaN otherwise
    recorded = {
        "scglue": scglue.__version__,
        "decoders": decoders(),
        "unpaired": losses(model.SCGLUETrainer),
        "holes": losses(model.SCGLUETrainer, holes=True),
        "paired": losses(model.PairedSCGLUETrainer, paired=True),
        "edges": edges(),
        "balancing": balancing(),
        "schedules": schedules(),
        "stopping": [stopping(script) for script in inputs.LOSSES],
        "inference": inference(),
    }
    (HERE / "scglue.json").write_text(json.dumps(recorded) + "\n")


if __name__ == "__main__":
    main()
