"""Jars: nothing unverified gets its final name, whatever the source sends."""

from __future__ import annotations

import hashlib
import threading
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from jgo.maven import MavenContext, PythonResolver

from kg.errors import ChecksumMismatch, ServerFailed, SettingsError
from kg.server import jars, maven
from kg.server.jar import Jar
from kg.server.jars import install_jars, read_lock, verify_jars
from kg.settings import DEFAULT_NEO4J_VERSION
from tests.kg.listener import Listener

if TYPE_CHECKING:
    from collections.abc import Iterator

VERSION = "9.9.9"
CONTENT = {
    f"org/toy/{name}/{VERSION}/{name}-{VERSION}.jar": f"the jar {name}".encode() * 1000 for name in ("a", "b", "c")
}
POM = (
    "<project><modelVersion>4.0.0</modelVersion><groupId>org.toy</groupId>"
    "<artifactId>{}</artifactId><version>9.9.9</version>{}</project>"
)
NEEDS_B = (
    "<dependencies><dependency><groupId>org.toy</groupId><artifactId>b</artifactId>"
    "<version>9.9.9</version></dependency></dependencies>"
)


class Repository(ThreadingHTTPServer):
    """A Maven repository on the loopback address that can be told to misbehave."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.content: dict[str, bytes] = dict(CONTENT)
        self.cut: set[str] = set()
        self.asked: Counter[str] = Counter()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"


class Handler(BaseHTTPRequestHandler):
    server: Repository

    def do_GET(self) -> None:
        path = self.path.lstrip("/")
        self.server.asked[path] += 1
        body = self.server.content.get(path)
        if body is None:
            self.send_error(404)
            return
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body[: len(body) // 2] if path in self.server.cut else body)

    def log_message(self, format: str, *args: object) -> None:
        pass


@pytest.fixture
def repository(monkeypatch: pytest.MonkeyPatch) -> Iterator[Repository]:
    with Repository() as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()

        def context(directory: Path) -> MavenContext:
            return MavenContext(PythonResolver(), directory, local_repos=[], remote_repos={"toy": server.url})

        monkeypatch.setattr(maven, "_maven", context)
        yield server
        server.shutdown()
        thread.join()


@pytest.fixture
def cache(tmp_path: Path) -> Path:
    """A directory for jars in which the three toy jars are locked."""
    directory = tmp_path / VERSION
    directory.mkdir()
    lines = [
        f"{hashlib.sha256(body).hexdigest()}  org.toy:{Path(path).parts[2]}:{VERSION}\n"
        for path, body in CONTENT.items()
    ]
    (directory / "recorded.lock").write_text("".join(lines))
    return tmp_path


def names(cache: Path) -> list[str]:
    return sorted(path.name for path in (cache / VERSION).glob("*") if not path.name.endswith("lock"))


def test_jars_are_fetched_verified_and_counted(repository: Repository, cache: Path) -> None:
    heard = Listener()
    found = install_jars(VERSION, cache, heard)
    assert [path.read_bytes() for path in found] == list(CONTENT.values())
    assert names(cache) == ["a-9.9.9.jar", "b-9.9.9.jar", "c-9.9.9.jar"]
    assert heard.begun == [("downloading Neo4j", 3, "jars")]
    assert heard.advanced == 3
    assert "3 jars" in heard.ended[0]


def test_only_missing_jars_are_fetched_again(repository: Repository, cache: Path) -> None:
    install_jars(VERSION, cache)
    (cache / VERSION / "b-9.9.9.jar").unlink()
    repository.asked.clear()
    install_jars(VERSION, cache)
    assert {path for path in repository.asked if path.endswith(".jar")} == {"org/toy/b/9.9.9/b-9.9.9.jar"}
    repository.asked.clear()
    install_jars(VERSION, cache)
    assert not repository.asked


def test_a_wrong_jar_is_refused_by_name_and_gets_no_place(repository: Repository, cache: Path) -> None:
    path = "org/toy/b/9.9.9/b-9.9.9.jar"
    repository.content[path] = b"something else"
    with pytest.raises(ChecksumMismatch) as refused:
        install_jars(VERSION, cache)
    assert "org.toy:b:9.9.9" in refused.value.message
    assert hashlib.sha256(CONTENT[path]).hexdigest() in refused.value.message
    assert hashlib.sha256(b"something else").hexdigest() in refused.value.message
    assert "b-9.9.9.jar" not in names(cache)
    assert not [name for name in names(cache) if name.startswith(".download")]


def test_a_jar_that_was_replaced_later_is_refused(repository: Repository, cache: Path) -> None:
    install_jars(VERSION, cache)
    (cache / VERSION / "c-9.9.9.jar").write_bytes(b"replaced")
    with pytest.raises(ChecksumMismatch, match=r"c-9\.9\.9\.jar"):
        install_jars(VERSION, cache)


def test_a_cut_download_is_tried_again_and_then_refused(repository: Repository, cache: Path) -> None:
    path = "org/toy/a/9.9.9/a-9.9.9.jar"
    repository.cut.add(path)
    with pytest.raises(ServerFailed, match=r"org\.toy:a:9\.9\.9 cannot be downloaded"):
        install_jars(VERSION, cache)
    assert repository.asked[path] == maven.TRIES
    assert "a-9.9.9.jar" not in names(cache)
    repository.cut.clear()
    assert len(install_jars(VERSION, cache)) == 3


def test_a_jar_that_is_not_there_is_said_with_a_way_out(repository: Repository, cache: Path) -> None:
    del repository.content["org/toy/a/9.9.9/a-9.9.9.jar"]
    with pytest.raises(ServerFailed, match=r"org\.toy:a:9\.9\.9") as failed:
        install_jars(VERSION, cache)
    assert "REGKG_JARS" in failed.value.hint


def test_two_installers_at_once_fetch_each_jar_once(repository: Repository, cache: Path) -> None:
    with ThreadPoolExecutor(2) as pool:
        one, two = pool.map(lambda _: install_jars(VERSION, cache), range(2))
    assert one == two
    assert {path: n for path, n in repository.asked.items() if path.endswith(".jar")} == dict.fromkeys(CONTENT, 1)


def test_a_version_without_lock_is_said_and_recorded(
    repository: Repository, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(maven, "WANTED", ("org.toy:a:{version}",))
    for name, inner in (("a", NEEDS_B), ("b", "")):
        repository.content[f"org/toy/{name}/{VERSION}/{name}-{VERSION}.pom"] = POM.format(name, inner).encode()
    heard = Listener()
    found = install_jars(VERSION, tmp_path, heard)
    assert sorted(path.name for path in found) == ["a-9.9.9.jar", "b-9.9.9.jar"]
    assert any("no checksums are shipped for Neo4j 9.9.9" in line for line in heard.said)
    expected = {
        f"org.toy:{name}:{VERSION}": hashlib.sha256(f"the jar {name}".encode() * 1000).hexdigest() for name in "ab"
    }
    assert {jar.coordinates: jar.sha256 for jar in read_lock(VERSION, tmp_path / VERSION)} == expected
    found[0].write_bytes(b"changed since")
    with pytest.raises(ChecksumMismatch):
        install_jars(VERSION, tmp_path)


def test_an_unknown_version_is_refused(repository: Repository, tmp_path: Path) -> None:
    with pytest.raises(ServerFailed, match=r"Neo4j 9\.9\.9 cannot be downloaded"):
        install_jars(VERSION, tmp_path)


@pytest.mark.parametrize("version", ["../../etc", "5.26.30/..", "latest", ""])
def test_a_version_is_a_number(version: str, tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="REGKG_NEO4J_VERSION"):
        install_jars(version, tmp_path)


def test_a_full_disk_is_said(repository: Repository, cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(jars, "NEEDED_BYTES", 2**62)
    with pytest.raises(ServerFailed, match="are free"):
        install_jars(VERSION, cache)
    assert not repository.asked


def test_the_shipped_lock_names_every_jar_once() -> None:
    shipped = read_lock(DEFAULT_NEO4J_VERSION, Path("nowhere"))
    assert len({jar.name for jar in shipped}) == len(shipped) == 217
    assert all(len(jar.sha256 or "") == 64 for jar in shipped)
    wanted = {name.format(version=DEFAULT_NEO4J_VERSION) for name in maven.WANTED}
    assert wanted <= {jar.coordinates for jar in shipped}


def test_a_jar_is_named_as_maven_names_it() -> None:
    epoll = Jar("io.netty:netty-transport-native-epoll:4.1.137.Final:linux-x86_64")
    assert epoll.name == "netty-transport-native-epoll-4.1.137.Final-linux-x86_64.jar"


def test_verification_reports_a_missing_jar(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        verify_jars([Jar("org.toy:a:1", "0" * 64)], tmp_path)
