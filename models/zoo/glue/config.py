"""Options of a GLUE run and the schedules they stand for."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

from models.training.loop import Plan

BURNIN = 1 / 3  # of the second stage, in the quick schedule
WARM = 1 / 2  # of the second stage's steps and learning rate, where a run starts from another's weights
FINE = 1 / 4  # likewise, where a run was trained on metacells
COARSE = 1 / 2  # of the steps of both stages, on metacells
SHARED = 4  # steps of cells to one of a big graph, which would take most of their time
HELD_OUT = 0.1  # of the cells, for validation


@dataclass(frozen=True)
class Config:
    """Options of a GLUE run; defaults are those of the paper, but for the schedule.

    Attributes:
        schedule: "quick", a fixed number of steps; or "published", the paper's number of epochs and its patience.
        first_steps, second_steps: of each stage in the quick schedule, rounded to epochs; the other ignores them.
        members: models with seeds seed, seed + 1, ...; links average over them.
        seed: of the first member.
        latent_dim, hidden_dim, hidden_layers, dropout: of the networks.
        kl_weight, graph_weight, align_weight: of the parts of the loss; the data term has weight 1.
        lr: learning rate of RMSprop.
        batch_size: cells of each modality in a step.
        negatives: absent edges drawn for each real one.
        graph_batches: parts of a graph epoch, at least.
        graph_edges: real edges of a step at most; a bigger graph has more parts.
        graph_every: steps of cells that share one walk of the graph, whose weights move once for them; 0 for one, or
            SHARED where the graph has more parts than `graph_batches`.
        metacells: of each modality, on which a run is trained before it goes on with all cells; 0 for none.
        fanout: in-edges of a vertex that a step sums, of more a sample that is right on average; 0 for all.
        shared_batches: batches of the same name are the same in every modality: the discriminator sees them and
            cells are balanced within each.
        use_labels: a classifier of the labels helps to shape the cells; cells without a label are left out of it.
        label_weight: of that classifier's loss.
        use_pairs: cells of one name (of one row, where the set is paired) are one cell; others stay unpaired.
        joint_cross_weight, real_cross_weight, cosine_weight: of the losses of paired cells: each modality explained
            from the mean of a cell's u, and from the u of another modality, and the cosine between u and mean.
    """

    schedule: str = "quick"
    first_steps: int = 1500
    second_steps: int = 3000
    members: int = 1
    seed: int = 0
    latent_dim: int = 50
    hidden_dim: int = 256
    hidden_layers: int = 2
    dropout: float = 0.2
    kl_weight: float = 1.0
    graph_weight: float = 0.02
    align_weight: float = 0.05
    lr: float = 2e-3
    batch_size: int = 128
    negatives: int = 10
    graph_batches: int = 32
    graph_edges: int = 16384
    graph_every: int = 0
    metacells: int = 0
    fanout: int = 0
    shared_batches: bool = False
    use_labels: bool = False
    label_weight: float = 0.02
    use_pairs: bool = False
    joint_cross_weight: float = 0.02
    real_cross_weight: float = 0.02
    cosine_weight: float = 0.02


def published_plan(n_cells: int, config: Config, *, first: bool) -> tuple[Plan, float]:
    """The paper's plan and its burn-in, from the number of cells of all modalities.

    4,000 burn-in, 24,000 maximal, 2,000 patience and 1,000 learning-rate patience iterations at a learning rate
    of 0.002, in epochs and at least 8, 48, 4 and 2 of them.
    """
    per_epoch = n_cells * (1 - HELD_OUT) / config.batch_size
    burnin, longest, patience, lr_patience = (
        max(math.ceil(p / config.lr / per_epoch), p) for p in (8, 48, 4, 2)
    )  # fmt: skip
    plan = Plan(longest, config.lr, lr_patience, patience, 0 if first else burnin)
    return plan, math.inf if first else float(burnin)


def quick_plan(n_cells: int, config: Config, *, first: bool) -> tuple[Plan, float]:
    """Ours: a fixed number of steps a stage, known before it starts, whose weights are averaged as they go.

    The average is where the walk leads long before an annealed learning rate would have quieted the walk itself. The
    first stage only has to give clusters for the balancing weights; the second does the rest.
    """
    per_epoch = n_cells * (1 - HELD_OUT) / config.batch_size
    longest = max(round((config.first_steps if first else config.second_steps) / per_epoch), 1)
    plan = Plan(longest, config.lr, averaged=True)
    return plan, math.inf if first else longest * BURNIN


def warm_plan(n_cells: int, config: Config, share: float = WARM) -> tuple[Plan, float]:
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
