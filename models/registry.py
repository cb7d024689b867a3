"""Models by name: a module or package of `models.zoo` whose `fit` carries the decorator `models.contract.model`."""

from __future__ import annotations

from kg.discovery import declared_in, modules_in
from kg.errors import InputError
from models.contract import REGISTERED, Model


def names() -> list[str]:
    """Return the names of all models, without importing any."""
    return modules_in("models.zoo")


def get(name: str) -> Model:
    """Return the model of this name.

    Raises:
        InputError: there is no such model.
    """
    if name not in names():
        raise InputError(f"no model is called {name!r}", f"available: {', '.join(names())}")
    entry: Model = getattr(declared_in("models.zoo", name, "fit"), REGISTERED)
    return entry
