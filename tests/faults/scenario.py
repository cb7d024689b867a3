"""From one published state to the next, by whatever is left to do; killed on purpose by `test_soak`.

    python scenario.py {first,second} URI PASSWORD HOME LOG [KILL_AT {before,after} PID]

with tests/kg on the path. Every write to the database is an event. Before or after event KILL_AT the process PID (0:
this one) gets SIGKILL. Rows that were committed are appended to LOG.
"""

from __future__ import annotations

import os
import signal
import sys
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING, Any

import toy  # type: ignore[import-not-found]  # beside it, since another `tests` is installed

from kg import runs
from kg.errors import Conflict
from kg.evidence import row_writer
from kg.releases import publish, served
from kg.runs import predictions
from kg.server import Endpoint
from kg.store import Store, open_store

if TYPE_CHECKING:
    from collections.abc import Callable

ROWS = 3  # a transaction
GENES, PEAKS = 12, 10


def first_world(store: Store, home: Path) -> None:
    """Release 1 and a served run."""
    toy.load(store, toy.GENES, toy.genes({f"G{i}": f"S{i}" for i in range(GENES)}))
    toy.load(store, toy.PEAKS, toy.peaks([2000 * i for i in range(PEAKS)]))
    toy.load(store, toy.NEARS, toy.near([(2000 * i, f"G{i}") for i in range(PEAKS)]))
    publish(store)
    _run(store, home, 0.5, 1)


def second_world(store: Store, home: Path) -> None:
    """Release 2 and its run, from wherever a kill left off."""
    if served(store).release == 1:
        symbols = {f"G{i}": f"S{i}" if i % 2 else f"T{i}" for i in range(GENES + 3)}
        toy.load(store, toy.GENES, toy.genes(symbols), "two")
        toy.load(store, toy.NEARS, toy.near([(2000 * i, f"G{i + 1}") for i in range(PEAKS)]), "two", replace=True)
        publish(store)
    _run(store, home, 0.25, 2)


def _run(store: Store, home: Path, score: float, release: int) -> None:
    """Train, write back and publish; an interrupted run is resumed."""
    mine = [r for r in runs.runs(store) if r.release == release and r.outcome != "failed"]
    if mine:
        run_id = mine[0].id
    else:
        about = runs.Registration("glue", "cortex", release, 0, 1, {}, "abc", "v1", {})
        run_id = runs.register(store, about)
    if not (predictions.run_folder(home, run_id) / "metrics.json").exists():
        predictions.keep(home, run_id, toy.made(score), toy.METRICS)
    if runs.run(store, run_id).outcome != "complete":
        runs.write_back(store, home, run_id)
    if run_id not in served(store).runs.values():
        runs.publish_run(store, run_id)


def killing(events: Any, at: int, when: str, pid: int) -> None:
    """Every write counts, and one of them is the last of somebody."""

    def wrapped(work: Callable[..., Any]) -> Callable[..., Any]:
        def counted(self: Store, *args: Any, **kwargs: Any) -> Any:
            now = next(events)
            if now == at and when == "before":
                os.kill(pid or os.getpid(), signal.SIGKILL)
            done = work(self, *args, **kwargs)
            if now == at and when == "after":
                os.kill(pid or os.getpid(), signal.SIGKILL)
            return done

        return counted

    for name in ("transaction", "implicit"):
        setattr(Store, name, wrapped(getattr(Store, name)))


def logging(log: Path) -> None:
    """Note how many rows each committed transaction wrote."""
    each = row_writer.RowWriter._each

    def logged(self: Any, query: str, rows: Any, task: str, **kwargs: Any) -> None:
        class Noted:
            def begin(self, *_: Any) -> None: ...
            def end(self, *_: Any) -> None: ...
            def advance(self, n: int) -> None:
                with log.open("a") as file:
                    file.write(f"{task}\t{n}\n")

        self._progress = Noted()
        each(self, query, rows, task, **kwargs)

    row_writer.RowWriter._each = logged  # type: ignore[method-assign]


def main() -> None:
    world, uri, password, home, log, *rest = sys.argv[1:]
    row_writer.ROWS = predictions.ROWS = ROWS
    row_writer.WRITERS = 1  # so that event n is the same in every run
    events = count(1)
    killing(events, int(rest[0]) if rest else 0, *((rest[1], int(rest[2])) if rest else ("before", 0)))
    logging(Path(log))
    with open_store(Endpoint(uri, "neo4j", password)) as store:
        try:
            (first_world if world == "first" else second_world)(store, Path(home))
        except Conflict as error:
            sys.exit(f"Conflict: {error.message}")
    sys.stdout.write(str(next(events) - 1))


if __name__ == "__main__":
    main()
