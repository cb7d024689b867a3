"""Files of another assembly, lifted while they are loaded."""

from __future__ import annotations

import gzip
from bisect import bisect_left
from collections import Counter
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import pytest

from kg.errors import AssemblyMismatch, SettingsError
from loaders import registry
from loaders.genome.assemblies import assembly
from loaders.genome.intervals import Intervals
from loaders.load import load
from loaders.requests import LoadRequest, prepare
from loaders.tables.chain import read_chains
from loaders.tables.files import check_file
from loaders.tables.lift import lift
from loaders.tables.lift_rows import read_lift
from tests.loaders.world import SAMPLES, bed, run_source, samples, write

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from kg.store import Store
    from loaders.reading import ParsedSource

HUMAN = assembly("hg19"), assembly("hg38")
CONTIGS = {"KI270733.1": 179_772}
LIFTING = [(s, f) for s in registry.names() if registry.find(s).lifts for f in samples(s)]


def header(chrom: str, start: int, length: int, to: str, to_start: int, strand: str = "+") -> str:
    size, to_size = (
        CONTIGS.get(name, one.lengths.get(str(one.canonical(name)), 0))
        for name, one in zip((chrom, to), HUMAN, strict=True)
    )
    return (
        f"chain 9 {chrom} {size} + {start} {start + length} {to} {to_size} {strand} {to_start} {to_start + length} 1\n"
    )


def chain(folder: Path, *made: str, name: str = "hg19ToHg38.chain") -> Path:
    return write(folder / name, "\n".join(made))


def whole(folder: Path) -> Path:
    """Map every chromosome onto itself, as far as both assemblies have it."""
    sizes = {c: min(n, HUMAN[1].lengths[c]) for c, n in HUMAN[0].lengths.items() if c in HUMAN[1].lengths} | CONTIGS
    return chain(folder, *[header(c, 0, n, c, 0) + f"{n}\n" for c, n in sizes.items()])


def rows_of(reading: ParsedSource) -> dict[str, pd.DataFrame]:
    return {batch.type.name: batch.table.to_pandas() for batch in reading.batches}


@pytest.mark.parametrize(("source", "sample"), LIFTING, ids=lambda x: getattr(x, "name", x))
def test_every_source_with_coordinates_lifts_them(source: str, sample: Path, tmp_path: Path) -> None:
    """Through a chain that leaves everything where it is, only the column `original` is new."""
    plain = rows_of(run_source(source, [sample]))
    older = write(tmp_path / sample.name, sample.read_text().replace("_b38", "_b37"))  # as variants of GTEx say it
    reading = run_source(source, [older], lift=read_lift(whole(tmp_path), HUMAN[0]))
    lifted = rows_of(reading)
    assert reading.notes["lifted"] > 0
    came = 0
    for name, frame in lifted.items():
        there, here = plain[name], frame
        if "original" in frame:
            came += int(frame["original"].fillna("").str.startswith("GRCh37:").sum())
            there, here = (x.drop(columns="original") for x in (there, here))
        order = list(map(str, there.columns))
        there, here = (x.sort_values(order, ignore_index=True) for x in (there, here))
        pd.testing.assert_frame_equal(here, there)
    assert came > 0 or not any("original" in frame for frame in lifted.values())
    assert lifted.keys() == plain.keys()


# chr1:1000-2000 goes to chr2:6000-7000 of the other strand (chr2 of GRCh38 has 242,193,529 bp)
INVERTED = header("1", 1000, 1000, "2", 242_193_529 - 7000, "-") + "1000\n"
# 3000-3100, 10 lost, 3110-3200, 5 gained, 3200-3300
GAPPED = header("1", 3000, 300, "1", 500).replace(" 800 1\n", " 795 1\n") + "100 10 0\n90 0 5\n100\n"


def peaks(folder: Path, rows: list[tuple[Any, ...]], *made: str, name: str = "p.bed") -> ParsedSource:
    return run_source("peaks", [write(folder / name, bed(*rows))], lift=read_lift(chain(folder, *made), None))


def test_positions_strand_and_what_is_left_out(tmp_path: Path) -> None:
    rows = [("chr1", 1100, 1300), ("1", 3050, 3160), ("chr1", 3150, 3250), ("chr1", 3080, 3120), ("chr7", 5, 90)]
    reading = peaks(tmp_path, rows, INVERTED, GAPPED)
    (batch,) = reading.batches
    ids = {row["original"]: row["id"] for row in batch.table.to_pylist()}
    assert ids == {
        "GRCh37:chr1:1100-1300": "GRCh38:chr2:6700-6900",
        "GRCh37:chr1:3150-3250": "GRCh38:chr1:640-745",
    }
    assert (reading.read, reading.filtered, reading.notes["lifted"], len(reading.rejected)) == (5, 3, 2, 0)
    assert reading.warnings == (
        "p.bed: 3 of 5 rows were not lifted from GRCh37 to GRCh38, deleted: "
        "the first is chr1:3050-3160, 100 of 110 bases are aligned, 105 are needed",
    )


