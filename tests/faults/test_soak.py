"""kill -9 of the program and of the database at seeded points: what is published is wholly old or wholly new.

`make test` takes 4 points, `make nightly` sets REGKG_KILLS=100.
"""

from __future__ import annotations

import os
import signal
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from kg.releases import served, verify
from kg.store import Store, ensure_schema, open_store
from tests.conftest import skip_unless_required
from tests.kg.toy import rows_of

if TYPE_CHECKING:
    import subprocess
    from collections.abc import Callable, Iterator

    from kg.server import Endpoint, Server
    from tests.forked import Forks

SCENARIO = Path(__file__).with_name("scenario.py")
pytestmark = pytest.mark.soak
KILLS = int(os.environ.get("REGKG_KILLS", "4"))
OF_SERVER = 4  # one kill in so many hits the database instead of the program
EVENTS = 24  # the fewest that the scenario has; the test of the unbroken run sees to it


@dataclass
class Ground:
    """A server of its own, and what an unbroken run ends with."""

    server: Server
    home: Path
    endpoint: Endpoint
    forks: Forks

    def child(self, *kill: object, world: str = "second") -> subprocess.CompletedProcess[str]:
        where = self.endpoint.uri, self.endpoint.password, self.home, self.home / "log"
        return self.forks.run(SCENARIO.read_text(), world, *where, *kill)

    def begin(self) -> None:
        """Back to the first world."""
        with open_store(self.endpoint) as store:
            store.implicit("MATCH (n) WHERE NOT n:Schema DETACH DELETE n")
            for folder in sorted((self.home / "runs").rglob("*"), reverse=True):
                folder.unlink() if folder.is_file() else folder.rmdir()
        assert self.child(world="first").returncode == 0
        (self.home / "log").write_text("")

    def committed(self) -> dict[str, int]:
        """Rows written by task, over all children since `begin`."""
        sums: dict[str, int] = {}
        for line in (self.home / "log").read_text().splitlines():
            task, n = line.split("\t")
            sums[task] = sums.get(task, 0) + int(n)
        return sums

    def end(self) -> tuple[Any, ...]:
        """Everything that must be the same after a kill as without."""
        with open_store(self.endpoint) as store:
            now = served(store)
            return now.release, now.hash, sorted(now.runs), whole(store), verify(store, 1).hash, verify(store, 2).hash


def whole(store: Store) -> tuple[tuple[int, int], ...]:
    """Rows of the served runs."""
    return tuple(rows_of(store, run) for run in served(store).runs.values())


@pytest.fixture(scope="module")
def ground(
    tmp_path_factory: pytest.TempPathFactory, new_server: Callable[[Path], Server], forks: Forks
) -> Iterator[Ground]:
    home = tmp_path_factory.mktemp("soak")
    server = new_server(home)
    try:
        endpoint = server.start()
    except Exception as error:  # noqa: BLE001 - whatever keeps it from starting
        skip_unless_required("neo4j", f"Neo4j did not start: {error}")
    with open_store(endpoint) as store:
        ensure_schema(store)
    yield Ground(server, home, endpoint, forks)
    server.stop()


@pytest.fixture(scope="module")
def unbroken(ground: Ground) -> tuple[tuple[Any, ...], dict[str, int]]:
    """How the scenario ends when nothing is killed."""
    ground.begin()
    done = ground.child()
    assert done.returncode == 0, done.stderr
    assert int(done.stdout) >= EVENTS
    end = ground.end()
    assert end[0] == 2
    assert end[3] == ((2, 3),)
    return end, ground.committed()


def points() -> list[tuple[int, str, bool]]:
    rng = np.random.default_rng(5)
    at = 1 + np.arange(KILLS) * EVENTS // KILLS if KILLS <= EVENTS else rng.integers(1, EVENTS + 1, KILLS)
    return [(int(n), str(rng.choice(["before", "after"])), i % OF_SERVER == 1) for i, n in enumerate(at)]


@pytest.mark.parametrize(("event", "when", "of_server"), points())
def test_a_kill_leaves_the_old_state_or_the_new_and_the_next_run_finishes(
    ground: Ground, unbroken: tuple[tuple[Any, ...], dict[str, int]], event: int, when: str, *, of_server: bool
) -> None:
    ground.begin()
    with open_store(ground.endpoint) as store:
        old = served(store)
    pid = ground.server.status().pid if of_server else 0
    killed = ground.child(event, when, pid)
    assert killed.returncode != 0
    assert of_server or killed.returncode == -signal.SIGKILL
    if of_server:
        ground.endpoint = ground.server.start()
    with open_store(ground.endpoint) as store:
        now = served(store)
        assert now.runs == old.runs or now.release == 2  # never the new run on the old release
        assert whole(store) == ((2, 3),)
        assert verify(store, 1).hash == old.hash
        assert verify(store, now.release).hash == now.hash
    again = ground.child()
    assert again.returncode == 0, again.stderr
    assert ground.end() == unbroken[0]
    # no row that was committed is written again: at most the batch that was under way is
    assert all(n <= unbroken[1][task] for task, n in ground.committed().items())
