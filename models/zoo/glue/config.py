"""Options of a GLUE run and the schedules they stand for."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

from kg.parameters import param
from models.training.loop import Schedule

BURNIN = 1 / 3  # of the second stage, in the quick schedule
WARM = 1 / 2  # of the second stage's steps and learning rate, where a run starts from another's weights
FINE = 1 / 4  # likewise, where a run was trained on metacells
COARSE = 1 / 2  # of the steps of both stages, on metacells
SHARED = 4  # steps of cells to one of a big graph, which would take most of their time
VALIDATION_SHARE = 0.1  # of the cells, for validation


@dataclass(frozen=True)
class Config:
    """Options of a GLUE run; defaults are those of the paper, but for the schedule."""

    schedule: str = param(
        "a fixed number of steps (quick), or the paper's number of epochs and its patience (published)",
        "quick",
        choices=("quick", "published"),
    )
    first_steps: int = param("steps of the first stage, rounded to epochs; of the quick schedule only", 1500, low=1)
    second_steps: int = param("steps of the second stage, rounded to epochs; of the quick schedule only", 3000, low=1)
    members: int = param("models with seeds seed, seed + 1, ...; links average over them", 1, low=1, high=1000)
    seed: int = param("of the first member", 0, low=0)
    latent_dim: int = param("dimensions of the joint space", 50, low=1)
    hidden_dim: int = param("width of the hidden layers", 256, low=1)
    hidden_layers: int = param("hidden layers of the encoders and of the discriminator", 2, low=0)
    dropout: float = param("share of the hidden units that a step of training leaves out", 0.2, low=0, high=0.99)
    kl_weight: float = param("of the divergence from the prior in the loss; the data term has weight 1", 1.0, low=0)
    graph_weight: float = param("of the graph in the loss", 0.02, low=0)
    align_weight: float = param("of the discriminator in the loss", 0.05, low=0)
    lr: float = param("learning rate of RMSprop", 2e-3, low=1e-9, high=1)
    batch_size: int = param("cells of each modality in a step", 128, low=1)
    negatives: int = param("absent edges drawn for each real one", 10, low=1)
    graph_batches: int = param("parts of a graph epoch, at least", 32, low=1)
    graph_edges: int = param("real edges of a step at most; a bigger graph has more parts", 16384, low=1)
    graph_every: int = param(
        f"steps of cells that share one walk of the graph, whose weights move once for them; 0 for one, or {SHARED} "
        "where the graph has more parts than graph_batches",
        0,
        low=0,
    )
    metacells: int = param(
        "metacells of each modality on which a run is trained before it goes on with all cells; 0 for none", 0, low=0
    )
    fanout: int = param(
        "in-edges of a vertex that a step sums, of more a sample that is right on average; 0 for all", 0, low=0
    )
    shared_batches: bool = param(
        "batches of the same name are the same in every modality: the discriminator sees them and cells are balanced "
        "within each",
        default=False,
    )
    use_labels: bool = param(
        "a classifier of the labels helps to shape the cells; cells without a label are left out of it", default=False
    )
    label_weight: float = param("of that classifier in the loss", 0.02, low=0)
    use_pairs: bool = param(
        "cells of one name (of one row, where the set is paired) are one cell; others stay unpaired", default=False
    )
    joint_cross_weight: float = param("of explaining each modality of paired cells from the mean of u", 0.02, low=0)
    real_cross_weight: float = param("of explaining it from the u of another modality", 0.02, low=0)
    cosine_weight: float = param("of the cosine between u and mean of paired cells", 0.02, low=0)


def published_plan(n_cells: int, config: Config, *, first: bool) -> tuple[Schedule, float]:
    """The paper's plan and its burn-in, from the number of cells of all modalities.

    4,000 burn-in, 24,000 maximal, 2,000 patience and 1,000 learning-rate patience iterations at a learning rate
    of 0.002, in epochs and at least 8, 48, 4 and 2 of them.
    """
    per_epoch = n_cells * (1 - VALIDATION_SHARE) / config.batch_size
    burnin, longest, patience, lr_patience = (
        max(math.ceil(p / config.lr / per_epoch), p) for p in (8, 48, 4, 2)
    )  # fmt: skip
    plan = Schedule(longest, config.lr, lr_patience, patience, 0 if first else burnin)
    return plan, math.inf if first else float(burnin)


def quick_plan(n_cells: int, config: Config, *, first: bool) -> tuple[Schedule, float]:
    """Ours: a fixed number of steps a stage, known before it starts, whose weights are averaged as they go.

    The average is where the walk leads long before an annealed learning rate would have quieted the walk itself. The
    first stage only has to give clusters for the balancing weights; the second does the rest.
    """
    per_epoch = n_cells * (1 - VALIDATION_SHARE) / config.batch_size
    longest = max(round((config.first_steps if first else config.second_steps) / per_epoch), 1)
    plan = Schedule(longest, config.lr, averaged=True)
    return plan, math.inf if first else longest * BURNIN


def warm_plan(n_cells: int, config: Config, share: float = WARM) -> tuple[Schedule, float]:
    """Of a run that starts from other weights: the second stage alone, shorter and gentler, no burn-in noise.

    RMSprop without a memory takes its first steps tenfold, so at the full rate much would be learnt twice.
    """
    if config.schedule == "published":
        plan, _ = published_plan(n_cells, config, first=False)
        return replace(plan, burnin=0), 0.0
    plan, _ = quick_plan(n_cells, replace(config, second_steps=round(share * config.second_steps)), first=False)
    return replace(plan, lr=WARM * config.lr, annealed=1.0), 0.0


def coarse_config(config: Config) -> Config:
    """Of the part of a run that sees metacells: no pairs, since they are of no cell, and half the steps."""
    steps = {name: round(COARSE * getattr(config, name)) for name in ("first_steps", "second_steps")}
    return replace(config, metacells=0, use_pairs=False, **steps)
