"""The shell of `regkg`: commands imported when named, failures as sentences and exit codes."""

from __future__ import annotations

import errno
import json
import logging
import os
import signal
import subprocess
import sys
import time
from types import ModuleType
from typing import TYPE_CHECKING

import click
import pytest

from cli import main
from cli.output import emit, json_option
from kg import errors
from kg.errors import RegkgError

if TYPE_CHECKING:
    from collections.abc import Callable

BLOCKED = """
import sys

class Block:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in {"torch", "neo4j", "fastapi", "uvicorn", "numpy", "pyarrow", "rich", "anndata"}:
            raise ImportError(f"{name} is blocked")

sys.meta_path.insert(0, Block())
from cli.main import call
sys.exit(call(["--help"]))
"""


def command_that(monkeypatch: pytest.MonkeyPatch, work: Callable[[], None]) -> None:
    """Make `regkg demo` do `work`."""

    @click.command()
    @json_option
    def command(*, as_json: bool) -> None:
        work()
        emit({"done": True}, as_json=as_json)

    module = ModuleType("cli.admin.demo")
    module.command = command  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "cli.admin.demo", module)


def raising(error: BaseException) -> Callable[[], None]:
    def work() -> None:
        raise error

    return work


def all_errors() -> list[type[RegkgError]]:
    found = [e for e in vars(errors).values() if isinstance(e, type) and issubclass(e, RegkgError)]
    return [e for e in found if e is not RegkgError]


def test_help_imports_nothing_that_is_heavy() -> None:
    done = subprocess.run([sys.executable, "-c", BLOCKED], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert all(f"  {name} " in done.stdout for name in main.COMMANDS)


@pytest.mark.parametrize("name", main.COMMANDS)
def test_every_command_is_there_and_helps(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main.call([name, "--help"]) == 0
    told = capsys.readouterr().out
    assert f"Usage: regkg {name}" in told
    assert "--help" in told


def test_every_family_of_errors_has_an_exit_code() -> None:
    families = {e for e in all_errors() if e.__bases__ == (RegkgError,)}
    assert families == set(main.EXIT_CODES)
    assert {e for e in all_errors() if main.exit_code(e) == 2} == {
        errors.SettingsError,
        errors.ParameterError,
        errors.QueryRefused,
    }
    assert {main.exit_code(e) for e in all_errors()} == {1, 2}


@pytest.mark.parametrize("error", all_errors(), ids=lambda e: e.__name__)
@pytest.mark.parametrize("as_json", [False, True])
def test_every_error_of_ours_is_told_with_its_hint(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], error: type[RegkgError], *, as_json: bool
) -> None:
    given: dict[type[RegkgError], tuple[object, ...]] = {
        errors.MalformedRow: ("f.bed", 7, "end", "900 is not greater than 1000", "do this"),
        errors.Diverged: (5, ["c1"], "do this"),
        errors.SchemaError: ("what", ["one", "two"], "do this"),
        errors.ParameterError: ("what", ["one", "two"], "do this"),
        errors.QueryRefused: ("what", [], "do this"),
    }
    made = error(*given.get(error, ("what", "do this")))  # type: ignore[arg-type]
    command_that(monkeypatch, raising(made))
    assert main.call(["demo", *["--json"] * as_json]) == main.exit_code(error)
    out, err = capsys.readouterr()
    assert out == ""
    if as_json:
        told = {"type": error.__name__, "message": made.message, "hint": "do this"}
        assert json.loads(err) == {"error": told, "exit_code": main.exit_code(error)}
    else:
        assert err == f"error: {made.message}\nhint: do this\n"


@pytest.mark.parametrize(
    ("error", "message", "hint"),
    [
        (OSError(errno.ENOSPC, "No space left on device", "f"), "No space left on device", "free some space"),
        (ModuleNotFoundError("No module named 'torch'", name="torch.nn"), "torch", "pip install 'regkg[train]'"),
        (ModuleNotFoundError("No module named 'fastapi'", name="fastapi"), "fastapi", "pip install 'regkg[api]'"),
        (ModuleNotFoundError("No module named 'surprise'", name="surprise"), "unexpected", "fault of the program"),
        (ZeroDivisionError("division by zero"), "unexpected ZeroDivisionError: division by zero", "regkg --debug"),
    ],
)
def test_other_failures_are_told_with_what_to_do(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], error: Exception, message: str, hint: str
) -> None:
    command_that(monkeypatch, raising(error))
    assert main.call(["demo"]) == 1
    told = capsys.readouterr().err
    assert told.startswith("error: ")
    assert message in told
    assert hint in told
    assert "Traceback" not in told


