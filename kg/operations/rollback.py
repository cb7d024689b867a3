"""The journal of publications, and going back: an earlier one is served again, evidence is not touched."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from kg.errors import Conflict, UnknownRelease
from kg.releases import Served, serve, served
from kg.runs import retention

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from kg.progress import Progress
    from kg.store import Row, Store


@dataclass(frozen=True)
class Publication:
    """One entry of the journal.

    Attributes:
        number: grows with every entry.
        release: that was served from then on.
        runs: slot -> run that was served for it.
        at: when, ISO 8601.
        in_force: it is what readers get now.
    """

    number: int
    release: int
    runs: Mapping[str, str]
    at: str
    note: str
    in_force: bool


def journal(store: Store) -> list[Publication]:
    """Return every publication, newest first."""
    rows = store.read(
        "MATCH (p:Publication) OPTIONAL MATCH (s:Pointer {name: 'served'}) "
        "RETURN p.number AS number, p.release AS release, p.runs AS runs, toString(p.at) AS at, "
        "coalesce(p.note, '') AS note, p.number = s.publication AS in_force ORDER BY number DESC"
    )
    return [Publication(**{**row, "runs": json.loads(row["runs"])}) for row in rows]


def roll_back(
    store: Store, home: Path, *, publication: int | None = None, keep: bool = False, progress: Progress, note: str = ""
) -> Served:
    """Serve again what an earlier publication served: its release and its runs.

    Runs of it that were pruned are written back first, from their kept files. When a release later than the one served
    exists, the draft stays on top of it, so that the next release would bring back what was rolled back from: drafts
    are refused until that release is reverted, or `keep` is given.

    Args:
        store: the graph.
        home: whose run folders hold the files of pruned runs.
        publication: its number; by default the last one that served another release.
        keep: drafts go on upon the latest release all the same.
        progress: hears of runs written back.
        note: for people.

    Raises:
        UnknownRelease: nothing else was ever published, or there is no such publication.
        MissingInput: a pruned run's files are gone.
    """
    entries = journal(store)
    target = _release_before(entries) if publication is None else _numbered(entries, publication)
    for run_id in target.runs.values():
        retention.restore(store, home, run_id, progress)
    _serve(store, lambda now: (target.release, target.runs), note or f"back to publication {target.number}", keep=keep)
    return served(store)


def roll_back_run(store: Store, home: Path, slot: str | None, progress: Progress, note: str = "") -> Served:
    """Serve for a slot the run that it had before the present one; the release stays.

    Args:
        store: the graph.
        home: as in `roll_back`.
        slot: "model:cells"; None when there is only one.
        progress: hears of a run written back.
        note: for people.

    Raises:
        Conflict: several slots are served and none was named, or the slot never served another run.
    """
    entries = journal(store)
    now = next((entry for entry in entries if entry.in_force), None)
    if now is None:
        raise UnknownRelease("nothing is published yet", "regkg release publish")
    chosen = slot or _only(now.runs)
    if chosen not in now.runs:
        raise Conflict(f"no run is served for slot {chosen!r}", f"slots: {', '.join(sorted(now.runs)) or 'none'}")
    # before the present one was served for the first time, or going back twice would lead forward again
    first = min(e.number for e in entries if e.runs.get(chosen) == now.runs[chosen])
    before = next((e.runs[chosen] for e in entries if e.number < first and chosen in e.runs), None)
    if before is None:
        raise Conflict(f"slot {chosen} never served another run than {now.runs[chosen]}", "regkg release journal")
    retention.restore(store, home, before, progress)
    _serve(store, lambda at: (at[0], {**at[1], chosen: before}), note or f"{chosen} back to {before}")
    return served(store)


def keep_drafting(store: Store) -> None:
    """Let drafts go on upon the latest release though an earlier one is served."""
    store.write("MATCH (s:Pointer {name: 'served'}) SET s.held = null")


def _serve(
    store: Store,
    choose: Callable[[tuple[int, Mapping[str, str]]], tuple[int, Mapping[str, str]]],
    note: str,
    *,
    keep: bool = False,
) -> None:
    """Append a publication made from the one in force, within one transaction that holds the pointer."""

    def work(tx: Any) -> None:
        now: Row = tx.run(
            "MATCH (s:Pointer {name: 'served'}) SET s.touched = timestamp() "
            "WITH s MATCH (p:Publication {number: s.publication}) RETURN p.release AS release, p.runs AS runs"
        ).single()
        release, chosen = choose((now["release"], json.loads(now["runs"])))
        left = tx.run(
            "MATCH (r:ModelRun) WHERE r.id IN $ids AND r.outcome <> 'complete' RETURN collect(r.id) AS ids",
            ids=list(chosen.values()),
        ).single()["ids"]
        if left:  # pruned since they were looked at
            raise Conflict(f"{', '.join(left)} left the graph meanwhile", "run the command again")
        serve(tx, release, chosen, note)
        tx.run(
            "MATCH (s:Pointer {name: 'served'}) OPTIONAL MATCH (r:Release) WITH s, max(r.number) AS latest "
            "SET s.held = CASE WHEN $keep OR latest <= $release THEN null ELSE latest END",
            release=release,
            keep=keep,
        ).consume()

    store.transaction(work)


def _release_before(entries: list[Publication]) -> Publication:
    now = next((entry for entry in entries if entry.in_force), None)
    other = (e for e in entries if now and e.number < now.number and e.release < now.release)
    earlier = next(other, None)
    if earlier is None:
        raise UnknownRelease("there is no earlier release to go back to", "regkg release journal")
    return earlier


def _numbered(entries: list[Publication], number: int) -> Publication:
    publication = next((entry for entry in entries if entry.number == number), None)
    if publication is None:
        raise UnknownRelease(f"there is no publication {number}", "regkg release journal")
    return publication


def _only(served_runs: Mapping[str, str]) -> str:
    if len(served_runs) != 1:
        raise Conflict("several slots are served, or none", f"name one of: {', '.join(sorted(served_runs)) or 'none'}")
    return next(iter(served_runs))
