"""Hits: scans of cut-outs and genomes, what is kept, FIMO and BED."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from kg.errors import AssemblyMismatch, InputError, MissingInput, ParameterError
from kg.schema import MOTIF, PEAK
from loaders.genome.assemblies import assembly
from loaders.motifs import hit_cache
from loaders.motifs import scan as motif_scan
from loaders.motifs.scores import STEP, profile
from loaders.reading import ParsedSource, read_source
from loaders.registry import find
from loaders.simulation.config import WorldConfig
from loaders.simulation.genome import draw_genes, draw_peaks
from loaders.tables.files import check_file
from loaders.tables.rows import messages
from loaders.tables.source_context import SourceContext
from tests.loaders.test_motif_scan import slow_find, slow_scores
from tests.loaders.world import SAMPLES, content, graph_of, run_source, sample_graph, with_motifs, write

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from kg.progress import Progress
    from loaders.motifs.scan import MotifHits, Text
    from loaders.motifs.scores import Profile

CUT_OUTS = SAMPLES / "hits" / "cut_outs.fa"
Hit = tuple[str, str, int, str]


def rows(reading: ParsedSource) -> list[dict[str, Any]]:
    return [row for b in reading.batches for row in b.table.to_pylist()]


def hits(reading: ParsedSource) -> list[Hit]:
    return sorted(
        (row["start_id"], row["end_id"].partition(":")[2], row["offset_bp"], row["strand"]) for row in rows(reading)
    )


def scan(graph: Mapping[str, pa.Table], *files: Path, cache: Path | None = None, **options: Any) -> ParsedSource:
    loader = find("hits")
    context = SourceContext(tuple(check_file(f) for f in files), assembly("GRCh38"), graph=graph, cache=cache)
    return read_source(loader, context, loader.check_options(options))


def fasta(path: Path, records: Mapping[str, str]) -> Path:
    return write(path, "".join(f">{name} made\n{text[:70]}\n{text[70:]}\n" for name, text in records.items()))


def peaks(path: Path, names: Sequence[str]) -> Mapping[str, pa.Table]:
    lines = [name.replace(":", "\t").replace("-", "\t") for name in names]
    bed = write(path, "".join(f"{line}\n" for line in lines))
    return with_motifs(graph_of([SAMPLES / "genes" / "genes.gtf"], [bed]), SAMPLES / "motifs" / "made.jaspar")


def test_planted_sites_of_the_sample_are_found() -> None:
    assert hits(run_source("hits", [CUT_OUTS])) == [
        ("MA9001.1", "chr1:9500-9800", 20, "+"),
        ("MA9001.1", "chr1:9500-9800", 290, "+"),
        ("MA9001.1", "chr2:61000-62010", 500, "-"),
        ("MA9002.2", "chr1:11800-12100", 50, "+"),
        ("MA9002.2", "chr1:9500-9800", 100, "-"),
        ("MA9002.2", "chr2:61000-62010", 998, "+"),
        ("MA9003.1", "chr1:11800-12100", 150, "-"),
        ("MA9003.1", "chr2:61000-62010", 0, "+"),
    ]


def test_every_number_is_that_of_a_slow_scan(tmp_path: Path) -> None:
    """On the peaks of a simulated world, with planted sites; the background is told from the sequences."""
    rng = np.random.default_rng(4)
    config = replace(WorldConfig.quick(), genes=20, peaks=60)
    drawn = draw_peaks(draw_genes(config, rng), config, rng)
    names = [f"chr{c + 1}:{a}-{b}" for c, a, b in zip(drawn.chrom, drawn.start, drawn.end, strict=True)]
    graph = peaks(tmp_path / "p.bed", names)
    motifs = graph[MOTIF.label].to_pylist()
    records: dict[str, str] = {}
    planted: set[Hit] = set()
    for number, name in enumerate(names):
        start, _, end = name.partition(":")[2].partition("-")
        text = "".join(rng.choice(list("ACGT"), int(end) - int(start), p=[0.3, 0.2, 0.2, 0.3]))
        motif, at = motifs[number % len(motifs)], int(rng.integers(0, 250))
        records[name] = text[:at] + motif["consensus"] + text[at + motif["length"] :]
        planted.add((motif["id"], name, at, "+"))
    reading = scan(graph, fasta(tmp_path / "p.fa", records), p_value=1e-4)
    every = "".join(records.values())
    gc = round((every.count("G") + every.count("C")) / len(every), 3)
    expected = []
    for motif in motifs:
        matrix = json.loads(motif["matrix"])
        one, scores = profile(np.array(matrix, dtype=float), 1e-4, gc, 0.1), slow_scores(matrix, gc, 0.1)
        for i, at, strand, score in slow_find(scores, one.threshold, list(records.values())):
            p_value = float(one.p_values(np.array([score]))[0])
            expected.append(
                (motif["id"], f"GRCh38:{names[i]}", at, strand, np.float32(score / STEP), np.float32(p_value))
            )
    columns = ("start_id", "end_id", "offset_bp", "strand", "score", "p_value")
    assert sorted(tuple(row[c] for c in columns) for row in rows(reading)) == sorted(expected)
    assert planted <= set(hits(reading))
    assert max(row["p_value"] for row in rows(reading)) <= 1e-4
    backwards = fasta(tmp_path / "q.fa", dict(reversed(records.items())))
    assert content(scan(graph, backwards, p_value=1e-4)) == content(reading)


def test_a_genome_gives_the_hits_of_its_cut_outs(tmp_path: Path) -> None:
    """On chromosomes made short; peaks that overlap share a hit, and a peak's hits lie wholly inside it."""
    small = replace(assembly("GRCh38"), lengths={**assembly("GRCh38").lengths, "chr1": 4000, "chr2": 2000})
    rng = np.random.default_rng(8)
    text = {c: "".join(rng.choice(list("ACGTacgt"), n)) for c, n in (("chr1", 4000), ("chr2", 2000), ("chr7", 50))}
    for chrom, at in (("chr1", 300), ("chr1", 495), ("chr1", 795), ("chr2", 100)):
        text[chrom] = f"{text[chrom][:at]}GATTACAGGC{text[chrom][at + 10 :]}"
    names = ["chr1:200-500", "chr1:290-800", "chr1:3000-3100", "chr2:50-150"]
    graph = peaks(tmp_path / "p.bed", names)
    genome = fasta(tmp_path / "genome.fa.gz", {"1": text["chr1"], "chr2": text["chr2"], "chr7": text["chr7"]})
    context = SourceContext((check_file(genome),), small, graph=graph)
    options = find("hits").check_options({})
    whole = read_source(find("hits"), context, options)
    assert {hit for hit in hits(whole) if hit[0] == "MA9001.1"} == {
        ("MA9001.1", "chr1:200-500", 100, "+"),
        ("MA9001.1", "chr1:290-800", 10, "+"),
        ("MA9001.1", "chr1:290-800", 205, "+"),
        ("MA9001.1", "chr2:50-150", 50, "+"),
    }
    pieces = {"chr1:200-800": text["chr1"][200:800], "chr1:3000-3100": text["chr1"][3000:3100]}
    cut = fasta(tmp_path / "cut.fa", {**pieces, "x::chr2:50-150": text["chr2"][50:150]})
    assert content(scan(graph, cut)) == content(whole)