def test_debug_shows_the_traceback(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    command_that(monkeypatch, raising(ZeroDivisionError("why")))
    assert main.call(["--debug", "demo"]) == 1
    assert "Traceback" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("args", "message", "hint"),
    [
        (["demoo"], "Did you mean 'demo'?", "regkg --help"),
        (["ask", "gene-regulators"], "Missing option '--gene'", "regkg ask gene-regulators --help"),
        (["ask", "gene-regulators", "--gene", "X", "--limit", "0"], "not in the range 1<=x<=1000", "--help"),
        (["cypher", "RETURN 1", "-p", "novalue"], "'novalue' is not NAME=VALUE", "regkg cypher --help"),
        (["runs", "show"], "Missing argument 'RUN'", "regkg runs show --help"),
        (["--nonsense"], "No such option", "regkg --help"),
    ],
)
@pytest.mark.parametrize("as_json", [False, True])
def test_wrong_usage_ends_with_2(
    capsys: pytest.CaptureFixture[str], args: list[str], message: str, hint: str, *, as_json: bool
) -> None:
    assert main.call([*args, *["--json"] * as_json]) == 2
    out, err = capsys.readouterr()
    told = json.loads(err)["error"] if as_json else {"message": err.partition("\n")[0], "hint": err.partition("\n")[2]}
    assert out == ""
    assert message in told["message"]
    assert hint in told["hint"]


def test_a_wrong_environment_is_usage(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setenv("REGKG_NEO4J_URI", "http://localhost:7474")
    assert main.call(["release", "list"]) == 2
    assert "expected bolt://" in capsys.readouterr().err


def test_no_arguments_show_the_help(capsys: pytest.CaptureFixture[str]) -> None:
    assert main.call([]) == 2
    assert "Commands:" in capsys.readouterr().err


def test_the_version_is_told(capsys: pytest.CaptureFixture[str]) -> None:
    assert main.call(["--version"]) == 0
    assert capsys.readouterr().out.startswith("regkg, version ")


@pytest.mark.parametrize(("flags", "level"), [([], logging.ERROR), (["-v"], logging.INFO), (["-vv"], logging.DEBUG)])
def test_v_is_counted(monkeypatch: pytest.MonkeyPatch, flags: list[str], level: int) -> None:
    levels: list[int] = []
    monkeypatch.setattr(logging, "basicConfig", lambda **given: levels.append(given["level"]))
    command_that(monkeypatch, lambda: None)
    assert main.call([*flags, "demo", "--json"]) == 0
    assert levels == [level]


@pytest.mark.parametrize(
    ("left", "told"), [("", "nothing was left half done"), ("half a load: say X", "half a load: say X")]
)
def test_an_interruption_says_what_is_left(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], left: str, told: str
) -> None:
    def work() -> None:
        if left:
            main.interrupt_message(left)
        raise KeyboardInterrupt

    command_that(monkeypatch, work)
    assert main.call(["demo"]) == 130
    assert capsys.readouterr().err == f"error: interrupted\nhint: {told}\n"


WAITS = """
import signal, sys, time
from types import ModuleType
import click
from cli import main

signal.signal(signal.SIGINT, signal.default_int_handler)  # a job in the background is born deaf to it
@click.command()
def command():
    main.interrupt_message("half of it is done")
    print("ready", flush=True)
    time.sleep(60)

module = ModuleType("cli.admin.demo")
module.command = command
sys.modules["cli.admin.demo"] = module
sys.exit(main.call(["demo"]))
"""


def test_ctrl_c_ends_a_real_process_cleanly() -> None:
    with subprocess.Popen(
        [sys.executable, "-c", WAITS], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as p:
        assert p.stdout is not None
        assert p.stdout.readline() == "ready\n"
        begun = time.monotonic()
        p.send_signal(signal.SIGINT)
        _, err = p.communicate(timeout=30)
    assert p.returncode == 130
    assert err == "error: interrupted\nhint: half of it is done\n"
    assert time.monotonic() - begun < 20


def test_a_reader_that_goes_away_is_no_traceback() -> None:
    command = f"{sys.executable} -c 'from cli.main import run; run()' load peaks --help | true"
    done = subprocess.run(["bash", "-c", command], capture_output=True, text=True, check=False, env=dict(os.environ))
    assert "Traceback" not in done.stderr
    assert "BrokenPipe" not in done.stderr
