"""A whole set of evidence in one file: order, paths, what is refused, and going on where it stopped."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from cli.main import call
from kg.errors import InputError, MissingInput, SettingsError
from loaders.manifest import prepare_all, read_manifest
from tests.loaders.world import SAMPLES, write

if TYPE_CHECKING:
    from collections.abc import Callable

    from kg.server import Endpoint, Server
    from kg.store import Store

GENES, PEAKS = SAMPLES / "genes" / "genes.gtf", SAMPLES / "peaks" / "peaks.bed"
WORLD = f"""
assembly = "hg38"
licence = "CC0-1.0"

[[load]]
source = "proximity"
options = {{ window_bp = 3000, rule = "window" }}

[[load]]
source = "peaks"
dataset = "atac"
files = ["{PEAKS.name}"]

[[load]]
source = "genes"
files = ["{GENES}"]
"""


def manifest(tmp_path: Path, text: str = WORLD) -> Path:
    write(tmp_path / PEAKS.name, PEAKS.read_text())
    return write(tmp_path / "evidence.toml", text)


@pytest.fixture
def environment(store: Store, neo4j_endpoint: Endpoint, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Store:
    monkeypatch.setenv("REGKG_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("REGKG_NEO4J_URI", neo4j_endpoint.uri)
    monkeypatch.setenv("REGKG_NEO4J_USER", neo4j_endpoint.user)
    monkeypatch.setenv("REGKG_NEO4J_PASSWORD", neo4j_endpoint.password)
    return store


def run(capsys: pytest.CaptureFixture[str], *args: str) -> Any:
    assert call(["load", *args, "--json"]) == 0
    return json.loads(capsys.readouterr().out)


def test_what_is_looked_up_comes_first_and_the_rest_stays_in_order(tmp_path: Path) -> None:
    requests = read_manifest(manifest(tmp_path))
    assert [r.dataset for r in requests] == ["atac", "genes:genes", "proximity"]
    peaks, _, near = requests
    assert peaks.files == (tmp_path / PEAKS.name,)
    assert (peaks.assembly, peaks.licence) == ("hg38", "CC0-1.0")
    assert near.assembly is None, "it has no files whose assembly could be said"
    assert near.options == {"window_bp": 3000, "rule": "window"}


def test_paths_may_name_the_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = manifest(tmp_path, '[[load]]\nsource = "peaks"\nfiles = ["$HERE/a.bed", "~/b.bed", "c.bed"]\n')
    with pytest.raises(SettingsError, match=r"\$HERE/a.bed needs HERE, which is not set"):
        read_manifest(file)
    monkeypatch.setenv("HERE", "/data")
    monkeypatch.setenv("HOME", "/home/me")
    assert [str(f) for f in read_manifest(file)[0].files] == ["/data/a.bed", "/home/me/b.bed", f"{tmp_path}/c.bed"]


def test_a_pattern_stands_for_its_files(tmp_path: Path) -> None:
    for name in ("b.bed", "a.bed", "c.txt"):
        write(tmp_path / name, "chr1\t1\t2\n")
    file = manifest(tmp_path, '[[load]]\nsource = "peaks"\ndataset = "all"\nfiles = ["[ab].bed"]\n')
    assert [f.name for f in read_manifest(file)[0].files] == ["a.bed", "b.bed"]
    with pytest.raises(MissingInput, match=r"no file fits .*\*\.narrowPeak"):
        read_manifest(manifest(tmp_path, '[[load]]\nsource = "peaks"\nfiles = ["*.narrowPeak"]\n'))


def test_the_example_of_the_docs_fits_the_real_files(data: Path) -> None:
    requests = read_manifest(Path(__file__).parents[2] / "docs" / "examples" / "human.toml")
    assert data.is_dir()
    assert len(prepare_all(requests)) == len(requests) == 16
    assert [r.source for r in requests].index("genes") < [r.source for r in requests].index("tfs")


def test_a_manifest_is_loaded_once(environment: Store, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = str(manifest(tmp_path))
    planned = run(capsys, "--manifest", file, "--plan")
    assert [(r["plan"], r["added"]) for r in planned] == [(True, 8), (True, 6), (True, 0)]
    assert planned[2]["warnings"] == [
        "not counted: it looks up nodes of atac, genes:genes, which this plan does not load"
    ]
    assert environment.read("MATCH (n:Gene) RETURN count(n) AS n")[0]["n"] == 0
    first = run(capsys, "--manifest", file)
    assert [(r["dataset"], r["added"] > 0) for r in first] == [
        ("atac", True),
        ("genes:genes", True),
        ("proximity", True),
    ]
    again = run(capsys, "--manifest", file)
    assert [r["nothing_to_do"] for r in again] == [True, True, True]


def test_a_broken_file_is_refused_before_any_row_is_written(
    environment: Store, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = manifest(tmp_path)
    write(tmp_path / PEAKS.name, "<html>not found</html>")
    assert call(["load", "--manifest", str(file)]) == 1
    assert "peaks.bed: this is a web page" in capsys.readouterr().err
    assert environment.read("MATCH (n) WHERE NOT n:Schema RETURN count(n) AS n")[0]["n"] == 0


def test_all_refused_files_are_told_at_once(tmp_path: Path) -> None:
    write(tmp_path / PEAKS.name, "")
    broken = WORLD.replace(str(GENES), "nowhere.gtf")
    file = write(tmp_path / "evidence.toml", broken)
    with pytest.raises(InputError, match=r"2 of 3 loads are refused: atac: .* is empty; genes:nowhere: .*no such file"):
        prepare_all(read_manifest(file))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('colour = "red"\n' + WORLD, "the head has colour"),
        (WORLD + 'colour = "red"\n', r"\[\[load\]\] number 3 has colour"),
        ("assembly = 'hg38'\n", r"no \[\[load\]\] is in it"),
        ("[[load]]\nfiles = []\n", "number 1 has no source"),
        (WORLD + '[[load]]\nsource = "peaks"\ndataset = "atac"\nfiles = ["other.bed"]\n', "atac is loaded twice"),
    ],
)
def test_what_makes_no_sense_is_refused(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(SettingsError, match=message):
        read_manifest(manifest(tmp_path, text))


def test_a_manifest_that_is_none(tmp_path: Path) -> None:
    with pytest.raises(MissingInput, match="No such file"):
        read_manifest(tmp_path / "nothing.toml")
    with pytest.raises(InputError, match="not TOML"):
        read_manifest(write(tmp_path / "bad.toml", "[[load\n"))


def test_datasets_are_listed_cited_and_withdrawn(
    environment: Store, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run(capsys, "--manifest", str(manifest(tmp_path)))
    assert call(["release", "publish", "--strict", "--json"]) == 0
    capsys.readouterr()
    assert call(["datasets", "--json"]) == 0
    listed = {v["dataset"]: v for v in json.loads(capsys.readouterr().out)}
    assert listed["atac"]["rows"] == {"Peak": 8}
    assert call(["datasets", "cite", "--json"]) == 0
    cited = json.loads(capsys.readouterr().out)
    assert [(c["dataset"], c["licence"]) for c in cited] == [("atac", "CC0-1.0"), ("genes:genes", "CC0-1.0")]
    assert call(["unload", "proximity", "--plan", "--json"]) == 0
    planned = json.loads(capsys.readouterr().out)
    assert call(["unload", "proximity", "--json"]) == 0
    gone = json.loads(capsys.readouterr().out)
    assert gone["removed"] == planned["removed"] == listed["proximity"]["rows"]["NEAR"]
    assert call(["unload", "nothing"]) == 1
    assert "the draft has no dataset 'nothing'" in capsys.readouterr().err
    assert call(["datasets", "--json"]) == 0
    assert {v["dataset"] for v in json.loads(capsys.readouterr().out) if not v["withdrawn"]} == {"atac", "genes:genes"}
    assert call(["datasets"]) == 0
    assert "proximity" not in capsys.readouterr().out


@pytest.mark.slow
def test_a_first_build_by_the_importer_publishes_the_same_release(
    environment: Store,
    tmp_path: Path,
    jars: Path,
    new_server: Callable[[Path], Server],
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    file = str(manifest(tmp_path))
    run(capsys, "--manifest", file)
    assert call(["release", "publish", "--json"]) == 0
    online = json.loads(capsys.readouterr().out)["served"]
    assert call(["load", "--manifest", file, "--bulk"]) == 1
    assert "is not managed here" in capsys.readouterr().err
    monkeypatch.delenv("REGKG_NEO4J_URI")
    monkeypatch.setenv("REGKG_JARS", str(jars))
    new_server(tmp_path / "home")
    try:
        built = run(capsys, "--manifest", file, "--bulk")
        assert [r["dataset"] for r in built] == ["atac", "genes:genes", "proximity"]
        assert call(["release", "publish", "--json"]) == 0
        assert json.loads(capsys.readouterr().out)["served"]["hash"] == online["hash"]
        assert [r["nothing_to_do"] for r in run(capsys, "--manifest", file)] == [True, True, True]
    finally:
        assert call(["db", "stop"]) == 0
    assert environment.uri
