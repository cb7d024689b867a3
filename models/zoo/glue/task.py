"""Training of GLUE as the loop in `models.training.loop` drives it: minibatches, the alternating steps, validation."""

from __future__ import annotations

from itertools import repeat
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from models.training.group import ALONE, Group
from models.zoo.glue.config import SHARED, VALIDATION_SHARE, Config
from models.zoo.glue.optimiser import RMSprop
from models.zoo.glue.sampling import BlockSampler, CellSampler, EdgeSampler, paired, unpaired

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from numpy.typing import NDArray

    from models.inputs.cells import Cells
    from models.training.loop import Row, Schedule
    from models.zoo.glue.minibatch import EdgeBatch, Minibatch, TrainingData
    from models.zoo.glue.network import Glue
    from models.zoo.glue.sampling import Draw

NOISE = 1.5  # standard deviations of burn-in noise on what the discriminator sees


class GlueTask:
    """Training of one member in one stage, as the loop in `models.training.loop` drives it."""

    def __init__(
        self,
        data: TrainingData,
        module: Glue,
        plan: Schedule,
        burnin: float,
        weights: Sequence[Tensor],
        seed: int,
        group: Group = ALONE,
    ) -> None:
        self.group = group
        self.data, self.module, self.burnin, self.weights = data, module, burnin, weights
        config = module.config
        self.config = config
        rng = np.random.default_rng([seed, 0])
        sampler = BlockSampler if data.is_streamed else CellSampler
        self.cells = sampler(cell_table(data.cells, config), config.batch_size, VALIDATION_SHARE, rng)
        self.edges = EdgeSampler(data.edges, config.negatives, config.graph_batches, config.graph_edges)
        self.n_steps = self.cells.n_batches
        self.every = config.graph_every or (SHARED if self.edges.is_big else 1)
        of = {name: list(part.parameters()) for name, part in module.named_children()}
        self.parameters = {"adversary": of.pop("discriminator"), "graph": of.pop("graph")}
        self.parameters["cells"] = [parameter for part in of.values() for parameter in part]
        self.optimisers = {name: RMSprop(parameters, plan.lr) for name, parameters in self.parameters.items()}
        # one update by the mean of n gradients is as long as a random walk of n steps (Malladi et al. 2022, 2205.10287)
        self.optimisers["graph"].param_groups[0] |= {"times": self.every**0.5, "lr": plan.lr * self.every**0.5}
        self.shared_step: SharedGraphStep | None = None
        self.seed = seed
        self.latest: list[NDArray[np.int64]] = []

    def steps(self, epoch: int, rng: np.random.Generator) -> Iterator[dict[str, Tensor]]:
        """Yield the losses of one epoch of alternating steps: the discriminator, then everything else against it."""
        noise = NOISE * max(1 - (epoch - 1) / self.burnin, 0) if self.burnin else 0.0
        self.shared_step = None  # left over from an interrupted epoch
        edges = self._edge_batches(rng, self.every)
        draws = self.data.ahead(map(self.share, self.cells.epoch(rng)))
        for taken, draw in enumerate(draws, 1):
            self.latest = draw.whole or draw.rows
            last = taken == self.n_steps or taken % self.every == 0
            yield self.step(self.minibatch(draw, next(edges)), noise, last=last)

    def share(self, draw: Draw) -> Draw:
        """Return this process's part of a step."""
        return draw if self.group.size == 1 else draw.share(self.group.places(len(draw.rows[0])))

    def share_edges(self, present: NDArray[np.float32]) -> NDArray[np.int64]:
        """Return this process's part of a batch of edges: the same share of real ones and of absent ones after them."""
        real = int(np.count_nonzero(present))
        return np.concatenate([self.group.places(real), real + self.group.places(len(present) - real)])

    def minibatch(self, draw: Draw, edges: EdgeBatch) -> Minibatch:
        """Return the minibatch of these cells."""
        return self.data.minibatch(draw, self.weights, edges, paired=self.config.use_pairs)

    def step(self, batch: Minibatch, noise: float, *, last: bool = True) -> dict[str, Tensor]:
        """Update the discriminator, then encoders and decoders; the graph with the last of the steps that share it."""
        module, weight = self.module, self.config.align_weight
        encoded = module.encode(batch)
        means = torch.cat([mean for mean, _ in encoded])
        loss = weight * module.adversary_loss(means.detach(), batch, noise)
        self._update("adversary", torch.autograd.grad(loss, self.parameters["adversary"]))
        adversary = module.adversary_loss(means, batch, noise)
        shared = self.shared_step = self.shared_step or SharedGraphStep(module, batch.edges)
        cells = module.cell_loss(batch, encoded, shared.v)
        *grads, gradient = torch.autograd.grad(
            cells["cells"] - weight * adversary, [*self.parameters["cells"], shared.v]
        )
        self._update("cells", grads)
        shared.add(gradient)
        if last:
            self._update("graph", shared.gradients(self.parameters["graph"]))
            self.shared_step = None
        parts = {**module.together(shared.parts, cells), "adversary": adversary}
        means_of = self.group.mean([value.detach() for value in parts.values()])
        return dict(zip(parts, means_of, strict=True))

    def _update(self, name: str, grads: Sequence[Tensor]) -> None:
        for parameter, grad in zip(self.parameters[name], self.group.mean(grads), strict=True):
            parameter.grad = grad
        self.optimisers[name].step()

    @torch.no_grad()
    def validate(self, epoch: int) -> Row:
        """Return losses on held-out cells, with the same cells, edges and noise after every epoch."""
        rng = np.random.default_rng([self.seed, 2])
        with torch.random.fork_rng(devices=[self.data.device] if self.data.device.type == "cuda" else []):
            torch.manual_seed(self.seed)
            edges = self._edge_batches(rng, self.every)
            rows = []
            for taken, draw in enumerate(self.data.ahead(map(self.share, self.cells.epoch(rng, held=True)))):
                batch = self.minibatch(draw, next(edges))
                if taken % self.every == 0:
                    v, graph = self.module.graph_loss(batch.edges)
                rows.append(self.module.together(graph, self.module.cell_loss(batch, self.module.encode(batch), v)))
        means = {name: torch.stack([row[name] for row in rows]).mean() for name in rows[0]}
        return {name: float(mean) for name, mean in zip(means, self.group.mean(list(means.values())), strict=True)}

    def current_cells(self) -> list[str]:
        """Return the cells of the latest step with values that are not finite, or all of them if there are none."""
        modalities = self.data.cells.modalities.values()
        everyone = (str(name) for m, r in zip(modalities, self.latest, strict=True) for name in m.obs_names[r])
        return self.data.not_finite(self.latest) or list(everyone)

    def _edge_batches(self, rng: np.random.Generator, times: int = 1) -> Iterator[EdgeBatch]:
        """Yield graph epochs without end, restarted with each epoch of cells; each batch comes `times` times."""
        while True:
            for part in self.edges.epoch(rng):
                own = slice(None) if self.group.size == 1 else self.share_edges(part[3])
                source, target, sign, present = (torch.from_numpy(a[own]).to(self.data.device) for a in part)
                yield from repeat((source, target, sign, present), times)


