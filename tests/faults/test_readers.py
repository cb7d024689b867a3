"""Readers while publications switch: every answer is of one of them, whole.

`make test` has 10 readers and 15 switches, `make nightly` 50 and 100.
"""

from __future__ import annotations

import os
import threading
from itertools import count
from typing import TYPE_CHECKING

import pytest

from kg import runs
from kg.operations.rollback import journal, roll_back
from kg.progress import SILENT
from kg.query.plan import run_plan
from kg.query.registry import question_named
from kg.releases import publish
from kg.runs import predictions
from tests.kg import toy

if TYPE_CHECKING:
    from pathlib import Path

    from kg.store import Store

pytestmark = pytest.mark.soak
SWITCHES = int(os.environ.get("REGKG_KILLS", "15"))
READERS = 50 if SWITCHES >= 100 else 10
ANSWERS = 5  # of each reader, at least, while publications switch


def test_no_answer_is_mixed(store: Store, tmp_path: Path) -> None:
    toy.load_world(store)
    publish(store)
    expected = {}
    for release, (symbol, score) in enumerate((("ALPHA", 0.5), ("OTHER", 0.25)), 1):
        if release == 2:
            toy.load(store, toy.GENES, toy.genes({"G1": symbol, "G2": "BETA", "G3": "GAMMA"}), "two")
            toy.load(store, toy.NEARS, toy.near([(0, "G1"), (2000, "G2")]), "two")
            publish(store)
        run_id = runs.register(store, runs.Registration("glue", "cortex", release, 0, 1, {}, "abc", "v1", {}))
        predictions.keep(tmp_path, run_id, toy.made(score), toy.METRICS)
        runs.write_back(store, tmp_path, run_id)
        runs.publish_run(store, run_id)
        expected[release] = (symbol, run_id, score)
    both = [p.number for p in journal(store) if p.runs and p.runs["glue:cortex"] == expected[p.release][1]]
    question = question_named("gene-regulators")
    seen: set[tuple[object, ...]] = set()
    wrong: list[object] = []
    answers = [0] * READERS
    done = threading.Event()

    def read(reader: int) -> None:
        while not done.is_set():
            try:
                answer = run_plan(question.plan(question.parameters(gene="G1")), store)
                (row,) = answer.rows
                assert answer.subject is not None
                told = answer.release, (answer.subject["symbol"], row.run, row.score)
                seen.add(told)
                assert told[1] == expected[answer.release]
                answers[reader] += 1
            except Exception as error:  # noqa: BLE001 - reported below, from the main thread
                wrong.append(error)
                return

    readers = [threading.Thread(target=read, args=(reader,)) for reader in range(READERS)]
    for reader in readers:
        reader.start()
    for turn in count():
        if wrong or (turn >= SWITCHES and min(answers) >= ANSWERS):
            break
        roll_back(store, tmp_path, publication=both[turn % 2], keep=True, progress=SILENT)
    done.set()
    for reader in readers:
        reader.join()
    assert wrong == []
    assert {told[0] for told in seen} == {1, 2}
