"""Called links that rest on one dataset: no other evidence that guided their run joins the pair."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING

from kg.errors import Conflict
from kg.runs.records import complete_run, guiding
from kg.schema import PREDICTED_LINK

if TYPE_CHECKING:
    from collections.abc import Iterator

    from kg.runs.records import Run
    from kg.store import Store


@dataclass(frozen=True)
class Link:
    """A called link and the datasets with evidence for its pair, of the types that guided the run."""

    peak: str
    gene: str
    score: float
    datasets: tuple[str, ...]


@dataclass(frozen=True)
class DatasetShare:
    """How many links rest on a dataset.

    Attributes:
        called: links with evidence from the dataset.
        alone: those with evidence from no other.
    """

    dataset: str
    called: int
    alone: int


def shares(store: Store, run_id: str) -> list[DatasetShare]:
    """Return one share for each dataset behind a run's called links, the dataset with most dependent links first.

    Raises:
        UnknownRun: there is no such run.
        Conflict: it is not complete.
    """
    called: Counter[str] = Counter()
    alone: Counter[str] = Counter()
    for link in links(store, run_id):
        called.update(link.datasets)
        if len(link.datasets) == 1:
            alone.update(link.datasets)
    return [
        DatasetShare(d, n, alone[d]) for d, n in sorted(called.items(), key=lambda item: (-alone[item[0]], item[0]))
    ]


def single_source(store: Store, run_id: str, dataset: str | None = None) -> Iterator[Link]:
    """Yield called links that rest on only one dataset (or on this one), as they are read; errors as in `shares`."""
    return (link for link in links(store, run_id) if len(link.datasets) == 1 and dataset in (None, link.datasets[0]))


def links(store: Store, run_id: str) -> Iterator[Link]:
    """Yield every called link of a run, with the evidence for its pair at the run's release; errors as above."""
    return _links(store, _guided(store, run_id))


def _guided(store: Store, run_id: str) -> Run:
    run = complete_run(store, run_id)
    if not guiding(run):
        raise Conflict(f"no evidence guided run {run_id}, so none of its links rest on a dataset", "regkg runs list")
    return run


def _links(store: Store, of: Run) -> Iterator[Link]:
    types = "|".join(guiding(of))
    rows = store.stream(  # one link at a time: nothing is grouped, so neither side holds them all
        f"MATCH (p:Peak)-[e:{PREDICTED_LINK.name} {{run: $run}}]->(g:Gene) WHERE e.called "
        f"RETURN p.id, g.id, e.score, COLLECT {{ MATCH (p)-[r:{types}]->(g) "
        "WHERE r.since <= $n AND $n < r.until RETURN DISTINCT r.dataset ORDER BY r.dataset }",
        run=of.id,
        n=of.release,
    )
    return (Link(peak, gene, score, tuple(datasets)) for peak, gene, score, datasets in rows)
