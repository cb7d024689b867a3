"""Capture Hi-C: formats, genes of baits, both directions between baits, thresholds, and the real interactions."""

from __future__ import annotations

import zipfile
from collections import Counter, defaultdict
from typing import TYPE_CHECKING, Any

import pandas as pd
import pytest

from kg.errors import InputError, ParameterError
from loaders.tables.rows import messages
from tests.loaders.real import h1_graph, run_on_h1
from tests.loaders.world import SAMPLES, bed, content, run_source, write

if TYPE_CHECKING:
    from pathlib import Path

    from loaders.reading import ParsedSource

IBED = (
    *("bait_chr", "bait_start", "bait_end", "bait_name", "otherEnd_chr", "otherEnd_start", "otherEnd_end"),
    *("otherEnd_name", "N_reads", "score"),
)
AAA, NA, BBB = "ENSG00000000101", "ENSG00000000102", "ENSG00000000104"
Edge = tuple[str, str, str, str]


def ibed(path: Path, *rows: tuple[Any, ...]) -> Path:
    return write(path, bed(IBED, *rows))


def edges(reading: ParsedSource, *columns: str) -> list[tuple[Any, ...]]:
    """Return peak, gene and further columns of each contact."""
    (table,) = (b.table for b in reading.batches if b.type.name == "CONTACTS")
    shown = ("start_id", "end_id", *columns)
    rows = [tuple(row[name] for name in shown) for row in table.to_pylist()]
    return sorted((peak.removeprefix("GRCh38:"), *rest) for peak, *rest in rows)


def test_ibed() -> None:
    reading = run_source("pchic", [SAMPLES / "pchic" / "made.ibed"])
    assert edges(reading, "score", "bait_to_bait", "bait", "other_end") == [
        ("chr1:11800-12100", NA, 12.5, True, "chr1:28000-30000", "chr1:11000-12500"),
        ("chr1:11800-12100", BBB, 12.5, True, "chr1:28000-30000", "chr1:11000-12500"),
        ("chr1:14409-14600", AAA, pytest.approx(6.07), False, "chr1:11000-12500", "chr1:14000-15000"),
        ("chr1:29600-30050", AAA, 12.5, True, "chr1:11000-12500", "chr1:28000-30000"),
        ("chr1:31500-31900", NA, 7.0, False, "chr1:28000-30000", "chr1:31000-32000"),
        ("chr1:31500-31900", BBB, 7.0, False, "chr1:28000-30000", "chr1:31000-32000"),
        ("chr1:9500-9800", BBB, 5.0, False, "chr2:59000-61500", "chr1:9000-10000"),
    ]
    # below 5; a bait without gene; no peak. The lower score (8.25) that the two baits have of each other: three edges
    assert (reading.read, reading.filtered, reading.folded) == (8, 3, 3)
    assert [w.partition(": ")[2] for w in reading.warnings] == [
        "1 rows have a score below 5, the first in line 4",
        "1 transcripts have no gene: give --transcripts or --fragments",
        "1 rows have no gene of the graph at the bait, the first in line 8",
        "1 rows have no peak under the other end, the first in line 7",
    ]


def test_each_score_column_of_a_peak_matrix_is_a_biosample() -> None:
    reading = run_source("pchic", [SAMPLES / "pchic" / "matrix.txt"])
    assert edges(reading, "biosample", "score", "score_kind") == [
        ("chr1:14409-14600", AAA, "Mon", pytest.approx(6.07), "chicago"),
        ("chr1:14409-14600", AAA, "nCD4", 5.5, "chicago"),
        ("chr1:31500-31900", NA, "nCD4", 7.25, "chicago"),
        ("chr1:31500-31900", BBB, "nCD4", 7.25, "chicago"),
        ("chr1:9500-9800", BBB, "Mon", 5.0, "chicago"),
    ]
    assert reading.filtered == 1
    (biosamples,) = (b.table for b in reading.batches if b.type.name == "Biosample")
    assert biosamples["id"].to_pylist() == ["Mon", "nCD4"]
    with pytest.raises(InputError, match="its columns Mon, nCD4 name the biosamples"):
        run_source("pchic", [SAMPLES / "pchic" / "matrix.txt"], biosample="Mon")


def test_the_formats_without_names_agree() -> None:
    files = [SAMPLES / "pchic" / name for name in ("capture.bedpe", "washu.txt", "track.longrange")]
    one, *others = (content(run_source("pchic", [file], biosample="CL:0000576")) for file in files)
    assert set(one) == {"CONTACTS", "Biosample"}
    assert others == [one, one]


def test_positions_of_ibed_count_from_one(tmp_path: Path) -> None:
    """The peak chr1:9500-9800 ends before base 9801 (1-based) and starts with base 9501."""
    row = ("1", 11001, 12500, "AAA1", "1")
    ends = {(9801, 9900): 0, (9800, 9900): 1, (9400, 9500): 0, (9400, 9501): 1}
    for (start, end), expected in ends.items():
        reading = run_source("pchic", [ibed(tmp_path / "a.ibed", (*row, start, end, ".", 9, 9))])
        assert reading.rows == expected, (start, end)


