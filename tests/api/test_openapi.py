"""The API's own description: every route in it, said well, and what it promises of imports."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from api.app import create_app
from api.routes import edges
from kg.parameters import parameters_of
from kg.query.registry import questions
from kg.settings import Settings

DOCUMENT: dict[str, Any] = create_app(Settings(home=Path("unused"))).openapi()
OPERATIONS = {(method, path): o for path, item in DOCUMENT["paths"].items() for method, o in item.items()}


def test_it_is_openapi_3_1_and_says_the_coordinate_system() -> None:
    assert DOCUMENT["openapi"].startswith("3.1")
    assert "0-based half-open" in DOCUMENT["info"]["description"]


def test_operation_ids_are_stable() -> None:
    assert {o["operationId"] for o in OPERATIONS.values()} == {
        "ask_compare_links",
        "ask_gene_regulators",
        "ask_peak_targets",
        "ask_region_edges",
        "ask_similar_genes",
        "ask_tf_targets",
        "ask_why_not",
        "get_health",
        "get_readiness",
        "get_run",
        "get_run_report",
        "list_edges",
        "list_gene_regulators",
        "list_releases",
        "list_runs",
    }


@pytest.mark.parametrize("operation", OPERATIONS.values(), ids=lambda o: o["operationId"])
def test_an_operation_says_what_it_is_and_how_it_fails(operation: dict[str, Any]) -> None:
    assert operation["description"]
    assert operation["tags"]
    media = "text/html" if operation["operationId"] == "get_run_report" else "application/json"
    assert "schema" in operation["responses"]["200"]["content"][media]
    assert all(p["description"] for p in operation.get("parameters", []) if p["in"] == "query")
    for status, response in operation["responses"].items():
        assert status == "200" or list(response["content"]) == ["application/problem+json"]


@pytest.mark.parametrize("question", questions().values(), ids=lambda q: q.name)
def test_parameters_and_limits_are_those_of_the_question(question: Any) -> None:
    said = {p["name"]: p for p in OPERATIONS["get", f"/v1/q/{question.name}"]["parameters"]}
    assert set(said) == {p.name for p in parameters_of(question.parameters)}
    for p in parameters_of(question.parameters):
        schema = said[p.name]["schema"]
        assert said[p.name]["required"] == p.required
        assert said[p.name]["description"] == p.doc
        if p.high is not None:
            assert schema["maximum"] == p.high
        if p.required:
            assert schema["examples"] == [p.example]


def test_every_reference_is_resolved() -> None:
    references: set[str] = set()

    def walk(part: Any) -> None:
        if isinstance(part, dict):
            references.update(value for key, value in part.items() if key == "$ref")
            for inner in part.values():
                walk(inner)
        elif isinstance(part, list):
            for inner in part:
                walk(inner)

    walk(DOCUMENT)
    assert {r.removeprefix("#/components/schemas/") for r in references} <= set(DOCUMENT["components"]["schemas"])
    assert "#/components/schemas/Problem" in references
    assert "HTTPValidationError" not in DOCUMENT["components"]["schemas"]


def test_the_edges_filter_is_what_the_cursor_holds_on_to() -> None:
    asked = edges.EdgePageParameters(gene="X", called=False, cursor="c")
    assert asked.filter() == {"gene": "X", "called": False, "limit": 100}


BLOCKED = """
import importlib, pkgutil, sys

class Block:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in {"torch", "torch_geometric", "click", "models", "loaders", "cli"}:
            raise ImportError(f"{name} is blocked")

sys.meta_path.insert(0, Block())
import api, kg
for package in (api, kg):
    for module in pkgutil.walk_packages(package.__path__, package.__name__ + "."):
        importlib.import_module(module.name)
from pathlib import Path
from kg.settings import Settings
from api.app import create_app
create_app(Settings(home=Path("unused"))).openapi()
"""


def test_kg_and_api_work_where_torch_is_not_installed() -> None:
    done = subprocess.run([sys.executable, "-c", BLOCKED], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