def test_a_genome_of_another_assembly_is_refused(tmp_path: Path) -> None:
    with pytest.raises(AssemblyMismatch, match=r"g\.fa:1 1 has 100 bases, in GRCh38 it has 248,956,422") as caught:
        scan(sample_graph(), fasta(tmp_path / "g.fa", {"1": "ACGTN" * 20}))
    assert "chr1:1000-1500" in caught.value.hint
    with pytest.raises(InputError, match="no sequence lies on a chromosome with peaks"):
        scan(sample_graph(), fasta(tmp_path / "g.fa", {"scaffold_9": "ACGTN" * 20}))
    with pytest.raises(InputError, match=r"h\.fa:1 the sequence has no name"):
        scan(sample_graph(), write(tmp_path / "h.fa", ">\nACGT\n"))


def test_cut_outs_whose_length_is_not_that_of_their_name(tmp_path: Path) -> None:
    path = fasta(
        tmp_path / "g.fa", {"chr1:9501-9800": "A" * 300, "chr1:11800-12100": "GATTACAGGC" * 30, "chr99:1-9": "A" * 8}
    )
    reading = scan(sample_graph(), path)
    assert list(messages(reading.rejected)) == [
        "g.fa:1 column 'sequence': the sequence has 300 letters, its name says 299",
        "g.fa:7 column 'chrom': 'chr99' is not a chromosome of GRCh38",
    ]
    assert len(hits(reading)) >= 30


