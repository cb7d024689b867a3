"""Loads that bring nodes and the edges that rest on them at once, and labels that nodes get beside their own."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from kg.errors import Conflict, SchemaError
from kg.evidence.draft import Snapshot, Source, open_draft
from kg.evidence.nodes import read_nodes
from kg.evidence.row_diff import Changes
from kg.releases import discard, publish, verify
from kg.schema import BINDS, IN_PEAK, PEAK, TF, VARIANT
from kg.schema.batches import Batch, EdgeBatch, NodeBatch
from tests.kg import toy

if TYPE_CHECKING:
    from collections.abc import Sequence

    from kg.store import Store

VARIANTS = Source("eqtl:toy", "eqtl", looked_up=("Peak",))
FACTORS = Source("tfs:toy", "tfs", looked_up=("Gene",))
CHIP = Source("chipseq:toy", "chipseq", looked_up=("Gene", "Peak"))


def load(store: Store, source: Source, *batches: Batch, tag: str = "one", replace: bool = False) -> Changes:
    with open_draft(store, "test") as draft:
        return draft.load(source, Snapshot((tag,), "toy@1"), batches, replace=replace)


def variants(positions: Sequence[int]) -> NodeBatch:
    return NodeBatch.build(
        VARIANT,
        id=[name(p) for p in positions],
        assembly="GRCh38",
        chrom="chr1",
        start=[p - 1 for p in positions],
        end=list(positions),
        ref="A",
        alt="G",
    )


def name(position: int) -> str:
    return f"GRCh38:chr1:{position}:A:G"


def in_peak(pairs: Sequence[tuple[int, int]]) -> EdgeBatch:
    starts = [toy.peak_id(peak) for _, peak in pairs]
    return EdgeBatch.build(IN_PEAK, start_id=[name(p) for p, _ in pairs], end_id=starts)


def factors(genes: Sequence[str]) -> NodeBatch:
    return NodeBatch.build(TF, id=list(genes), family="ETS")


def labels(store: Store, node: str) -> set[str]:
    return set(store.read("MATCH (n {id: $id}) RETURN labels(n) AS labels", id=node)[0]["labels"])


def test_nodes_may_come_with_the_edges_that_rest_on_them(store: Store) -> None:
    toy.load_world(store)
    changes = load(store, VARIANTS, in_peak([(50, 0), (2001, 2000)]), variants([50, 2001]))
    assert changes == Changes(4, 0, 0, 0)
    publish(store)
    verify(store, 1)
    again = load(store, VARIANTS, in_peak([(2001, 2000), (50, 0)]), variants([2001, 50]), tag="shuffled")
    assert again == Changes(0, 0, 0, 4)


def test_an_edge_on_a_node_that_neither_the_draft_nor_the_load_has_is_refused(store: Store) -> None:
    toy.load_world(store)
    with pytest.raises(SchemaError, match=r"start_id: 1 rows name a Variant .* such as GRCh38:chr1:51:A:G"):
        load(store, VARIANTS, variants([50]), in_peak([(50, 0), (51, 0)]))
    assert store.read("MATCH (n:Variant) RETURN count(n) AS n")[0]["n"] == 0


def test_nodes_go_with_their_own_edges_and_leave_nothing_behind(store: Store) -> None:
    toy.load_world(store)
    load(store, VARIANTS, variants([50, 51, 52]), in_peak([(50, 0), (51, 0), (52, 0)]))
    less = load(store, VARIANTS, variants([50, 51]), in_peak([(50, 0), (51, 0)]), tag="less")
    assert less == Changes(0, 0, 2, 4)
    assert store.read("MATCH (n:Variant) RETURN count(n) AS n")[0]["n"] == 2
    publish(store)
    load(store, VARIANTS, variants([50]), in_peak([(50, 0)]), tag="least")
    assert read_nodes(store, VARIANT, 1)["id"].to_pylist() == [name(50), name(51)]
    assert read_nodes(store, VARIANT, 2)["id"].to_pylist() == [name(50)]
    verify(store, 1)
    discard(store)
    assert read_nodes(store, VARIANT, 2)["id"].to_pylist() == [name(50), name(51)]


def test_a_node_that_goes_while_an_edge_of_the_same_files_needs_it_is_refused(store: Store) -> None:
    toy.load_world(store)
    load(store, VARIANTS, variants([50, 51, 52]), in_peak([(50, 0), (51, 0), (52, 0)]))
    with pytest.raises(Conflict, match=r"GRCh38:chr1:52:A:G \(IN_PEAK of the same files\)"):
        load(store, VARIANTS, variants([50, 51]), in_peak([(50, 0), (51, 0), (52, 0)]), tag="torn")


def test_a_changed_node_that_others_use_is_not_taken_for_a_removed_one(store: Store) -> None:
    toy.load_world(store)
    load(store, VARIANTS, variants([50]), in_peak([(50, 0)]))
    publish(store)
    moved = toy.peaks([0, 2000, 5000])
    summits = [s + 1 for s in moved.table["summit"].to_pylist()]
    other = NodeBatch.build(PEAK, **{**{n: moved.table[n] for n in moved.table.schema.names}, "summit": summits})
    fewer = NodeBatch(PEAK, other.table.slice(0, 2))  # the third peak, which nothing uses, goes
    assert toy.load(store, toy.PEAKS, fewer, "two") == Changes(0, 2, 1, 0)


def test_a_role_is_a_second_label_of_a_node_that_is_there(store: Store) -> None:
    toy.load_world(store)
    load(store, FACTORS, factors(["G1"]))
    assert labels(store, "G1") == {"Gene", "TF"}
    assert read_nodes(store, TF, 1)["id"].to_pylist() == ["G1"]
    publish(store)
    verify(store, 1)
    with pytest.raises(SchemaError, match=r"id: 1 rows name a Gene that does not exist, such as G9"):
        load(store, CHIP, factors(["G9"]))


def test_a_role_goes_with_the_last_dataset_that_says_it(store: Store) -> None:
    toy.load_world(store)
    load(store, FACTORS, factors(["G1", "G2"]))
    binds = EdgeBatch.build(
        BINDS, start_id=["G1"], end_id=[toy.peak_id(0)], score=[9.0], score_kind="signal", biosample="", experiment="e"
    )
    load(store, CHIP, factors(["G1"]), binds)
    discard(store, "tfs:toy")
    assert labels(store, "G1") == {"Gene", "TF"}
    assert labels(store, "G2") == {"Gene"}
    discard(store, "chipseq:toy")
    assert labels(store, "G1") == {"Gene"}


def test_a_gene_that_another_dataset_calls_a_factor_does_not_go(store: Store) -> None:
    toy.load_world(store)
    load(store, FACTORS, factors(["G3"]))
    with pytest.raises(Conflict, match=r"G3 \(TFRecord of tfs:toy\)"):
        toy.load(store, toy.GENES, toy.genes({"G1": "ALPHA", "G2": "BETA"}), "two")
