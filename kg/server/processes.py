"""Processes and ports of this machine: start what outlives us, see whether it lives and listens, end it."""

from __future__ import annotations

import os
import socket
import time
from contextlib import suppress
from typing import TYPE_CHECKING

import psutil

from kg.errors import ServerFailed

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

LOOPBACK = "127.0.0.1"
POLL_S = 0.1


def spawn(command: list[str], environment: Mapping[str, str], console: Path) -> psutil.Process:
    """Start a program in a session of its own, so that neither our end nor Ctrl-C reaches it."""
    pid = os.posix_spawn(
        command[0],
        command,
        environment,
        file_actions=[
            (os.POSIX_SPAWN_OPEN, 0, os.devnull, os.O_RDONLY, 0),
            (os.POSIX_SPAWN_OPEN, 1, str(console), os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600),
            (os.POSIX_SPAWN_DUP2, 1, 2),
        ],
        setsid=True,
    )
    return psutil.Process(pid)


def listens(process: psutil.Process, port: int) -> bool:
    """Whether this process, and not another one's server, has the port."""
    try:
        return any(c.laddr.port == port and c.status == psutil.CONN_LISTEN for c in process.net_connections("tcp"))
    except psutil.Error:
        return False


def is_alive(process: psutil.Process) -> bool:
    """Whether it still runs; a zombie does not."""
    try:
        return bool(process.is_running() and process.status() != psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return False


def terminate(process: psutil.Process, timeout_s: float) -> None:
    """Ask it to end and wait until it has; one that its starter, another process of ours, has not reaped has ended.

    Raises:
        ServerFailed: it is still there after `timeout_s`.
    """
    deadline = time.monotonic() + timeout_s
    with suppress(psutil.NoSuchProcess):
        process.terminate()
    while is_alive(process):
        if time.monotonic() > deadline:
            raise ServerFailed(
                f"Neo4j (pid {process.pid}) did not stop within {timeout_s:.0f} s",
                f"it may be ending a large transaction: try again; `kill -9 {process.pid}` loses nothing committed",
            )
        with suppress(psutil.TimeoutExpired):
            process.wait(POLL_S)


def kill(process: psutil.Process) -> None:
    """End it at once, and do not return before it is gone."""
    with suppress(psutil.NoSuchProcess):
        process.kill()
        process.wait()


def is_free(port: int) -> bool:
    """Whether nobody listens on this port of the loopback address."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((LOOPBACK, port))
        except OSError:
            return False
        return True


def any_port() -> int:
    """A port that is free now."""
    with socket.socket() as probe:
        probe.bind((LOOPBACK, 0))
        return int(probe.getsockname()[1])
