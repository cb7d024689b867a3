"""The graph: what exists, where it is kept, and in which version."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from contextlib import AbstractContextManager

    from kg.export.published_graph import PublishedGraph
    from kg.settings import Settings


def connect(release: int | None = None, settings: Settings | None = None) -> AbstractContextManager[PublishedGraph]:
    """Open the graph as readers see it at one release.

        with kg.connect() as graph:
            network = graph.edges("PREDICTED_LINK", called_only=True).to_networkx("q_value")
            intervals = graph.peaks().to_pyranges()
            regulators = graph.ask("gene-regulators", gene="NCF2").to_pandas()

    Args:
        release: number of a published release; by default the one that is served now.
        settings: where the graph is; by default what the environment says. The managed server is started at need.

    Raises:
        UnknownRelease: nothing is published, or not this release.
        StoreError: the database does not answer.
    """
    from kg.export.published_graph import connected  # noqa: PLC0415 - whoever imports kg needs no driver for it

    return connected(release, settings)
