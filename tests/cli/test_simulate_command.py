"""`regkg simulate` on the command line."""

import json
from dataclasses import fields
from pathlib import Path

import pytest

from cli.load.simulate import command
from cli.main import call
from loaders.simulation.config import WorldConfig

SMALL = ["--genes", "20", "--peaks", "100", "--cells", "30", "--chromosomes", "1"]


def test_every_choice_of_the_config_is_an_option() -> None:
    offered = {parameter.name for parameter in command.params}
    assert {field.name for field in fields(WorldConfig)} <= offered


def test_it_writes_a_world_and_says_so_in_json(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert call(["simulate", str(tmp_path / "w"), *SMALL, "--seed", "7", "--json"]) == 0
    said = json.loads(capsys.readouterr().out)
    assert (said["genes"], said["peaks"], said["cells"]) == (20, 100, 30)
    assert json.loads((tmp_path / "w" / "world.json").read_text())["config"]["seed"] == 7
    assert said["files"] == ["genes.gtf.gz", "peaks.narrowPeak.gz", "rna.h5ad", "atac.h5ad", "truth.tsv", "world.json"]


def test_quick_is_the_small_world_unless_said_otherwise(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert call(["simulate", str(tmp_path / "w"), "--quick", "--cells", "20", "--json"]) == 0
    said = json.loads(capsys.readouterr().out)
    assert (said["genes"], said["cells"]) == (WorldConfig.quick().genes, 20)


def test_a_used_folder_needs_force(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert call(["simulate", str(tmp_path), *SMALL, "--json"]) == 0
    assert call(["simulate", str(tmp_path), *SMALL]) == 1
    assert "--force" in capsys.readouterr().err
    assert call(["simulate", str(tmp_path), *SMALL, "--force"]) == 0


def test_a_choice_out_of_range_is_wrong_usage(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert call(["simulate", str(tmp_path / "w"), "--genes", "0"]) == 2
    assert "genes is 0" in capsys.readouterr().err
    assert not (tmp_path / "w").exists()
