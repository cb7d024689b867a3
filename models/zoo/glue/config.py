"""Options of a GLUE run and the training schedules that follow from them."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

from kg.parameters import param
from models.training.loop import Schedule

BURNIN = 1 / 3  # share of the second stage, in the quick schedule
WARM = 1 / 2  # share of the second stage's steps and learning rate for a run that starts from another's weights
FINE = 1 / 4  # likewise, for a run that was first trained on metacells
COARSE = 1 / 2  # share of the steps of both stages, on metacells
SHARED = 4  # steps of cells per step of a big graph, which would otherwise take most of their time
VALIDATION_SHARE = 0.1  # of the cells


@dataclass(frozen=True)
class Config:
    """Options of a GLUE run; except for the schedule, defaults are those of the paper."""

    schedule: str = param(
        "a fixed number of steps (quick), or the paper's number of epochs and its patience (published)",
        "quick",
        choices=("quick", "published"),
    )
    first_steps: int = param("steps of the first stage in the quick schedule, rounded to epochs", 1500, low=1)
    second_steps: int = param("steps of the second stage in the quick schedule, rounded to epochs", 3000, low=1)
    members: int = param(
        "models trained with seeds seed, seed + 1, ...; link scores are averaged over them", 1, low=1, high=1000
    )
    seed: int = param("seed of the first member", 0, low=0)
    latent_dim: int = param("dimensions of the joint space", 50, low=1)
    hidden_dim: int = param("width of the hidden layers", 256, low=1)
    hidden_layers: int = param("hidden layers of the encoders and of the discriminator", 2, low=0)
    dropout: float = param("share of the hidden units that a training step leaves out", 0.2, low=0, high=0.99)
    kl_weight: float = param(
        "weight of the divergence from the prior in the loss; the data term has weight 1", 1.0, low=0
    )
    graph_weight: float = param("weight of the graph in the loss", 0.02, low=0)
    align_weight: float = param("weight of the discriminator in the loss", 0.05, low=0)
    lr: float = param("learning rate of RMSprop", 2e-3, low=1e-9, high=1)
    batch_size: int = param("cells of each modality in a step", 128, low=1)
    negatives: int = param("absent edges drawn for each real one", 10, low=1)
    graph_batches: int = param("smallest number of batches in a graph epoch", 32, low=1)
    graph_edges: int = param(
        "largest number of real edges in a step; bigger graphs are split into more batches", 16384, low=1
    )
    graph_every: int = param(
        f"steps of cells that share one pass over the graph and one update of its weights; 0 for one, or {SHARED} "
        "where the graph has more batches than graph_batches",
        0,
        low=0,
    )
    metacells: int = param(
        "metacells of each modality on which a run is trained before it continues with all cells; 0 for none", 0, low=0
    )
    fanout: int = param(
        "in-edges of a vertex that a step sums; if there are more, an unbiased sample of them; 0 for all", 0, low=0
    )
    shared_batches: bool = param(
        "batches with the same name are the same in every modality: the discriminator sees them, and cells are "
        "balanced within each",
        default=False,
    )
    use_labels: bool = param(
        "supervise cell embeddings by a classifier of the labels; cells without a label are left out of it",
        default=False,
    )
    label_weight: float = param("weight of that classifier in the loss", 0.02, low=0)
    use_pairs: bool = param(
        "treat cells with the same name (the same row in a paired set) as one cell; others stay unpaired", default=False
    )
    joint_cross_weight: float = param(
        "weight of reconstructing each modality of paired cells from the mean of u", 0.02, low=0
    )
    real_cross_weight: float = param("weight of reconstructing it from the u of another modality", 0.02, low=0)
    cosine_weight: float = param("weight of the cosine between each u of a paired cell and their mean", 0.02, low=0)


def published_plan(n_cells: int, config: Config, *, first: bool) -> tuple[Schedule, float]:
    """Return the paper's schedule and its burn-in, from the number of cells of all modalities.

    At a learning rate of 0.002 it has 4,000 iterations of burn-in, 24,000 at most, 2,000 of patience and 1,000 of
    learning-rate patience, converted to epochs, of which there are at least 8, 48, 4 and 2.
    """
    per_epoch = n_cells * (1 - VALIDATION_SHARE) / config.batch_size
    burnin, longest, patience, lr_patience = (
        max(math.ceil(p / config.lr / per_epoch), p) for p in (8, 48, 4, 2)
    )  # fmt: skip
    plan = Schedule(longest, config.lr, lr_patience, patience, 0 if first else burnin)
    return plan, math.inf if first else float(burnin)


def quick_plan(n_cells: int, config: Config, *, first: bool) -> tuple[Schedule, float]:
    """Return our schedule: a fixed number of steps per stage, with weights averaged along the way; and its burn-in.

    The average arrives long before the weights themselves would under an annealed learning rate. The first stage only
    has to give clusters for the balancing weights; the second does the rest.
    """
    per_epoch = n_cells * (1 - VALIDATION_SHARE) / config.batch_size
    longest = max(round((config.first_steps if first else config.second_steps) / per_epoch), 1)
    plan = Schedule(longest, config.lr, averaged=True)
    return plan, math.inf if first else longest * BURNIN


def warm_plan(n_cells: int, config: Config, share: float = WARM) -> tuple[Schedule, float]:
    """Return the schedule of a run that starts from other weights: a shorter, gentler second stage without burn-in.

    With no running mean yet, RMSprop takes its first steps tenfold, so at the full rate much would be learned twice.
    """
    if config.schedule == "published":
        plan, _ = published_plan(n_cells, config, first=False)
        return replace(plan, burnin=0), 0.0
    plan, _ = quick_plan(n_cells, replace(config, second_steps=round(share * config.second_steps)), first=False)
    return replace(plan, lr=WARM * config.lr, annealed=1.0), 0.0


def coarse_config(config: Config) -> Config:
    """Return the options for metacells: no pairs, since metacells belong to no cell, and half the steps."""
    steps = {name: round(COARSE * getattr(config, name)) for name in ("first_steps", "second_steps")}
    return replace(config, metacells=0, use_pairs=False, **steps)
