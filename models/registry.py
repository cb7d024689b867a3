"""Models by name: a module of `models.zoo` whose `fit` carries the decorator `model`."""

from __future__ import annotations

from dataclasses import dataclass
from inspect import signature
from typing import TYPE_CHECKING, Any

from kg.discovery import declared_in, modules_in
from kg.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

REGISTERED = "regkg_model"


@dataclass(frozen=True)
class Model:
    """A model that can be trained by name.

    Attributes:
        name: of its module.
        fit: (graph, cells, config, trainer) -> Fit; with `start` as well where it can start from another's weights.
        config: frozen dataclass of its options.
        modalities: that it needs.
        reads: edge types of the guidance graph.
        writes: types of its predictions.
        cites: the paper.
    """

    name: str
    fit: Callable[..., Any]
    config: type
    modalities: tuple[str, ...]
    reads: tuple[str, ...]
    writes: tuple[str, ...]
    cites: str

    @property
    def starts_warm(self) -> bool:
        """Whether it can start from another run's weights."""
        return "start" in signature(self.fit).parameters


def model(
    *, config: type, modalities: Sequence[str], reads: Sequence[str], writes: Sequence[str], cites: str
) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Declare the function `fit` of a zoo module to be a model."""

    def register(fit: Callable[..., Any]) -> Callable[..., Any]:
        name = fit.__module__.removeprefix("models.zoo.").partition(".")[0]
        entry = Model(name, fit, config, tuple(modalities), tuple(reads), tuple(writes), cites)
        setattr(fit, REGISTERED, entry)
        return fit

    return register


def names() -> list[str]:
    """Names of all models; imports none of them."""
    return modules_in("models.zoo")


def get(name: str) -> Model:
    """The model of this name.

    Raises:
        InputError: there is none.
    """
    if name not in names():
        raise InputError(f"no model is called {name!r}", f"there is: {', '.join(names())}")
    entry: Model = getattr(declared_in("models.zoo", name, "fit"), REGISTERED)
    return entry