def test_summits_are_lifted_by_base(tmp_path: Path) -> None:
    more = (".", 0, ".", 1.5, 1, 1)
    rows = [("chr1", 1100, 1300, *more, 30), ("chr1", 3000, 3300, *more, 105), ("chr1", 3010, 3300, *more, 180)]
    reading = peaks(tmp_path, rows, INVERTED, GAPPED, name="p.narrowPeak")
    summits = {row["original"]: row["summit"] for row in reading.batches[0].table.to_pylist()}
    # 1130 -> 6999 - 130; 3105 lies in the gap; 3190 is the 80th base after it
    assert summits == {"GRCh37:chr1:1100-1300": 6869, "GRCh37:chr1:3000-3300": None, "GRCh37:chr1:3010-3300": 680}


def test_several_intervals_a_row_are_joined(tmp_path: Path) -> None:
    from loaders.tables.checks import parse_integers, place
    from loaders.tables.rows import read_delimited
    from loaders.tables.source_context import SourceContext

    text = "chrom1\tstart1\tend1\tchrom2\tstart2\tend2\n" + bed(
        ("1", 1000, 1010, "1", 3000, 3010), ("1", 1010, 1020, "2", 3, 4)
    )
    context = SourceContext(
        (check_file(write(tmp_path / "loops.bedpe", text)),),
        HUMAN[1],
        lift=read_lift(chain(tmp_path, INVERTED, GAPPED), None),
    )
    rows = read_delimited(context.files[0], Counter(), None)
    for n in "12":
        parse_integers(rows, f"start{n}", f"end{n}")
        place(rows, context, f"chrom{n}", f"start{n}", f"end{n}")
    (row,) = rows.frame.to_dict("records")
    assert (row["chrom1"], row["start1"], row["end1"]) == ("chr2", 6990, 7000)
    assert (row["chrom2"], row["start2"], row["end2"]) == ("chr1", 500, 510)
    assert row["original"] == "GRCh37:chr1:1000-1010;GRCh37:chr1:3000-3010"
    assert rows.filtered == 1


def test_a_chain_must_fit(tmp_path: Path) -> None:
    good = chain(tmp_path, INVERTED)
    assert (read_lift(good, None).of, read_lift(good, HUMAN[0]).to) == HUMAN
    with pytest.raises(AssemblyMismatch, match=r"hg19ToHg38\.chain: .* those of GRCh37, the files are GRCh38"):
        read_lift(good, HUMAN[1])
    strange = chain(tmp_path, INVERTED.replace("249250621", "249250622"), name="strange.chain")
    with pytest.raises(AssemblyMismatch, match="those of no known assembly"):
        read_lift(strange, None)
    mouse = chain(tmp_path, header("1", 5, 9, "1", 5).replace("248956422", "195471971") + "9\n", name="mouse.chain")
    with pytest.raises(AssemblyMismatch, match="does not end at another assembly of the species") as caught:
        read_lift(mouse, None)
    assert "regkg load liftover" in caught.value.hint


def test_another_mitochondrial_genome_is_not_lifted(tmp_path: Path) -> None:
    """MT of GRCh37 has 16,569 bp, chrM of hg19 has 16,571."""
    same = header("MT", 0, 16_571, "MT", 0).replace("16571 1", "16569 1").replace("16571", "16569") + "16569\n"
    found = read_chains(check_file(chain(tmp_path, INVERTED, same)), Counter()).named(*HUMAN)
    assert found.chrom.tolist() == ["chr1", "MT of 16569 bp"]
    assert found.to_chrom.tolist() == ["chr2", "chrM"]


def test_what_a_load_records(store: Store, tmp_path: Path) -> None:
    rows = [("chr1", 1000 + 30 * i, 1010 + 30 * i) for i in range(30)] + [("chr3", 9, 99)]
    files = [write(tmp_path / "old.bed", bed(*rows))]
    by = chain(tmp_path, INVERTED)
    request = LoadRequest("peaks", files, assembly="hg19", lift_with=by)
    report = load(store, tmp_path, request)
    assert (report.added, report.filtered, report.notes["lifted"]) == (30, 1, 30)
    (version,) = store.read("MATCH (v:DatasetVersion) RETURN v.parameters AS parameters")
    assert '"assembly": "GRCh38"' in version["parameters"]
    assert '"lifted_from": "GRCh37"' in version["parameters"]
    assert f'"lift_with": "sha256:{check_file(by).sha256}"' in version["parameters"]
    (peak,) = store.read("MATCH (:Peak {id: 'GRCh38:chr2:6990-7000'})-[:HAS_RECORD]->(r) RETURN r.original AS original")
    assert peak["original"] == "GRCh37:chr1:1000-1010"
    assert load(store, tmp_path, request).nothing_to_do
    other_chain = chain(tmp_path, INVERTED, GAPPED, name="other.chain")
    assert not load(store, tmp_path, LoadRequest("peaks", files, assembly="hg19", lift_with=other_chain)).nothing_to_do
    with pytest.raises(AssemblyMismatch, match="the graph holds GRCh38") as caught:
        load(store, tmp_path, LoadRequest("peaks", files, dataset="plain", assembly="hg19"))
    assert "--lift-with" in caught.value.hint


