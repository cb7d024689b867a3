"""Peaks on another species: what each one becomes, and why."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any

import pytest

from kg.errors import AssemblyMismatch, MissingInput, ParameterError
from kg.schema import PEAK
from loaders.genome.assemblies import assembly
from loaders.load import load
from loaders.requests import LoadRequest
from tests.loaders.world import SAMPLES, bed, graph_of, run_source, sample_graph, write

if TYPE_CHECKING:
    from pathlib import Path

    from kg.store import Store
    from loaders.reading import ParsedSource

CHAIN = SAMPLES / "liftover" / "hg38ToMm10.over.chain"
GTF, BED = SAMPLES / "genes" / "genes.gtf", SAMPLES / "peaks" / "peaks.bed"
LOST = {
    "GRCh38:chr1:29600-30050": ("split", "2 chains align parts of it, the best 200 of 450 bases, 225 are needed"),
    "GRCh38:chr1:31500-31900": ("duplicated", "2 chains align 200 or more of its 400 bases"),
    "GRCh38:chr2:61000-62010": ("too_wide", "1010 bp there against 1010 here"),
    "GRCh38:chrM:0-100": ("deleted", "no base of it is aligned"),
    "GRCh38:KI270733.1:300-500": (
        "not_reciprocal",
        "the way back: duplicated, 2 chains align 100 or more of its 200 bases",
    ),
}
# 9500-9600 go to 30500, 20 are lost, 180 go to 30600; between 11920 and 11930 nothing is aligned on either side;
# 14409-14450 end 409 bases before 71004, 4 are gained, 14450-14600 end at 70550
LIFTED = {
    "GRCh38:chr1:9500-9800": ("GRCm38:chr4:30500-30780", "+", 280 / 300, 280 / 300),
    "GRCh38:chr1:11800-12100": ("GRCm38:chr4:32815-33115", "+", 290 / 300, 1.0),
    "GRCh38:chr1:14409-14600": ("GRCm38:chr5:70400-70595", "-", 1.0, 195 / 191),
}


def rows_of(reading: ParsedSource) -> dict[str, list[dict[str, Any]]]:
    return {batch.type.name: batch.table.to_pylist() for batch in reading.batches}


def test_every_peak_keeps_a_class_and_a_reason() -> None:
    reading = run_source("liftover", [CHAIN])
    rows = rows_of(reading)
    assert {row["start_id"]: (row["class"], row["reason"]) for row in rows["NOT_LIFTED"]} == LOST
    assert {row["end_id"] for row in rows["NOT_LIFTED"]} == {"GRCm38"}
    lifted = {row["start_id"]: (row["end_id"], row["strand"]) for row in rows["LIFTED_TO"]}
    assert lifted == {peak: said[:2] for peak, said in LIFTED.items()}
    for row in rows["LIFTED_TO"]:
        _, _, matched, ratio = LIFTED[row["start_id"]]
        assert (row["matched"], row["width_ratio"]) == pytest.approx((matched, ratio))
        assert (row["class"], row["reciprocal"]) == ("lifted", True)
    assert {row["id"]: row["original"] for row in rows["Peak"]} == {v[0]: k for k, v in LIFTED.items()}
    assert rows["Assembly"] == [{"id": "GRCm38", "species": "NCBITaxon:10090"}]
    assert (reading.read, len(reading.rejected), reading.folded) == (8, 0, 0)
    assert reading.warnings == (
        "of 8 peaks 3 were lifted to GRCm38; 1 deleted, 1 duplicated, 1 not_reciprocal, 1 split, 1 too_wide",
    )


def test_the_rules_can_be_changed() -> None:
    rows = rows_of(run_source("liftover", [CHAIN], min_match=0.8, max_width_bp=2000, reciprocal=False))
    lifted = {row["start_id"] for row in rows["LIFTED_TO"]}
    assert lifted == {*LIFTED, "GRCh38:chr1:31500-31900", "GRCh38:chr2:61000-62010", "GRCh38:KI270733.1:300-500"}
    assert {row["reciprocal"] for row in rows["LIFTED_TO"]} == {None}
    strict = rows_of(run_source("liftover", [CHAIN], width_ratio=1.05))
    why = {row["start_id"]: row["reason"] for row in strict["NOT_LIFTED"] if row["class"] == "deleted"}
    assert why["GRCh38:chr1:9500-9800"] == "280 bp there against 300 here"


def test_windows_of_one_width(tmp_path: Path) -> None:
    (row,) = (r for r in rows_of(run_source("liftover", [CHAIN], width_bp=501))["Peak"] if r["chrom"] == "chr5")
    assert (row["start"], row["end"]) == (70_247, 70_748)  # the midpoint is 70497
    assert row["original"] == "GRCh38:chr1:14409-14600"


def chain(folder: Path, *lines: str, name: str = "made.chain") -> Path:
    return write(folder / name, "\n".join(lines))


def header(start: int, to_start: int, length: int, strand: str = "+", chrom: str = "chr4") -> str:
    size = {"chr4": 156_508_116, "chr4_GL456216_random": 66_673}[chrom]
    return (
        f"chain 1 chr1 248956422 + {start} {start + length} {chrom} {size} {strand} {to_start} {to_start + length} 1\n"
        f"{length}\n"
    )


def with_peaks(folder: Path, *rows: tuple[Any, ...]) -> Any:
    return graph_of([GTF], [write(folder / "p.narrowPeak", bed(*rows))])


def test_summits_follow(tmp_path: Path) -> None:
    more = (".", 0, ".", 1, 1, 1)
    graph = with_peaks(tmp_path, ("chr1", 1000, 1400, *more, 50), ("chr1", 3000, 3200, *more, -1))
    by = chain(tmp_path, header(500, 156_508_116 - 9000, 1000, "-"), header(2500, 100, 1000))
    summits = {row["id"]: row["summit"] for row in rows_of(run_source("liftover", [by], graph=graph))["Peak"]}
    # base 1050 is 550 into the chain, which ends at 9000 there
    assert summits == {"GRCm38:chr4:8100-8500": 9000 - 1 - 550, "GRCm38:chr4:600-800": None}


def test_peaks_that_fall_together_are_one(tmp_path: Path) -> None:
    graph = graph_of([GTF], [write(tmp_path / "p.bed", bed(("chr1", 1400, 1520), ("chr1", 1400, 1530)))])
    by = chain(tmp_path, header(500, 100, 1000))
    rows = rows_of(run_source("liftover", [by], graph=graph))
    (peak,) = rows["Peak"]
    assert peak["original"] == "GRCh38:chr1:1400-1520;GRCh38:chr1:1400-1530"
    assert {row["end_id"] for row in rows["LIFTED_TO"]} == {peak["id"]} == {"GRCm38:chr4:1000-1100"}


def test_only_main_chromosomes(tmp_path: Path) -> None:
    by = chain(tmp_path, header(9000, 5, 3000, chrom="chr4_GL456216_random"), header(40_000, 5, 10))
    (first, *_) = sorted(rows_of(run_source("liftover", [by]))["NOT_LIFTED"], key=lambda row: str(row["start_id"]))
    assert first["reason"] == "no base of it is aligned"
    reasons = Counter(row["reason"] for row in rows_of(run_source("liftover", [by]))["NOT_LIFTED"])
    assert reasons["it goes to chr4_GL456216_random, which is no main chromosome"] == 2


def test_a_second_file_is_the_way_back(tmp_path: Path) -> None:
    """There the first peak's place has a better partner; the turned chain could not know."""
    forward = chain(tmp_path, header(9000, 30_000, 4000), name="there.chain")
    assert {row["start_id"] for row in rows_of(run_source("liftover", [forward]))["LIFTED_TO"]} == {
        "GRCh38:chr1:9500-9800",
        "GRCh38:chr1:11800-12100",
    }
    lines = "chain 1 {0} {1} + {2} {3} {4} {5} + {6} {7} 1\n{8}\n"
    mouse, human = ("chr4", 156_508_116), ("chr1", 248_956_422)
    back = chain(
        tmp_path,
        lines.format(*mouse, 30_000, 31_000, *human, 109_000, 110_000, 1000),
        lines.format(*mouse, 32_000, 34_000, *human, 11_100, 13_100, 2000),
        name="back.chain",
    )
    for files in ([forward, back], [back, forward]):
        rows = rows_of(run_source("liftover", files))
        assert [row["start_id"] for row in rows["LIFTED_TO"]] == ["GRCh38:chr1:11800-12100"]  # 100 bp off
        why = {row["start_id"]: (row["class"], row["reason"]) for row in rows["NOT_LIFTED"]}
        assert why["GRCh38:chr1:9500-9800"] == ("not_reciprocal", "it comes back 100000 bp away")
    strict = rows_of(run_source("liftover", [forward, back], back_bp=99))
    assert "LIFTED_TO" not in strict


