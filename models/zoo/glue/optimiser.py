"""RMSprop in one pass over each parameter."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch

from models.zoo.glue import kernels

if TYPE_CHECKING:
    from torch import Tensor


class RMSprop(torch.optim.RMSprop):
    """RMSprop of torch without momentum, compiled on the CPU; it has the same state, so checkpoints fit either."""

    def __init__(self, parameters: Any, lr: float) -> None:
        super().__init__(parameters, lr, foreach=True)

    @torch.no_grad()
    def step(self, closure: Any = None) -> None:  # type: ignore[override]
        """Update every parameter by its `grad`; no closure is called."""
        parameters = [p for group in self.param_groups for p in group["params"]]
        if any(p.device.type != "cpu" or p.dtype != torch.float32 for p in parameters):
            super().step(closure)
            return
        for group in self.param_groups:
            for parameter in group["params"]:
                if parameter.grad is not None:
                    self._update(parameter, group)

    def _update(self, parameter: Tensor, group: dict[str, Any]) -> None:
        state = self.state[parameter]
        if not state:
            state["step"], state["square_avg"] = torch.zeros(()), torch.zeros_like(parameter)
        state["step"] += 1
        grad = parameter.grad
        assert grad is not None  # noqa: S101 - the caller looked
        flat = (t.reshape(-1).numpy() for t in (grad, state["square_avg"], parameter))
        kernels.rms_step(*flat, group["lr"], group["alpha"], group["eps"])
