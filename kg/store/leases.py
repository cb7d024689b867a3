"""One at a time: leases by name (the draft, a retrain), kept in the graph so that every machine sees them.

Each batch that is written to the draft checks the token in its own transaction, so a writer that lost the lease
cannot write any more, however late it wakes up. A retrain writes seldom, so a thread renews its lease meanwhile.
"""

from __future__ import annotations

import os
import socket
import threading
import uuid
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING

import psutil

from kg.errors import Conflict, DraftHeld, StoreError

if TYPE_CHECKING:
    from collections.abc import Iterator

    import neo4j

    from kg.store.connection import Store

LEASE_S = 300
DRAFT, RETRAIN = "draft", "retrain"

_TAKE = """
MERGE (l:Lease {name: $name})
SET l.touched = timestamp()
WITH l WHERE l.token IS NULL OR l.expires_at < timestamp() OR l.token = $evicted
SET l.token = $token, l.holder = $holder, l.process = $process, l.expires_at = timestamp() + 1000 * $lease_s
RETURN l.token AS token
"""
_FOUND = """
MATCH (l:Lease {name: $name}) WHERE l.token IS NOT NULL
RETURN l.token AS token, l.holder AS holder, l.process AS process
"""
_RENEW = """
MATCH (l:Lease {name: $name}) SET l.touched = timestamp()
WITH l WHERE l.token = $token SET l.expires_at = timestamp() + 1000 * $lease_s RETURN l.token AS token
"""
_RELEASE = "MATCH (l:Lease {name: $name, token: $token}) SET l.token = null, l.holder = null, l.process = null"


class Lease:
    """A held lease; `check` it inside every writing transaction."""

    def __init__(self, name: str, token: str, holder: str) -> None:
        self.name, self.token, self.holder = name, token, holder

    def check(self, tx: neo4j.ManagedTransaction) -> None:
        """Renew within the transaction, which thereby locks the lease until it commits.

        Raises:
            DraftHeld: somebody else took the draft over.
            Conflict: likewise for another lease.
        """
        if tx.run(_RENEW, name=self.name, token=self.token, lease_s=LEASE_S).single() is None:
            raise _refusal(self.name)(
                f"{self.holder} lost the {self.name} to another command; nothing more was written",
                "run the command again: it continues with the rows that differ",
            )


@contextmanager
def held(store: Store, holder: str, name: str = DRAFT, *, renewed: bool = False) -> Iterator[Lease]:
    """Take a lease for the length of the block; that of a dead process on this machine is taken over.

    Args:
        store: the graph.
        holder: the command, as people would recognise it.
        name: of the lease.
        renewed: a thread renews it, for blocks that check it more seldom than it lasts.

    Raises:
        DraftHeld: a living writer has the draft.
        Conflict: likewise for another lease.
    """
    token = uuid.uuid4().hex
    holders = store.read(_FOUND, name=name)
    evicted = holders[0]["token"] if holders and process_is_gone(str(holders[0]["process"])) else ""
    taken = store.write(
        _TAKE, name=name, token=token, holder=holder, process=this_process(), evicted=evicted, lease_s=LEASE_S
    )
    if not taken:
        other = f"{holders[0]['holder']}` ({holders[0]['process']})" if holders else "another command`"
        doing = "the draft is being written" if name == DRAFT else f"a {name} is under way"
        raise _refusal(name)(f"{doing} by `{other}", "wait until it ends; a lease that nobody renews ends by itself")
    lease, over = Lease(name, token, holder), threading.Event()
    renewing = threading.Thread(target=_renew, args=(store, lease, over), daemon=True)
    if renewed:
        renewing.start()
    try:
        yield lease
    finally:
        over.set()
        if renewed:
            renewing.join()
        store.write(_RELEASE, name=name, token=token)


def _renew(store: Store, lease: Lease, over: threading.Event) -> None:
    while not over.wait(LEASE_S / 5):
        with suppress(StoreError):  # a server that restarts; the next round or `check` tells
            store.write(_RENEW, name=lease.name, token=lease.token, lease_s=LEASE_S)


def _refusal(name: str) -> type[Conflict]:
    return DraftHeld if name == DRAFT else Conflict


def this_process() -> str:
    """Return host:pid:start, which no later process shares."""
    return f"{socket.gethostname()}:{os.getpid()}:{psutil.Process().create_time():.2f}"


def process_is_gone(process: str) -> bool:
    """Return whether `this_process` of somebody else names a process of this machine that no longer runs."""
    host, _, rest = process.partition(":")
    pid, _, started = rest.partition(":")
    if host != socket.gethostname() or not pid.isdigit():
        return False
    try:
        return f"{psutil.Process(int(pid)).create_time():.2f}" != started
    except psutil.NoSuchProcess:
        return True
