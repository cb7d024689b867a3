"""One writer at a time: the lease of the draft, kept in the graph so that every machine sees it.

Each batch that is written checks the token in its own transaction, so a writer that lost the lease
cannot write any more, however late it wakes up.
"""

from __future__ import annotations

import os
import socket
import uuid
from contextlib import contextmanager
from typing import TYPE_CHECKING

import psutil

from kg.errors import DraftHeld

if TYPE_CHECKING:
    from collections.abc import Iterator

    import neo4j

    from kg.store import Store

LEASE_S = 300

_TAKE = """
MERGE (l:Lease {name: 'draft'})
SET l.touched = timestamp()
WITH l WHERE l.token IS NULL OR l.expires_at < timestamp() OR l.token = $evicted
SET l.token = $token, l.holder = $holder, l.process = $process, l.expires_at = timestamp() + 1000 * $lease_s
RETURN l.token AS token
"""
_FOUND = """
MATCH (l:Lease {name: 'draft'}) WHERE l.token IS NOT NULL
RETURN l.token AS token, l.holder AS holder, l.process AS process
"""
_RENEW = """
MATCH (l:Lease {name: 'draft'}) SET l.touched = timestamp()
WITH l WHERE l.token = $token SET l.expires_at = timestamp() + 1000 * $lease_s RETURN l.token AS token
"""
_RELEASE = "MATCH (l:Lease {name: 'draft', token: $token}) SET l.token = null, l.holder = null, l.process = null"


class Lease:
    """A held lease; `check` it inside every writing transaction."""

    def __init__(self, token: str, holder: str) -> None:
        self.token, self.holder = token, holder

    def check(self, tx: neo4j.ManagedTransaction) -> None:
        """Renew within the transaction, which thereby locks the lease until it commits.

        Raises:
            DraftHeld: somebody else took the draft over.
        """
        if tx.run(_RENEW, token=self.token, lease_s=LEASE_S).single() is None:
            raise DraftHeld(
                f"{self.holder} lost the draft to another writer; nothing more was written",
                "run the command again: it goes on where the rows differ",
            )


@contextmanager
def held(store: Store, holder: str) -> Iterator[Lease]:
    """Take the draft's lease for the length of the block; a lease of a dead process on this machine is taken over.

    Raises:
        DraftHeld: a living writer has it.
    """
    token = uuid.uuid4().hex
    found = store.read(_FOUND)
    evicted = found[0]["token"] if found and process_is_gone(str(found[0]["process"])) else ""
    taken = store.write(_TAKE, token=token, holder=holder, process=this_process(), evicted=evicted, lease_s=LEASE_S)
    if not taken:
        other = found[0]["holder"] if found else "another command"
        raise DraftHeld(
            f"the draft is being written by `{other}`", "wait until it ends; a lease that nobody renews ends by itself"
        )
    try:
        yield Lease(token, holder)
    finally:
        store.write(_RELEASE, token=token)


def this_process() -> str:
    """host:pid:start, which no later process shares."""
    return f"{socket.gethostname()}:{os.getpid()}:{psutil.Process().create_time():.2f}"


def process_is_gone(process: str) -> bool:
    """Whether `this_process` of somebody else names a process of this machine that no longer runs."""
    host, _, rest = process.partition(":")
    pid, _, started = rest.partition(":")
    if host != socket.gethostname() or not pid.isdigit():
        return False
    try:
        return f"{psutil.Process(int(pid)).create_time():.2f}" != started
    except psutil.NoSuchProcess:
        return True
