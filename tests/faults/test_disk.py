"""A full disk: files appear whole or not at all, and the reason is told."""

from __future__ import annotations

import resource
from functools import partial
from typing import TYPE_CHECKING

import pytest

from cli.admin.demo import load_world
from kg.progress import SILENT
from kg.releases import publish, served
from kg.releases.diff import summary
from loaders.simulation.simulate import WorldConfig, simulate

if TYPE_CHECKING:
    import subprocess
    from collections.abc import Callable
    from pathlib import Path

    from kg.server import Endpoint
    from kg.store import Store
    from tests.forked import Forks

    Command = Callable[..., subprocess.CompletedProcess[str]]  # limit in bytes, arguments

# A limit on file sizes is the full disk that needs no root: writes fail in the same way, at the same places.
KEEP = """
import pathlib, resource, signal, sys
from kg.runs import predictions
from toy import METRICS, made
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv[2]),) * 2)
try:
    predictions.keep(pathlib.Path(sys.argv[1]), "run", made(), METRICS)
except OSError as error:
    sys.exit(f"OSError {error.errno}")
"""


def keep_under(forks: Forks, limit: int, home: Path) -> str:
    return forks.run(KEEP, home, limit).stderr.strip()


def test_no_torn_file_is_left_at_whatever_byte_the_disk_is_full(forks: Forks, tmp_path: Path) -> None:
    assert keep_under(forks, resource.RLIM_INFINITY, tmp_path / "free") == ""
    whole = {p.name: p.read_bytes() for p in (tmp_path / "free" / "runs" / "run").iterdir()}
    assert set(whole) == {"PREDICTED_LINK.parquet", "embeddings.parquet", "metrics.json"}
    largest = max(map(len, whole.values()))
    for limit in (1, len(whole["metrics.json"]) + 1, largest // 2, largest - 1):
        home = tmp_path / f"limit-{limit}"
        assert "OSError" in keep_under(forks, limit, home)
        left = {p.name: p.read_bytes() for p in (home / "runs" / "run").iterdir()}
        assert left.items() <= whole.items()
        assert "metrics.json" not in left  # which says that everything is there


# The whole command line with a full disk; the database is another process and has room.
COMMAND = """
import resource, sys
resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv[1]),) * 2)
from cli.main import call
sys.exit(call(sys.argv[2:]))
"""


@pytest.fixture
def command(forks: Forks) -> Command:
    return partial(forks.run, COMMAND)


@pytest.fixture
def home(store: Store, neo4j_endpoint: Endpoint, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A home whose commands use the tests' server, with a small world released in it."""
    home, world = tmp_path / "home", tmp_path / "world"
    for name, value in (("URI", neo4j_endpoint.uri), ("PASSWORD", neo4j_endpoint.password)):
        monkeypatch.setenv(f"REGKG_NEO4J_{name}", value)
    monkeypatch.setenv("REGKG_HOME", str(home))
    simulate(WorldConfig(genes=30, peaks=150, cells=150, cell_types=3, programs=4), world)
    load_world(store, home, world, SILENT)
    publish(store)
    return home


def test_a_load_on_a_full_disk_is_refused_and_the_next_one_works(home: Path, store: Store, command: Command) -> None:
    bed = home.parent / "more.bed"
    bed.write_text("chr1\t100\t200\nchr1\t300\t200\nchr2\t100\t900\n" + "chr1\t5\tx\n")
    args = ("load", "peaks", str(bed), "--assembly", "GRCh38", "--dataset", "peaks:more", "--accept-rejects")
    before = summary(store, 1, 2)
    for limit in (0, 1, 100, 1000):  # the quarantine of the two bad rows does not fit
        done = command(limit, *args)
        assert done.returncode == 1, done.stdout
        assert "error: " in done.stderr
        assert "Traceback" not in done.stderr
        assert summary(store, 1, 2) == before
    done = command(resource.RLIM_INFINITY, *args)
    assert done.returncode == 0, done.stderr
    assert [(d.dataset, d.added) for d in summary(store, 1, 2)] == [("peaks:more", 2)]


def test_training_on_a_full_disk_publishes_nothing_and_the_next_one_works(
    home: Path, store: Store, command: Command
) -> None:
    short = ["--first-steps", "5", "--second-steps", "5", "--device", "cpu"]
    args = ("train", "glue", "--cells", "demo", *short, "--publish")
    before = served(store)
    for limit in (0, 50_000, 1_000_000):  # at the first checkpoint, in it, in a later file
        done = command(limit, *args)
        assert done.returncode == 1, (limit, done.stdout, done.stderr)
        assert "error: " in done.stderr
        assert "Traceback" not in done.stderr
        assert served(store) == before
    done = command(resource.RLIM_INFINITY, *args)
    assert done.returncode == 0, done.stderr
    assert list(served(store).runs) == ["glue:demo"]
    assert home.exists()


@pytest.mark.parametrize("place", ["/proc/regkg", "/dev/null/regkg"])
def test_a_home_that_cannot_be_written_is_told_at_once(
    place: str, monkeypatch: pytest.MonkeyPatch, command: Command
) -> None:
    monkeypatch.delenv("REGKG_NEO4J_URI", raising=False)
    monkeypatch.setenv("REGKG_HOME", place)
    done = command(resource.RLIM_INFINITY, "db", "start")
    assert done.returncode == 1
    assert f"error: {place}/neo4j cannot be used" in done.stderr
    assert "set REGKG_HOME to a place of yours" in done.stderr
