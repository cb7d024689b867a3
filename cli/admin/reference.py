"""docs/reference.md, made from the declarations by `python -m cli.admin.reference`; a test holds it up to date."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import TYPE_CHECKING

import click

from api.app import create_app
from api.errors import status_of, type_of
from cli import main
from cli.options import attributes_of, attributes_of_class
from kg import errors, schema
from kg.errors import RegkgError
from kg.parameters import Parameter, parameters_of
from kg.query.registry import Parameters, questions
from kg.settings import Settings
from loaders import registry as sources
from models import registry as models

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

PATH = Path(__file__).parents[2] / "docs" / "reference.md"
WIDTH = 100


def reference() -> str:
    """Return the whole page."""
    parts = (_settings, _commands, _questions, _routes, _types, _loaders, _models, _errors)
    intro = "# Reference\n\nMade from the program by `python -m cli.admin.reference`; do not edit it by hand."
    return "\n\n".join([intro, *("\n\n".join(part()) for part in parts)]) + "\n"


def all_commands() -> Iterator[click.Context]:
    """Yield a context of every command, groups before their members."""

    def below(context: click.Context) -> Iterator[click.Context]:
        yield context
        if isinstance(context.command, click.Group):
            for name in context.command.list_commands(context):
                command = context.command.get_command(context, name)
                if command is not None:
                    yield from below(click.Context(command, info_name=name, parent=context))

    return below(click.Context(main.main, info_name="regkg", terminal_width=WIDTH, **main.main.context_settings))


def all_errors() -> Iterator[tuple[int, type[RegkgError]]]:
    """Yield every error with its depth in the tree, parents before children."""

    def below(family: type[RegkgError], depth: int) -> Iterator[tuple[int, type[RegkgError]]]:
        declared = [e for e in vars(errors).values() if isinstance(e, type) and e.__bases__ == (family,)]
        for error in declared:
            yield depth, error
            yield from below(error, depth + 1)

    return below(RegkgError, 0)


def _settings() -> Iterator[str]:
    yield "## Settings\n\nEnvironment variables, read once when a command starts."
    rows = [text.split(";", 1) for text in attributes_of(Settings.__doc__).values()]
    yield _table(
        ("variable", "meaning"), ((f"`{name.split()[0].rstrip('.')}`", _rest(name, rest)) for name, *rest in rows)
    )


def _rest(name: str, rest: list[str]) -> str:
    return " ".join([*name.split()[1:], *rest]).strip()


def _commands() -> Iterator[str]:
    yield "## Commands"
    usage = ", ".join(family.__name__ for family, code in main.EXIT_CODES.items() if code == 2)
    yield f"Exit codes: 0 ok, 1 failure, 2 wrong usage ({usage}), {main.INTERRUPTED} interrupted."
    for context in all_commands():
        yield f"### {context.command_path}\n\n```text\n{context.get_help()}\n```"


def _questions() -> Iterator[str]:
    yield "## Questions\n\nEach is `regkg ask NAME` and `GET /v1/q/NAME`; both give the same JSON."
    for q in questions().values():
        yield f"### {q.name}\n\n{q.doc}"
        yield _parameters(q.parameters, Parameters)
        yield _columns("column", q.row)


def _parameters(declared: type, shared: type | None = None) -> str:
    return _table(
        ("parameter", "type", "default", "meaning"),
        (
            (
                f"`{p.name}`",
                p.type.__name__,
                "required" if p.required else "" if p.default is None else f"`{p.default}`",
                p.doc + _limits(p),
            )
            for p in parameters_of(declared, shared)
        ),
    )


def _limits(parameter: Parameter) -> str:
    low, high = parameter.low, parameter.high
    if parameter.choices:
        return f" ({', '.join(parameter.choices)})"
    return f" ({low:g} to {high:g})" if low is not None and high is not None else ""


def _columns(title: str, row: type) -> str:
    meanings = attributes_of_class(row)
    return _table(
        (title, "type", "meaning"),
        (
            (f"`{f.name}`", f"{f.type}".replace(" | None", ", may be null"), meanings.get(f.name, ""))
            for f in dataclasses.fields(row)
        ),
    )


def _routes() -> Iterator[str]:
    yield "## REST\n\n`regkg serve` describes itself at `/docs` and `/openapi.json`."
    document = create_app(Settings(home=Path("unused"))).openapi()
    rows = (
        (f"`{method.upper()} {path}`", _first_line(o["description"]))
        for path, item in document["paths"].items()
        for method, o in item.items()
    )
    yield _table(("route", "what"), rows)


def _types() -> Iterator[str]:
    yield f"## Types\n\nSchema version {schema.SCHEMA_VERSION}. Coordinates are 0-based half-open."
    for node in schema.NODE_TYPES.values():
        yield f"### (:{node.label})\n\n{node.doc}"
        yield _declared(node.columns)
    for edge in schema.EDGE_TYPES.values():
        eco = f" {edge.eco}." if edge.eco else ""
        yield f"### (:{edge.start})-[:{edge.name}]->(:{edge.end})\n\n{edge.doc} Kind: {edge.kind.value}.{eco}"
        yield _declared(edge.columns)


def _declared(columns: Iterable[schema.Column]) -> str:
    rows = ((f"`{c.name}`", f"{c.type}{'' if c.required else ', may be null'}", c.doc) for c in columns)
    return _table(("column", "type", "meaning"), rows)


def _loaders() -> Iterator[str]:
    yield "## Loaders\n\nEach is `regkg load NAME`."
    for name in sources.names():
        source = sources.find(name)
        writes = ", ".join(t.name for t in source.writes)
        looked_up = f", looks up {', '.join(t.name for t in source.lookup)}" if source.lookup else ""
        yield f"### load {name}\n\n{source.doc}\n\nWrites {writes}{looked_up}. {source.cites}".rstrip()


def _models() -> Iterator[str]:
    yield "## Models\n\nEach is `regkg train NAME`."
    for name in models.names():
        m = models.get(name)
        assays = ", ".join(assay.modality for assay in m.needs.assays) or "no cells"
        written = ", ".join(one.kind if isinstance(one, type) else one.name for one in m.writes)
        uses = f"Needs {assays}; reads {', '.join(m.reads) or 'no edges'}; writes {written}."
        yield f"### train {name}\n\n{uses} {m.cites}."
        yield _parameters(m.config)


def _errors() -> Iterator[str]:
    yield "## Errors\n\nWith `--json` a failure is one object on stderr; over HTTP it is a problem (RFC 9457)."
    rows = (
        (
            f"{'&emsp;' * depth}{error.__name__}",
            _first_line(error.__doc__),
            str(main.exit_code(error)),
            str(status_of(error)),
            f"`{type_of(error)}`",
        )
        for depth, error in all_errors()
    )
    yield _table(("error", "meaning", "exit code", "HTTP", "problem type"), rows)


def _first_line(text: str | None) -> str:
    return (text or "").partition("\n")[0]


def _table(header: tuple[str, ...], rows: Iterable[tuple[str, ...]]) -> str:
    lines = [header, ("---",) * len(header), *rows]
    return "\n".join(f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in line)} |" for line in lines)


if __name__ == "__main__":
    PATH.write_text(reference())
