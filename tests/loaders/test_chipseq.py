"""ChIP-seq: which factor, which peak, which of several; against pyranges and against counts of the real files."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING, Any

import pandas as pd
import pyranges as pr
import pytest

from kg.errors import InputError
from loaders.tables.rows import messages
from tests.loaders.world import SAMPLES, bed, graph_of, run_source, write

if TYPE_CHECKING:
    from pathlib import Path

SAMPLE = SAMPLES / "chipseq" / "ENCFF000AAA_BBB2.narrowPeak"
BBB2, AAA1 = "ENSG00000000104", "ENSG00000000101"


def table(reading: Any, name: str) -> list[dict[str, Any]]:
    return next((b.table.to_pylist() for b in reading.batches if b.type.name == name), [])


def test_the_strongest_peak_over_each_peak_counts() -> None:
    reading = run_source("chipseq", [SAMPLE], biosample="GM12878")
    rows = {row.pop("end_id"): row for row in table(reading, "BINDS")}
    same = {"start_id": BBB2, "score_kind": "signal", "biosample": "GM12878", "experiment": "ENCFF000AAA"}
    assert rows == {
        "GRCh38:chr1:9500-9800": {**same, "score": 20.5, "q_value": None, "original": None},
        "GRCh38:chr1:11800-12100": {**same, "score": 7.5, "q_value": 2.5, "original": None},
        "GRCh38:chr1:31500-31900": {**same, "score": 3.0, "q_value": 1.5, "original": None},
    }
    assert (reading.read, reading.folded, reading.filtered) == (6, 1, 2)
    assert table(reading, "TF") == [{"id": BBB2, "family": None}]
    assert table(reading, "Biosample") == [{"id": "GM12878", "name": "GM12878", "ontology": "text"}]


def test_weak_peaks_are_filtered() -> None:
    reading = run_source("chipseq", [SAMPLE], min_score=10.0)
    assert [row["score"] for row in table(reading, "BINDS")] == [20.5]
    assert reading.filtered == 4  # two are weak, two meet no peak
    assert table(reading, "Biosample") == []


@pytest.mark.parametrize(
    ("columns", "score", "kind"),
    [
        ((), 1.0, "peak"),
        (("x", 640), 640.0, "bed"),
        (("x", 640, ".", 8.5, 3.5, 2.25), 8.5, "signal"),  # broadPeak has no summit
    ],
)
def test_the_score_is_what_the_format_has(tmp_path: Path, columns: tuple[Any, ...], score: float, kind: str) -> None:
    reading = run_source("chipseq", [write(tmp_path / "AAA1.bed.gz", bed(("chr1", 9500, 9600, *columns)))])
    (row,) = table(reading, "BINDS")
    assert (row["score"], row["score_kind"], row["experiment"]) == (score, kind, "AAA1")
    assert row["q_value"] == (2.25 if kind == "signal" else None)


def test_the_order_of_what_names_the_factor(tmp_path: Path) -> None:
    first_file = write(tmp_path / "one.bed", bed(("chr1", 9500, 9600)))
    two = write(tmp_path / "ENCFF123ABC.bed.gz", bed(("chr1", 9500, 9600)))
    listed = write(tmp_path / "m.tsv", "file\ttf\texperiment\tbiosample\none.bed\tAAA1\tE1\tCL:0000236\n")
    (row,) = table(run_source("chipseq", [first_file], tf="BBB2", metadata=listed, biosample="B"), "BINDS")
    assert (row["start_id"], row["experiment"], row["biosample"]) == (AAA1, "E1", "CL:0000236")
    (row,) = table(run_source("chipseq", [two], tf=f"{BBB2}.7", biosample="B"), "BINDS")
    assert (row["start_id"], row["experiment"], row["biosample"]) == (BBB2, "ENCFF123ABC", "B")
    with pytest.raises(InputError, match=r"ENCFF123ABC\.bed\.gz: --metadata has no row for it"):
        run_source("chipseq", [first_file, two], metadata=listed)


def test_the_metadata_of_encode(tmp_path: Path) -> None:
    file = write(tmp_path / "ENCFF123ABC.bed.gz", bed(("chr1", 9500, 9600)))
    head = "File accession\tFile format\tExperiment accession\tExperiment target\tBiosample term id\n"
    listed = write(
        tmp_path / "metadata.tsv", head + "ENCFF123ABC\tbed narrowPeak\tENCSR000XYZ\tAAA1-human\tEFO:0002784\n"
    )
    (row,) = table(run_source("chipseq", [file], metadata=listed), "BINDS")
    assert (row["start_id"], row["experiment"], row["biosample"]) == (AAA1, "ENCSR000XYZ", "EFO:0002784")


def test_files_of_one_experiment_are_one(tmp_path: Path) -> None:
    files = [write(tmp_path / f"r{i}.bed", bed(("chr1", 9500 + i, 9600, "x", i))) for i in (3, 5)]
    listed = write(tmp_path / "m.tsv", "file\ttf\texperiment\nr3\tAAA1\tE1\nr5\tAAA1\tE1\n")
    reading = run_source("chipseq", files, metadata=listed)
    assert [row["score"] for row in table(reading, "BINDS")] == [5.0]
    assert reading.folded == 1


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("mine.bed", {}, r"mine\.bed: the name of the file names no gene of the graph"),
        ("AAA1_BBB2.bed", {}, rf"names several genes \({AAA1}, {BBB2}\)"),
        ("AAA1.bed", {"tf": "PU1"}, "'PU1' is not one gene of the graph"),
    ],
)
def test_a_file_of_no_known_factor_is_refused(tmp_path: Path, name: str, options: dict[str, str], message: str) -> None:
    with pytest.raises(InputError, match=message):
        run_source("chipseq", [write(tmp_path / name, bed(("chr1", 9500, 9600)))], **options)


def test_a_signal_that_is_no_number_is_rejected(tmp_path: Path) -> None:
    rows = [("chr1", 9500, 9600, ".", 0, ".", signal, 1, 1, 5) for signal in ("1.5", "high")]
    reading = run_source("chipseq", [write(tmp_path / "AAA1.narrowPeak", bed(*rows))])
    assert list(messages(reading.rejected)) == ["AAA1.narrowPeak:2 column 'signal': 'high' is not a number"]


def test_bound_peaks_equal_those_of_pyranges(tmp_path: Path) -> None:
    rng = random.Random(3)
    chip = [
        ("chr1", s := rng.randrange(0, 90_000), s + rng.randrange(1, 900), "x", rng.randrange(1000)) for _ in range(400)
    ]
    peaks = [("chr1", s := rng.randrange(0, 90_000), s + rng.randrange(1, 900)) for _ in range(300)]
    graph = graph_of([SAMPLES / "genes" / "genes.gtf"], [write(tmp_path / "p.bed", bed(*peaks))])
    reading = run_source("chipseq", [write(tmp_path / "AAA1.bed", bed(*chip))], graph=graph)
    columns = ["Chromosome", "Start", "End"]
    joined = pr.PyRanges(pd.DataFrame(set(peaks), columns=columns)).join(
        pr.PyRanges(pd.DataFrame([(*c[:3], c[4]) for c in chip], columns=[*columns, "score"]))
    )
    best = joined.df.groupby(columns, observed=True)["score"].max()
    expected = {f"GRCh38:{c}:{s}-{e}": score for (c, s, e), score in best.items()}
    assert len(expected) > 100
    assert {row["end_id"]: row["score"] for row in table(reading, "BINDS")} == expected


def test_real_peaks_of_ctcf_and_yy1(data: Path, tmp_path: Path) -> None:
    """Over the peaks of PU.1, on their own assembly; the numbers are those of a loop over all pairs of a chromosome."""
    folder = data / "chipseq" / "gm12878_hg19"
    ctcf, yy1, pu1 = (next(folder.glob(f"*{name}*")) for name in ("Ctcf", "Yy1", "Pu1"))
    genes = write(tmp_path / "genes.tsv", GENES)
    graph = graph_of([genes], [pu1], "hg19")
    listed = write(tmp_path / "m.tsv", f"file\ttf\tbiosample\n{ctcf.name}\tCTCF\tGM12878\n{yy1.name}\tYY1\tGM12878\n")
    reading = run_source("chipseq", [ctcf, yy1], "hg19", graph=graph, metadata=listed)
    counts = pd.DataFrame(table(reading, "BINDS")).groupby("start_id").size().to_dict()
    assert counts == {"ENSG00000102974": 2938, "ENSG00000100811": 543}
    assert reading.rejected.empty


GENES = (
    "ensgene\tsymbol\tchr\tstart\tend\tstrand\tbiotype\n"
    "ENSG00000102974\tCTCF\t16\t67596310\t67673086\t1\tprotein_coding\n"
    "ENSG00000100811\tYY1\t14\t100705102\t100745371\t1\tprotein_coding\n"
)
