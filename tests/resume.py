"""`--resume FILE`: tests that have passed are not run again, so that a run of an hour survives a kill.

The first line of the file says of which state of the code the rest tells; in another state all begins anew.
"""

from __future__ import annotations

import hashlib
import subprocess
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from pathlib import Path


class Resume:
    """Notes what has passed, and leaves it out next time."""

    def __init__(self, config: pytest.Config, file: Path) -> None:
        self.worker = getattr(config, "workerinput", None)
        self.file, self.failed = file, set[str]()
        self.passed = set(self.worker["passed"]) if self.worker else self._read(state_of(config.rootpath))

    def _read(self, state: str) -> set[str]:
        held, *passed = self.file.read_text().splitlines() if self.file.exists() else [""]
        if held == state:
            return set(passed)
        self.file.parent.mkdir(parents=True, exist_ok=True)
        self.file.write_text(f"{state}\n")
        return set()

    @pytest.hookimpl(optionalhook=True)
    def pytest_configure_node(self, node: Any) -> None:
        node.workerinput["passed"] = sorted(self.passed)

    def pytest_collection_modifyitems(self, config: pytest.Config, items: list[pytest.Item]) -> None:
        done = [item for item in items if ascii(item.nodeid) in self.passed]
        items[:] = [item for item in items if ascii(item.nodeid) not in self.passed]
        config.hook.pytest_deselected(items=done)

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """A test has passed when its teardown has."""
        if self.worker:
            return
        if not report.passed:
            self.failed.add(report.nodeid)
        elif report.when == "teardown" and report.nodeid not in self.failed:
            with self.file.open("a") as file:
                file.write(f"{report.nodeid!a}\n")

    def pytest_report_header(self) -> str:
        return f"resuming from {self.file}: {len(self.passed)} tests passed before"


def state_of(root: Path) -> str:
    """The commit, and what differs from it."""

    def git(*words: str) -> bytes:
        return subprocess.run(["git", *words], cwd=root, check=True, capture_output=True).stdout

    changes = git("diff", "HEAD") + git("ls-files", "--others", "--exclude-standard")
    return f"{git('rev-parse', 'HEAD').decode().strip()} {hashlib.sha256(changes).hexdigest()[:12]}"
