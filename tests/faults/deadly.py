"""Commands that get SIGKILL before their n-th event, each in a process forked from this one, which has all imported.

    python deadly.py GROUND < REQUESTS

with the root on the path. A request is a line of JSON: args (of the command line), env, at (null for an unbroken run),
plain, orphan. The answer is one: status (exit code, or minus the signal), events (how many), said (on stdout and
stderr). Events are what changes something: a write to the database, a program started, and whatever makes, opens for
writing, renames or removes a file below GROUND. With `plain` the managed server is a folder: its store and a dump of it
are a file, `store`, and the one that answers is that of REGKG_TEST_URI. With `orphan` the process gets SIGKILL as soon
as the first of Neo4j's tools runs, which lives on.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cli.admin import backup, restore  # noqa: F401 - so that the forked ones need not
from cli.main import call
from kg import server as managed
from kg.operations import backup as backing_up  # noqa: F401
from kg.operations import restore as restoring  # noqa: F401
from kg.server import DUMP, STORE, Endpoint, Server
from kg.store import Store

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

WRITES = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC
MOVES = {"os.rename": 2, "os.remove": 1, "os.rmdir": 1, "os.mkdir": 2}  # where in the arguments dir_fd is
STARTS = {"subprocess.Popen", "os.posix_spawn"}


class Death:
    """Counts events, and ends this process before one of them."""

    def __init__(self, ground: str, at: int | None) -> None:
        self.ground, self.at, self.events = ground, at, 0

    def event(self) -> None:
        if self.events == self.at:
            os.kill(os.getpid(), signal.SIGKILL)
        self.events += 1

    def hook(self, name: str, args: tuple[Any, ...]) -> None:
        if name == "open":
            changes = isinstance(args[2], int) and bool(args[2] & WRITES) and self._ours(args[0])
        elif name in MOVES:
            changes = self._ours(args[0]) or args[MOVES[name]] != -1
        else:
            changes = name in STARTS
        if changes:
            self.event()

    def _ours(self, path: object) -> bool:
        return isinstance(path, str | os.PathLike) and os.fspath(path).startswith(self.ground)

    def watch(self) -> None:
        patch(Store, **{name: self._counted(getattr(Store, name)) for name in ("transaction", "implicit")})
        sys.addaudithook(self.hook)

    def _counted(self, work: Callable[..., Any]) -> Callable[..., Any]:
        def counted(*args: Any, **kwargs: Any) -> Any:
            self.event()
            return work(*args, **kwargs)

        return counted


def plain_server() -> None:
    """Patch what starts programs; what moves stores and runs about is the product's own."""

    def administrate(self: Server, _: object, *command: str, home: Path | None = None) -> None:
        del home
        store = self.root / "data" / STORE[0] / "store"
        if command[1] == "dump":
            folder = Path(command[3].partition("=")[2])
            (folder / DUMP).write_bytes(store.read_bytes())
        elif command[1] == "load":
            folder = Path(command[3].partition("=")[2])
            for part in STORE:
                (self.root / "data" / part).mkdir(parents=True)
                (self.root / "data" / part / "store").write_bytes((folder / DUMP).read_bytes())

    def attempt(self: Server, *_: object) -> Endpoint:
        del self
        return Endpoint(os.environ["REGKG_TEST_URI"], "neo4j", os.environ["REGKG_TEST_PASSWORD"])

    patch(Server, _administrate=administrate, _attempt=attempt)
    patch(managed, install_jars=lambda *_: [])


def orphaning() -> None:
    """Patch the program away from under the tool that it has started."""

    def begun(command: Sequence[str], env: dict[str, str], **_: Any) -> None:
        subprocess.Popen(command, env=env, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        os.kill(os.getpid(), signal.SIGKILL)

    patch(subprocess, run=begun)


def patch(owner: object, **attributes: object) -> None:
    """For good, since the process is."""
    for name, value in attributes.items():
        setattr(owner, name, value)


def run(request: dict[str, Any], ground: str, said: Path) -> int:
    """Fork, run, and give the exit code, or minus the signal."""
    if pid := os.fork():
        return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    os.environ.update(request["env"])
    if request["plain"]:
        plain_server()
    if request["orphan"]:
        orphaning()
    with said.open("w") as file:
        os.dup2(file.fileno(), 1)
        os.dup2(file.fileno(), 2)
    death = Death(ground, request["at"])
    death.watch()
    code = call([*request["args"], "--json"])
    sys.stdout.flush()
    os.write(1, f"\nevents {death.events}".encode())
    os._exit(code)


def main(argv: Sequence[str]) -> None:
    ground = argv[1]
    said = Path(ground) / "said"
    for line in sys.stdin:
        status = run(json.loads(line), ground, said)
        told, _, events = said.read_text().rpartition("\nevents ")
        answer = {"status": status, "events": int(events or 0), "said": told}
        sys.stdout.write(json.dumps(answer) + "\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main(sys.argv)
