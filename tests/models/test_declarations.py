"""What every model of the zoo declares; a new file is tested at once."""

from __future__ import annotations

import dataclasses

import pytest

from kg.parameters import check, parameters_of
from models import registry
from models.contract import KINDS, Benchmark


@pytest.mark.parametrize("name", registry.names())
def test_a_model_is_declared(name: str) -> None:
    model = registry.get(name)
    assert model.name == name
    assert model.cites.startswith("doi:10.")
    assert model.fit.__doc__
    assert {one for one in model.writes if isinstance(one, type)} <= set(KINDS)
    assert model.writes
    assert model.gate, "without a figure no run of it could ever be published by a gate"
    assert {one.of.name for one in model.gate if isinstance(one, Benchmark)} <= {t.name for t in model.predicts}


@pytest.mark.parametrize("name", registry.names())
def test_its_options_are_documented_and_their_defaults_hold(name: str) -> None:
    config = registry.get(name).config
    assert dataclasses.is_dataclass(config)
    assert all(parameter.doc for parameter in parameters_of(config))
    check(config())
    check(config(**registry.get(name).tiny.options))
