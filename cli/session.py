"""The configured graph, as commands open it."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, NamedTuple

from cli.output import progress
from kg.settings import Settings
from kg.store import Store, connect

if TYPE_CHECKING:
    from collections.abc import Iterator

    from kg.progress import Progress


class Graph(NamedTuple):
    """What most commands work with."""

    store: Store
    settings: Settings
    report: Progress


@contextmanager
def graph(*, as_json: bool = False) -> Iterator[Graph]:
    """Connect (the managed server is started at need) and report on stderr.

    Raises:
        SettingsError: the environment does not make sense.
        StoreError: the database does not answer, or refuses.
    """
    settings = Settings.from_environment()
    with progress(as_json=as_json) as report, connect(settings, report) as store:
        yield Graph(store, settings, report)
