"""Settings: what the environment says. Read once at the edge (cli, api, tests) and passed in."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from kg.errors import SettingsError

if TYPE_CHECKING:
    from collections.abc import Mapping

DEFAULT_NEO4J_VERSION = "5.26.30"


@dataclass(frozen=True)
class Settings:
    """Everything that can be set from outside.

    Attributes:
        home: REGKG_HOME; server, runs, quarantine, caches.
        neo4j_uri: REGKG_NEO4J_URI; None means the managed server under `home`.
        neo4j_user: REGKG_NEO4J_USER; neo4j by default.
        neo4j_password: REGKG_NEO4J_PASSWORD; needed only with a URI.
        neo4j_version: REGKG_NEO4J_VERSION of the managed server.
        data: REGKG_DATA; real data of developers and benchmarks; the product has no default for it.
        jars: REGKG_JARS; server jars shared between homes; None keeps them under `home`.
    """

    home: Path
    neo4j_uri: str | None = None
    neo4j_user: str = "neo4j"
    neo4j_password: str | None = None
    neo4j_version: str = DEFAULT_NEO4J_VERSION
    data: Path | None = None
    jars: Path | None = None

    @classmethod
    def from_environment(cls, environ: Mapping[str, str] = os.environ) -> Settings:
        """Read the REGKG_ variables.

        Raises:
            SettingsError: a URI without a password, or a scheme that is not Bolt.
        """
        home = Path(environ.get("REGKG_HOME") or "~/.local/share/regkg").expanduser().resolve()
        uri = environ.get("REGKG_NEO4J_URI") or None
        password = environ.get("REGKG_NEO4J_PASSWORD") or None
        if uri and not uri.startswith(
            ("bolt://", "bolt+s://", "bolt+ssc://", "neo4j://", "neo4j+s://", "neo4j+ssc://")
        ):
            raise SettingsError(
                f"REGKG_NEO4J_URI is {uri!r}: expected bolt://HOST:PORT or neo4j://HOST:PORT",
                "the HTTP address of the Browser is not the Bolt address; its port is usually 7687",
            )
        if uri and password is None:
            raise SettingsError("REGKG_NEO4J_URI is set but REGKG_NEO4J_PASSWORD is not", "export REGKG_NEO4J_PASSWORD")
        data, jars = environ.get("REGKG_DATA"), environ.get("REGKG_JARS")
        return cls(
            home=home,
            neo4j_uri=uri,
            neo4j_user=environ.get("REGKG_NEO4J_USER") or "neo4j",
            neo4j_password=password,
            neo4j_version=environ.get("REGKG_NEO4J_VERSION") or DEFAULT_NEO4J_VERSION,
            data=Path(data).expanduser().resolve() if data else None,
            jars=Path(jars).expanduser().resolve() if jars else None,
        )
