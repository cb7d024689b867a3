"""What the managed server is told: its configuration, its password, its Java command line."""

from __future__ import annotations

import secrets
from dataclasses import dataclass
from typing import TYPE_CHECKING
from zipfile import ZipFile

import psutil

from kg.server.java import added_options

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

OPENED = ("java.nio", "java.io", "sun.nio.ch", "java.lang")

# - No directories: their defaults lie under --home-dir, and Neo4j reads no names but ASCII ones from this file.
# - No transaction timeout: a load or an index build may take minutes; whoever reads sets a limit on the transaction.
# - LOAD CSV is the one door from Cypher to files and network that a READ session leaves open, so both are shut here.
# - Transaction logs are for crash recovery only (there is no cluster to feed), so they are short and not preallocated,
#   which would take half a gigabyte of every home.
# - One transaction holds at most half of the heap, all together seven tenths: whoever sorts too much fails alone, and
#   what one row of a query can take uncounted still finds room (kg/cypher/values.py).
# - The quiet period would make every stop wait ten seconds for clients that are gone.
CONFIGURATION = """\
server.bolt.listen_address=127.0.0.1:{ports.bolt}
server.bolt.advertised_address=127.0.0.1:{ports.bolt}
server.http.listen_address=127.0.0.1:{ports.http}
server.http.advertised_address=127.0.0.1:{ports.http}
server.https.enabled=false
server.memory.pagecache.size={memory_mb}m
dbms.memory.transaction.total.max={all_transactions_mb}m
db.memory.transaction.max={transaction_mb}m
dbms.usage_report.enabled=false
server.bolt.telemetry.enabled=false
dbms.security.allow_csv_import_from_file_urls=false
internal.dbms.cypher_ip_blocklist=0.0.0.0/0,::/0
db.transaction.timeout=0s
db.tx_log.preallocate=false
db.tx_log.rotation.retention_policy=1G size
internal.dbms.bolt.netty_server_shutdown_quiet_period=0
"""


@dataclass(frozen=True)
class Ports:
    """Loopback ports of Bolt and HTTP."""

    bolt: int
    http: int


def write_configuration(root: Path, ports: Ports) -> None:
    """Write `root/conf/neo4j.conf` and make the server's directories."""
    for name in ("conf", "data", "logs", "import", "plugins"):
        (root / name).mkdir(exist_ok=True)
    memory_mb = _memory_mb()
    heap_mb = memory_mb * 2
    text = CONFIGURATION.format(
        ports=ports, memory_mb=memory_mb, all_transactions_mb=heap_mb * 7 // 10, transaction_mb=heap_mb // 2
    )
    (root / "conf" / "neo4j.conf").write_text(text)


def read_password(path: Path) -> str:
    """The password of a home, made on first use; only its owner can read the file."""
    if not path.exists():
        new = path.with_name("password.new")
        new.touch(mode=0o600)
        new.write_text(secrets.token_hex(24))  # no sign that a command line takes for an option
        new.replace(path)
    path.chmod(0o600)
    return path.read_text().strip()


def server_options(root: Path, jars: Sequence[Path]) -> list[str]:
    """Java options, class path and entry point of the server."""
    heap = _memory_mb() * 2
    return [
        f"-Xms{min(512, heap)}m",
        f"-Xmx{heap}m",
        "-XX:+UseG1GC",
        "-XX:+ExitOnOutOfMemoryError",
        f"-XX:ErrorFile={root}/logs/crash-%p.log",
        *(f"--add-opens=java.base/{package}=ALL-UNNAMED" for package in OPENED),
        *added_options(),
        "-cp",
        ":".join(map(str, jars)),
        _entry_point(jars),
    ]


def _entry_point(jars: Sequence[Path]) -> str:
    """The class that starts a server: the jar names it, as it differs between versions."""
    main = next(jar for jar in jars if jar.name.startswith("neo4j-") and jar.name.removeprefix("neo4j-")[0].isdigit())
    with ZipFile(main) as archive:
        return archive.read("META-INF/services/org.neo4j.server.startup.EntryPoint").decode().strip()


def _memory_mb() -> int:
    """Page cache in MB, and half of the heap: 512 from 16 GB of memory on, less on a small machine."""
    total_mb: int = psutil.virtual_memory().total // 2**20
    return max(192, min(512, total_mb // 32))
