"""Programs in processes forked from one that has imported the product: a start costs milliseconds instead of seconds.

`Forks.run` takes what `python -c CODE ARGS` takes and gives what `subprocess.run` gives. The process from which all
are forked is this file, run with a socket; it only imports, so it has no threads whose locks a fork would inherit.
"""

from __future__ import annotations

import contextlib
import importlib
import json
import os
import socket
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
IMPORTED = (
    "toy",
    "cli.main",
    "cli.load.load",
    "cli.runs.runs",
    "cli.runs.train",
    "models.jobs.train",
    "models.zoo.glue",
)


class Forks:
    """The process that forks, started at first use."""

    def __init__(self) -> None:
        self._ours, theirs = socket.socketpair()
        command = [sys.executable, __file__, str(theirs.fileno())]
        env = {k: v for k, v in os.environ.items() if not k.startswith("REGKG")}
        env["PYTHONPATH"] = f"{ROOT}:{ROOT / 'tests' / 'kg'}"
        with theirs:
            self._process = subprocess.Popen(command, env=env, pass_fds=[theirs.fileno()], cwd=ROOT)

    def run(self, code: str, *args: object, env: dict[str, str] | None = None) -> subprocess.CompletedProcess[str]:
        """Run `code` with sys.argv[1:] as given, to its end.

        Args:
            code: of a program.
            args: strings, or what becomes one.
            env: added to this process's environment.
        """
        argv = ["-c", *map(str, args)]
        pipes = [os.pipe(), os.pipe()]
        request = json.dumps({"code": code, "argv": argv, "env": {**os.environ, **(env or {})}}).encode()
        socket.send_fds(self._ours, [len(request).to_bytes(4, "big")], [write for _, write in pipes])
        self._ours.sendall(request)
        for _, write in pipes:
            os.close(write)
        with ThreadPoolExecutor(2) as pool:
            out, err = pool.map(_all_of, [read for read, _ in pipes])
        status = int.from_bytes(_exactly(self._ours, 4), "big", signed=True)
        return subprocess.CompletedProcess(argv, status, out, err)

    def close(self) -> None:
        """End the process; it must have been well."""
        self._ours.close()
        assert self._process.wait(timeout=30) == 0


def _all_of(fd: int) -> str:
    with os.fdopen(fd) as file:
        return file.read()


def _exactly(connection: socket.socket, n: int) -> bytes:
    told = b""
    while len(told) < n:
        more = connection.recv(n - len(told))
        if not more:
            raise EOFError("the process that forks is gone")
        told += more
    return told


def serve(connection: socket.socket) -> None:
    """Fork for each request and tell how it ended, until the other side closes."""
    while True:
        head, fds, _, _ = socket.recv_fds(connection, 4, 2)
        if not head:
            return
        request = json.loads(_exactly(connection, int.from_bytes(head, "big")))
        if pid := os.fork():
            for fd in fds:
                os.close(fd)
            status = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
            connection.sendall(status.to_bytes(4, "big", signed=True))
            continue
        connection.close()
        for fd, place in zip(fds, (1, 2), strict=True):
            os.dup2(fd, place)
            os.close(fd)
        run(request)


def run(request: dict[str, Any]) -> None:
    """In the forked process: be the program, and end as Python would."""
    os.environ.clear()
    os.environ.update(request["env"])
    sys.argv = request["argv"]
    status = 0
    try:
        exec(compile(request["code"], "<forked>", "exec"), {"__name__": "__main__"})
    except SystemExit as ended:
        if isinstance(ended.code, str):
            sys.stderr.write(f"{ended.code}\n")
        status = ended.code if isinstance(ended.code, int) else int(ended.code is not None)
    except BaseException:  # noqa: BLE001 - told as Python tells it
        sys.excepthook(*sys.exc_info())
        status = 1
    with contextlib.suppress(OSError):
        sys.stdout.flush()
    sys.stderr.flush()
    os._exit(status)


if __name__ == "__main__":
    for name in IMPORTED:
        importlib.import_module(name)
    serve(socket.socket(fileno=int(sys.argv[1])))
