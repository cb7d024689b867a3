"""Snapshots of guidance graphs: whole round trips, and a refusal of everything that is not what it says."""

from __future__ import annotations

import hashlib
import json
from typing import TYPE_CHECKING

import h5py
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings

from kg.errors import ChecksumMismatch, InputError, MissingInput, RegkgError
from kg.guidance import GuidanceGraph
from kg.guidance.policy import POLICY, Policy
from kg.guidance.snapshot import manifest_of, read_snapshot, write_snapshot
from kg.guidance.subgraph import around
from tests.kg.test_subgraph import cases, edges_of

if TYPE_CHECKING:
    from pathlib import Path

READ = {name: POLICY[name] for name in ("NEAR", "CONTACTS")}
GRAPH = GuidanceGraph(
    np.array(["GRCh38:chr1:0-9", "GRCh38:chr1:5-9", "g1", "gβ"]),
    np.array(["Peak", "Peak", "Gene", "Gene"]),
    np.array([0, 1, 1]),
    np.array([2, 2, 3]),
    np.array([1.0, 0.1, 0.5], np.float32),
    np.array([1, -1, 1], np.int8),
    release=4,
    datasets={"near:a": "0f"},
    release_hash="ab12",
    policy=READ,
)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "graph.h5"
    write_snapshot(GRAPH, path)
    return path


def test_a_snapshot_is_the_graph_and_says_what_it_is(tmp_path: Path) -> None:
    part = around(GRAPH, ["g1"], 1)
    written = write_snapshot(part, tmp_path / "part.h5")
    graph, manifest = read_snapshot(tmp_path / "part.h5", POLICY)
    assert manifest == written == manifest_of(part)
    for name in ("vertices", "kinds", "source", "target", "weight", "sign"):
        np.testing.assert_array_equal(getattr(graph, name), getattr(part, name))
        assert getattr(graph, name).dtype.kind == getattr(part, name).dtype.kind
    assert (graph.release, graph.release_hash, graph.datasets) == (4, "ab12", {"near:a": "0f"})
    assert (graph.policy, graph.genes, graph.hops) == (READ, ("g1",), 1)
    assert (manifest.guidance_hash, manifest.vertices, manifest.edges) == (part.hash, 3, 2)
    peaks = hashlib.sha256(b"GRCh38:chr1:0-9\nGRCh38:chr1:5-9").hexdigest()
    assert manifest.ids == {"Gene": hashlib.sha256(b"g1").hexdigest(), "Peak": peaks}
    assert [p.name for p in tmp_path.iterdir()] == ["part.h5"]


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=20)
@given(cases())
def test_any_graph_comes_back(tmp_path: Path, case: tuple[GuidanceGraph, list[str], int]) -> None:
    write_snapshot(case[0], tmp_path / "any.h5")
    graph, _ = read_snapshot(tmp_path / "any.h5")
    assert graph.hash == case[0].hash
    assert edges_of(graph) == edges_of(case[0])


def test_a_graph_without_anything_comes_back(tmp_path: Path) -> None:
    none = np.zeros(0, np.int64)
    text = np.array([], np.str_)
    write_snapshot(GuidanceGraph(text, text, none, none, none.astype("f4"), none.astype("i1")), tmp_path / "none.h5")
    assert read_snapshot(tmp_path / "none.h5")[1].vertices == 0


def test_equal_graphs_give_equal_bytes(file: Path, tmp_path: Path) -> None:
    write_snapshot(GRAPH, tmp_path / "again.h5")
    assert (tmp_path / "again.h5").read_bytes() == file.read_bytes()


@pytest.mark.parametrize(
    ("column", "value", "told"),
    [
        ("edges/weight", [1.0, 0.1, 0.25], "guidance_hash"),
        ("edges/weight", [1.0, 0.1, 2.0], r"weights must lie in \(0, 1\]"),
        ("edges/sign", [1, 1, 1], "guidance_hash"),
        ("edges/target", [2, 2, 2], "guidance_hash"),
        ("edges/target", [2, 2, 9], "names a vertex that does not exist"),
        ("vertices/kind", [b"Gene", b"Peak", b"Gene", b"Gene"], "ids"),
        ("vertices/id", [b"GRCh38:chr1:0-8", b"GRCh38:chr1:5-9", b"g1", b"g2"], "guidance_hash"),
    ],
)
def test_arrays_that_do_not_fit_are_refused(file: Path, column: str, value: list[float], told: str) -> None:
    with h5py.File(file, "r+") as changed:
        changed[column][...] = value
    with pytest.raises(ChecksumMismatch, match=told) as raised:
        read_snapshot(file)
    assert str(file) in raised.value.message
    assert "regkg export graph" in raised.value.hint


def test_an_edge_less_is_refused(file: Path) -> None:
    with h5py.File(file, "r+") as changed:
        for name in ("source", "target", "weight", "sign"):
            kept = changed[f"edges/{name}"][:2]
            del changed[f"edges/{name}"]
            changed[f"edges/{name}"] = kept
    with pytest.raises(ChecksumMismatch, match="edges 2, expected 3"):
        read_snapshot(file)


def test_another_policy_is_refused_and_more_of_it_is_not(file: Path) -> None:
    read_snapshot(file, POLICY)
    for other in ({**POLICY, "CONTACTS": Policy("one", "-1")}, {"NEAR": POLICY["NEAR"]}):
        with pytest.raises(InputError, match="weighted by another policy: CONTACTS by") as raised:
            read_snapshot(file, other)
        assert "--policy" in raised.value.hint


def test_another_format_version_is_refused(file: Path) -> None:
    with h5py.File(file, "r+") as changed:
        header = json.loads(changed["header"].asstr()[()])
        del changed["header"]
        changed["header"] = json.dumps({**header, "format": "regkg guidance 2"})
    with pytest.raises(InputError, match="format is 'regkg guidance 2', expected 'regkg guidance 1'"):
        read_snapshot(file)


@pytest.mark.parametrize("header", ["", "{", "[]", "{}", '{"format": "regkg guidance 1", "manifest": {"policy": {}}}'])
def test_a_header_that_says_nothing_is_refused(file: Path, header: str) -> None:
    with h5py.File(file, "r+") as changed:
        del changed["header"]
        changed["header"] = header
    with pytest.raises(InputError, match="no manifest of a guidance graph"):
        read_snapshot(file)


def test_what_is_no_snapshot_is_refused(file: Path, tmp_path: Path) -> None:
    with pytest.raises(MissingInput, match="no such file"):
        read_snapshot(tmp_path / "nothing.h5")
    (tmp_path / "text.h5").write_text("text")
    with h5py.File(tmp_path / "other.h5", "w") as other:
        other["x"] = 1
    file.write_bytes(file.read_bytes()[:-200])
    for path in (file, tmp_path / "text.h5", tmp_path / "other.h5"):
        with pytest.raises(InputError, match="is not a snapshot"):
            read_snapshot(path)


def test_a_writer_that_fails_leaves_the_old_file(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = file.read_bytes()

    def full(*_: object, **__: object) -> None:
        raise OSError("no space")

    monkeypatch.setattr(h5py.Group, "create_dataset", full)
    with pytest.raises((OSError, RegkgError)):
        write_snapshot(around(GRAPH, ["g1"], 0), file)
    assert file.read_bytes() == before
    assert [p.name for p in file.parent.iterdir()] == [file.name]
