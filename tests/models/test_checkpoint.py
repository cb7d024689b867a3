"""Checkpoints: exact, atomic, and refused when anything about them is off."""

from __future__ import annotations

import json
import pickle
from typing import TYPE_CHECKING

import pytest
import torch

from kg.errors import CheckpointRefused
from models.training import checkpoint

if TYPE_CHECKING:
    from pathlib import Path

IDENTITY = {"model": "toy", "config": {"lr": 0.1}}


def write(path: Path, value: float = 1.0) -> None:
    checkpoint.save(path, {"a/b": torch.full((3, 2), value), "rng": torch.get_rng_state()}, {"epoch": 4}, IDENTITY)


def test_round_trip_is_exact(tmp_path: Path) -> None:
    write(tmp_path / "deep" / "er", 0.1)
    tensors, meta = checkpoint.load(tmp_path / "deep" / "er", IDENTITY)
    assert torch.equal(tensors["a/b"], torch.full((3, 2), 0.1))
    assert torch.equal(tensors["rng"], torch.get_rng_state())
    assert meta == {"epoch": 4}
    assert checkpoint.exists(tmp_path / "deep" / "er")
    assert not checkpoint.exists(tmp_path / "other")


def test_the_new_replaces_the_old_and_only_the_old(tmp_path: Path) -> None:
    write(tmp_path / "first", 1.0)
    write(tmp_path / "first-2", 2.0)
    write(tmp_path / "first", 3.0)
    assert float(checkpoint.load(tmp_path / "first", IDENTITY)[0]["a/b"][0, 0]) == 3.0
    assert float(checkpoint.load(tmp_path / "first-2", IDENTITY)[0]["a/b"][0, 0]) == 2.0
    assert len(list(tmp_path.iterdir())) == 4


def test_a_kill_before_the_commit_leaves_the_old(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(tmp_path / "x", 1.0)
    real, calls = checkpoint._write, []

    def killed(path: Path, content: bytes) -> None:
        calls.append(path)
        if len(calls) == 2:
            raise KeyboardInterrupt
        real(path, content)

    monkeypatch.setattr(checkpoint, "_write", killed)
    with pytest.raises(KeyboardInterrupt):
        write(tmp_path / "x", 2.0)
    assert float(checkpoint.load(tmp_path / "x", IDENTITY)[0]["a/b"][0, 0]) == 1.0


def damage(folder: Path, how: str) -> None:
    (document,) = folder.glob("*.json")
    (tensors,) = folder.glob("*.safetensors")
    content = bytearray(tensors.read_bytes())
    if how == "truncated":
        tensors.write_bytes(content[:-3])
    elif how == "flipped":
        content[-1] ^= 1
        tensors.write_bytes(content)
    elif how == "missing":
        tensors.unlink()
    elif how == "pickled":
        document.write_bytes(pickle.dumps({"tensors": 1}))
    elif how == "cut":
        document.write_bytes(document.read_bytes()[:20])
    elif how == "list":
        document.write_text("[]")
    elif how == "format":
        document.write_text(json.dumps({**json.loads(document.read_text()), "format": 99}))
    elif how == "outside":
        document.write_text(json.dumps({**json.loads(document.read_text()), "tensors": "../x.safetensors"}))


@pytest.mark.parametrize("how", ["truncated", "flipped", "missing", "pickled", "cut", "list", "format", "outside"])
def test_damage_is_refused(tmp_path: Path, how: str) -> None:
    write(tmp_path / "x")
    damage(tmp_path, how)
    with pytest.raises(CheckpointRefused) as caught:
        checkpoint.load(tmp_path / "x", IDENTITY)
    assert str(tmp_path / "x") in caught.value.message
    assert caught.value.hint


def test_another_run_is_refused_with_what_differs(tmp_path: Path) -> None:
    write(tmp_path / "x")
    with pytest.raises(CheckpointRefused, match=r"config is \{'lr': 0.1\}, expected \{'lr': 0.2\}"):
        checkpoint.load(tmp_path / "x", {**IDENTITY, "config": {"lr": 0.2}})
