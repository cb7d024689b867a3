"""Estimate of the resources that training GLUE takes."""

from __future__ import annotations

from typing import TYPE_CHECKING

from models.contract import Estimate
from models.inputs.backed_matrix import StoredCounts

if TYPE_CHECKING:
    from models.contract import Inputs
    from models.inputs.cells import Cells
    from models.zoo.glue.config import Config

GIB = 2**30
SECONDS_PER_ELEMENT = 2.5e-8  # of cells x features in a step: the likelihood's forward and backward passes
SECONDS_PER_STEP = 0.02  # the rest of a step: networks, graph, optimiser
USUAL_EPOCHS = 60
BASE_GIB = 1.0  # the program itself with PyTorch


def estimate(inputs: Inputs, config: Config) -> Estimate:
    """Estimate memory, disk and time of training all members, from the size of the data."""
    return estimate_of(inputs.cells, batch_size=config.batch_size, members=config.members, latent_dim=config.latent_dim)


def estimate_of(cells: Cells, *, batch_size: int, members: int, latent_dim: int) -> Estimate:
    """Estimate the same from the cells themselves."""
    sizes = [m.counts.shape for m in cells.modalities.values()]
    features = sum(f for _, f in sizes)
    cell_bytes = sum(
        0 if isinstance(m.counts, StoredCounts) else m.counts.nnz * 8 + m.rep.nbytes for m in cells.modalities.values()
    )
    step_bytes = batch_size * max(f for _, f in sizes) * 4 * 3  # a few blocks of cells x features at a time
    parameter_bytes = 4 * features * (latent_dim + 10) * 6  # weights, optimiser, the kept checkpoints
    seconds = SECONDS_PER_STEP + SECONDS_PER_ELEMENT * batch_size * features
    steps = USUAL_EPOCHS * sum(n for n, _ in sizes) / batch_size
    return Estimate(
        memory_gib=BASE_GIB + (2 * cell_bytes + step_bytes + parameter_bytes) / GIB,
        disk_gib=members * (3 * parameter_bytes + 4 * latent_dim * sum(n for n, _ in sizes)) / GIB,
        minutes=members * steps * seconds / 60,
    )
