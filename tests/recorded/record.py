"""Record what regkg was, for `test_recorded.py`: it runs an old commit, and packs what that made and answered.

python tests/recorded/record.py            writes tests/recorded/recorded.tar.xz, in about five quiet minutes

The commit is checked out into a temporary worktree and run there by this interpreter, each home with a Neo4j of its
own. Schema version 1 is recorded likewise, by the last commit that made it.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tarfile
import tempfile
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import neo4j
from evidence import first_link, write_evidence

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

COMMIT = "8c59ee1"  # before modules were moved and renamed
OF_VERSION_1 = "9fca17d"  # the last commit whose graphs have schema version 1
HERE = Path(__file__).resolve().parent
ARCHIVE = HERE / "recorded.tar.xz"
PACKED = ("world", "backup", "recorded.json", "version-1.json")

HOMES = ("home", "restored", "old")

Step = list[str]
STOP: Step = ["db", "stop"]

WORLD = "simulate {world} --genes 30 --peaks 150 --cells 120 --chromosomes 2"
CELLS = "load cells {world}/rna.h5ad {world}/atac.h5ad --name made"
TRAIN = (
    "train glue --cells made --device cpu --threads 1 --seed 3 --members 2 --first-steps 20 --second-steps 40 "
    "--latent-dim 8 --hidden-dim 16 --hidden-layers 1 --batch-size 32 --lr 0.02 --graph-weight 1"
)
STORY = (
    "load --manifest {world}/evidence.1.toml",
    CELLS,
    "release publish --note first",
    f"{TRAIN} --candidates 150kb --held-out chr2 --publish",
    "load --manifest {world}/evidence.2.toml",
    "load --manifest {world}/evidence.2.toml",
    "release publish --note second",
    "retrain --if-changed --min-positives 3 --auroc-tolerance 0.5 --foscttm-tolerance 0.5 --consistency-tolerance 0.5",
    "runs targets glue-made-2 --best 5 --publish",
)
QUESTIONS = (
    "restore {backup}",
    CELLS,
    "db migrate",
    "release list",
    "release journal",
    "release show",
    "release verify 1",
    "release verify 2",
    "release diff 1 2",
    "datasets",
    "datasets --release 1",
    "datasets cite",
    "datasets dependence",
    "runs list",
    "runs show glue-made-1",
    "runs diff glue-made-1 glue-made-2",
    "runs why {peak} {gene}",
    "runs evaluate glue-made-2 --against PERTURBS",
    "retrain --if-changed --plan",
    "ask gene-regulators --gene {gene}",
    "ask peak-targets --peak {peak}",
    "ask region-edges --region {region}",
    "ask similar-genes --gene {gene}",
    "ask compare-links --gene {gene}",
    "ask tf-targets --tf {tf}",
    "ask why-not --tf {tf} --gene {gene}",
    "export edges --type PREDICTED_LINK --called-only --out {home}/called.bedpe",
    "READ {home}/called.bedpe",
    "export edges --type CONTACTS --release 1 --out {home}/contacts.tsv",
    "READ {home}/contacts.tsv",
    "GET /v1/releases",
    "GET /v1/runs",
    "GET /v1/genes/{gene}/regulators?limit=1000",
    "GET /v1/q/tf-targets?tf={tf}",
    "GET /v1/edges?region={region}",
)
REPRODUCED = "runs reproduce glue-made-2"
OLD_STORY = (
    "load genes {world}/genes.gtf.gz --dataset genes:made --assembly GRCh38",
    "load peaks {world}/peaks.1.narrowPeak --dataset peaks:made --assembly GRCh38",
    "load proximity --dataset proximity:20kb --rule window --window-bp 20000",
    CELLS,
    "release publish",
    f"{TRAIN} --publish",
    "load peaks {world}/peaks.2.narrowPeak --dataset peaks:made --assembly GRCh38",
    "load proximity --dataset proximity:20kb --rule window --window-bp 20000",
    "release publish",
    "load peaks {world}/peaks.1.narrowPeak --dataset peaks:made --assembly GRCh38",
    "load proximity --dataset proximity:20kb --rule window --window-bp 20000",
)
MIGRATED = (
    "db migrate",
    "release list",
    "release verify 1",
    "release verify 2",
    "datasets",
    "datasets --release 1",
    "runs show glue-made-1",
    "retrain --if-changed --plan",
    "release publish",
    "GET /v1/releases",
)


def main() -> None:
    """Record everything anew."""
    with tempfile.TemporaryDirectory(prefix="regkg-recorded-") as name:
        folder = Path(name)
        with (
            checked_out(COMMIT, folder / "then") as then,
            checked_out(OF_VERSION_1, folder / "before") as before,
            stopped_after(folder, then),
        ):
            recorded = record(folder, then) | record_version_1(folder, before, then)
        (folder / "recorded.json").write_text(json.dumps({"commit": COMMIT, **recorded}, indent=1))
        with tarfile.open(ARCHIVE, "w:xz", preset=9) as archive:
            for part in PACKED:
                archive.add(folder / part, part, filter=anonymous)
    print(f"{ARCHIVE}: {ARCHIVE.stat().st_size:,} bytes")  # noqa: T201


def record(folder: Path, then: Path) -> dict[str, Any]:
    """A world, the story of a home in it, its backup, and the answers of the home that is restored from that."""
    run(folder, then, "home", [words(WORLD)])
    write_evidence(folder / "world")
    told = run(folder, then, "home", [*map(words, STORY), words("backup {backup} --logical")])
    peak, gene, factor = first_link(folder / "world")
    named = {"peak": peak, "gene": gene, "tf": factor, "region": peak.partition(":")[2]}
    questions: list[Step] = [[filled(word, named) for word in words(line)] for line in QUESTIONS]
    shutil.copytree(folder / "world", folder / "moved")  # as the cells are elsewhere in the tests
    asked = run(folder, then, "restored", [*questions, words(REPRODUCED)], world="moved")
    answers = {"story": told["answers"][:-1], "questions": asked["answers"][:-1]}
    return {"kernels": told["kernels"], **answers, "reproduced": asked["answers"][-1]}


def record_version_1(folder: Path, before: Path, then: Path) -> dict[str, Any]:
    """A graph of schema version 1 as its nodes and edges, and the answers once it is migrated."""
    write_peaks(folder / "world")
    run(folder, before, "old", list(map(words, OLD_STORY)), stop=False)
    (folder / "version-1.json").write_text(json.dumps(dumped(folder / "old")))
    return {"migrated": run(folder, then, "old", list(map(words, MIGRATED)))["answers"]}


def words(line: str) -> Step:
    """A line as the words of a command."""
    return line.split()


def filled(word: str, named: dict[str, str]) -> str:
    """The word with what is `named` in the place of its name in braces; folders keep theirs."""
    for name, value in named.items():
        word = word.replace(f"{{{name}}}", value)
    return word


def run(
    folder: Path, program: Path, home: str, steps: Sequence[Step], *, world: str = "world", stop: bool = True
) -> dict[str, Any]:
    """What a checkout of regkg answers to steps in a home below `folder`; all of them must succeed.

    Raises:
        SystemExit: a step failed.
    """
    jars = os.environ.get("REGKG_JARS") or str(Path("~/.cache/regkg-jars").expanduser())
    task = folder / "task.json"
    given = {
        "places": {"world": str(folder / world), "backup": str(folder / "backup"), "home": str(folder / home)},
        "environment": {"REGKG_HOME": str(folder / home), "REGKG_JARS": jars},
        "steps": [*steps, *([STOP] if stop else [])],
    }
    task.write_text(json.dumps(given))
    around = {**os.environ, "PYTHONPATH": str(program)}
    subprocess.run([sys.executable, HERE / "replay.py", task], env=around, cwd=program, check=True)
    found: dict[str, Any] = json.loads(task.with_suffix(".answers").read_text())
    failed = [one for one in found["answers"] if one["exit"] not in {0, 3, 200}]  # 3: there was nothing to do
    if failed:
        sys.exit(f"{home}: {json.dumps(failed, indent=1)}")
    if stop:
        found["answers"].pop()
    return found


def write_peaks(world: Path) -> None:
    """Two versions of a file of peaks: the second lacks the last and has moved summits."""
    import gzip

    lines = gzip.decompress((world / "peaks.narrowPeak.gz").read_bytes()).decode().splitlines()
    (world / "peaks.1.narrowPeak").write_text("\n".join(lines[:140]) + "\n")
    moved = [line.rpartition("\t")[0] + f"\t{n % 40}" for n, line in enumerate(lines[:10])]
    (world / "peaks.2.narrowPeak").write_text("\n".join([*moved, *lines[10:139], *lines[140:143]]) + "\n")


def dumped(home: Path) -> dict[str, Any]:
    """All nodes and edges of a managed graph that runs."""
    port = json.loads((home / "neo4j" / "server.json").read_text())["bolt"]
    password = (home / "neo4j" / "password").read_text().strip()
    with neo4j.GraphDatabase.driver(f"bolt://127.0.0.1:{port}", auth=("neo4j", password)) as driver:
        nodes = driver.execute_query("MATCH (n) RETURN elementId(n) AS id, labels(n) AS labels, properties(n) AS p")
        edges = driver.execute_query(
            "MATCH (a)-[r]->(b) RETURN type(r) AS t, elementId(a) AS a, elementId(b) AS b, properties(r) AS p"
        )
    place = {node["id"]: n for n, node in enumerate(nodes.records)}
    return {
        "nodes": [
            {"id": place[node["id"]], "labels": ":".join(sorted(node["labels"])), "properties": timed(node["p"])}
            for node in nodes.records
        ],
        "edges": [
            {"type": edge["t"], "start": place[edge["a"]], "end": place[edge["b"]], "properties": timed(edge["p"])}
            for edge in edges.records
        ],
    }


def timed(properties: dict[str, Any]) -> dict[str, Any]:
    """Properties with times as {"$time": ISO 8601}, to the microsecond, as Python has them."""
    return {
        name: {"$time": value.to_native().isoformat()} if hasattr(value, "to_native") else value
        for name, value in properties.items()
    }


@contextmanager
def checked_out(commit: str, folder: Path) -> Iterator[Path]:
    """A worktree of a commit, while this lasts."""
    git = ["git", "-C", str(HERE), "worktree"]
    subprocess.run([*git, "add", "--quiet", "--detach", folder, commit], check=True)
    try:
        yield folder
    finally:
        subprocess.run([*git, "remove", "--force", folder], check=True)


@contextmanager
def stopped_after(folder: Path, program: Path) -> Iterator[None]:
    """No server is left behind, also where a step failed."""
    try:
        yield
    finally:
        for home in HOMES:
            if (folder / home).exists():
                run(folder, program, home, [STOP], stop=False)


def anonymous(member: tarfile.TarInfo) -> tarfile.TarInfo:
    """Whose file it was on the machine that recorded does not matter."""
    member.uid = member.gid = 0
    member.uname = member.gname = ""
    return member


if __name__ == "__main__":
    main()
