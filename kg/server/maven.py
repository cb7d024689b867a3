"""Jars from Maven Central, through jgo."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor, as_completed
from typing import TYPE_CHECKING

import requests
from jgo.maven import MavenContext, PythonResolver
from jgo.parse import Coordinate

from kg.errors import ServerFailed
from kg.server.jar import Jar, verify_jar

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

# The Browser is released apart from the server, and not for every version of it.
WANTED = ("org.neo4j:neo4j:{version}", "org.neo4j:neo4j-import-tool:{version}", "org.neo4j.client:neo4j-browser:5.24.0")
DOWNLOADS_AT_ONCE = 8
TRIES = 3
NETWORK_ERRORS = (requests.RequestException, RuntimeError)  # jgo says "not found" by a bare RuntimeError


def resolve(version: str, scratch: Path) -> list[Jar]:
    """The jars that a Neo4j version needs, by its project files; checksums are not known.

    Raises:
        ServerFailed: there is no such version, or no connection.
    """
    context = _maven(scratch)
    try:
        wanted = [context.create_dependency(Coordinate.parse(name.format(version=version))) for name in WANTED]
        given, transitive = context.resolver.resolve(wanted)
    except NETWORK_ERRORS as error:
        raise _unreachable(f"Neo4j {version}", error) from error
    found = [*given, *(dependency for dependency in transitive if dependency.scope in {"compile", "runtime"})]
    return [Jar(":".join(filter(None, (d.groupId, d.artifactId, d.version, d.classifier)))) for d in found]


def fetch(jars: Sequence[Jar], partial: Path) -> Iterator[Path]:
    """Download jars into `partial`, several at once; each is verified before it is given out.

    Raises:
        ChecksumMismatch: a jar is not the recorded one.
        ServerFailed: a jar could not be had in three tries.
    """
    context = _maven(partial)
    pool = ThreadPoolExecutor(DOWNLOADS_AT_ONCE)
    try:
        for task in as_completed([pool.submit(_fetch_one, jar, context) for jar in jars]):
            yield task.result()
    finally:
        pool.shutdown(cancel_futures=True)


def _fetch_one(jar: Jar, context: MavenContext) -> Path:
    group, artifact, version, *classifier = jar.coordinates.split(":")
    wanted = context.project(group, artifact).at_version(version).artifact(*classifier)
    half_written = context.repo_cache / wanted.component.path_prefix / wanted.filename
    failure: Exception | None = None
    for _ in range(TRIES):
        try:
            return verify_jar(jar, wanted.resolve())
        except NETWORK_ERRORS as error:
            half_written.unlink(missing_ok=True)
            failure = error
    raise _unreachable(jar.coordinates, failure) from failure


def _maven(repository: Path) -> MavenContext:
    return MavenContext(resolver=PythonResolver(), repo_cache=repository, local_repos=[], timeout=30)


def _unreachable(what: str, error: Exception | None) -> ServerFailed:
    return ServerFailed(
        f"{what} cannot be downloaded: {error}",
        "this is needed once, with internet; or set REGKG_JARS to a directory filled on another machine, "
        "or REGKG_NEO4J_URI to a Neo4j that runs already",
    )
