"""The app over a published world, called in process."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import httpx
import pytest

from api.app import create_app
from kg.settings import Settings
from tests.kg.published import Published, publish_world

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Iterator
    from pathlib import Path

    from fastapi import FastAPI

    from kg.server import Endpoint
    from kg.store import Store


@dataclass
class Api:
    """An app that runs, and a client that talks to it as to any server."""

    app: FastAPI
    loop: asyncio.AbstractEventLoop
    client: httpx.AsyncClient

    def get(self, url: str, **given: Any) -> httpx.Response:
        return self.loop.run_until_complete(self.client.get(url, **given))

    def run(self, work: Callable[[], Coroutine[Any, Any, Any]]) -> Any:
        return self.loop.run_until_complete(work())


@pytest.fixture(scope="module")
def settings(neo4j_endpoint: Endpoint, home: Path) -> Settings:
    return Settings(home=home, neo4j_uri=neo4j_endpoint.uri, neo4j_password=neo4j_endpoint.password)


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("home")


@pytest.fixture(scope="module")
def world(session_store: Store, home: Path) -> Published:
    session_store.implicit("MATCH (n) WHERE NOT n:Schema CALL (n) { DETACH DELETE n } IN TRANSACTIONS OF 20000 ROWS")
    return publish_world(session_store, home)


@pytest.fixture(scope="module")
def api(settings: Settings) -> Iterator[Api]:
    app = create_app(settings)
    loop = asyncio.new_event_loop()
    lifespan = app.router.lifespan_context(app)
    loop.run_until_complete(lifespan.__aenter__())
    transport = httpx.ASGITransport(app, raise_app_exceptions=False)
    client = httpx.AsyncClient(transport=transport, base_url="http://test")
    yield Api(app, loop, client)
    loop.run_until_complete(client.aclose())
    loop.run_until_complete(lifespan.__aexit__(None, None, None))
    loop.close()
