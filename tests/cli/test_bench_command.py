"""`regkg bench prior-corruption`: trials, resumption, picture; nothing comes into the graph."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest
from click.testing import CliRunner

from cli.main import main
from kg import runs
from tests.cli.test_loop import Shell, load_world, regkg

if TYPE_CHECKING:
    from pathlib import Path

    from kg.store import Store

__all__ = ["regkg"]
SHORT = ["--option", "first-steps=20", "--option", "second_steps=20", "--option", "members=1"]


def test_trials_end_in_a_table_and_a_picture(regkg: Shell, store: Store, tmp_path: Path) -> None:
    load_world(regkg, tmp_path / "world")
    regkg("release", "publish")
    out = tmp_path / "trials"
    command = ["bench", "prior-corruption", "--cells", "toy", "--out", out, "--rate", "0.9", *SHORT]
    made = regkg(*command)
    assert [(t["program"], t["rate"]) for t in made["trials"]] == [("regkg", 0.0), ("regkg", 0.9)]
    whole, wrong = made["trials"]
    assert wrong["made_up"] == round(0.9 * whole["edges"])
    assert made["foscttm_rise"]["regkg"]["0.9"] == pytest.approx(wrong["foscttm"] - whole["foscttm"])
    assert (out / "prior-corruption.png").read_bytes().startswith(b"\x89PNG")
    assert runs.runs(store) == []
    logged = (out / "trials.jsonl").read_text()
    again = regkg(*command, "--rate", "0.5")
    assert [t["rate"] for t in again["trials"]] == [0.0, 0.5, 0.9]
    assert (out / "trials.jsonl").read_text().startswith(logged)
    assert [json.loads(line) for line in logged.splitlines()] == [again["trials"][0], again["trials"][2]]


@pytest.mark.parametrize("word", ["nosuch=1", "members=few", "members"])
def test_options_of_the_model_are_checked(regkg: Shell, tmp_path: Path, word: str) -> None:
    load_world(regkg, tmp_path / "world")
    regkg("release", "publish")
    said = ["bench", "prior-corruption", "--cells", "toy", "--out", str(tmp_path / "trials"), "--option", word]
    done = CliRunner().invoke(main, said, env=regkg.environment)
    assert done.exit_code == 2
    assert "members" in done.output
    assert not (tmp_path / "trials" / "trials.jsonl").exists()
