"""Files that are refused before a row is read, and how lines are numbered."""

from __future__ import annotations

import bz2
import gzip
import hashlib
import io
import lzma
import zipfile
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from kg.errors import ChecksumMismatch, InputError, MissingInput
from loaders.tables import files
from loaders.tables.files import blocks, check_file
from tests.loaders.world import write

if TYPE_CHECKING:
    from collections.abc import Callable

HTML = "<!DOCTYPE html>\n<html><body>404 Not Found</body></html>\n"


def zipped(*names: str, content: bytes = b"chr1\t1\t2\n") -> bytes:
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
        for name in names:
            archive.writestr(name, content)
    return packed.getvalue()


def read(path: Path) -> list[tuple[int, bytes]]:
    return [(n, line) for first, lines in blocks(check_file(path), Counter()) for n, line in enumerate(lines, first)]


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("peaks.bed", b"", "is empty"),
        ("peaks.bed", b"\n \n", "is empty"),
        ("peaks.bed.gz", gzip.compress(b"", mtime=0), "is empty"),
        ("peaks.bed", HTML.encode(), "is a web page"),
        ("peaks.bed", b"\xef\xbb\xbf\n" + HTML.lower().encode(), "is a web page"),
        ("peaks.bed.gz", gzip.compress(HTML.encode(), mtime=0), "is a web page"),
        ("peaks.bed", b"<?xml version='1.0'?><Error><Code>AccessDenied</Code></Error>", "is a web page"),
        ("peaks.zip", b"PK\x03\x04abc", "the zip file is damaged"),
        ("peaks.zip", zipped("a.bed", "b.bed"), "the zip archive holds 2 files: a.bed, b.bed"),
        ("peaks.bed", b"BZh91AY", "the bzip2 file is cut off"),
        ("peaks.bed", b"BZh91AY" + bytes(range(200)) * 9, "the bzip2 file is damaged"),
        ("peaks.bed", lzma.compress(b"chr1\t1\t2\n" * 9)[:40], "the xz file is cut off"),
        ("peaks.bed", b"\x28\xb5\x2f\xfd....", "is a zstd archive"),
        ("peaks.bed", "chr1\t1\t2\n".encode("utf-16"), "UTF-16"),
        ("peaks.bed", b"chr1\t1\t2\n\0\0", "binary"),
        ("peaks.bed.gz", gzip.compress(b"chr1\t1\t2\n" * 9, mtime=0)[:8], "cut off before its end"),
    ],
)
def test_a_file_is_refused_by_its_first_bytes(tmp_path: Path, name: str, content: bytes, message: str) -> None:
    path = tmp_path / name
    path.write_bytes(content)
    with pytest.raises(InputError, match=message) as caught:
        check_file(path)
    assert name in caught.value.message
    assert caught.value.hint


def test_a_file_that_is_not_there_or_is_a_folder(tmp_path: Path) -> None:
    with pytest.raises(MissingInput, match="no such file"):
        check_file(tmp_path / "nothing.bed")
    with pytest.raises(MissingInput, match="is a folder"):
        check_file(tmp_path)


def test_a_damaged_gzip_is_refused(tmp_path: Path) -> None:
    packed = bytearray(gzip.compress(b"".join(b"chr1\t%d\t%d\n" % (i, i + 7) for i in range(20_000))))
    packed[-6] ^= 0xFF  # the checksum at its end
    path = tmp_path / "peaks.bed.gz"
    path.write_bytes(packed)
    with pytest.raises(InputError, match=r"peaks\.bed\.gz: the gzip file is damaged"):
        read(path)


def in_zip(content: bytes) -> bytes:
    return zipped("__MACOSX/.a.bed", "a.bed", content=content)


@pytest.mark.parametrize("pack", [gzip.compress, bz2.compress, lzma.compress, in_zip])
def test_packed_files_are_read_alike(tmp_path: Path, pack: Callable[[bytes], bytes]) -> None:
    text = b"".join(b"chr1\t%d\t%d\n" % (i, i + 7) for i in range(20_000))
    path = tmp_path / "peaks.bed"
    path.write_bytes(pack(text))
    lines = [line for _, block in blocks(check_file(path), Counter()) for line in block]
    assert b"\n".join(lines) + b"\n" == text


def test_standard_input_is_read_like_a_file(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(gzip.compress(b"chr1\t1\t2\n"))))
    file = check_file(Path("-"))
    assert file.name == "stdin"
    assert [line for _, block in blocks(file, Counter()) for line in block] == [b"chr1\t1\t2"]


def test_gzip_members_one_after_another_are_one_text(tmp_path: Path) -> None:
    path = tmp_path / "bgzipped.bed.gz"
    path.write_bytes(gzip.compress(b"a\nb") + gzip.compress(b"c\nd\n"))
    assert read(path) == [(1, b"a"), (2, b"bc"), (3, b"d")]


def test_lines_keep_their_numbers_over_blocks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    lines = [b"x" * (i % 7) for i in range(1, 300)]
    path = write(tmp_path / "lines.txt", b"\r\n".join(lines))
    monkeypatch.setattr(files, "BLOCK_BYTES", 11)
    notes: Counter[str] = Counter()
    numbered = [(n, line) for first, run in blocks(check_file(path), notes) for n, line in enumerate(run, first)]
    assert numbered == list(enumerate(lines, 1))
    assert notes == {"crlf": len(lines) - 1}


@pytest.mark.parametrize(
    ("bad", "message"), [(b"\xff", "not UTF-8"), (b"\x07", "control character"), (b"\r", "control")]
)
def test_a_line_that_is_not_text_is_named(tmp_path: Path, bad: bytes, message: str) -> None:
    path = write(tmp_path / "genes.gtf", b"fine\n" * 41 + b"not " + bad + b" fine\n" + b"fine\n")
    with pytest.raises(InputError, match=rf"genes\.gtf:42 .*{message}"):
        read(path)


def test_the_checksum_is_of_the_bytes_as_they_lie_there(tmp_path: Path) -> None:
    path = write(tmp_path / "peaks.bed.gz", "chr1\t1\t2\n")
    assert check_file(path).sha256 == hashlib.sha256(path.read_bytes()).hexdigest()


def test_a_file_that_changes_under_the_reader_is_refused(tmp_path: Path) -> None:
    path = write(tmp_path / "peaks.bed", "chr1\t1\t2\n")
    looked_at = check_file(path)
    write(path, "chr1\t1\t3\n")
    with pytest.raises(ChecksumMismatch, match="changed while it was read"):
        list(blocks(looked_at, Counter()))


@pytest.mark.parametrize(
    ("name", "stem"),
    [
        ("peaks.bed.gz", "peaks"),
        ("Homo_sapiens.GRCh38.110.gtf.gz", "Homo_sapiens"),
        ("atac.h5ad", "atac"),
        (".bed", ".bed"),
    ],
)
def test_the_stem_names_the_dataset(tmp_path: Path, name: str, stem: str) -> None:
    assert check_file(write(tmp_path / name, "chr1\t1\t2\n")).stem == stem


@pytest.mark.parametrize(
    ("head", "assembly"),
    [
        ("#!genome-build GRCm39\n#!genome-version GRCm39\n", "GRCm39"),
        ("track type=bed db=hg19\n", "GRCh37"),
        ("# lifted from hg19 to hg38\n", None),
        ("", None),
    ],
)
def test_the_assembly_that_a_header_says(tmp_path: Path, head: str, assembly: str | None) -> None:
    assert check_file(write(tmp_path / "peaks.bed", f"{head}chr1\t1\t2\tmm10\n")).stated_assembly == assembly
