"""One way to find what is declared one a file: questions, formats, sources, models, routes."""

from __future__ import annotations

from importlib import import_module
from pkgutil import iter_modules
from typing import Any


def modules_in(package: str) -> list[str]:
    """Return the names of the modules of a package, sorted; none of them is imported."""
    return sorted(module.name for module in iter_modules(import_module(package).__path__))


def declared_in(package: str, module: str, attribute: str | None = None) -> Any:
    """Return what one module of a package declares under `attribute` (by default its own name), or None."""
    return getattr(import_module(f"{package}.{module}"), attribute or module, None)


def discover(package: str, attribute: str | None = None) -> dict[str, Any]:
    """Return what each module of a package declares under `attribute` (by default its own name), by module name."""
    declarations = {name: declared_in(package, name, attribute) for name in modules_in(package)}
    return {name: declared for name, declared in declarations.items() if declared is not None}