def test_genes_are_not_lifted(tmp_path: Path) -> None:
    request = LoadRequest(
        "genes", [SAMPLES / "genes" / "table.tsv"], assembly="hg19", lift_with=chain(tmp_path, INVERTED)
    )
    with pytest.raises(SettingsError, match="files of genes cannot be lifted"):
        prepare(request)


def one_by_one(path: Path, share: float) -> Callable[[str, int, int], tuple[str, int, int] | None]:
    """Lift in a loop over the lines of a chain file and over the blocks under one interval."""
    held: dict[str, list[tuple[int, int, int, str, int, str, int]]] = {}
    with gzip.open(path, "rt") as lines:
        for number, line in enumerate(lines):
            fields = line.split()
            if fields[:1] == ["chain"]:
                name, to_name, strand, to_size = fields[2], fields[7], fields[9], int(fields[8])
                here, there, of = int(fields[5]), int(fields[10]), number
            elif fields:
                size = int(fields[0])
                held.setdefault(name, []).append((here, here + size, there, to_name, to_size, strand, of))
                gaps = [int(x) for x in [*fields[1:], "0", "0"]]
                here, there = here + size + gaps[0], there + size + gaps[1]
    for blocks in held.values():
        blocks.sort()
    longest = {name: max(b[1] - b[0] for b in blocks) for name, blocks in held.items()}

    def lifted(chrom: str, start: int, end: int) -> tuple[str, int, int] | None:
        blocks = held[chrom]
        by_chain: dict[int, list[tuple[str, int, int]]] = {}
        for i in range(bisect_left(blocks, (start - longest[chrom],)), bisect_left(blocks, (end,))):
            low, high, to, to_name, to_size, strand, of = blocks[i]
            first, last = max(start, low) + to - low, min(end, high) + to - low
            if first < last:
                at = (to_name, first, last) if strand == "+" else (to_name, to_size - last, to_size - first)
                by_chain.setdefault(of, []).append(at)
        enough = [p for p in by_chain.values() if sum(b - a for _, a, b in p) >= share * (end - start)]
        return (
            (enough[0][0][0], min(a for _, a, _ in enough[0]), max(b for *_, b in enough[0]))
            if len(enough) == 1
            else None
        )

    return lifted


def test_real_peaks_of_hg19(data: Path) -> None:
    (file,) = (data / "chipseq" / "gm12878_hg19").glob("*Ebf1*")
    path = data / "chains" / "hg19ToHg38.over.chain.gz"
    reading = run_source("peaks", [file], lift=read_lift(path, HUMAN[0]))
    assert (reading.read, reading.rows, reading.folded, reading.filtered, len(reading.rejected)) == (
        36_140,
        36_081,
        46,
        13,
        0,
    )
    assert [w.partition(":")[2].split()[0] for w in reading.warnings] == ["6", "7"]  # deleted, split
    lifted = one_by_one(path, 0.95)
    table = reading.batches[0].table.to_pylist()
    came = [(row["original"].split(":")[1], *map(int, row["original"].split(":")[2].split("-"))) for row in table]
    assert [(row["chrom"], row["start"], row["end"]) for row in table] == [lifted(*at) for at in came]


def test_windows_of_a_human_chromosome_on_the_mouse(data: Path) -> None:
    """A real alignment of two species: short blocks, gaps on both sides, one chain of the other strand."""
    path = data / "chains" / "hg19.mm9.rBest.chr16.chain.gz"
    rng = np.random.default_rng(0)
    start = rng.integers(46_600_000, 90_200_000, 20_000)
    end = start + rng.integers(100, 1001, len(start))
    found = lift(read_chains(check_file(path), Counter()), Intervals(np.full(len(start), "chr16"), start, end), 0.5)
    lifted = one_by_one(path, 0.5)
    expected = [lifted("chr16", a, b) for a, b in zip(start.tolist(), end.tolist(), strict=True)]
    columns = zip(found.good, *found.at, strict=True)
    assert [(str(c), int(a), int(b)) if good else None for good, c, a, b in columns] == expected
    assert Counter(map(str, found.fate)) == {"lifted": 8235, "deleted": 11_765}
    assert int(found.inverted.sum()) == 848
