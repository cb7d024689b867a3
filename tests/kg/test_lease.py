"""Leases by name: they do not stand in each other's way, and one that is renewed does not end."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from kg.errors import Conflict, DraftHeld
from kg.evidence.draft import open_draft
from kg.store import leases
from kg.store.leases import RETRAIN, held

if TYPE_CHECKING:
    from kg.store import Store

EXPIRES = "MATCH (l:Lease {name: 'retrain'}) RETURN l.expires_at AS at"


def test_a_retrain_and_a_load_go_side_by_side(store: Store) -> None:
    with held(store, "regkg retrain", RETRAIN), open_draft(store, "regkg load genes") as draft:
        assert draft.number == 1


def test_the_second_retrain_is_refused_with_the_name_of_the_first(store: Store) -> None:
    with (
        held(store, "regkg retrain --slot a", RETRAIN),
        pytest.raises(Conflict, match="a retrain is under way by `regkg retrain --slot a`") as refused,
        held(store, "regkg retrain", RETRAIN),
    ):
        pass
    assert not isinstance(refused.value, DraftHeld)
    with held(store, "afterwards", RETRAIN):
        pass


def test_the_lease_of_a_dead_retrain_is_taken_over(store: Store) -> None:
    host = leases.this_process().split(":")[0]
    store.write(
        "MERGE (l:Lease {name: 'retrain'}) SET l.token = 'old', l.holder = 'gone', l.process = $p, "
        "l.expires_at = timestamp() + 1000000",
        p=f"{host}:999999:1.00",
    )
    with held(store, "next", RETRAIN) as mine:
        store.transaction(mine.check)


def test_a_lost_lease_is_noticed(store: Store) -> None:
    with held(store, "slow", RETRAIN) as mine:
        store.write("MATCH (l:Lease {name: 'retrain'}) SET l.token = 'thief'")
        with pytest.raises(Conflict, match="slow lost the retrain"):
            store.transaction(mine.check)


def test_a_thread_renews_a_lease_for_the_length_of_its_block(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(leases, "LEASE_S", 5)
    with held(store, "long", RETRAIN, renewed=True):
        first = store.read(EXPIRES)[0]["at"]
        renewed = (store.read(EXPIRES)[0]["at"] > first for _ in range(10_000))
        assert any(renewed)
        with pytest.raises(Conflict, match="by `long`"), held(store, "other", RETRAIN):
            pass
    assert store.read("MATCH (l:Lease {name: 'retrain'}) RETURN l.token AS token") == [{"token": None}]
