"""The driver on a real graph: what a load writes, what it refuses, and that a refusal leaves no trace."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING, Any

import pandas as pd
import pytest

from kg.errors import (
    AssemblyMismatch,
    Conflict,
    InputError,
    MissingInput,
    ParameterError,
    SettingsError,
    TooManyRejected,
)
from kg.evidence.nodes import read_nodes
from kg.schema import GENE, MOTIF, NEAR, PEAK
from loaders import registry
from loaders.load import LoadReport, load
from loaders.requests import LoadRequest, prepare
from tests.loaders.world import MOUSE, NEEDED_BIOSAMPLE, SAMPLES, bed, samples, write

if TYPE_CHECKING:
    from pathlib import Path

    from kg.store import Store

GTF, BED = SAMPLES / "genes" / "genes.gtf", SAMPLES / "peaks" / "peaks.bed"
MANY = [("chr1", 1000 + 700 * i, 1200 + 713 * i) for i in range(200)]


def counts(report: LoadReport) -> tuple[int, int, int, int]:
    return report.added, report.changed, report.removed, report.unchanged


def state(store: Store) -> dict[str, Any]:
    """Return everything that a load could have changed."""
    nodes = store.read(
        "MATCH (n) WHERE NOT n:Lease AND NOT n:Schema "
        "RETURN labels(n) AS labels, n {.*, loaded_at: null} AS held ORDER BY n.id, n.row_id, n.since"
    )
    edges = store.read("MATCH ()-[r]->() WHERE r.edge_id IS NOT NULL RETURN properties(r) AS r ORDER BY r.edge_id")
    return {"nodes": nodes, "edges": edges}


def hashes(store: Store) -> dict[str, str]:
    rows = store.read("MATCH (v:DatasetVersion) RETURN v.dataset AS dataset, v.hashes AS hashes")
    return {row["dataset"]: row["hashes"] for row in rows}


def peaks_file(folder: Path, rows: list[tuple[Any, ...]], name: str = "peaks.bed") -> Path:
    return write(folder / name, bed(*rows))


def loaded(store: Store, home: Path, source: str, *files: Path, **more: Any) -> LoadReport:
    return load(
        store, home, LoadRequest(source, files, **{"assembly": None if source == "proximity" else "hg38", **more})
    )


def test_genes_peaks_and_proximity(store: Store, tmp_path: Path) -> None:
    genes = loaded(store, tmp_path, "genes", GTF)
    peaks = loaded(store, tmp_path, "peaks", BED, licence="CC0-1.0")
    near = loaded(store, tmp_path, "proximity")
    assert (genes.dataset, counts(genes)) == ("genes:genes", (6, 0, 0, 0))
    assert (peaks.dataset, counts(peaks), peaks.folded, peaks.renamed) == ("peaks:peaks", (8, 0, 0, 0), 1, 1)
    assert near.dataset == "proximity"
    edges = store.read(
        f"MATCH (p:Peak)-[r:{NEAR.name}]->(g:Gene) RETURN p.id AS p, g.id AS g, r.distance_bp AS d, "
        "r.tss_distance_bp AS t, r.dataset AS dataset ORDER BY p, g"
    )
    assert [(e["p"], e["g"], e["d"], e["t"]) for e in edges] == [
        ("GRCh38:KI270733.1:300-500", "ENSG00000000106", 0, 201),
        ("GRCh38:chr1:11800-12100", "ENSG00000000101", 0, 0),
        ("GRCh38:chr1:29600-30050", "ENSG00000000102", 0, -31),
        ("GRCh38:chr1:31500-31900", "ENSG00000000102", 0, -1931),
        ("GRCh38:chr2:61000-62010", "ENSG00000000104", 0, -1001),
        ("GRCh38:chrM:0-100", "ENSG00000000105", 0, -477),
    ]
    assert (counts(near), {e["dataset"] for e in edges}) == ((6, 0, 0, 0), {"proximity"})
    (about,) = store.read("MATCH (d:Dataset {id: 'peaks:peaks'}) RETURN d.licence AS licence, d.citation AS citation")
    assert about["licence"] == "CC0-1.0"
    assert about["citation"]


@pytest.mark.parametrize("source", [s for s in registry.names() if not registry.find(s).is_derived])
def test_twice_is_no_change(store: Store, tmp_path: Path, source: str) -> None:
    if registry.find(source).lookup:
        loaded(store, tmp_path, "genes", GTF)
        loaded(store, tmp_path, "genes", MOUSE, dataset="mouse", assembly="mm10")
        loaded(store, tmp_path, "peaks", BED)
    if MOTIF in registry.find(source).lookup:
        loaded(store, tmp_path, "motifs", SAMPLES / "motifs" / "made.jaspar")
    biosample = NEEDED_BIOSAMPLE.get(source)
    for sample in samples(source):
        first = loaded(store, tmp_path, source, sample, dataset=sample.name, biosample=biosample)
        before = state(store)
        again = loaded(store, tmp_path, source, sample, dataset=sample.name, biosample=biosample)
        assert again.nothing_to_do
        assert counts(again) == (0, 0, 0, first.added + first.changed + first.unchanged)
        assert state(store) == before


def test_a_derived_dataset_twice_is_no_change_and_follows_its_nodes(store: Store, tmp_path: Path) -> None:
    loaded(store, tmp_path, "genes", GTF)
    loaded(store, tmp_path, "peaks", BED)
    first = loaded(store, tmp_path, "proximity")
    assert loaded(store, tmp_path, "proximity").nothing_to_do
    rows = [tuple(line.split("\t")[:3]) for line in BED.read_text().splitlines()[2:]]
    loaded(store, tmp_path, "peaks", peaks_file(tmp_path, [rows[0], *rows[2:]]))
    again = loaded(store, tmp_path, "proximity")
    assert not again.nothing_to_do
    assert counts(again) == (0, 0, 1, first.added - 1)
    other_rule = loaded(store, tmp_path, "proximity", options={"rule": "window", "window_bp": 100_000})
    assert other_rule.added > 0


def test_shuffled_rows_have_the_same_hash_and_parts_are_the_whole(store: Store, tmp_path: Path) -> None:
    loaded(store, tmp_path, "peaks", peaks_file(tmp_path, MANY), dataset="d")
    whole = hashes(store)["d"]
    shuffled = MANY.copy()
    random.Random(0).shuffle(shuffled)
    again = loaded(store, tmp_path, "peaks", peaks_file(tmp_path, shuffled), dataset="d")
    assert (counts(again), again.nothing_to_do) == ((0, 0, 0, 200), False)
    assert hashes(store)["d"] == whole
    store.write("MATCH (n) WHERE NOT n:Schema DETACH DELETE n")
    for part in (0, 1):
        done = loaded(store, tmp_path, "peaks", peaks_file(tmp_path, MANY[part::2]), dataset="d", part=f"p{part}")
        assert counts(done) == (100, 0, 0, 0)
    assert hashes(store)["d"] == whole


def test_a_reload_writes_only_what_changed(store: Store, tmp_path: Path) -> None:
    narrow = [(*row, f"p{i}", 0, ".", 1, 1, 1, 5) for i, row in enumerate(MANY)]
    loaded(store, tmp_path, "peaks", peaks_file(tmp_path, narrow))
    narrow[3] = (*MANY[3], "p3", 0, ".", 1, 1, 1, 6)
    done = loaded(store, tmp_path, "peaks", peaks_file(tmp_path, [*narrow[:-1], ("chr2", 5, 9, *"abc", 1, 1, 1, 1)]))
    assert counts(done) == (1, 1, 1, 198)


def test_a_plan_counts_and_writes_nothing(store: Store, tmp_path: Path) -> None:
    loaded(store, tmp_path, "peaks", peaks_file(tmp_path, MANY))
    before = state(store)
    changed = peaks_file(tmp_path, [*MANY[:-5], ("chr2", 5, 9), ("chr2", 9, 5)])
    plan = loaded(store, tmp_path, "peaks", changed, plan=True)
    assert (counts(plan), plan.quarantined, plan.quarantine) == ((1, 0, 5, 195), 1, None)
    assert state(store) == before
    assert not (tmp_path / "quarantine").exists()
    assert counts(loaded(store, tmp_path, "peaks", changed)) == counts(plan)


def test_rejected_rows_are_kept_with_file_line_and_reason(store: Store, tmp_path: Path) -> None:
    rows = [*MANY, ("chr1", 1000, 900), ("chr1", 7, "x")]
    report = loaded(store, tmp_path, "peaks", write(tmp_path / "peaks.bed.gz", "# head\n" + bed(*rows)))
    assert (report.added, report.quarantined) == (200, 2)
    assert report.examples == (
        "peaks.bed.gz:202 column 'end': 900 is not greater than start 1000",
        "peaks.bed.gz:203 column 'end': 'x' is not a whole number",
    )
    assert report.quarantine
    kept = pd.read_parquet(f"{report.quarantine}/rejected.parquet")
    assert kept.to_dict("records") == [
        {
            "file": "peaks.bed.gz",
            "line": 202,
            "column": "end",
            "reason": "900 is not greater than start 1000",
            "rule": "EMPTY",
            "text": "chr1\t1000\t900",
        },
        {
            "file": "peaks.bed.gz",
            "line": 203,
            "column": "end",
            "reason": "'x' is not a whole number",
            "rule": "NOT_INTEGER",
            "text": "chr1\t7\tx",
        },
    ]
    assert pd.read_csv(f"{report.quarantine}/rejected.tsv", sep="\t").equals(kept)
    assert [path.name for path in (tmp_path / "quarantine").iterdir()] == [report.quarantine.rsplit("/", 1)[1]]


def whole_file_problems(folder: Path) -> dict[str, tuple[Path, type[Exception]]]:
    packed = write(folder / "cut.bed.gz", bed(*(MANY * 30)))
    packed.write_bytes(packed.read_bytes()[:-2000])
    mouse = [("chr19", 61_000_000 + i * 1000, 61_000_300 + i * 1000) for i in range(40)]
    return {
        "truncated gzip": (packed, InputError),
        "HTML": (write(folder / "page.bed", "<!doctype html><html>no</html>"), InputError),
        "empty": (write(folder / "empty.bed", ""), InputError),
        "only comments": (write(folder / "head.bed", "# nothing\ntrack name=x\n"), InputError),
        "wrong assembly": (peaks_file(folder, [*mouse, *MANY], "mouse.bed"), AssemblyMismatch),
        "1-based": (peaks_file(folder, [("chr1", 9 + i, 9 + i) for i in range(99)], "one.bed"), InputError),
        "all rows wrong": (peaks_file(folder, [("chr1", 9 + i, 3 + i) for i in range(99)], "bad.bed"), TooManyRejected),
        "too many rows wrong": (peaks_file(folder, [*MANY, *[("chr1", 9, 3)] * 3], "some.bed"), TooManyRejected),
        "more than half gone": (peaks_file(folder, MANY[:90], "half.bed"), Conflict),
        "not there": (folder / "nothing.bed", MissingInput),
    }


def test_what_is_refused_leaves_the_graph_as_it_was(store: Store, tmp_path: Path) -> None:
    loaded(store, tmp_path, "genes", GTF)
    loaded(store, tmp_path, "peaks", peaks_file(tmp_path, MANY), dataset="d")
    before = state(store)
    for problem, (path, error) in whole_file_problems(tmp_path).items():
        with pytest.raises(error) as caught:
            loaded(store, tmp_path, "peaks", path, dataset="d")
        assert caught.value.hint, problem  # type: ignore[attr-defined]
        assert state(store) == before, problem


def test_rejects_and_removals_can_be_accepted(store: Store, tmp_path: Path) -> None:
    loaded(store, tmp_path, "peaks", peaks_file(tmp_path, MANY), dataset="d")
    problem, _ = whole_file_problems(tmp_path)["too many rows wrong"]
    done = loaded(store, tmp_path, "peaks", problem, dataset="d", accept_rejects=True)
    assert (counts(done), done.quarantined) == ((0, 0, 0, 200), 3)
    half, _ = whole_file_problems(tmp_path)["more than half gone"]
    assert counts(loaded(store, tmp_path, "peaks", half, dataset="d", replace=True)) == (0, 0, 110, 90)


def test_conflicting_ids_are_all_set_apart(store: Store, tmp_path: Path) -> None:
    head = "gene_id\tgene_name\tchrom\tstart\tend\tstrand\tbiotype\n"
    rows = [f"E{i}\tS{i}\tchr1\t{100 + i}\t{200 + i}\t+\tx\n" for i in range(9)]
    text = head + "".join([*rows, rows[0], rows[1].replace("201", "999")])
    report = loaded(store, tmp_path, "genes", write(tmp_path / "g.tsv", text))
    assert (report.added, report.folded, report.quarantined) == (8, 1, 2)
    assert {e.partition(" ")[0] for e in report.examples} == {"g.tsv:3", "g.tsv:12"}


def test_no_overlap_at_all_is_refused(store: Store, tmp_path: Path) -> None:
    loaded(store, tmp_path, "genes", GTF)
    loaded(store, tmp_path, "peaks", peaks_file(tmp_path, [("chr9", 5000, 6000)]))
    before = state(store)
    with pytest.raises(InputError, match="no peak is near a gene"):
        loaded(store, tmp_path, "proximity")
    assert state(store) == before


def test_a_graph_has_one_assembly_of_a_species(store: Store, tmp_path: Path) -> None:
    loaded(store, tmp_path, "genes", GTF)
    with pytest.raises(AssemblyMismatch, match=r"the graph holds GRCh38 \(genes:genes\), these files are GRCh37"):
        loaded(store, tmp_path, "peaks", peaks_file(tmp_path, MANY), assembly="hg19")
    mouse = loaded(store, tmp_path, "peaks", peaks_file(tmp_path, MANY), assembly="mm10")
    assert mouse.added == 200
    assert {row["assembly"] for row in read_nodes(store, PEAK, 1).to_pylist()} == {"GRCm38"}
    assert {row["assembly"] for row in read_nodes(store, GENE, 1).to_pylist()} == {"GRCh38"}


def test_a_second_dataset_of_a_source_must_be_named(store: Store, tmp_path: Path) -> None:
    loaded(store, tmp_path, "peaks", peaks_file(tmp_path, MANY[:9], "first.bed"))
    second = peaks_file(tmp_path, MANY[9:], "second.bed")
    with pytest.raises(SettingsError, match=r"the graph has peaks:first; is second\.bed a new dataset") as caught:
        loaded(store, tmp_path, "peaks", second)
    assert "--dataset peaks:second to add" in caught.value.hint
    assert loaded(store, tmp_path, "peaks", second, dataset="peaks:second").added == 191


def test_the_assembly_may_come_from_the_file_and_must_agree(tmp_path: Path) -> None:
    headed = write(tmp_path / "said.bed", "# genome-build hg38\n" + bed(*MANY))
    one = prepare(LoadRequest("peaks", [headed])).assembly
    assert one is not None
    assert one.name == "GRCh38"
    with pytest.raises(AssemblyMismatch, match=r"--assembly says GRCm38, said\.bed says GRCh38"):
        prepare(LoadRequest("peaks", [headed], assembly="mm10"))
    with pytest.raises(InputError, match=r"the assembly of peaks\.bed is not known"):
        prepare(LoadRequest("peaks", [peaks_file(tmp_path, MANY)]))


@pytest.mark.parametrize(
    ("request_", "error", "message"),
    [
        (LoadRequest("peaks", assembly="hg38"), MissingInput, "peaks needs files"),
        (LoadRequest("proximity", [BED]), SettingsError, "takes no files"),
        (LoadRequest("peaks", [BED, BED]), InputError, r"named twice: peaks\.bed"),
    ],
)
def test_a_request_that_makes_no_sense_is_refused(request_: LoadRequest, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        prepare(request_)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"nothing": 1}, "options of peaks are not valid; nothing is not an option"),
        ({"width_bp": "5"}, "width_bp is '5': expected a whole number"),
        ({"consensus": "all"}, "consensus is 'all': one of union, fixed"),
        ({"width_bp": 0, "one_based": 1}, "one_based is 1: expected true or false; width_bp is 0: at least 1"),
    ],
)
def test_options_are_checked_before_files_are_read(tmp_path: Path, options: dict[str, Any], words: str) -> None:
    with pytest.raises(ParameterError, match=words):
        prepare(LoadRequest("peaks", [tmp_path / "none.bed"], options=options))


def test_crlf_a_byte_order_mark_and_bare_chromosome_names_change_nothing(store: Store, tmp_path: Path) -> None:
    loaded(store, tmp_path, "peaks", peaks_file(tmp_path, MANY), dataset="d")
    bare = bed(*MANY).replace("chr", "").replace("\n", "\r\n")
    report = loaded(store, tmp_path, "peaks", write(tmp_path / "odd.bed", "\ufeff" + bare), dataset="d")
    assert (counts(report), report.renamed, report.notes) == ((0, 0, 0, 200), 200, {"bom": 1, "crlf": 200})
