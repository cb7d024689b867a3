"""The weights that a run keeps: an average over the last part of its walk, not the place where it happens to stand.

At a constant learning rate the weights walk around what they look for; their average is nearer to it. Polynomial-decay
averaging (Shamir & Zhang 2013, ICML) weighs the n-th weights by n ** POWER, so that at any moment the last half of the
walk counts for three quarters, however long it is to be: no horizon to tune, and little of the start stays in it.
"""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

import torch

if TYPE_CHECKING:
    from collections.abc import Iterator

    from torch import Tensor, nn

POWER = 1
EVERY = 4  # steps from one taking up of weights to the next: neighbouring ones are nearly equal


class Average:
    """Of all floating-point parameters and buffers of a module; `torch.optim.swa_utils` would copy its graph, too.

    Attributes:
        taken: how many times the weights were taken up.
        mean: name in the module's state -> average.
    """

    def __init__(self, module: nn.Module) -> None:
        self.module, self.taken = module, 0
        self.mean = {name: value.clone() for name, value in self._own().items()}

    def _own(self) -> dict[str, Tensor]:
        return {name: value for name, value in self.module.state_dict().items() if value.is_floating_point()}

    @torch.no_grad()
    def take(self) -> None:
        """Take up the module's weights as they are now."""
        self.taken += 1
        share = (POWER + 1) / (POWER + self.taken)
        torch._foreach_lerp_(list(self.mean.values()), list(self._own().values()), share)

    @torch.no_grad()
    def exchange(self) -> None:
        """The module gets the average, and the average holds the module's weights."""
        for name, value in self._own().items():
            kept = value.clone()
            value.copy_(self.mean[name])
            self.mean[name].copy_(kept)

    @contextmanager
    def averaged_weights(self) -> Iterator[None]:
        """The module with the average, for as long as this lasts."""
        self.exchange()
        try:
            yield
        finally:
            self.exchange()
