"""`regkg serve`: the graph over HTTP."""

from __future__ import annotations

import click

from cli.session import graph
from kg.settings import Settings


@click.command()
@click.option("--host", default="127.0.0.1", show_default=True, help="Address to listen on; 0.0.0.0 for all.")
@click.option("--port", default=8000, show_default=True, type=click.IntRange(0, 65535), help="0 for any free port.")
def command(host: str, port: int) -> None:
    """Serve what is published over HTTP, until Ctrl-C.

    The documentation of the API is at /docs, its description at /openapi.json.
    """
    import uvicorn  # noqa: PLC0415 - `--help` needs no server

    from api.app import create_app  # noqa: PLC0415

    with graph():
        pass  # starts the managed server, makes the schema, and says plainly what is wrong before anything listens
    uvicorn.run(create_app(Settings.from_environment()), host=host, port=port, log_level="info")
