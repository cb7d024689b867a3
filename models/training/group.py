"""The processes that train one model together, as each of them sees the others."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import distributed

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray
    from torch import Tensor


@dataclass(frozen=True)
class Group:
    """The processes that train together, as one of them sees it.

    Attributes:
        rank: its number; 0 writes checkpoints and progress.
        size: number of processes.
    """

    rank: int = 0
    size: int = 1

    def places(self, n: int) -> NDArray[np.int64]:
        """Return which of n items this process handles; every process gets as many, so some items may repeat."""
        own = np.arange(self.rank, n, self.size)
        return np.resize(own if len(own) else np.zeros(1, np.int64), -(-n // self.size))

    def mean(self, tensors: Sequence[Tensor]) -> Sequence[Tensor]:
        """Return the mean of each tensor over the processes, in one exchange."""
        if self.size == 1 or not tensors:
            return tensors
        joint = torch.cat([tensor.reshape(-1) for tensor in tensors])
        distributed.all_reduce(joint)
        joint /= self.size
        parts = torch.split(joint, [tensor.numel() for tensor in tensors])
        return [part.view(tensor.shape) for part, tensor in zip(parts, tensors, strict=True)]

    def broadcast(self, tensors: Sequence[Tensor]) -> None:
        """Set each tensor, in place, to its value in the first process."""
        if self.size > 1:
            for tensor in tensors:
                distributed.broadcast(tensor, 0)

    def barrier(self) -> None:
        """Wait until all processes are here."""
        if self.size > 1:
            distributed.barrier()


ALONE = Group()