def test_what_was_lifted_from_another_species_is_not_lifted_again(tmp_path: Path) -> None:
    graph = dict(sample_graph())
    lifted = {row["id"]: row for row in rows_of(run_source("liftover", [CHAIN]))["Peak"]}
    peaks = graph[PEAK.label].to_pylist()
    mouse = {**peaks[0], "id": "GRCm38:chr4:30900-31000", "assembly": "GRCm38", "chrom": "chr4"}
    mouse |= {"start": 30_900, "end": 31_000}
    graph[PEAK.label] = type(graph[PEAK.label]).from_pylist([*peaks, *lifted.values(), mouse], PEAK.schema)
    back = chain(
        tmp_path,
        "chain 1 chr4 156508116 + 30000 34000 chr1 248956422 + 9000 13000 1\n4000\n",
        name="mm10ToHg38.over.chain",
    )
    rows = rows_of(run_source("liftover", [back], "GRCm38", graph=graph))
    assert [row["start_id"] for row in rows["LIFTED_TO"]] == ["GRCm38:chr4:30900-31000"]
    assert "NOT_LIFTED" not in rows
    # and what is in the graph is still lifted the first way, however often
    again = rows_of(run_source("liftover", [CHAIN], graph=graph))
    assert {row["start_id"] for row in again["LIFTED_TO"]} == set(LIFTED)


