"""The store: one Neo4j database, reads and writes with retries, the schema made and checked on connect.

`Store` is synchronous, for jobs. `AsyncStore` reads, for the API. Nothing else imports the driver.
"""

from __future__ import annotations

import hashlib
from contextlib import asynccontextmanager, contextmanager
from typing import TYPE_CHECKING, Any, TypeVar

import neo4j
from neo4j import exceptions as driver_errors

from kg import schema
from kg.errors import Conflict, RegkgError, SchemaVersionMismatch, StoreRefused, StoreUnavailable, WriteConflict
from kg.progress import SILENT, Progress
from kg.schema.constraints import constraints

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterator

    from kg.server import Endpoint
    from kg.settings import Settings

Row = dict[str, Any]
T = TypeVar("T")
READ_TIMEOUT_S = 30.0  # of one read of the API
FETCH = 10_000  # records per Bolt pull: rows are small
# An empty graph knows none of our labels, and the server would say so at every query.
QUIET: dict[str, Any] = {"notifications_min_severity": neo4j.NotificationMinimumSeverity.OFF}
# Seconds that a transaction is tried again for: of a server that is gone each of several waits is as long.
RETRIES: dict[str, Any] = {"max_transaction_retry_time": 8.0}


class Store:
    """Synchronous access to the graph; made by `connect`."""

    def __init__(self, driver: neo4j.Driver, uri: str) -> None:
        self._driver = driver
        self.uri = uri

    def read(self, cypher: str, **parameters: Any) -> list[Row]:
        """Read all rows of a query that the server itself refuses to let write; retried when the server is busy."""
        return self._run(neo4j.READ_ACCESS, lambda tx: _rows(tx, cypher, parameters))

    def stream(self, cypher: str, **parameters: Any) -> Iterator[list[Any]]:
        """Yield rows as lists of values, one after another, in a single read transaction; not retried."""
        with translated(self.uri), self._driver.session(default_access_mode=neo4j.READ_ACCESS, fetch_size=FETCH) as s:
            for record in s.run(cypher, parameters):
                yield record.values()

    @contextmanager
    def reading(self, timeout_s: float) -> Iterator[neo4j.Transaction]:
        """Open one read transaction that the server itself ends after `timeout_s`; not retried."""
        with (
            translated(self.uri),
            self._driver.session(default_access_mode=neo4j.READ_ACCESS) as session,
            session.begin_transaction(timeout=timeout_s) as tx,
        ):
            yield tx

    def write(self, cypher: str, **parameters: Any) -> list[Row]:
        """Run one query in one write transaction."""
        return self.transaction(lambda tx: _rows(tx, cypher, parameters))

    def transaction(self, work: Callable[[neo4j.ManagedTransaction], T]) -> T:
        """Run `work` in one write transaction; again as a whole when the server asks for a retry."""
        return self._run(neo4j.WRITE_ACCESS, work)

    def implicit(self, cypher: str, **parameters: Any) -> None:
        """Run an auto-commit query, which schema commands and CALL {} IN TRANSACTIONS need."""
        with translated(self.uri), self._driver.session() as session:
            session.run(cypher, parameters).consume()

    def _run(self, mode: str, work: Callable[[neo4j.ManagedTransaction], T]) -> T:
        with translated(self.uri), self._driver.session(default_access_mode=mode, fetch_size=FETCH) as session:
            return session.execute_read(work) if mode == neo4j.READ_ACCESS else session.execute_write(work)


class AsyncStore:
    """Asynchronous reads for the API; made by `connect_async`."""

    def __init__(self, driver: neo4j.AsyncDriver, uri: str) -> None:
        self._driver = driver
        self.uri = uri

    async def read(self, cypher: str, **parameters: Any) -> list[Row]:
        """Read all rows of a query that the server itself refuses to let write, and stops after READ_TIMEOUT_S."""
        with translated(self.uri):
            async with self._driver.session(default_access_mode=neo4j.READ_ACCESS, fetch_size=FETCH) as session:
                result = await session.run(neo4j.Query(cypher, timeout=READ_TIMEOUT_S), parameters)
                keys = result.keys()
                return [dict(zip(keys, record.values(), strict=True)) async for record in result]


