"""The graph as readers see it, for Python: what one release holds, as frames, networks and intervals."""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from kg.errors import ParameterError, WriteConflict
from kg.export import answers, objects, reading
from kg.parameters import made
from kg.query.plan import run_plan
from kg.query.registry import question_named
from kg.query.scope import are_complete, scope_of
from kg.runs.lineage import lineage
from kg.schema import EDGE_TYPES, NODE_TYPES
from kg.settings import Settings
from kg.store import connect

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    import networkx as nx
    import pandas as pd
    import pyranges

    from kg.export.content import Content
    from kg.store import Store


@dataclass(frozen=True)
class Selection:
    """Rows that were read from the graph and are held in memory."""

    content: Content

    @property
    def about(self) -> Mapping[str, Any]:
        """Release, hash, publication and runs that the rows come from."""
        return self.content.about

    def to_pandas(self) -> pd.DataFrame:
        """Return the rows as a frame; see `kg.export.objects.to_pandas`."""
        return objects.to_pandas(self.content)

    def to_networkx(self, *columns: str) -> nx.MultiDiGraph:
        """Return the links as a network, with further columns on its edges; see `kg.export.objects.to_networkx`."""
        return objects.to_networkx(self.content, columns)

    def to_intervals(self, assembly: str | None = None) -> pd.DataFrame:
        """Return the places as a frame of intervals; see `kg.export.objects.to_intervals`."""
        return objects.to_intervals(self.content, assembly)

    def to_pyranges(self, assembly: str | None = None) -> pyranges.PyRanges:
        """Return the places as PyRanges; see `kg.export.objects.to_pyranges`."""
        return objects.to_pyranges(self.content, assembly)


class PublishedGraph:
    """One published release; made by `kg.connect`.

    Attributes:
        store: the connection, for what has no method here.
        release: number of the release that every method reads.
    """

    def __init__(self, store: Store, release: int) -> None:
        self.store = store
        self.release = release

    def edges(self, *types: str, run: str | None = None, called_only: bool = False) -> Selection:
        """Read edges with all columns of their types.

        Args:
            types: names such as "NEAR" or "PREDICTED_LINK"; none means all.
            run: read the predictions of this complete run alone, instead of all runs served with the release.
            called_only: leave out predictions that the run did not call.

        Raises:
            ParameterError: an edge type is unknown.
            UnknownRun: no complete run has this id.
            WriteConflict: a run was pruned while it was read.
        """
        _check(types, EDGE_TYPES, "edge type")
        content = reading.edges(self.store, types, release=self.release, run=run, called_only=called_only)
        return _selection(self.store, content)

    def nodes(self, label: str) -> Selection:
        """Read all nodes of a type, such as "Motif", with all their columns.

        Raises:
            ParameterError: the label is unknown.
        """
        _check([label], NODE_TYPES, "node type")
        return _selection(self.store, reading.nodes(self.store, label, release=self.release))

    def genes(self) -> Selection:
        """Read all genes."""
        return self.nodes("Gene")

    def peaks(self) -> Selection:
        """Read all peaks."""
        return self.nodes("Peak")

    def guidance(self, *types: str) -> Selection:
        """Read the guidance graph of these edge types, weighed by the default policy, nodes without links included.

        Raises:
            ParameterError: an edge type is unknown.
            Conflict: a type is truth or a prediction.
        """
        _check(types, EDGE_TYPES, "edge type")
        return _selection(self.store, reading.guidance(self.store, types, release=self.release))

    def ask(self, question: str, **parameters: Any) -> Selection:
        """Answer a named question, such as `ask("gene-regulators", gene="NCF2")`.

        Raises:
            UnknownQuestion: no question has this name.
            ParameterError: a parameter is unknown or outside its limits.
            NotFound: the release does not have what the parameters name.
        """
        named = question_named(question)
        checked = made(named.parameters, {"release": self.release, **parameters})
        return _selection(
            self.store, answers.of_answer(self.store, run_plan(named.plan(checked), self.store), named.row)
        )

    def lineage(self) -> nx.DiGraph:
        """Return every run and an edge from each parent to the runs that started from it; of all releases."""
        return lineage(self.store)


@contextmanager
def connected(release: int | None = None, settings: Settings | None = None) -> Iterator[PublishedGraph]:
    """Open the configured graph at a release; see `kg.connect`."""
    with connect(settings or Settings.from_environment()) as store:
        yield PublishedGraph(store, run_plan(scope_of(release), store).release)


def _selection(store: Store, content: Content) -> Selection:
    rows = list(content.rows)
    if not run_plan(are_complete(content.about["runs"]), store):
        raise WriteConflict("a run was pruned while it was read", "read again")
    return Selection(replace(content, rows=rows))


def _check(names: Iterable[str], known: Mapping[str, Any], what: str) -> None:
    unknown = [name for name in names if name not in known]
    if unknown:
        raise ParameterError(f"no {what} is called {', '.join(unknown)}", hint=f"these exist: {', '.join(known)}")
