"""Random sequences of everything that changes the graph, against a dictionary of what it should hold."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule, run_state_machine_as_test

from kg import runs
from kg.errors import Conflict, RegkgError, SchemaError, UnknownRelease
from kg.evidence.draft import Snapshot, Source, open_draft
from kg.operations.rollback import journal, keep_drafting, roll_back
from kg.progress import SILENT
from kg.releases import discard, publish, served, verify
from kg.releases.revert import revert
from kg.runs import predictions, retention
from tests.kg import toy

if TYPE_CHECKING:
    from pathlib import Path

    from kg.schema.batches import EdgeBatch, NodeBatch
    from kg.store import Store

# `make nightly` asks for many more; a step is a few transactions
EXAMPLES, STEPS = int(os.environ.get("REGKG_EXAMPLES", "5")), 16
GENES, PEAKS = ("G1", "G2", "G3"), (0, 2000)
LINKS = ("links:a", "links:b")
SOURCES = {"genes:toy": toy.GENES, "peaks:toy": toy.PEAKS} | {
    name: Source(name, "links", looked_up=("Gene", "Peak")) for name in LINKS
}
Rows = dict[str, Any]  # key of a row -> its content
World = dict[str, Rows]  # dataset -> rows


@dataclass
class Model:
    """What the graph should hold."""

    draft: World = field(default_factory=dict)
    releases: list[World] = field(default_factory=list)  # releases[n - 1] is release n
    drafted: set[str] = field(default_factory=set)  # datasets with a version of the draft
    journal: list[tuple[int, dict[str, str]]] = field(default_factory=list)
    held: int | None = None
    runs: dict[str, str] = field(default_factory=dict)  # id -> complete or pruned

    @property
    def latest(self) -> World:
        return self.releases[-1] if self.releases else {}

    def dangling(self, world: World) -> bool:
        """Links whose gene or peak nobody asserts."""
        nodes = {*world.get("genes:toy", {}), *world.get("peaks:toy", {})}
        ends = {end for name in LINKS for key in world.get(name, {}) for end in key.split("|")}
        return not ends <= nodes


def changed(before: World, after: World, dataset: str) -> dict[str, tuple[Any, Any]]:
    old, new = before.get(dataset, {}), after.get(dataset, {})
    return {key: (old.get(key), new.get(key)) for key in {*old, *new} if old.get(key) != new.get(key)}


def copied(world: World) -> World:
    return {dataset: dict(rows) for dataset, rows in world.items() if rows}


def batch_of(dataset: str, rows: Rows) -> NodeBatch | EdgeBatch:
    if dataset == "genes:toy":
        return toy.genes(rows)
    if dataset == "peaks:toy":
        return toy.peaks([PEAKS[[toy.peak_id(p) for p in PEAKS].index(key)] for key in rows])
    made = [toy.near([(next(p for p in PEAKS if toy.peak_id(p) == peak), gene)], distance)
            for (peak, gene), distance in ((key.split("|"), value) for key, value in rows.items())]  # fmt: skip
    return type(made[0]).concat(made) if made else toy.near([])


class Graph(RuleBasedStateMachine):
    """Every rule does one thing to the graph and to the model."""

    store: Store
    home: Path

    @initialize()
    def begin(self) -> None:
        self.model = Model()
        self.store.implicit("MATCH (n) WHERE NOT n:Schema DETACH DELETE n")

    def _load(self, dataset: str, rows: Rows) -> None:
        model, after = self.model, copied({**self.model.draft, dataset: rows})
        refused = self._refuses(after)
        try:
            with open_draft(self.store, "test") as draft:
                snapshot = Snapshot((str(sorted(rows.items())),), "toy@1")
                done = draft.load(SOURCES[dataset], snapshot, [batch_of(dataset, rows)], replace=True)
        except (Conflict, SchemaError):
            assert refused
            return
        assert not refused
        moved = changed(model.draft, after, dataset).values()
        added, removed = sum(old is None for old, _ in moved), sum(new is None for _, new in moved)
        assert (done.added, done.changed, done.removed) == (added, len(moved) - added - removed, removed)
        if done.written or dataset not in self._versions:
            model.drafted.add(dataset)
        self._versions.add(dataset)
        model.draft = after

    @property
    def _versions(self) -> set[str]:
        """Datasets that have a version which is not withdrawn."""
        if not hasattr(self, "_held_versions"):
            self._held_versions: set[str] = set()
        return self._held_versions

    def _refuses(self, after: World) -> bool:
        return self.model.held is not None or self.model.dangling(after)

    @rule(symbols=st.dictionaries(st.sampled_from(GENES), st.sampled_from(["A", "B"]), max_size=3))
    def load_genes(self, symbols: dict[str, str]) -> None:
        self._load("genes:toy", symbols)

    @rule(some=st.sets(st.sampled_from(PEAKS)))
    def load_peaks(self, some: set[int]) -> None:
        self._load("peaks:toy", {toy.peak_id(start): start for start in sorted(some)})

    @rule(
        dataset=st.sampled_from(LINKS),
        links=st.dictionaries(st.tuples(st.sampled_from(PEAKS), st.sampled_from(GENES)), st.integers(0, 2), max_size=4),
    )
    def load_links(self, dataset: str, links: dict[tuple[int, str], int]) -> None:
        self._load(dataset, {f"{toy.peak_id(peak)}|{gene}": d for (peak, gene), d in links.items()})

    @rule(dataset=st.sampled_from(sorted(SOURCES)))
    def unload(self, dataset: str) -> None:
        after = copied({**self.model.draft, dataset: {}})
        try:
            with open_draft(self.store, "test") as draft:
                draft.unload(dataset)
        except RegkgError:
            assert self._refuses(after) or dataset not in self._versions
            return
        assert not self._refuses(after)
        self._versions.discard(dataset)
        self.model.drafted.add(dataset)
        self.model.draft = after

    @rule()
    def publish(self) -> None:
        model = self.model
        if model.held is not None:
            try:
                publish(self.store)
            except Conflict:
                return
            raise AssertionError("published upon a release that was rolled back from")
        made = publish(self.store)
        assert (made is None) == (not model.drafted)
        if made is not None:
            model.releases.append(copied(model.draft))
            model.journal.append((len(model.releases), model.journal[-1][1] if model.journal else {}))
            model.drafted = set()
            self._versions_at_release = set(self._versions)

    @rule()
    def discard(self) -> None:
        assert discard(self.store) == len(self.model.drafted)
        self.model.draft, self.model.drafted = copied(self.model.latest), set()
        self._held_versions = set(getattr(self, "_versions_at_release", set()))

    @rule()
    def roll_back(self) -> None:
        model = self.model
        now = model.journal[-1] if model.journal else None
        target = next((e for e in reversed(model.journal[:-1]) if now and e[0] < now[0]), None)
        try:
            roll_back(self.store, self.home, progress=SILENT)
        except UnknownRelease:
            assert target is None
            return
        assert target is not None
        model.journal.append(target)
        model.held = len(model.releases) if target[0] < len(model.releases) else None
        model.runs |= dict.fromkeys(target[1].values(), "complete")

    @rule()
    def keep(self) -> None:
        keep_drafting(self.store)
        self.model.held = None

    @rule(data=st.data())
    def revert(self, data: st.DataObject) -> None:
        model = self.model
        if not model.releases:
            return
        number = data.draw(st.integers(1, len(model.releases)))
        after = self._reverted(number)
        try:
            revert(self.store, number)
        except (Conflict, SchemaError):
            assert after is None or model.dangling(after)
            return
        assert after is not None
        assert not model.dangling(after)
        touched = {d for d in SOURCES if self._touches(number, d)}
        model.draft, model.drafted = after, model.drafted | touched
        for dataset in touched:
            (self._versions.add if after.get(dataset) else self._versions.discard)(dataset)
        if model.held == number:
            model.held = None

    def _touches(self, number: int, dataset: str) -> bool:
        releases = [{}, *self.model.releases]
        return bool(changed(releases[number - 1], releases[number], dataset))

    def _reverted(self, number: int) -> World | None:
        """The draft after a revert, or None where rows were touched since."""
        releases: list[World] = [{}, *self.model.releases]
        after = copied(self.model.draft)
        for dataset in SOURCES:
            if not self._touches(number, dataset):
                continue
            if dataset in self.model.drafted:
                return None
            rows = after.setdefault(dataset, {})
            for key, (old, new) in changed(releases[number - 1], releases[number], dataset).items():
                later = any(
                    key in changed(releases[n - 1], releases[n], dataset) for n in range(number + 1, len(releases))
                )
                if later and (new is not None or key in rows):
                    return None
                if old is None:
                    rows.pop(key, None)
                else:
                    rows[key] = old
        return copied(after)

    @rule(score=st.sampled_from([0.5, 0.25]), finished=st.booleans())
    def train(self, score: float, *, finished: bool) -> None:
        world = self.model.latest
        if not {"G1", "G2"} <= {*world.get("genes:toy", {})} or len(world.get("peaks:toy", {})) < 2:
            return
        if self.model.dangling(self.model.draft) or not {"G1", "G2"} <= {*self.model.draft.get("genes:toy", {})}:
            return
        if len(self.model.draft.get("peaks:toy", {})) < 2:
            return
        run_id = toy.registered(self.store)
        predictions.keep(self.home, run_id, toy.made(score), toy.METRICS)
        if finished:
            runs.write_back(self.store, self.home, run_id)
            self.model.runs[run_id] = "complete"

    @rule()
    def publish_run(self) -> None:
        complete = [run_id for run_id, outcome in self.model.runs.items() if outcome == "complete"]
        if complete and self.model.journal:
            runs.publish_run(self.store, complete[-1])
            self.model.journal.append((self.model.journal[-1][0], {"glue:cortex": complete[-1]}))

    @rule()
    def prune(self) -> None:
        in_force = set(self.model.journal[-1][1].values()) if self.model.journal else set()
        expected = {r for r, outcome in self.model.runs.items() if outcome == "complete" and r not in in_force}
        assert {p.run for p in retention.prune(self.store, self.home)} == expected
        self.model.runs |= dict.fromkeys(expected, "pruned")

    @invariant()
    def the_graph_holds_what_the_model_says(self) -> None:
        if not hasattr(self, "model"):
            return
        model = self.model
        for number, world in enumerate(model.releases, 1):
            assert self._rows(number) == world
            assert verify(self.store, number).number == number
        assert self._rows(len(model.releases) + 1) == model.draft
        entries = [(p.release, dict(p.runs)) for p in reversed(journal(self.store))]
        assert entries == model.journal
        if model.journal:
            assert served(self.store).release == model.journal[-1][0]
        for run_id, outcome in model.runs.items():
            assert runs.run(self.store, run_id).outcome == outcome
            links = toy.rows_of(self.store, run_id)[0]
            assert links == 0 if outcome == "pruned" else links > 0

    def _rows(self, number: int) -> World:
        found: World = {}
        for label, column in (("Gene", "symbol"), ("Peak", "start")):
            for row in self.store.read(
                f"MATCH (n:{label})-[:HAS_RECORD]->(r:{label}Record) WHERE r.since <= $n AND $n < r.until "
                f"RETURN r.dataset AS dataset, n.id AS id, r.{column} AS value",
                n=number,
            ):
                found.setdefault(row["dataset"], {})[row["id"]] = row["value"]
        for row in self.store.read(
            "MATCH (a)-[r:NEAR]->(b) WHERE r.since <= $n AND $n < r.until "
            "RETURN r.dataset AS dataset, a.id + '|' + b.id AS id, r.distance_bp AS value",
            n=number,
        ):
            assert row["id"] not in found.setdefault(row["dataset"], {})
            found[row["dataset"]][row["id"]] = row["value"]
        return found


@pytest.mark.soak
def test_any_sequence_of_changes_leaves_what_a_dictionary_says(store: Store, tmp_path: Path) -> None:
    machine = type("Machine", (Graph,), {"store": store, "home": tmp_path})
    run_state_machine_as_test(
        machine, settings=settings(max_examples=EXAMPLES, stateful_step_count=STEPS, print_blob=True)
    )