def test_refusals(tmp_path: Path, data: Path) -> None:
    with pytest.raises(AssemblyMismatch, match="no chain starts from chromosomes of GRCm38"):
        run_source("liftover", [CHAIN], "mm10")
    with pytest.raises(AssemblyMismatch, match="the chains end on GRCm38, not on GRCm39"):
        run_source("liftover", [CHAIN], to="mm39")
    human = data / "chains" / "hg38ToHg19.over.chain.gz"
    with pytest.raises(AssemblyMismatch, match="the chains end on GRCh37") as caught:
        run_source("liftover", [human])
    assert "--lift-with" in caught.value.hint
    with pytest.raises(AssemblyMismatch, match="not all go from GRCh38 to GRCm38 or back"):
        run_source("liftover", [CHAIN, data / "chains" / "hg19ToHg38.over.chain.gz"])
    with pytest.raises(ParameterError, match="min_match is 0: more than 0"):
        run_source("liftover", [CHAIN], min_match=0)
    empty = {**sample_graph(), PEAK.label: PEAK.schema.empty_table()}
    with pytest.raises(MissingInput, match="holds no peaks of GRCh38"):
        run_source("liftover", [CHAIN], graph=empty)


def test_the_other_species_has_one_assembly_too(tmp_path: Path) -> None:
    graph = dict(sample_graph())
    peaks = graph[PEAK.label].to_pylist()
    graph[PEAK.label] = type(graph[PEAK.label]).from_pylist(
        [*peaks, {**peaks[0], "id": "GRCm39:x", "assembly": "GRCm39"}], PEAK.schema
    )
    with pytest.raises(AssemblyMismatch, match="the graph holds peaks of GRCm39, the chains end on GRCm38"):
        run_source("liftover", [CHAIN], graph=graph)


def test_in_a_graph(store: Store, tmp_path: Path) -> None:
    load(store, tmp_path, LoadRequest("peaks", [BED], assembly="hg38"))
    request = LoadRequest("liftover", [CHAIN], assembly="hg38", options={"to": "mm10"})
    report = load(store, tmp_path, request)
    assert (report.added, report.rows_read) == (1 + 3 + 8, 8)
    assert load(store, tmp_path, request).nothing_to_do
    (row,) = store.read(
        "MATCH (p:Peak {id: 'GRCh38:chr1:14409-14600'})-[r:LIFTED_TO]->(q)-[:HAS_RECORD]->(s) "
        "RETURN q.id AS id, s.assembly AS assembly, r.strand AS strand"
    )
    assert row == {"id": LIFTED["GRCh38:chr1:14409-14600"][0], "assembly": "GRCm38", "strand": "-"}
    mouse = write(tmp_path / "mouse.bed", bed(("chr4", 5, 60)))
    assert assembly("mm39").name != "GRCm38"
    with pytest.raises(AssemblyMismatch, match="the graph holds GRCm38"):
        load(store, tmp_path, LoadRequest("peaks", [mouse], assembly="mm39", dataset="mouse"))
    assert load(store, tmp_path, LoadRequest("peaks", [mouse], assembly="mm10", dataset="mouse")).added == 1