def test_names_of_transcripts_come_from_a_table(tmp_path: Path) -> None:
    file = ibed(tmp_path / "a.ibed", ("1", 400001, 404000, "ENST01.7,ENST02,ENST01", "1", 9001, 10000, ".", 9, 6))
    assert run_source("pchic", [file]).rows == 0
    table = write(tmp_path / "t.tsv", bed(("transcript_id", "gene_id"), ("ENST01", f"{AAA}.5"), ("ENST02.3", "BBB2")))
    reading = run_source("pchic", [file], transcripts=table)
    assert [gene for _, gene in edges(reading)] == [AAA, BBB]


def test_names_of_fragments_come_from_a_table(tmp_path: Path) -> None:
    """A baitmap: 1-based, no header; both ends are baits by it."""
    table = write(tmp_path / "a.baitmap", bed((1, 11001, 12500, 3, "BBB2"), ("chr1", 29001, 31000, 7, "AAA1;NA")))
    files = [
        ibed(tmp_path / "a.ibed", ("chr1", 11001, 12500, "AAA1", "1", 29001, 31000, ".", 9, 6)),
        write(tmp_path / "a.bedpe", bed(("chr1", 11000, 12500, "1", 29000, 31000, ".", 6))),
    ]
    for file in files:
        reading = run_source("pchic", [file], fragments=table)
        assert edges(reading, "bait_to_bait") == [
            ("chr1:11800-12100", AAA, True),
            ("chr1:11800-12100", NA, True),
            ("chr1:29600-30050", BBB, True),
        ]


def test_promoters_stand_in_for_names(tmp_path: Path) -> None:
    """AAA1 starts at base 11868, by strand; ENSG00000000103 at 1000."""
    rows = [("1", 11001, 12500, name, "1", 14001, 15000, ".", 9, 6) for name in ("BBB2", "GONE1", "non-annotated")]
    files = [ibed(tmp_path / f"{i}.ibed", row) for i, row in enumerate(rows)]
    genes = [[gene for _, gene in edges(run_source("pchic", [file]))] for file in files]
    assert genes == [[BBB], [AAA], [AAA]]
    assert "1 genes that baits are named after are not in the graph: GONE1" in run_source("pchic", files).warnings[0]
    named = [run_source("pchic", [file], bait_genes="names").rows for file in files]
    assert named == [1, 0, 0]
    assert [gene for _, gene in edges(run_source("pchic", files[:1], bait_genes="promoters"))] == [AAA]
    near = ibed(tmp_path / "near.ibed", ("1", 11870, 12500, "", "1", 14001, 15000, ".", 9, 6))
    assert [run_source("pchic", [near], tolerance_bp=bp).rows for bp in (0, 1)] == [0, 1]


def test_the_threshold_is_inclusive_and_an_option(tmp_path: Path) -> None:
    rows = [("1", 11001, 12500, "AAA1", "1", 14001, 15000 + i, ".", 9, score) for i, score in enumerate((3, 4.9, 5))]
    file = ibed(tmp_path / "a.ibed", *rows)
    assert [(r.rows, r.filtered) for r in (run_source("pchic", [file], min_score=s) for s in (5.0, 4.0, 0.0))] == [
        (1, 2),
        (2, 1),
        (3, 0),
    ]


def test_what_is_wrong_with_a_row(tmp_path: Path) -> None:
    good = ("1", 11001, 12500, "AAA1", "1", 14001, 15000, ".", 9, 6)
    bad = [
        (*good[:1], 0, *good[2:]),
        (*good[:9], "high"),
        (*good[:6], "1e5", *good[7:]),
        (*good[:4], "chr99", *good[5:]),
    ]
    reading = run_source("pchic", [ibed(tmp_path / "a.ibed", good, *bad)])
    assert sorted(messages(reading.rejected)) == [
        "a.ibed:3 column 'start1': positions of this format start from 1, not 0",
        "a.ibed:4 column 'score': 'high' is not a number",
        "a.ibed:5 column 'end2': '1e5' is not a whole number",
        "a.ibed:6 column 'chrom': 'chr99' is not a chromosome of GRCh38",
    ]
    reading = run_source("pchic", [write(tmp_path / "w.txt", "chr1,5,9\tchr1,15,19\t6\nchr1,5,9\tchr1:x\t6\n")])
    assert next(messages(reading.rejected)).startswith("w.txt:2 column 'second': 'chr1:x' is not an anchor")


def test_files_that_are_refused(tmp_path: Path) -> None:
    chinput = write(
        tmp_path / "a.chinput", "##\tsamplename=x\nbaitID\totherEndID\tN\totherEndLen\tdistSign\n1\t2\t3\t4\t5\n"
    )
    with pytest.raises(InputError, match="chinput holds read counts") as caught:
        run_source("pchic", [chinput])
    assert "CHiCAGO" in caught.value.hint
    with pytest.raises(InputError, match="no known header, and neither BEDPE nor"):
        run_source("pchic", [write(tmp_path / "a.bed", "chr1\t1\t2\n")])
    with pytest.raises(ParameterError, match="tolerance_bp is -1: at least 0"):
        run_source("pchic", [SAMPLES / "pchic" / "made.ibed"], tolerance_bp=-1)


