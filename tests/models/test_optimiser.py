"""The compiled RMSprop against torch's."""

from __future__ import annotations

import torch

from models.zoo.glue.optimiser import RMSprop


def parameters() -> list[torch.nn.Parameter]:
    generator = torch.Generator().manual_seed(0)
    return [torch.nn.Parameter(torch.randn(shape, generator=generator)) for shape in [(7, 5), (11,), (3, 1, 2)]]


def walk(optimiser: torch.optim.Optimizer, of: list[torch.nn.Parameter], seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    for parameter in of:
        parameter.grad = torch.randn(parameter.shape, generator=generator).t() if parameter.dim() == 1 else None
        if parameter.grad is None:
            turned = torch.randn(parameter.shape[::-1], generator=generator)
            parameter.grad = turned.permute(*range(parameter.dim())[::-1])  # not contiguous, as gradients may be
    optimiser.step()


def test_steps_are_those_of_torch() -> None:
    ours, theirs = parameters(), parameters()
    mine, reference = RMSprop(ours, 0.02), torch.optim.RMSprop(theirs, 0.02)
    for seed in range(20):
        walk(mine, ours, seed)
        walk(reference, theirs, seed)
        for group in (*mine.param_groups, *reference.param_groups):
            group["lr"] *= 0.9
    for one, other in zip(ours, theirs, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-5, atol=1e-6)


def test_the_state_is_torchs() -> None:
    ours, theirs = parameters(), parameters()
    mine, reference = RMSprop(ours, 0.02), torch.optim.RMSprop(theirs, 0.02)
    walk(mine, ours, 0)
    walk(reference, theirs, 0)
    state, expected = mine.state_dict()["state"], reference.state_dict()["state"]
    assert state.keys() == expected.keys()
    for at, of in state.items():
        assert of.keys() == expected[at].keys()
        torch.testing.assert_close(of["square_avg"], expected[at]["square_avg"])
        assert float(of["step"]) == float(expected[at]["step"]) == 1
    again = RMSprop(parameters(), 0.02)
    again.load_state_dict(mine.state_dict())
    torch.testing.assert_close(again.state_dict()["state"], state)


def test_a_parameter_without_gradient_stays() -> None:
    ours = parameters()
    before = [p.detach().clone() for p in ours]
    ours[0].grad = torch.ones_like(ours[0])
    RMSprop(ours, 0.02).step()
    torch.testing.assert_close([p.detach() for p in ours[1:]], before[1:])
    assert float((ours[0].detach() - before[0]).abs().min()) > 0
