"""Scored pairs beside evidence and truth, on a real Neo4j."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pandas as pd
import pytest

from kg import runs
from kg.errors import Conflict, InputError, MissingInput, NotFound
from kg.evidence.draft import Source
from kg.guidance import read_guidance
from kg.releases import publish
from kg.runs import predictions
from kg.runs.labelled_pairs import labelled_pairs, pairs_of_file
from kg.runs.pair_files import read_scores
from kg.schema import CONTACTS, PERTURBS, PREDICTED_LINK
from kg.schema.batches import EdgeBatch
from tests.kg import toy

if TYPE_CHECKING:
    from pathlib import Path

    from kg.store import Store


def contacts() -> EdgeBatch:
    same = {"score_kind": "chicago", "bait": "chr1:0-9", "bait_to_bait": False}
    starts = [toy.peak_id(2000), toy.peak_id(2000), toy.peak_id(5000)]
    ends = {"start_id": starts, "end_id": ["G2", "G2", "G1"], "score": [7.0, 9.0, 6.0]}
    return EdgeBatch.build(CONTACTS, **ends, biosample=["a", "b", "b"], other_end="chr1:1-9", **same)


def perturbed() -> EdgeBatch:
    ends = {"start_id": [toy.peak_id(0)] * 2, "end_id": ["G1", "G1"], "significant": [False, True]}
    return EdgeBatch.build(PERTURBS, **ends, biosample="K562", study=["one", "two"], element="chr1:0-100")


@pytest.fixture
def run(store: Store, tmp_path: Path) -> str:
    toy.load_world(store)
    toy.load(store, Source("pchic:toy", "pchic"), contacts())
    toy.load(store, Source("crispri:toy", "crispri"), perturbed())
    publish(store)
    run_id = toy.registered(store)
    predictions.keep(tmp_path, run_id, toy.made(), toy.METRICS)
    runs.write_back(store, tmp_path, run_id)
    return run_id


def test_labelled_pairs_of_genes_with_evidence_count_against_it(store: Store, run: str) -> None:
    found = labelled_pairs(store, run, "CONTACTS", 1)
    rows = {(r["peak"], r["gene"]): r for r in found.pairs.to_dict("records")}
    assert {pair: row["positive"] for pair, row in rows.items()} == {
        (toy.peak_id(0), "G1"): False,
        (toy.peak_id(2000), "G2"): True,
    }
    assert rows[toy.peak_id(0), "G1"]["distance_bp"] == 0
    assert rows[toy.peak_id(2000), "G2"]["distance_bp"] == 1000
    assert not found.guided
    of_a = labelled_pairs(store, run, "CONTACTS", 1, ["a"]).pairs
    assert of_a["gene"].tolist() == ["G2"], "nothing is known of the contacts of G1 in a"
    with pytest.raises(NotFound, match="no CONTACTS row"):
        labelled_pairs(store, run, "CONTACTS", 1, ["elsewhere"])


def test_only_tested_pairs_count_against_truth(store: Store, run: str) -> None:
    found = labelled_pairs(store, run, "PERTURBS", 1)
    assert found.pairs[["peak", "gene", "positive"]].to_numpy().tolist() == [[toy.peak_id(0), "G1", True]]


def test_a_file_gives_verdicts_of_pairs(store: Store, run: str, tmp_path: Path) -> None:
    path = tmp_path / "truth.tsv"
    rows = [(toy.peak_id(0), "G1", 0), (toy.peak_id(2000), "G2", 0), (toy.peak_id(2000), "G2", 1), ("P9", "G1", 1)]
    path.write_text("gene_id\tnote\tpeak_id\tis_link\n" + "".join(f"{g}\tx\t{p}\t{v}\n" for p, g, v in rows))
    found = pairs_of_file(store, run, path, 1)
    assert (found.of, found.guided) == ("truth.tsv", False)
    assert found.pairs[["peak", "gene", "positive", "distance_bp"]].to_numpy().tolist() == [
        [toy.peak_id(0), "G1", False, 0],
        [toy.peak_id(2000), "G2", True, 1000],
    ]


@pytest.mark.parametrize(
    ("text", "error", "says"),
    [
        ("peak\tgene\nP\tG\n", InputError, "no column positive"),
        ("peak\tgene\tpositive\nP\tG\t1\nP\tG\tyes\n", InputError, ":3 column 'positive': 'yes'"),
        ("peak\tgene\tpositive\nP\tG\t1\n", NotFound, "scored none of the 1 pairs"),
        (None, MissingInput, "no such file"),
    ],
)
def test_a_file_that_does_not_do_is_refused(
    store: Store, run: str, tmp_path: Path, text: str | None, error: type[Exception], says: str
) -> None:
    if text is not None:
        (tmp_path / "t.tsv").write_text(text)
    with pytest.raises(error, match=says):
        pairs_of_file(store, run, tmp_path / "t.tsv", 1)


def test_pairs_beyond_the_skeleton_are_left_out(store: Store, run: str, tmp_path: Path) -> None:
    beyond = toy.made().links[0].table.to_pylist()
    batch = EdgeBatch.build(
        PREDICTED_LINK, **{name: [row[name] for row in beyond] for name in beyond[0] if name != "in_prior"},
        in_prior=[True, False],
    )  # fmt: skip
    run_id = toy.registered(store)
    predictions.keep(tmp_path, run_id, replace(toy.made(), links=[batch]), toy.METRICS)
    runs.write_back(store, tmp_path, run_id)
    assert len(labelled_pairs(store, run, "NEAR", 1).pairs) == 2
    assert labelled_pairs(store, run_id, "NEAR", 1).pairs["peak"].tolist() == [toy.peak_id(0)]


def test_what_guided_the_run_is_said(store: Store, run: str) -> None:
    assert labelled_pairs(store, run, "NEAR", 1).guided


def test_what_cannot_be_compared_is_refused(store: Store, run: str) -> None:
    with pytest.raises(Conflict, match="BINDS does not join a peak and a gene"):
        labelled_pairs(store, run, "BINDS", 1)
    with pytest.raises(Conflict, match="is running, not complete"):
        labelled_pairs(store, toy.registered(store), "CONTACTS", 1)


def test_contacts_may_guide_and_truth_may_not(store: Store, run: str) -> None:
    del run
    graph = read_guidance(store, 1, ["NEAR", "CONTACTS", "EQTL"])
    assert sorted(graph.weight.tolist()) == [1.0, 1.0, 1.0], "the contact of the near pair is one edge with it"
    with pytest.raises(Conflict, match="PERTURBS must not guide a model"):
        read_guidance(store, 1, ["NEAR", "PERTURBS"])
    with pytest.raises(Conflict, match="BINDS has no weight as guidance"):
        read_guidance(store, 1, ["BINDS"])


def test_scores_of_another_program_rank_what_they_do_not_name_last(tmp_path: Path) -> None:
    path = tmp_path / "peer.tsv"
    path.write_text("gene_id\tpeak\tscore\nG1\tP1\t-0.5\nG1\tP1\t0.25\nG2\tP1\t-2\nG9\tP9\t-7\n")
    pairs = pd.DataFrame({"peak": ["P1", "P2", "P1"], "gene": ["G2", "G1", "G1"]})
    assert read_scores(path, pairs).tolist() == [-2, -3, 0.25]


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("peak\tgene\nP1\tG1\n", "no column score"),
        ("peak\tgene\tscore\nP1\tG1\t1\nP1\tG2\thigh\n", ":3 column 'score': 'high'"),
        ("peak\tgene\tscore\nP1\tG1\tinf\n", ":2 column 'score': 'inf'"),
        ("peak\tgene\tscore\nP7\tG1\t1\n", "names none of the 1 pairs"),
        ("peak\tgene\tscore\n", "names none of the 1 pairs"),
    ],
)
def test_scores_that_do_not_do_are_refused(tmp_path: Path, text: str, says: str) -> None:
    path = tmp_path / "peer.tsv"
    path.write_text(text)
    with pytest.raises(InputError, match=says):
        read_scores(path, pd.DataFrame({"peak": ["P1"], "gene": ["G1"]}))