def test_background_pseudocount_and_threshold_can_be_said(tmp_path: Path) -> None:
    path = fasta(tmp_path / "g.fa", {"chr1:9500-9800": "GATTACAGGC" * 30})
    motif = json.loads(sample_graph()[MOTIF.label].to_pylist()[0]["matrix"])
    for gc, pseudocount in ((0.5, 0.1), (0.3, 4.0)):
        best = max(row["score"] for row in rows(scan(sample_graph(), path, gc=gc, pseudocount=pseudocount)))
        scores = slow_scores(motif, gc, pseudocount)
        assert best == np.float32(sum(map(max, scores)) / STEP)
    assert rows(scan(sample_graph(), path, p_value=1e-30)) == []
    for option, wrong in (("p_value", 0.0), ("p_value", 1.5), ("gc", 1.0), ("pseudocount", 0.0)):
        with pytest.raises(ParameterError, match=f"options of hits are not valid; {option} is {wrong}: "):
            run_source("hits", [path], "GRCh38", **{option: wrong})


def test_motifs_too_short_for_the_threshold_are_told(tmp_path: Path) -> None:
    graph = with_motifs(sample_graph(), write(tmp_path / "m.jaspar", ">short A\n9 0\n0 9\n0 0\n0 0\n"))
    reading = scan(graph, CUT_OUTS)
    assert "1 motifs are too short for --p-value 1e-05, the first short" in reading.warnings
    assert rows(reading) == []


def test_a_scan_is_kept_and_used_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    graph, cache = sample_graph(), tmp_path / "cache"
    first = scan(graph, CUT_OUTS, cache=cache)
    assert len(list((cache / "hits").glob("*/*.npz"))) == 3
    scanned: list[int] = []

    def counted(text: Text, profiles: Sequence[Profile], progress: Progress) -> list[MotifHits]:
        scanned.append(len(profiles))
        return motif_scan.find(text, profiles, progress)

    monkeypatch.setattr("loaders.sources.hits.find", counted)
    assert content(scan(graph, CUT_OUTS, cache=cache)) == content(first)
    assert scanned == []
    scan(graph, CUT_OUTS, cache=cache, p_value=1e-4)
    scan(graph, CUT_OUTS, cache=cache, gc=0.3)
    scan(graph, CUT_OUTS, cache=cache, pseudocount=1.0)
    scan(graph, fasta(tmp_path / "g.fa", {"chr1:9500-9800": "GATTACAGGC" * 30}), cache=cache)
    monkeypatch.setattr(hit_cache, "SCAN", 2)
    scan(graph, CUT_OUTS, cache=cache)
    assert scanned == [3] * 5


def test_only_new_motifs_are_scanned(tmp_path: Path) -> None:
    graph, cache = sample_graph(), tmp_path / "cache"
    fewer = {**graph, MOTIF.label: graph[MOTIF.label].slice(0, 2)}
    scan(fewer, CUT_OUTS, cache=cache)
    kept = {path: path.stat().st_mtime_ns for path in cache.glob("hits/*/*.npz")}
    assert content(scan(graph, CUT_OUTS, cache=cache)) == content(scan(graph, CUT_OUTS))
    now = {path: path.stat().st_mtime_ns for path in cache.glob("hits/*/*.npz")}
    assert (len(kept), len(now), kept.items() <= now.items()) == (2, 3, True)


def test_fimo_is_one_based_and_names_chromosomes_or_cut_outs() -> None:
    reading = run_source("hits", [SAMPLES / "hits" / "fimo.tsv"])
    assert hits(reading) == [
        ("MA9001.1", "chr1:9500-9800", 20, "+"),
        ("MA9001.1", "chr1:9500-9800", 290, "-"),
        ("MA9002.2", "chr1:11800-12100", 50, "+"),
    ]
    assert (reading.read, reading.filtered) == (5, 2)  # one over the edge of its peak, one of a large p-value
    found = {(row["start_id"], row["offset_bp"]): (row["score"], row["p_value"]) for row in rows(reading)}
    assert found[("MA9001.1", 20)] == (np.float32(17.2), np.float32(9.5e-07))


def test_bed_names_motifs_by_id_base_id_or_name() -> None:
    reading = run_source("hits", [SAMPLES / "hits" / "hits.bed"])
    assert hits(reading) == [
        ("MA9001.1", "chr1:9500-9800", 20, "+"),
        ("MA9001.1", "chr1:9500-9800", 290, "-"),
        ("MA9002.2", "chr2:61000-62010", 0, "+"),
    ]
    assert {row["p_value"] for row in rows(reading)} == {None}
    assert reading.filtered == 2
    assert "1 motifs are not in the graph: SOX99" in reading.warnings[0]


