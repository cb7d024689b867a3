"""Evidence sources, found by module name: `loaders/sources/NAME.py` holds a function `read` under `@loader`.

A source declares what it needs and writes; its options are a frozen dataclass of `kg.parameters.param` fields, of
which `read(context, options)` gets an instance that was checked. So a new source is one file. Parsers never query the
graph: the nodes that they look up are handed to them.
"""

from __future__ import annotations

import inspect
from dataclasses import dataclass
from importlib import import_module
from typing import TYPE_CHECKING, Any, get_type_hints

from kg.discovery import declared_in, modules_in
from kg.errors import NotFound, ParameterError
from kg.parameters import made, parameters_of
from kg.schema import EdgeType, NodeType

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from kg.parameters import Parameter
    from loaders.tables.rows import Rows

RowType = NodeType | EdgeType


@dataclass(frozen=True)
class NoOptions:
    """The options of a source that has none."""


@dataclass(frozen=True)
class Loader:
    """A declared source; see `loader`."""

    name: str
    read: Callable[..., Iterator[tuple[RowType, Rows]]]
    files: str
    writes: tuple[RowType, ...]
    lookup: tuple[NodeType, ...]
    assembly: bool
    cites: str
    version: int
    biosample: bool = False
    lifts: bool = False

    @property
    def doc(self) -> str:
        """The docstring of its module, which is what people read about the source."""
        return inspect.cleandoc(import_module(self.read.__module__).__doc__ or "")

    @property
    def is_derived(self) -> bool:
        """Made from the graph itself, without files."""
        return not self.files

    @property
    def options(self) -> type:
        """The class of its options: the type of the argument `options` of `read`, which not every source has."""
        declared: type = get_type_hints(self.read).get("options", NoOptions)
        return declared

    @property
    def parameters(self) -> list[Parameter]:
        """Its options, in the order in which it declares them."""
        return parameters_of(self.options)

    def check_options(self, values: Mapping[str, Any]) -> Any:
        """Return an instance of its options, with defaults for those that are not among the values.

        Raises:
            ParameterError: an option is not declared, or a value is outside its limits; all of them at once.
        """
        try:
            return made(self.options, values)
        except ParameterError as error:
            wrong = error.discrepancies or [error.message]
            raise ParameterError(f"options of {self.name} are not valid", wrong, error.hint) from error


def loader(
    *,
    files: str = "",
    writes: tuple[RowType, ...],
    lookup: tuple[NodeType, ...] = (),
    assembly: bool = False,
    cites: str = "",
    version: int = 1,
    biosample: bool = False,
    lifts: bool | None = None,
) -> Callable[[Callable[..., Iterator[tuple[RowType, Rows]]]], Loader]:
    """Declare a source.

    Args:
        files: what its files hold, as the help says it; empty for a source derived from the graph.
        writes: types of the rows it yields.
        lookup: node types of the draft that it needs; when they change, its dataset is stale.
        assembly: its files hold coordinates.
        cites: where the data or the rule comes from.
        version: part of the loader's name in the record; raise it when equal files would give other rows.
        biosample: the command may name the biosample of the rows.
        lifts: files of another assembly may be lifted as they are read; by default if they hold coordinates.
    """

    def declared(read: Callable[..., Iterator[tuple[RowType, Rows]]]) -> Loader:
        name = read.__module__.rpartition(".")[2]
        can_lift = assembly if lifts is None else lifts
        return Loader(name, read, files, writes, lookup, assembly, cites, version, biosample, can_lift)

    return declared


def names() -> list[str]:
    """Return every source, sorted; nothing is imported for it."""
    return modules_in("loaders.sources")


def find(name: str) -> Loader:
    """Return the source of that name.

    Raises:
        NotFound: there is none.
    """
    if name not in names():
        raise NotFound(f"no source is called {name!r}", f"sources are {', '.join(names())}")
    declared: Loader = declared_in("loaders.sources", name, "read")
    return declared