class SharedGraphStep:
    """One pass over the graph, shared by several steps of cells.

    Attributes:
        v: the sample of all features that these steps see.
        parts: parts of the graph's loss.
    """

    def __init__(self, module: Glue, edges: EdgeBatch) -> None:
        self.sampled, self.parts = module.graph_loss(edges)
        self.v = self.sampled.detach().requires_grad_()
        self.gradient, self.steps = torch.zeros(()), 0

    def add(self, gradient: Tensor) -> None:
        """Add the gradient by v of one step."""
        self.gradient = self.gradient.add_(gradient) if self.steps else gradient
        self.steps += 1

    def gradients(self, parameters: Sequence[Tensor]) -> Sequence[Tensor]:
        """Return the gradients of the graph's loss and of the mean loss of the steps."""
        by_v = self.gradient.div_(self.steps) if self.steps > 1 else self.gradient
        return torch.autograd.grad([self.parts["graph"], self.sampled], parameters, [None, by_v])


def cell_table(cells: Cells, config: Config) -> NDArray[np.int64]:
    """Return which rows of the modalities are one cell, as the sampler reads it."""
    modalities = list(cells.modalities.values())
    if not config.use_pairs:
        return unpaired([len(m.obs_names) for m in modalities])
    if cells.paired:
        return np.repeat(np.arange(len(modalities[0].obs_names))[:, None], len(modalities), 1)
    return paired([m.obs_names for m in modalities])
