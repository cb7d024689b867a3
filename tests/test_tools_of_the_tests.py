"""The tests' own tools: what is counted, what is resumed, archives that Java takes, programs that are forked."""

from __future__ import annotations

import signal
import subprocess
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

from kg.server import java
from kg.server.config import server_options
from kg.server.jars import install_jars
from kg.settings import DEFAULT_NEO4J_VERSION
from tests.budgets import Budgets
from tests.resume import Resume, state_of

if TYPE_CHECKING:
    from pathlib import Path

    import pytest

    from tests.forked import Forks
    from tests.quick_java import Prepared


def a_config(root: Path, **more: Any) -> Any:
    budgets = ["servers 2", "tools 1", "trainings 5"]
    hook = SimpleNamespace(pytest_deselected=lambda **_: None)
    return SimpleNamespace(rootpath=root, getini=lambda _: budgets, hook=hook, **more)


def a_report(test: str, outcome: str = "passed", when: str = "teardown") -> Any:
    return SimpleNamespace(nodeid=test, passed=outcome == "passed", when=when)


def test_a_session_that_starts_more_than_its_budget_fails(tmp_path: Path) -> None:
    budgets = Budgets(a_config(tmp_path))
    for name, program in (("1", "org.neo4j.server.CommunityEntryPoint"), ("2", "org.neo4j.cli.AdminTool dbms")):
        (budgets.folder / f"{name}.java").write_text(f"java_command: {program} --home-dir=x")
    budgets.trainings = 6
    session: Any = SimpleNamespace(exitstatus=0)
    budgets.pytest_sessionfinish(session)
    assert budgets.counts() == {"servers": 1, "tools": 1, "trainings": 6}
    assert budgets.over() == ["trainings"]
    assert session.exitstatus == 1
    budgets.budgets["trainings"] = 6
    session.exitstatus = 0
    budgets.pytest_sessionfinish(session)
    assert session.exitstatus == 0
    budgets.pytest_unconfigure()
    assert not budgets.folder.exists()


def test_what_workers_count_is_added_up(tmp_path: Path) -> None:
    budgets = Budgets(a_config(tmp_path))
    node = SimpleNamespace(workerinput={})
    budgets.pytest_configure_node(node)
    worker = Budgets(a_config(tmp_path, workerinput=node.workerinput))
    (worker.folder / "other.trainings").write_text("4")
    budgets.trainings = 3
    budgets.pytest_sessionfinish(SimpleNamespace(exitstatus=0))  # type: ignore[arg-type]
    assert worker.counts()["trainings"] == 7
    worker.pytest_unconfigure()
    assert budgets.folder.exists(), "it is the session's, not the worker's"
    budgets.pytest_unconfigure()


def test_what_passed_is_left_out_until_the_code_changes(tmp_path: Path) -> None:
    git = ["git", "-C", str(tmp_path), "-c", "user.name=x", "-c", "user.email=x"]
    subprocess.run([*git, "init", "-q"], check=True)
    subprocess.run([*git, "commit", "-q", "--allow-empty", "-m", "x"], check=True)
    file = tmp_path / ".git" / "passed"
    first = Resume(a_config(tmp_path), file)
    first.pytest_runtest_logreport(a_report("a"))
    first.pytest_runtest_logreport(a_report("b", "failed", "call"))
    first.pytest_runtest_logreport(a_report("b"))
    first.pytest_runtest_logreport(a_report("c", when="call"))  # killed in its teardown
    items: list[Any] = [SimpleNamespace(nodeid=name) for name in "abc"]
    again = Resume(a_config(tmp_path), file)
    again.pytest_collection_modifyitems(a_config(tmp_path), items)
    assert [item.nodeid for item in items] == ["b", "c"]
    before = state_of(tmp_path)
    (tmp_path / "new.py").write_text("")
    assert state_of(tmp_path) != before
    assert Resume(a_config(tmp_path), file).passed == set()


def test_servers_take_their_classes_from_the_archive(prepared: Prepared | None, jars: Path, tmp_path: Path) -> None:
    assert prepared is not None
    options = server_options(tmp_path, install_jars(DEFAULT_NEO4J_VERSION, jars))
    at = options.index("-cp")
    options[at:at] = ["-Xlog:class+load:stdout"]
    command = [java.find_java(), java.write_arguments(tmp_path / "args", options), "--no-such-option"]
    said = subprocess.run(command, capture_output=True, text=True, check=False).stdout
    assert "org.neo4j.server.CommunityEntryPoint source: shared objects file (top)" in said


def test_a_forked_program_ends_as_a_program_does(forks: Forks, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GIVEN", "here")
    code = "import os, sys; print(sys.argv[1], os.environ['GIVEN'], os.environ['MORE']); sys.exit(int(sys.argv[2]))"
    done = forks.run(code, "word", 7, env={"MORE": "there"})
    assert (done.returncode, done.stdout, done.stderr) == (7, "word here there\n", "")
    assert forks.run("import os; os.kill(os.getpid(), 9)").returncode == -signal.SIGKILL
    done = forks.run("import sys; sys.exit('a reason')")
    assert (done.returncode, done.stderr) == (1, "a reason\n")
    done = forks.run("1 / 0")
    assert done.returncode == 1
    assert done.stderr.endswith("ZeroDivisionError: division by zero\n")
    big = forks.run("print('x' * 1_000_000)").stdout
    assert len(big) == 1_000_001
