"""Targets of a run on a real Neo4j: by name, written as a run of their own, judged by curated pairs."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import pytest

from kg import runs
from kg.errors import Conflict, NotFound
from kg.evidence.draft import Source
from kg.operations.ro_crate import export_run
from kg.releases import publish, served
from kg.run_diff.inputs import comparable_run
from kg.runs import predictions
from kg.runs.outputs import FeatureEmbedding
from kg.runs.predictions import Predictions
from kg.runs.regulation import curated_targets, factor_sites
from kg.runs.retention import prune, restore
from kg.runs.staleness import decisions
from kg.schema import BINDS, HAS_HIT, MOTIF, MOTIF_OF, PREDICTED_LINK, TARGETS
from kg.schema.batches import EdgeBatch, NodeBatch
from models.jobs import targets as target_job
from models.jobs.targets import TargetOptions, targets, targets_of
from tests.kg import toy

if TYPE_CHECKING:
    from pathlib import Path

    from kg.store import Store

STARTS = [1000 * i for i in range(60)]
GENES = {f"G{i}": f"S{i}" for i in range(12)}
STATED: dict[str, Any] = {"licence": "CC0", "citation": "made here"}


def pairs() -> pd.DataFrame:
    """Return five peaks per gene, the first three called; T0 (G0) has sites only in the called peaks of G1 to G4."""
    rows = [
        {"peak": toy.peak_id(1000 * (5 * g + k)), "gene": f"G{g}", "score": 0.9 - 0.1 * k, "sign": 1, "called": k < 3}
        for g in range(12)
        for k in range(5)
    ]
    return pd.DataFrame(rows)


SITES = {
    "G0": [toy.peak_id(1000 * (5 * g + k)) for g in range(1, 5) for k in range(3)],
    "G11": [toy.peak_id(1000 * i) for i in range(0, 60, 2)],
}


def slow(links: pd.DataFrame, tf: str, gene: str) -> list[str]:
    supporting = links[(links["gene"] == gene) & links["called"] & links["peak"].isin(SITES[tf])]
    return [str(p) for p in supporting.sort_values(["score", "peak"], ascending=[False, True])["peak"]]


def test_support_and_sign_by_name() -> None:
    links = pairs()
    links.loc[links["gene"] == "G2", ["score", "sign"]] *= -1
    table = targets_of(links, {**SITES, "G5": ["GRCh38:chr9:1-2"]})
    assert len(table) > 8
    for row in table.to_dict("records"):
        assert row["peaks"] == slow(links, row["tf"], row["gene"])
        assert row["observed"] == len(row["peaks"])
        assert row["sign"] == (-1 if row["gene"] == "G2" else 1)
    first = table[table["tf"] == "G0"]
    assert first["gene"].tolist() == ["G1", "G2", "G3", "G4"]
    assert first["rank"].tolist() == [2.5] * 4


def test_peaks_are_capped_and_their_number_is_not(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(target_job, "PEAKS_KEPT", 2)
    table = targets_of(pairs(), SITES)
    row = table[(table["tf"] == "G0") & (table["gene"] == "G1")].iloc[0]
    assert row["observed"] == 3
    assert row["peaks"] == slow(pairs(), "G0", "G1")[:2]


@pytest.fixture
def world(store: Store, tmp_path: Path) -> str:
    toy.load(store, toy.GENES, toy.genes(GENES))
    toy.load(store, toy.PEAKS, toy.peaks(STARTS))
    motif = {"base_id": "MA1", "collection": "toy", "length": 6, "consensus": "ACGTAC", "matrix": "[]", "digest": "0"}
    motifs = Source("motifs:toy", "motifs", **STATED)
    toy.load(store, motifs, NodeBatch.build(MOTIF, id=["MA1.1", "MA1.2", "MA2.1"], name=["A", "A", "B"], **motif))
    of = EdgeBatch.build(MOTIF_OF, start_id=["MA1.1", "MA1.2", "MA2.1"], end_id=["G0", "G0", "G11"])
    toy.load(store, Source("tfs:toy", "tfs", **STATED), of)
    hits = [("MA1.1", p) for p in SITES["G0"]] + [("MA1.2", p) for p in SITES["G0"][:4]]
    hits += [("MA2.1", p) for p in SITES["G11"]]
    at = {"start_id": [m for m, _ in hits], "end_id": [p for _, p in hits]}
    toy.load(
        store, Source("hits:toy", "hits", **STATED), EdgeBatch.build(HAS_HIT, **at, offset_bp=1, strand="+", score=9.0)
    )
    curated = EdgeBatch.build(
        TARGETS, start_id=["G0", "G0", "G0", "G0"], end_id=["G1", "G2", "G7", "G4"], sign=[1, 0, 1, -1],
        mode=["activation", "unknown", "activation", "repression"],
    )  # fmt: skip
    toy.load(store, Source("targets:toy", "tf-targets", **STATED), curated)
    publish(store)
    links = pairs()
    run_id = toy.registered(store)
    batch = EdgeBatch.build(
        PREDICTED_LINK, start_id=links["peak"].tolist(), end_id=links["gene"].tolist(), score_kind="cosine",
        p_value=0.01, q_value=0.02, **{c: links[c].to_numpy() for c in ("score", "sign", "called")},
    )  # fmt: skip
    written = Predictions([batch], FeatureEmbedding(["G0"], ["Gene"], np.ones((1, 2), np.float32)))
    predictions.keep(tmp_path, run_id, written, toy.METRICS)
    runs.write_back(store, tmp_path, run_id)
    runs.publish_run(store, run_id)
    return run_id


def test_targets_become_a_run_of_their_own(store: Store, world: str, tmp_path: Path) -> None:
    run = targets(store, tmp_path, world, TargetOptions(best=2))
    assert (run.outcome, run.slot, run.parent, run.derived) == ("complete", "targets-motifs:cortex", world, True)
    assert set(run.datasets) == {"genes:toy", "tfs:toy", "hits:toy"}
    table = targets_of(pairs(), SITES)
    expected = table[table["called"] | (table["rank"] <= 2)]
    rows = store.read("MATCH (t)-[e:PREDICTED_TARGET {run: $run}]->(g) RETURN t.id AS tf, g.id AS gene, e", run=run.id)
    by_pair = {(row["tf"], row["gene"]): row["e"] for row in rows}
    assert set(by_pair) == set(zip(expected["tf"], expected["gene"], strict=True))
    for row in expected.to_dict("records"):
        edge = by_pair[row["tf"], row["gene"]]
        assert edge["peaks"] == row["peaks"]
        assert edge["observed"] == row["observed"]
        assert edge["p_value"] == pytest.approx(row["p"])
        assert edge["score"] == pytest.approx(row["score"])
    assert len(pd.read_parquet(tmp_path / "runs" / run.id / target_job.EVERY)) == len(table)
    assert run.metrics["curated_pairs"] == 3, "a repressed target is left out"
    assert run.metrics["targets_called"] == table["called"].sum()


def test_such_a_run_is_served_beside_its_parent_pruned_and_brought_back(
    store: Store, world: str, tmp_path: Path
) -> None:
    run = targets(store, tmp_path, world, TargetOptions())
    before = store.read("MATCH ()-[e:PREDICTED_TARGET]->() RETURN count(e) AS n")[0]["n"]
    assert before > 0
    prune(store, tmp_path, [run.id])
    assert store.read("MATCH ()-[e:PREDICTED_TARGET]->() RETURN count(e) AS n")[0]["n"] == 0
    assert restore(store, tmp_path, run.id).outcome == "complete"
    assert store.read("MATCH ()-[e:PREDICTED_TARGET]->() RETURN count(e) AS n")[0]["n"] == before
    runs.publish_run(store, run.id)
    assert served(store).runs == {"glue:cortex": world, "targets-motifs:cortex": run.id}
    assert [d.slot for d in decisions(store)] == ["glue:cortex"], "what is derived is not trained again"
    with pytest.raises(Conflict, match="derived, not trained"):
        decisions(store, ["targets-motifs:cortex"])


def test_what_targets_cannot_be_made_of_is_refused(store: Store, world: str, tmp_path: Path) -> None:
    with pytest.raises(NotFound, match="has no BINDS rows"):
        targets(store, tmp_path, world, TargetOptions(sites="chip"))
    run = targets(store, tmp_path, world, TargetOptions())
    with pytest.raises(Conflict, match="is derived itself"):
        targets(store, tmp_path, run.id, TargetOptions())
    with pytest.raises(Conflict, match="is running"):
        targets(store, tmp_path, toy.registered(store), TargetOptions())
    assert [r.id for r in runs.runs(store) if r.outcome == "complete"] == [run.id, world], "nothing half made is left"


def test_sites_are_read_by_motif_or_chip_at_a_release(store: Store, world: str) -> None:
    assert world
    assert {tf: sorted(p) for tf, p in factor_sites(store, 1, "motifs").items()} == {
        tf: sorted(p) for tf, p in SITES.items()
    }
    chip = EdgeBatch.build(
        BINDS, start_id=["G3", "G3"], end_id=[toy.peak_id(0)] * 2, score=1.0, score_kind="signal", biosample=["a", "b"],
        experiment="e",
    )  # fmt: skip
    toy.load(store, Source("chip:toy", "chipseq", **STATED), chip)
    publish(store)
    assert factor_sites(store, 2, "chip") == {"G3": [toy.peak_id(0)]}
    with pytest.raises(NotFound):
        factor_sites(store, 1, "chip")
    assert set(curated_targets(store, 1).itertuples(index=False, name=None)) == {
        ("G0", "G1"),
        ("G0", "G2"),
        ("G0", "G7"),
    }


def test_what_asks_for_links_says_where_they_are(store: Store, world: str, tmp_path: Path) -> None:
    run = targets(store, tmp_path, world, TargetOptions())
    with pytest.raises(Conflict, match="holds no link") as error:
        comparable_run(store, run.id)
    assert world in error.value.hint
    export_run(store, tmp_path, run.id, tmp_path / "out")
    assert f"regkg runs targets {world} --best 100 --sites motifs" in (tmp_path / "out" / "commands.sh").read_text()


def test_targets_cut_while_they_are_written_are_invisible_and_finished_by_writing_again(
    store: Store, world: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(predictions, "_check_written", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
        with pytest.raises(KeyboardInterrupt):
            targets(store, tmp_path, world, TargetOptions())
    cut = runs.runs(store)[0]
    assert (cut.outcome, cut.derived) == ("writing", True)
    with pytest.raises(Conflict, match="only complete runs"):
        runs.publish_run(store, cut.id)
    done = runs.write_back(store, tmp_path, cut.id)
    assert done.outcome == "complete"
    counted = store.read("MATCH ()-[e:PREDICTED_TARGET {run: $run}]->() RETURN count(e) AS n", run=cut.id)[0]["n"]
    table = targets_of(pairs(), SITES)
    assert counted == (table["called"] | (table["rank"] <= 100)).sum()