def test_wrong_rows_of_a_bed(tmp_path: Path) -> None:
    fine = ["chr1\t9520\t9530\tMA9001.1\t17.2\t+\t1e-6\n"] * 1
    wrong = [
        "chr1\t9520\t9531\tMA9001.1\t17.2\t+\t1e-6\n",
        "chr1\t9520\t9530\tMA9001.1\t17.2\t.\t1e-6\n",
        "chr1\t9520\t9530\tMA9001.1\thigh\t+\t1e-6\n",
        "chr1\t9520\t9530\tMA9001.1\t17.2\t-\t2\n",
    ]
    reading = run_source("hits", [write(tmp_path / "h.bed", "".join(fine + wrong))])
    assert sorted(messages(reading.rejected)) == [
        "h.bed:2 column 'motif': the motif MA9001.1 is 10 long, the match 11",
        "h.bed:3 column 'strand': '.' is neither + nor -",
        "h.bed:4 column 'score': 'high' is not a number",
        "h.bed:5 column 'p_value': 2 is not between 0 and 1",
    ]
    assert [row["p_value"] for row in rows(reading)] == [np.float32(1e-6)]


def test_a_name_of_several_motifs_is_no_name(tmp_path: Path) -> None:
    text = ">x.1 SAME\n9\n0\n0\n0\n>x.2 SAME\n0\n9\n0\n0\n"
    graph = with_motifs(sample_graph(), write(tmp_path / "m.jaspar", text))
    path = write(tmp_path / "h.bed", "chr1\t9520\t9521\tSAME\t1\t+\nchr1\t9520\t9521\tx.2\t1\t+\n")
    reading = scan(graph, path)
    assert list(messages(reading.rejected)) == ["h.bed:1 column 'motif': 'SAME' names several motifs of the graph"]
    assert hits(reading) == [("x.2", "chr1:9500-9800", 20, "+")]


@pytest.mark.parametrize("label", [PEAK.label, MOTIF.label])
def test_peaks_and_motifs_must_be_there(label: str) -> None:
    graph = {**sample_graph(), label: sample_graph()[label].slice(0, 0)}
    with pytest.raises(MissingInput, match=f"the draft holds no {label.lower()}s"):
        scan(graph, CUT_OUTS)


@pytest.fixture(scope="module")
def ctcf(data: Path) -> Mapping[str, pa.Table]:
    graph = graph_of([SAMPLES / "genes" / "genes.gtf"], [data / "motifs" / "Gm12878.CTCF.top500.w200.bed"], "hg19")
    return with_motifs(graph, data / "motifs" / "HOCOMOCOv11_HUMAN.pfm")


def test_ctcf_is_what_ctcf_peaks_hold(data: Path, ctcf: Mapping[str, pa.Table], tmp_path: Path) -> None:
    """The positive control: real peaks against the same letters shuffled; counts of a slow scan."""
    path = data / "motifs" / "Gm12878.CTCF.top500.w200.fa"
    records = {name: text for name, _, text in (r.partition("\n") for r in path.read_text().split(">")[1:])}
    records = {name: text.replace("\n", "").upper() for name, text in records.items()}
    rng = np.random.default_rng(1)
    shuffled = {name: "".join(rng.permutation(list(text))) for name, text in records.items()}
    wanted = ["CTCF_HUMAN.H11MO.0.A", "CTCFL_HUMAN.H11MO.0.A", "SPI1_HUMAN.H11MO.0.A"]
    table = ctcf[MOTIF.label]
    few = {**ctcf, MOTIF.label: table.filter(pa.compute.is_in(table["id"], pa.array(wanted)))}
    contexts = [
        SourceContext((check_file(p),), assembly("hg19"), graph=few) for p in (path, fasta(tmp_path / "s.fa", shuffled))
    ]
    options = find("hits").check_options({})
    real, chance = (pd.DataFrame(rows(read_source(find("hits"), context, options))) for context in contexts)
    counts = {motif: (real["start_id"].eq(motif).sum(), chance["start_id"].eq(motif).sum()) for motif in wanted}
    gc = round(sum(t.count("G") + t.count("C") for t in records.values()) / sum(map(len, records.values())), 3)
    for motif in few[MOTIF.label].to_pylist():
        matrix = json.loads(motif["matrix"])
        one = profile(np.array(matrix, dtype=float), 1e-5, gc, 0.1)
        slow = slow_find(slow_scores(matrix, gc, 0.1), one.threshold, list(records.values()))
        assert counts[motif["id"]][0] == len(slow)
    assert counts["CTCF_HUMAN.H11MO.0.A"][0] == 439
    assert counts["CTCF_HUMAN.H11MO.0.A"][1] <= 3  # 500 sequences, 182 positions, 2 strands, 1e-5: 1.8 expected
    assert real[real["start_id"] == "CTCF_HUMAN.H11MO.0.A"]["end_id"].nunique() == 349