@contextmanager
def connect(settings: Settings, progress: Progress = SILENT) -> Iterator[Store]:
    """Connect to the configured database (the managed server is started at need), its schema made and checked.

    Raises:
        StoreUnavailable: nothing answers there.
        StoreRefused: the password is wrong.
        SchemaVersionMismatch: the graph belongs to another version of this program.
        Conflict: a restore into it was cut short.
    """
    from kg.server import endpoint  # noqa: PLC0415 - starting servers is not everybody's business

    with open_store(endpoint(settings, progress)) as store:
        ensure_schema(store)
        yield store


@contextmanager
def open_store(where: Endpoint) -> Iterator[Store]:
    """Open a store on an endpoint, its schema untouched."""
    with (
        translated(where.uri),
        neo4j.GraphDatabase.driver(where.uri, auth=(where.user, where.password), **QUIET, **RETRIES) as driver,
    ):
        driver.verify_connectivity()
        yield Store(driver, where.uri)


@asynccontextmanager
async def connect_async(settings: Settings, progress: Progress = SILENT) -> AsyncIterator[AsyncStore]:
    """Connect for reading, like `connect`; the schema is left to the jobs."""
    from kg.server import endpoint  # noqa: PLC0415

    where = endpoint(settings, progress)
    with translated(where.uri):
        async with neo4j.AsyncGraphDatabase.driver(where.uri, auth=(where.user, where.password), **QUIET) as driver:
            await driver.verify_connectivity()
            yield AsyncStore(driver, where.uri)


def ensure_schema(store: Store) -> None:
    """Make constraints and indexes when the declared ones differ from those last made; check the version."""
    commands = constraints()
    fingerprint = hashlib.sha256("\n".join(commands).encode()).hexdigest()
    recorded = store.read("MATCH (s:Schema {name: 'regkg'}) RETURN s {.version, .fingerprint, .restoring} AS s")
    recorded = [row["s"] for row in recorded]
    if recorded and recorded[0]["restoring"]:
        raise Conflict(
            f"the graph at {store.uri} is half restored from {recorded[0]['restoring']}",
            f"`regkg restore {recorded[0]['restoring']}` again begins anew and finishes it",
        )
    if recorded and recorded[0]["version"] != schema.SCHEMA_VERSION:
        older = recorded[0]["version"] < schema.SCHEMA_VERSION
        raise SchemaVersionMismatch(
            f"the graph at {store.uri} has schema version {recorded[0]['version']}, "
            f"this program works with {schema.SCHEMA_VERSION}",
            "`regkg backup DIR`, then `regkg db migrate`" if older else "use the newer regkg that made the graph",
        )
    if recorded and recorded[0]["fingerprint"] == fingerprint:
        return
    for command in commands:
        store.implicit(command)
    store.implicit("CALL db.awaitIndexes(300)")
    store.write(
        "MERGE (s:Schema {name: 'regkg'}) SET s.version = $version, s.fingerprint = $fingerprint",
        version=schema.SCHEMA_VERSION,
        fingerprint=fingerprint,
    )


@contextmanager
def translated(uri: str) -> Iterator[None]:
    """Turn the driver's errors into ours, with what to do next."""
    try:
        yield
    except RegkgError:
        raise
    except driver_errors.AuthError as error:
        raise StoreRefused(
            f"{uri} refused the user or the password",
            "check REGKG_NEO4J_USER and REGKG_NEO4J_PASSWORD; for the managed server run `regkg doctor`",
        ) from error
    except driver_errors.ConstraintError as error:
        raise WriteConflict(f"two writers asserted the same row: {error.message}", "run the command again") from error
    except (driver_errors.ServiceUnavailable, driver_errors.SessionExpired) as error:
        raise StoreUnavailable(
            f"Neo4j does not answer at {uri}: {error}", "regkg db status; regkg db start; regkg db logs"
        ) from error
    except driver_errors.TransientError as error:
        hint = "ask for less at a time" if "OutOfMemory" in (error.code or "") else "run the command again"
        raise StoreUnavailable(f"Neo4j at {uri} could not finish the query for now: {error.message}", hint) from error
    except driver_errors.Neo4jError as error:
        if "TransactionTimedOut" in (error.code or ""):
            raise StoreUnavailable(
                f"Neo4j at {uri} stopped a query at its time limit", "ask for less, or allow more time"
            ) from error
        raise StoreRefused(f"Neo4j at {uri} refused: {error.message} ({error.code})", "regkg db logs") from error


def _rows(tx: neo4j.ManagedTransaction, cypher: str, parameters: Row) -> list[Row]:
    result = tx.run(cypher, parameters)
    keys = result.keys()
    return [dict(zip(keys, record.values(), strict=True)) for record in result]
