"""Fixtures of every test: one real Neo4j for the session, and the real data where there is some."""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from hypothesis import settings as hypothesis_settings

from kg.errors import RegkgError
from kg.server import Endpoint, Server
from kg.store import Store, ensure_schema, open_store
from models.jobs.report import ending
from tests.budgets import Budgets
from tests.forked import Forks
from tests.quick_java import NAMED, Prepared, prepare
from tests.resume import Resume

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator


LONGEST = (  # files that begin first
    "faults/", "kg/test_backup", "kg/test_bulk", "kg/test_server", "kg/test_stateful", "loaders/test_manifest",
    "models/test_glue", "models/test_launch", "models/test_reproduce", "models/test_retrain",
)  # fmt: skip


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addini("budgets", "how many servers and the like all tests together may start", type="linelist")
    parser.addoption("--resume", metavar="FILE", type=Path, help="leave out what FILE says has passed")


def pytest_configure(config: pytest.Config) -> None:
    os.environ["REGKG_JARS"] = str(_jars())  # no home of a test downloads them again
    config.pluginmanager.register(Budgets(config), "regkg-budgets")
    if file := config.getoption("--resume"):
        config.pluginmanager.register(Resume(config, file), "regkg-resume")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """A file that takes long and begins last keeps all but one worker waiting."""
    items.sort(key=lambda item: not any(name in item.nodeid for name in LONGEST))


def skip_unless_required(what: str, reason: str) -> None:
    """Skip, or fail where REGKG_REQUIRE (comma-separated: neo4j, data, gpu) says that `what` must be there."""
    if what in os.environ.get("REGKG_REQUIRE", "").split(","):
        pytest.fail(f"REGKG_REQUIRE names {what}, but {reason}")
    pytest.skip(reason)


# No example is timed, since machines are shared, and every run tries the same ones.
hypothesis_settings.register_profile("regkg", deadline=None, derandomize=True)
hypothesis_settings.load_profile("regkg")


_END_WITH_REPORT = ending.end_with_report


@pytest.fixture(scope="session", autouse=True)
def _no_reports() -> Iterator[None]:
    """Runs end without a report, which takes longer to draw than a tiny model to train."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(ending, "end_with_report", lambda *_: None)
        yield


@pytest.fixture
def reports(monkeypatch: pytest.MonkeyPatch) -> None:
    """Runs of this test end with a report, as they do for people."""
    monkeypatch.setattr(ending, "end_with_report", _END_WITH_REPORT)


@pytest.fixture(scope="session")
def jars(prepared: Prepared | None) -> Path:
    """Where all homes of the tests share the server's jars."""
    del prepared  # from here on servers start fast
    return _jars()


def _jars() -> Path:
    return Path(os.environ.get("REGKG_JARS") or "~/.cache/regkg-jars").expanduser()


@pytest.fixture(scope="session")
def prepared(pytestconfig: pytest.Config) -> Iterator[Prepared | None]:
    """What makes servers start fast; None where Neo4j cannot be had at all."""
    try:
        made = prepare(_jars())
    except RegkgError:
        yield None
        return
    counting = pytestconfig.pluginmanager.get_plugin("regkg-budgets")
    assert isinstance(counting, Budgets)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(NAMED, " ".join([*made.options, counting.java_option]))
        yield made


@pytest.fixture(scope="session")
def new_server(prepared: Prepared | None, jars: Path) -> Callable[[Path], Server]:
    """Make the server of a home, not started, its graph empty, with constraints."""

    def make(home: Path) -> Server:
        if prepared:
            shutil.copytree(prepared.home, home, dirs_exist_ok=True)
        return Server(home, jars=jars)

    return make


@pytest.fixture(scope="session")
def neo4j_server(tmp_path_factory: pytest.TempPathFactory, new_server: Callable[[Path], Server]) -> Iterator[Server]:
    """The session's Neo4j, running; whoever stops or breaks it takes one of their own."""
    server = new_server(tmp_path_factory.mktemp("neo4j-home"))
    try:
        server.start()
    except RegkgError as error:
        skip_unless_required("neo4j", f"Neo4j did not start: {error}")
    yield server
    server.stop()


@pytest.fixture(scope="session")
def neo4j_endpoint(neo4j_server: Server) -> Endpoint:
    """Where the session's Neo4j answers; a test that needs an empty graph empties it."""
    return neo4j_server.start()


@pytest.fixture(scope="session")
def session_store(neo4j_endpoint: Endpoint) -> Iterator[Store]:
    """One connection for the session, constraints made."""
    with open_store(neo4j_endpoint) as store:
        ensure_schema(store)
        yield store


@pytest.fixture
def store(session_store: Store) -> Store:
    """The session's store, its graph emptied; constraints and indexes stay."""
    empty(session_store)
    return session_store


def empty(store: Store) -> None:
    """Remove all but what says which schema the graph has."""
    store.implicit("MATCH (n) WHERE NOT n:Schema CALL (n) { DETACH DELETE n } IN TRANSACTIONS OF 20000 ROWS")


@pytest.fixture(scope="session")
def forks() -> Iterator[Forks]:
    """Starts programs that need the product's modules."""
    started = Forks()
    yield started
    started.close()


@pytest.fixture(scope="session")
def data() -> Path:
    """The folder of real data, REGKG_DATA."""
    folder = Path(os.environ.get("REGKG_DATA") or "unset")
    if not folder.is_dir():
        skip_unless_required("data", f"REGKG_DATA is no folder: {folder}")
    return folder
