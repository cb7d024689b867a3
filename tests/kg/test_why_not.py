"""`why-not` stops at the stage that is missing, stage by stage, and says yes when none is."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from kg import runs
from kg.errors import ParameterError
from kg.evidence.draft import Source
from kg.query.plan import run_plan
from kg.query.registry import question_named
from kg.releases import publish
from kg.runs import predictions
from kg.runs.outputs import FeatureEmbedding
from kg.schema import (
    ACCESSIBLE_IN,
    BINDS,
    BIOSAMPLE,
    CONTACTS,
    HAS_HIT,
    MOTIF,
    MOTIF_OF,
    PREDICTED_LINK,
    SUBCLASS_OF,
    TF,
)
from kg.schema.batches import EdgeBatch, NodeBatch
from tests.kg.toy import GENES, METRICS, NEARS, PEAKS, genes, load, near, peak_id, peaks

if TYPE_CHECKING:
    from pathlib import Path

    from kg.query.registry import Answer
    from kg.store import Store

# G1 is the factor, G2 the gene; peaks 0 and 2000 and 5000 hold a site, 9000 holds none
ORDER = ("gene", "tf", "motif", "site", "accessible", "reach", "scored", "called")


def source(name: str) -> Source:
    return Source(f"{name}:toy", name, licence="CC0", citation="made here")


def load_genes(store: Store) -> None:
    load(store, GENES, genes({"G1": "ALPHA", "G2": "BETA", "G3": "TWIN", "G4": "TWIN"}))
    load(store, PEAKS, peaks([0, 2000, 5000, 9000]))


def load_tf(store: Store) -> None:
    load(store, source("tfs"), NodeBatch.build(TF, id=["G1"], family="ETS"))


def load_motif(store: Store) -> None:
    about: dict[str, Any] = {"collection": "C", "length": 3, "consensus": "ACG", "matrix": "[]", "digest": "0"}
    batch = NodeBatch.build(MOTIF, id=["M1", "M2"], name=["one", "two"], base_id=["M1", "M2"], **about)
    load(store, source("motifs"), batch)
    load(store, source("motif_of"), EdgeBatch.build(MOTIF_OF, start_id=["M1"], end_id=["G1"]))


def hits(motif: str, starts: list[int]) -> EdgeBatch:
    n = len(starts)
    return EdgeBatch.build(
        HAS_HIT,
        start_id=[motif] * n,
        end_id=[peak_id(s) for s in starts],
        offset_bp=[5] * n,
        strand="+",
        score=[9.0] * n,
    )


def load_hits(store: Store) -> None:
    load(store, source("hits"), EdgeBatch.concat([hits("M1", [0, 2000, 5000]), hits("M2", [9000])]))


def open_in(where: dict[int, str]) -> EdgeBatch:
    ids = [peak_id(s) for s in where]
    return EdgeBatch.build(
        ACCESSIBLE_IN, start_id=ids, end_id=list(where.values()), score=[0.5] * len(ids), score_kind="share"
    )


def load_biosamples(store: Store) -> None:
    batch = NodeBatch.build(BIOSAMPLE, id=["Mono", "T", "Blood"], name=["Mono", "T", "Blood"], ontology="text")
    load(store, source("biosamples"), batch)
    load(store, source("kinds"), EdgeBatch.build(SUBCLASS_OF, start_id=["Mono", "T"], end_id=["Blood", "Blood"]))


def load_near(store: Store) -> None:
    load(store, NEARS, near([(2000, "G2"), (9000, "G2"), (0, "G1")]))


def add_run(store: Store, home: Path, scores: dict[int, tuple[float, bool]]) -> str:
    run = runs.register(store, runs.Registration("glue", "cortex", 1, 0, 1, {}, "abc", "v1", {}))
    links = EdgeBatch.build(
        PREDICTED_LINK,
        start_id=[peak_id(s) for s in scores],
        end_id=["G2"] * len(scores),
        score=[score for score, _ in scores.values()],
        score_kind="cosine",
        p_value=[0.01] * len(scores),
        q_value=[0.25] * len(scores),
        sign=[1] * len(scores),
        called=[called for _, called in scores.values()],
    )
    made = predictions.Predictions([links], FeatureEmbedding(["G2"], ["Gene"], np.ones((1, 2), np.float32)))
    predictions.keep(home, run, made, METRICS)
    runs.write_back(store, home, run)
    runs.publish_run(store, run)
    return run


def ask(store: Store, **given: Any) -> Answer:
    question = question_named("why-not")
    return run_plan(question.plan(question.parameters(**{"tf": "ALPHA", "gene": "BETA", **given})), store)


def walked(answer: Answer, last: str, *, passed: bool = False) -> Any:
    """The last row, when the walk is whole up to it and nothing before it failed."""
    assert [row.stage for row in answer.rows] == list(ORDER[: ORDER.index(last) + 1])
    assert [row.passed for row in answer.rows] == [True] * (len(answer.rows) - 1) + [passed]
    assert answer.subject is not None
    assert answer.subject["answer"] == ("yes" if passed else "no")
    assert answer.subject["sentence"] == answer.rows[-1].sentence
    return answer.rows[-1]


STEPS = (load_genes, load_tf, load_motif, load_hits, load_near)


def build(store: Store, steps: int) -> None:
    for step in STEPS[:steps]:
        step(store)
    publish(store)


def test_a_gene_or_a_factor_that_is_unknown(store: Store) -> None:
    build(store, 1)
    row = walked(ask(store, gene="BETTA"), "gene")
    assert "BETTA" in row.sentence
    assert "did you mean BETA" in row.sentence
    assert "no gene has the id or symbol 'XX'" in walked(ask(store, tf="XX"), "tf").sentence
    assert walked(ask(store), "tf").sentence == "no dataset says that ALPHA is a transcription factor"
    with pytest.raises(ParameterError, match="names 2 genes"):
        ask(store, gene="TWIN")


def test_a_factor_without_a_motif(store: Store) -> None:
    build(store, 2)
    assert walked(ask(store), "motif").sentence == "no motif is known for ALPHA, and no ChIP-seq of it is loaded"


def test_a_motif_without_a_hit(store: Store) -> None:
    build(store, 3)
    answer = ask(store)
    assert walked(answer, "site").found == 0
    assert answer.rows[2].sentence == "ALPHA has 1 motif: M1"


def test_sites_that_do_not_reach_the_gene_are_measured(store: Store) -> None:
    build(store, 4)
    answer = ask(store)
    row = walked(answer, "reach")
    assert [r.found for r in answer.rows] == [1, 1, 1, 3, 3, 0]
    assert "no accessibility data" in answer.rows[4].sentence
    # G2 begins at 1000; the peak at 0 ends at 100, its last base 901 bp away
    assert f"the nearest, {peak_id(0)}, is 901 bp" in row.sentence


def test_a_peak_that_reaches_and_that_no_run_scored(store: Store, tmp_path: Path) -> None:
    build(store, 5)
    answer = ask(store)
    assert walked(answer, "scored").sentence == "no run is served; train one, or name one"
    assert answer.rows[5].found == 1  # the peak at 9000 is near, but the hit there is of another motif
    run = add_run(store, tmp_path, {5000: (0.9, True), 9000: (0.9, True)})
    assert f"{run} scored none" in walked(ask(store), "scored").sentence


def test_a_scored_link_that_is_not_called_gives_its_numbers(store: Store, tmp_path: Path) -> None:
    build(store, 5)
    run = add_run(store, tmp_path, {2000: (0.125, False), 9000: (0.9, True)})
    row = walked(ask(store), "called")
    assert row.sentence == (
        f"no link passed its run's threshold: the best, {peak_id(2000)}, has score 0.125 at q 0.25 in {run}"
    )
    assert [(link.peak, link.score, link.called, link.run) for link in row.links] == [
        (peak_id(2000), 0.125, False, run)
    ]


def test_a_called_link_is_a_yes(store: Store, tmp_path: Path) -> None:
    build(store, 5)
    load(store, source("pchic"), contact(5000))
    publish(store)
    run = add_run(store, tmp_path, {2000: (0.75, False), 5000: (0.5, True), 0: (0.9, True)})
    answer = ask(store)
    row = walked(answer, "called", passed=True)
    assert answer.rows[5].found == 2  # one near, one by contact; 0 is neither
    assert (row.found, [link.peak for link in row.links]) == (1, [peak_id(5000)])
    assert row.sentence == f"yes: 1 link to BETA called; the best, {peak_id(5000)}, has score 0.500 at q 0.25 in {run}"
    assert [link.peak for link in answer.rows[6].links] == [peak_id(2000), peak_id(5000)]
    few = ask(store, limit=1)
    assert few.truncated
    assert [link.peak for link in few.rows[6].links] == [peak_id(2000)]
    # the contact is of release 2
    assert walked(ask(store, release=1, run=run), "called").links[0].peak == peak_id(2000)


def contact(start: int) -> EdgeBatch:
    return EdgeBatch.build(
        CONTACTS,
        start_id=[peak_id(start)],
        end_id=["G2"],
        score=[5.0],
        score_kind="chicago",
        biosample="Mono",
        bait="chr1:1-2",
        other_end="chr1:5-6",
        bait_to_bait=[False],
    )


def test_chip_seq_stands_in_for_a_motif(store: Store) -> None:
    build(store, 2)
    bound = EdgeBatch.build(
        BINDS, start_id=["G1"], end_id=[peak_id(9000)], score=[1.0], score_kind="s", biosample="Mono", experiment="E"
    )
    load(store, source("chipseq"), bound)
    load_near(store)
    publish(store)
    answer = ask(store)
    walked(answer, "scored")
    assert answer.rows[2].sentence == "no motif is known for ALPHA; ChIP-seq of it overlaps 1 peak"
    assert [row.found for row in answer.rows] == [1, 1, 0, 1, 1, 1, 0]


@pytest.mark.parametrize(
    ("biosample", "stage", "found"),
    [(None, "scored", 2), ("T", "reach", 1), ("Mono", "scored", 1), ("Blood", "scored", 2), ("Liver", "accessible", 0)],
)
def test_where_chromatin_is_open_by_biosample(store: Store, biosample: str | None, stage: str, found: int) -> None:
    """Of the sites, 2000 is open in monocytes and 5000 in T cells, both kinds of blood; 2000 alone is near."""
    build(store, 5)
    load_biosamples(store)
    load(store, source("open"), open_in({2000: "Mono", 5000: "T", 9000: "T"}))
    publish(store)
    answer = ask(store, biosample=biosample)
    walked(answer, stage)
    assert answer.rows[4].found == found
    assert answer.rows[4].sentence == f"{found} of the 3 peaks with a site are open in {biosample or 'any biosample'}"
