"""What holds for every source; a new one is tested as soon as its file and its sample are there."""

from __future__ import annotations

import gzip
import random
import re
from typing import TYPE_CHECKING

import pytest

from kg.errors import InputError, NotFound
from kg.schema import EDGE_TYPES, NODE_TYPES
from loaders import registry
from tests.loaders.world import content, run_source, samples, write

if TYPE_CHECKING:
    from pathlib import Path

SOURCES = registry.names()
CASES = [(source, file) for source in SOURCES for file in samples(source)]
each_sample = pytest.mark.parametrize(("source", "sample"), CASES, ids=lambda x: getattr(x, "name", x))


HEADS = (
    "#",
    "track",
    "ensgene",
    "bait_chr",
    "baitChr",
    "molecular_trait_id",
    "gwas_id",
    "variant_id",
    ",Ensembl ID",
    "chr\tstart",
    "chrom\tchromStart",
    "text\t",
    "Region\t",
    ",peak_id",
    "HID",
    "Gene stable ID",
    "gene_stable_id",
    "motif_id",
)
RECORDS = {".chain": "chain ", ".jaspar": ">", ".pcm": ">", ".fa": ">", ".meme": "MOTIF "}
"""Ending of a sample -> what its records begin with, where they have many lines."""


def is_data(line: str) -> bool:
    return not line.startswith(HEADS)


def lines_of(sample: Path) -> tuple[list[str], list[str]]:
    """Return header and data lines of a sample; a record of many lines, such as a chain, counts as one line."""
    text = sample.read_text()
    if mark := RECORDS.get(sample.suffix):
        head, *records = re.split(f"^{mark}", text, flags=re.MULTILINE)
        return [head], [f"{mark}{one}" for one in records]
    lines = text.splitlines(keepends=True)
    return [line for line in lines if not is_data(line)], [line for line in lines if is_data(line)]


def test_sources_are_found() -> None:
    assert {"genes", "peaks", "proximity"} <= set(SOURCES)
    with pytest.raises(NotFound, match="no source is called 'nothing'") as caught:
        registry.find("nothing")
    assert "genes" in caught.value.hint


@pytest.mark.parametrize("source", SOURCES)
def test_a_source_says_what_people_need(source: str) -> None:
    loader = registry.find(source)
    assert loader.name == source
    assert len(loader.doc) > 60
    assert loader.cites
    assert loader.writes
    for type_ in loader.writes:
        assert type_ in (*NODE_TYPES.values(), *EDGE_TYPES.values())
    assert all(option.doc and option.doc[0].islower() for option in loader.parameters)
    assert samples(source) or loader.is_derived, f"put a sample into tests/loaders/samples/{source}"


@pytest.mark.parametrize("source", [s for s in SOURCES if registry.find(s).is_derived])
def test_a_derived_source_runs_on_the_graph_of_the_samples(source: str) -> None:
    reading = run_source(source, [])
    assert reading.rows > 0
    assert content(reading) == content(run_source(source, []))


@each_sample
def test_it_runs_on_its_sample(source: str, sample: Path) -> None:
    reading = run_source(source, [sample])
    assert reading.rows > 0
    assert reading.rejected.empty
    # one line may give many rows: of several types, for several biosamples, for each gene at a bait
    assert reading.filtered < reading.read
    if {b.type for b in reading.batches} <= set(NODE_TYPES.values()):
        assert reading.rows + reading.folded + reading.filtered <= reading.read
    assert {b.type for b in reading.batches} <= set(registry.find(source).writes)


@each_sample
def test_the_order_of_rows_does_not_matter(source: str, sample: Path, tmp_path: Path) -> None:
    head, data = lines_of(sample)
    random.Random(1).shuffle(data)
    shuffled = write(tmp_path / f"{sample.name}.gz", "".join(head + data))
    assert content(run_source(source, [shuffled])) == content(run_source(source, [sample]))


@each_sample
def test_two_files_are_the_whole(source: str, sample: Path, tmp_path: Path) -> None:
    head, data = lines_of(sample)
    middle = len(data) // 2
    halves = [
        write(tmp_path / f"half{i}_{sample.name}", "".join(head + part))
        for i, part in enumerate((data[:middle], data[middle:]))
    ]
    whole, both = run_source(source, [sample]), run_source(source, halves)
    assert content(both) == content(whole)
    assert both.read == whole.read


@each_sample
def test_crlf_and_a_byte_order_mark_are_accepted_and_counted(source: str, sample: Path, tmp_path: Path) -> None:
    text = sample.read_bytes()
    strange = write(tmp_path / sample.name, b"\xef\xbb\xbf" + text.replace(b"\n", b"\r\n"))
    reading = run_source(source, [strange])
    assert content(reading) == content(run_source(source, [sample]))
    assert reading.notes == {"bom": 1, "crlf": text.count(b"\n")}


@each_sample
def test_a_truncated_gzip_is_refused(source: str, sample: Path, tmp_path: Path) -> None:
    packed = gzip.compress(sample.read_bytes() * 400)
    cut = tmp_path / f"{sample.name}.gz"
    cut.write_bytes(packed[: len(packed) * 2 // 3])
    with pytest.raises(InputError, match=r"cut off before its end"):
        run_source(source, [cut])


@each_sample
def test_without_a_last_line_end_nothing_is_lost(source: str, sample: Path, tmp_path: Path) -> None:
    bare = write(tmp_path / sample.name, sample.read_text().rstrip("\n"))
    assert content(run_source(source, [bare])) == content(run_source(source, [sample]))