def unpacked(data: Path, name: str, into: Path) -> Path:
    with zipfile.ZipFile(data / "pchic" / f"{name}.zip") as archive:
        return into / archive.extract(archive.namelist()[0], into)


def slowly(frame: pd.DataFrame, peaks: list[tuple[int, int, str]], names: dict[int, set[str]]) -> dict[Edge, float]:
    """Return the best score by peak, gene, bait and other end: row by row over all peaks of the chromosome."""
    scores: dict[Edge, float] = defaultdict(float)
    for row in frame.to_dict("records"):
        ends = [(row["bait_start"] - 1, row["bait_end"]), (row["otherEnd_start"] - 1, row["otherEnd_end"])]
        for bait, other in (ends, ends[::-1]):
            if other == ends[0] and row["otherEnd_name"] == ".":
                continue
            under = [name for start, end, name in peaks if start < other[1] and other[0] < end]
            for peak in under:
                for gene in names.get(bait[0], set()):
                    key = (peak, gene, "chr19:{}-{}".format(*bait), "chr19:{}-{}".format(*other))
                    scores[key] = max(scores[key], row["score"])
    return scores


def test_the_real_interactions_by_a_slow_loop(data: Path, tmp_path: Path) -> None:
    file, table = unpacked(data, "ibed1_example", tmp_path), data / "pchic" / "annotation_example.txt"
    reading = run_on_h1("pchic", data, file, fragments=table, bait_genes="names")
    frame = pd.read_csv(file, sep="\t")
    peaks = h1_graph(data)["Peak"].to_pandas().query("chrom == 'chr19'")
    named = pd.read_csv(table, sep="\t").fillna("")
    ids = names_of_genes(data)
    names = {
        row["start"] - 1: {ids[name] for name in row["gene_name"].split(",") if name in ids}
        for row in named.to_dict("records")
    }
    expected = slowly(frame, list(zip(peaks["start"], peaks["end"], peaks["id"], strict=True)), names)
    rows = reading.batches[0].table.to_pandas()
    keys = rows[["start_id", "end_id", "bait", "other_end"]].itertuples(index=False, name=None)
    assert dict(zip(keys, rows["score"], strict=True)) == pytest.approx(expected)
    assert (reading.read, len(expected), reading.filtered, len(reading.rejected)) == (4568, 6740, 2515, 0)


def names_of_genes(data: Path) -> dict[str, str]:
    """Return Ensembl ids, and symbols that only one gene of the main chromosomes has."""
    genes = h1_graph(data)["Gene"].to_pandas()
    main = genes[genes["chrom"].str.fullmatch(r"chr(\d+|X|Y|M)")]
    count = Counter(main["symbol"])
    symbols = {s: i for s, i in zip(main["symbol"], main["id"], strict=True) if count[s] == 1}
    return symbols | dict(zip(genes["id"], genes["id"], strict=True))


def test_the_real_peak_matrix(data: Path, tmp_path: Path) -> None:
    """The ibed is its column cellA: equal edges; 740 of 1,772 peaks lie in one of its other ends."""
    table = data / "pchic" / "annotation_example.txt"
    matrix = unpacked(data, "peakmatrix_example", tmp_path)
    reading = run_on_h1("pchic", data, matrix, fragments=table)
    rows = reading.batches[0].table.to_pandas()
    assert rows["biosample"].value_counts().to_dict() == {"cellA": 6748, "cellB": 5556}
    ibed_file = unpacked(data, "ibed1_example", tmp_path)
    of_ibed = run_on_h1("pchic", data, ibed_file, fragments=table).batches[0].table.to_pandas()
    shown = ["start_id", "end_id", "bait", "other_end", "bait_to_bait"]
    of_a = rows[rows["biosample"] == "cellA"]
    assert set(of_a[shown].itertuples(index=False)) == set(of_ibed[shown].itertuples(index=False))

    raw = pd.read_csv(matrix, sep="\t")
    peaks = h1_graph(data)["Peak"].to_pandas().query("chrom == 'chr19'")
    ends = set(zip(raw["oeStart"] - 1, raw["oeEnd"], strict=True))
    under = {
        peak["id"]
        for peak in peaks.to_dict("records")
        if any(peak["start"] < end and start < peak["end"] for start, end in ends)
    }
    assert (len(under), len(peaks)) == (740, 1772)
    every = run_on_h1("pchic", data, matrix, fragments=table, min_score=0.0).batches[0].table.to_pandas()
    in_other_end = every[every["other_end"].isin({f"chr19:{start}-{end}" for start, end in ends})]
    assert set(in_other_end["start_id"]) < under
    # five lie in other ends of baits none of whose genes is in the graph
    assert in_other_end["start_id"].nunique() == 735
