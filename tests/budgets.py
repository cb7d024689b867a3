"""What the tests cost is held by counts, which do not depend on the machine: servers, Neo4j's tools, trainings.

Every Java program that starts leaves a file that Java writes itself, so those that other processes start count as well.
Trainings are counted in the test processes: each stage of each model. The budgets are `budgets` in pyproject.toml; a
session that exceeds one fails. Raise one only together with what it pays for.
"""

from __future__ import annotations

import os
import shutil
import sys
import tempfile
from functools import wraps
from pathlib import Path
from typing import Any

import pytest

SERVER = "CommunityEntryPoint"
TRAININGS = "models.training.loop"


class Budgets:
    """Counts over all processes of a session, which leave what they count in one folder."""

    def __init__(self, config: pytest.Config) -> None:
        self.worker = getattr(config, "workerinput", None)
        self.folder = Path(self.worker["counts"] if self.worker else tempfile.mkdtemp(prefix="regkg-counts-"))
        self.budgets = {name: int(n) for name, n in (line.split() for line in config.getini("budgets"))}
        self.trainings = 0

    @property
    def java_option(self) -> str:
        """Makes Java note each start."""
        return f"-Xlog:arguments=info:file={self.folder}/%p-%t.java"

    @pytest.hookimpl(optionalhook=True)
    def pytest_configure_node(self, node: Any) -> None:
        node.workerinput["counts"] = str(self.folder)

    def pytest_collection_finish(self) -> None:
        """By now what trains is imported, if any test trains at all."""
        if (loop := sys.modules.get(TRAININGS)) is None:
            return
        train = loop.Trainer.train

        @wraps(train)
        def counted(*args: Any, **kwargs: Any) -> Any:
            self.trainings += 1
            return train(*args, **kwargs)

        loop.Trainer.train = counted

    @pytest.hookimpl(trylast=True)
    def pytest_sessionfinish(self, session: pytest.Session) -> None:
        (self.folder / f"{os.getpid()}.trainings").write_text(str(self.trainings))
        if not self.worker and self.over():
            session.exitstatus = pytest.ExitCode.TESTS_FAILED

    def counts(self) -> dict[str, int]:
        """By the names that the budgets have."""
        programs = [SERVER in file.read_text() for file in self.folder.glob("*.java")]
        trainings = sum(int(file.read_text()) for file in self.folder.glob("*.trainings"))
        return {"servers": sum(programs), "tools": programs.count(False), "trainings": trainings}

    def over(self) -> list[str]:
        """The budgets that are exceeded."""
        counts = self.counts()
        return [name for name, budget in self.budgets.items() if counts[name] > budget]

    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> None:
        for name, n in self.counts().items():
            allowed = f", budget {self.budgets[name]}" if name in self.budgets else ""
            terminalreporter.line(f"{name} started: {n}{allowed}", red=name in self.over())
        for name in self.over():
            terminalreporter.line(f"FAILED: too many {name}; tests that share one are to be preferred", red=True)

    def pytest_unconfigure(self) -> None:
        if not self.worker:
            shutil.rmtree(self.folder, ignore_errors=True)
