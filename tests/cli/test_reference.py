"""The reference says what the program does, and every question is in every door."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest

from api.app import create_app
from cli.admin.reference import PATH, all_commands, all_errors, reference
from cli.main import COMMANDS
from cli.options import attributes_of_class
from kg.errors import RegkgError
from kg.query.registry import Question, questions
from kg.schema import EDGE_TYPES, NODE_TYPES
from kg.settings import Settings
from loaders import registry as sources
from models import registry as models

PAGE = PATH.read_text()


def test_the_page_is_up_to_date() -> None:
    assert reference() == PAGE, "run `python -m cli.admin.reference`"


def test_every_command_is_in_it() -> None:
    paths = [context.command_path for context in all_commands()]
    assert {path.split()[1] for path in paths[1:]} == set(COMMANDS)
    assert all(f"### {path}\n" in PAGE for path in paths)


def test_every_command_and_option_is_explained() -> None:
    for context in all_commands():
        assert context.command.help, context.command_path
        for option in context.command.params:
            assert option.param_type_name == "argument" or getattr(option, "help", None), (
                context.command_path,
                option.name,
            )


@pytest.mark.parametrize("field", dataclasses.fields(Settings), ids=lambda f: f.name)
def test_every_setting_is_in_it(field: dataclasses.Field[object]) -> None:
    assert f"| `REGKG_{field.name.upper()}` |" in PAGE


@pytest.mark.parametrize("question", questions().values(), ids=lambda q: q.name)
def test_a_question_is_in_cli_rest_and_reference(question: Question) -> None:
    paths = [context.command_path for context in all_commands()]
    routes = create_app(Settings(home=Path("unused"))).openapi()["paths"]
    assert f"regkg ask {question.name}" in paths
    assert f"/v1/q/{question.name}" in routes
    assert f"### {question.name}\n\n{question.doc}" in PAGE
    assert {f.name for f in dataclasses.fields(question.row)} == set(attributes_of_class(question.row))


@pytest.mark.parametrize("type_", [*NODE_TYPES.values(), *EDGE_TYPES.values()], ids=lambda t: t.name)
def test_every_type_is_in_it(type_: object) -> None:
    assert type_.doc in PAGE  # type: ignore[attr-defined]


def test_every_loader_model_and_error_is_in_it() -> None:
    assert all(f"### load {name}\n" in PAGE for name in sources.names())
    assert all(f"### train {name}\n" in PAGE for name in models.names())
    listed = [error for _, error in all_errors()]
    assert set(listed) == _subclasses(RegkgError)
    assert len(listed) == len(set(listed))
    assert all(f"{error.__name__} | " in PAGE for error in listed)


def _subclasses(family: type[RegkgError]) -> set[type[RegkgError]]:
    return {e for direct in family.__subclasses__() for e in {direct, *_subclasses(direct)}}
