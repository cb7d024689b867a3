"""kill -9 of `regkg backup` and `regkg restore` at seeded points: a backup is whole or none, a graph old or new."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import IO, TYPE_CHECKING

import numpy as np
import psutil
import pytest
from filelock import FileLock

from kg.operations.backup import MANIFEST, UNFINISHED, check_files, read_manifest
from kg.operations.restore import BESIDE, LOCK
from kg.schema import SCHEMA_VERSION
from kg.server import REPLACED, RESTORED, STORE, Server
from kg.server.processes import is_alive
from kg.store import ensure_schema, open_store
from kg.store.leases import this_process
from tests.kg.test_backup import everything, files_below, fill

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from kg.server import Endpoint
    from kg.store import Store

ROOT = Path(__file__).parents[2]
pytestmark = pytest.mark.soak
POINTS = int(os.environ.get("REGKG_KILLS", "12")) // 2


@dataclass(frozen=True)
class Done:
    """How a command ended: its exit code, or minus the signal; how many events it had; what it said."""

    status: int
    events: int
    said: str

    @property
    def killed(self) -> bool:
        return self.status == -signal.SIGKILL


@dataclass
class Deadly:
    """The process that forks commands, and where they work."""

    ground: Path
    child: subprocess.Popen[str]

    def run(self, env: dict[str, str], *args: object, at: int | None = None, orphan: bool = False) -> Done:
        plain = "REGKG_TEST_URI" in env
        request = {"args": [str(arg) for arg in args], "env": env, "at": at, "plain": plain, "orphan": orphan}
        _pipe(self.child.stdin).write(json.dumps(request) + "\n")
        _pipe(self.child.stdin).flush()
        return Done(**json.loads(_pipe(self.child.stdout).readline()))


def _pipe(pipe: IO[str] | None) -> IO[str]:
    assert pipe is not None
    return pipe


@pytest.fixture(scope="module")
def deadly(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Deadly]:
    ground = tmp_path_factory.mktemp("deadly")
    bare = {k: v for k, v in os.environ.items() if not k.startswith("REGKG_NEO4J")}
    command = [sys.executable, str(ROOT / "tests" / "faults" / "deadly.py"), str(ground)]
    pipe = subprocess.PIPE
    with subprocess.Popen(command, env={**bare, "PYTHONPATH": str(ROOT)}, stdin=pipe, stdout=pipe, text=True) as child:
        yield Deadly(ground, child)
        _pipe(child.stdin).close()
    assert child.returncode == 0


@dataclass(frozen=True)
class World:
    """A graph in the tests' server, what a backup of its rows holds, and the settings of commands on it.

    Attributes:
        home: with the files of its runs, and a file for the store of a managed server.
        failed: the run that did not come to anything.
        env: as the graph of somebody else.
        plain: as that of a managed server, which is a folder but for answers.
    """

    home: Path
    graph: list[str]
    failed: str
    env: dict[str, str]
    plain: dict[str, str]


@pytest.fixture(scope="module")
def world(deadly: Deadly, session_store: Store, neo4j_endpoint: Endpoint) -> World:
    home, where = deadly.ground / "home", neo4j_endpoint
    session_store.implicit("MATCH (n) WHERE NOT n:Schema DETACH DELETE n")
    graph, failed = fill(session_store, home)
    session_store.write("MATCH (r:ModelRun {id: $id}) SET r.outcome = 'failed'", id=failed)
    stored(home, "new")
    settings = {"URI": where.uri, "USER": where.user, "PASSWORD": where.password}
    env = {f"REGKG_NEO4J_{name}": value for name, value in settings.items()}
    plain = {f"REGKG_TEST_{name}": value for name, value in settings.items()}
    return World(home, graph, failed, {"REGKG_HOME": str(home), **env}, {"REGKG_HOME": str(home), **plain})


def stored(home: Path, text: str) -> None:
    """Make the folder that stands for a store."""
    for part in STORE:
        (home / "neo4j" / "data" / part).mkdir(parents=True)
        (home / "neo4j" / "data" / part / "store").write_text(text)


def state(home: Path) -> tuple[list[str], dict[str, bytes]]:
    """Of a managed server that is a folder: its store and its runs."""
    return [(home / "neo4j" / "data" / part / "store").read_text() for part in STORE], files_below(home / "runs")


def points(events: int, seed: int) -> Sequence[int]:
    """Seeded moments, one in each of so many equal stretches; the last event is among them."""
    edges = np.linspace(0, events, min(POINTS, events) + 1).astype(int)
    rng = np.random.default_rng(seed)
    return [*(int(rng.integers(a, b)) for a, b in pairwise(edges[:-1])), events - 1]


def is_whole(folder: Path) -> bool:
    """Whether it says that it is a backup; then it must be one."""
    if not (folder / MANIFEST).exists():
        return False
    check_files(folder, read_manifest(folder))
    return True


def refused(done: Done, *said: str) -> None:
    assert done.status == 1, done
    told = json.loads(done.said.splitlines()[-1])["error"]
    for words in said:
        assert words in f"{told['message']}; {told['hint']}"


@pytest.mark.parametrize("way", ["--logical", "store"])
def test_a_killed_backup_is_none_or_whole(deadly: Deadly, world: World, way: str) -> None:
    env, folder = (world.env, deadly.ground / "rows") if way == "--logical" else (world.plain, deadly.ground / "dump")
    args = ("backup", folder, *([way] if way == "--logical" else []))
    if way == "store":  # what only a first start does
        assert deadly.run(env, "db", "start").status == 0
    unbroken = deadly.run(env, *args)
    assert unbroken.status == 0, unbroken.said
    names, kept = set(files_below(folder)), files_below(world.home)
    for at in points(unbroken.events, 5):
        shutil.rmtree(folder)
        assert deadly.run(env, *args, at=at).killed
        if is_whole(folder):
            refused(deadly.run(env, *args), f"{folder} holds a whole one already")
            continue
        if folder.exists():
            refused(deadly.run(env, "restore", folder), str(folder), "backup", f"expected {MANIFEST}", "backup")
        again = deadly.run(env, *args)
        assert again.status == 0, (at, again.said)
        assert is_whole(folder)
        assert set(files_below(folder)) == names
    shutil.rmtree(folder)
    folder.mkdir()
    (folder / UNFINISHED).write_text(this_process())
    refused(deadly.run(env, *args), f"{folder} is being written by", "name another folder")
    (folder / UNFINISHED).write_text("")  # as a kill may leave it
    assert deadly.run(env, *args).status == 0
    assert state(world.home)[0] == ["new", "new"]
    assert files_below(world.home).keys() == kept.keys()


def test_a_killed_restore_leaves_the_old_graph_or_the_new(deadly: Deadly, world: World) -> None:
    folder, home = deadly.ground / "dump", deadly.ground / "other"
    env = {**world.plain, "REGKG_HOME": str(home)}
    if not folder.exists():
        assert deadly.run(world.plain, "backup", folder).status == 0

    def begin() -> None:
        shutil.rmtree(home, ignore_errors=True)
        stored(home, "old")
        (home / "runs" / "glue-old-1").mkdir(parents=True)
        (home / "runs" / "glue-old-1" / "metrics.json").write_text("{}")

    begin()
    args = ("restore", folder, "--replace")
    with FileLock(home / "neo4j" / LOCK):
        refused(deadly.run(env, *args), "another restore", "wait until it ends")
    old, new = state(home), (["new", "new"], files_below(world.home / "runs"))
    unbroken = deadly.run(env, *args)
    assert unbroken.status == 0, unbroken.said
    assert state(home) == new
    seen = []
    for turn, at in enumerate(points(unbroken.events, 6)):
        begin()
        assert deadly.run(env, *args, at=at).killed
        if turn % 2:  # else the next command is another restore
            assert deadly.run(env, "db", "start").status == 0
            seen.append(state(home))
            assert seen[-1] in (old, new), at
        again = deadly.run(env, *args)
        assert again.status == 0, (at, again.said)
        assert state(home) == new
        assert not {RESTORED, REPLACED, BESIDE} & {path.name for path in (home / "neo4j").iterdir()}
    assert old in seen


def test_a_killed_restore_elsewhere_is_refused_to_all_until_it_is_done(
    deadly: Deadly, world: World, session_store: Store
) -> None:
    folder, home = deadly.ground / "rows", deadly.ground / "elsewhere"
    if not folder.exists():
        assert deadly.run(world.env, "backup", folder, "--logical").status == 0
    env, args = {**world.env, "REGKG_HOME": str(home)}, ("restore", folder)
    kept = files_below(world.home / "runs")

    def begin() -> None:
        session_store.implicit("MATCH (n) WHERE NOT n:Schema DETACH DELETE n")
        shutil.rmtree(home, ignore_errors=True)

    begin()
    unbroken = deadly.run(env, *args)
    assert unbroken.status == 0, unbroken.said
    marked = 0
    for at in points(unbroken.events, 7):
        begin()
        assert deadly.run(env, *args, at=at).killed
        if session_store.read("MATCH (s:Schema) WHERE s.restoring IS NOT NULL RETURN s"):
            marked += 1
            refused(deadly.run(env, "release", "list"), "is half restored from", f"`regkg restore {folder}` again")
        else:
            assert session_store.read("MATCH (n) WHERE NOT n:Schema RETURN count(n) AS n") == [{"n": 0}]
        again = deadly.run(env, *args)
        assert again.status == 0, (at, again.said)
        assert everything(session_store, world.failed) == world.graph
        assert files_below(home / "runs") == kept
    assert marked


def test_a_tool_that_outlives_its_command_is_ended_by_the_next(
    deadly: Deadly, jars: Path, new_server: Callable[[Path], Server]
) -> None:
    """Neo4j's dump and load are programs of their own: killed with them is only who waits for them."""
    home, folder = deadly.ground / "real", deadly.ground / "real backup"
    env, server = {"REGKG_HOME": str(home), "REGKG_JARS": str(jars)}, new_server(home)
    try:
        with open_store(server.start()) as store:
            ensure_schema(store)
        assert deadly.run(env, "backup", folder, orphan=True).killed
        (dump,) = tools(server)
        again = deadly.run(env, "backup", folder)
        assert again.status == 0, again.said
        assert not is_alive(dump)
        assert is_whole(folder)
        assert read_manifest(folder).schema_version == SCHEMA_VERSION
    finally:
        server.stop()
    new = deadly.ground / "new"
    beside = Server(new / "neo4j" / BESIDE, jars=jars)
    assert deadly.run({**env, "REGKG_HOME": str(new)}, "restore", folder, orphan=True).killed
    (load,) = tools(beside)
    beside.stop()  # as the next restore does before it removes what it finds
    assert not is_alive(load)


def tools(server: Server) -> list[psutil.Process]:
    """Programs of Neo4j that work on a home."""
    found = psutil.process_iter(["cmdline"])
    return [p for p in found if any(str(server.root) in word for word in p.info["cmdline"] or ())]
