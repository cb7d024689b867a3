"""The weights that a run keeps: their average over the last part of the stage rather than the last ones.

At a constant learning rate the weights wander around an optimum, and their average is nearer to it. Polynomial-decay
averaging (Shamir & Zhang 2013, ICML) weighs the n-th weights by n ** POWER, so that at any moment the last half of the
steps counts for three quarters, however long the stage will be: there is no horizon to tune, and little of the start
remains.
"""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

import torch

if TYPE_CHECKING:
    from collections.abc import Iterator

    from torch import Tensor, nn

POWER = 1
EVERY = 4  # steps between samples of the weights: neighbouring ones are nearly equal


class Average:
    """The average of a module's floating-point parameters and buffers; `torch.optim.swa_utils` would copy its graph.

    Attributes:
        taken: number of samples of the weights in the average.
        mean: name in the module's state -> average.
    """

    def __init__(self, module: nn.Module) -> None:
        self.module, self.taken = module, 0
        self.mean = {name: value.clone() for name, value in self._own().items()}

    def _own(self) -> dict[str, Tensor]:
        return {name: value for name, value in self.module.state_dict().items() if value.is_floating_point()}

    @torch.no_grad()
    def take(self) -> None:
        """Add the module's current weights to the average."""
        self.taken += 1
        share = (POWER + 1) / (POWER + self.taken)
        torch._foreach_lerp_(list(self.mean.values()), list(self._own().values()), share)

    @torch.no_grad()
    def exchange(self) -> None:
        """Swap the module's weights with the average."""
        for name, value in self._own().items():
            kept = value.clone()
            value.copy_(self.mean[name])
            self.mean[name].copy_(kept)

    @contextmanager
    def averaged_weights(self) -> Iterator[None]:
        """Give the module the average inside, and its own weights back afterwards."""
        self.exchange()
        try:
            yield
        finally:
            self.exchange()
