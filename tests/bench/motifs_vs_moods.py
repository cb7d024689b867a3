"""Our scan for motifs beside MOODS: the same sequences, integer matrices and thresholds.

    uv venv peers/moods && uv pip install -p peers/moods moods-python numpy setuptools   # needs a C++ compiler
    [taskset -c 0] python tests/bench/motifs_vs_moods.py --peer peers/moods/bin/python [--motifs FILE]

Both find every match on both strands of JASPAR's vertebrate motifs or those of --motifs. Sequences are drawn (GC
0.42, 500 bp each) or read from --fasta. MOODS gets all of them as one text with N between, which is faster than one
call a sequence, and one scanner for all motifs. Its window is 7 as it ships, and 8, which is faster on large inputs
(9 loses a few hits). `ratio_scan` sets its search alone against all that we do after the thresholds (encoding, tables,
index, search), `ratio` its tables and search; both for window 7. `ratio_best` takes its better window. Times are
seconds by the clock, the best of --rounds taken in turn; MOODS has one thread, ours one for each core of the process.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import time
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np

WINDOWS = (7, 8)


def peer(folder: Path) -> None:
    """In the peer's environment: scan with MOODS, write times and hits."""
    import MOODS.scan

    asked = json.loads((folder / "asked.json").read_text())
    text = (folder / "text").read_text()
    times: dict[str, list[float]] = {}
    for window in WINDOWS:
        started = time.perf_counter()
        scanner = MOODS.scan.Scanner(window)
        scanner.set_motifs(asked["matrices"], asked["background"], asked["thresholds"])
        ready = time.perf_counter()
        results = scanner.scan(text)
        times[str(window)] = [ready - started, time.perf_counter() - ready]
        if asked["hits"]:
            hits = [np.array([[hit.pos, hit.score] for hit in of]).reshape(-1, 2) for of in results]
            np.savez(folder / "hits.npz", *hits)
    (folder / "times.json").write_text(json.dumps(times))


def sequences(args: argparse.Namespace) -> list[bytes]:
    """Drawn, or those of a file, in capitals."""
    if args.fasta:
        from collections import Counter

        from loaders.motifs.sequences import read_records
        from loaders.tables.files import check_file

        return [record.sequence.upper() for record in read_records(check_file(args.fasta), Counter())]
    rng = np.random.default_rng(args.seed)
    drawn = rng.choice(np.frombuffer(b"ACGT", np.uint8), (args.peaks, 500), p=[0.29, 0.21, 0.21, 0.29])
    return [row.tobytes() for row in drawn]


def ours(texts: list[bytes], profiles: list[Any]) -> tuple[float, Any]:
    """Seconds, with as many threads as the process has cores, and hits."""
    from loaders.motifs.scan import Text, find

    started = time.perf_counter()
    found = find(Text.of(texts), profiles)
    return time.perf_counter() - started, found


def equal_hits(folder: Path, found: list[Any]) -> tuple[int, int, int]:
    """Hits of ours, of MOODS, and those of equal motif, strand, position and score."""
    from loaders.motifs.scores import STEP

    with np.load(folder / "hits.npz") as kept:
        theirs = [kept[f"arr_{i}"] for i in range(2 * len(found))]
    equal = total = 0
    for motif, one in enumerate(found):
        for minus in (0, 1):
            mine = one.minus == minus
            us = set(zip(one.position[mine].tolist(), one.score[mine].tolist(), strict=True))
            hits = theirs[motif + minus * len(found)]
            them = {(int(at), round(score * STEP)) for at, score in hits}
            equal, total = equal + len(us & them), total + len(them)
    return sum(len(one.position) for one in found), total, equal


def main() -> None:
    """Run both in turn and print what came of it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--peer", type=Path, required=True, help="Python of an environment with moods-python")
    parser.add_argument("--peaks", type=int, default=20_000, help="sequences of 500 bp to draw")
    parser.add_argument("--fasta", type=Path, help="scan these instead")
    parser.add_argument("--motifs", type=Path, help="a file of motifs; default: JASPAR's vertebrates")
    parser.add_argument("--release", default="JASPAR2024")
    parser.add_argument("--p-value", type=float, default=1e-5)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seed", type=int, default=1)
    args = parser.parse_args()
    print(json.dumps(compare(args)))


def compare(args: argparse.Namespace) -> dict[str, Any]:
    """Everything that was measured."""
    from loaders.motifs.scan import Text
    from loaders.motifs.scores import STEP, background, profile

    texts, motifs = sequences(args), collection(args)
    gc = round(Text.of(texts).gc, 3)
    started = time.perf_counter()
    profiles = [profile(one.matrix, args.p_value, gc, 0.1) for one in motifs]
    thresholds = time.perf_counter() - started
    strands = [*profiles, *(one.reversed for one in profiles)]
    asked = {
        "matrices": [(one.scores.T / STEP).tolist() for one in strands],
        # halfway to the next lower score, so that rounding of their sums decides nothing
        "thresholds": [(one.threshold - 0.5) / STEP for one in strands],
        "background": background(gc).tolist(),
    }
    ours(texts[:10], profiles)  # compiles, or reads what was compiled
    us, them = [], []
    with TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "text").write_bytes(b"N".join(texts))
        for turn in range(args.rounds):
            seconds, found = ours(texts, profiles)
            us.append(seconds)
            (folder / "asked.json").write_text(json.dumps({**asked, "hits": turn == 0}))
            subprocess.run([args.peer, __file__, "--as-peer", folder], check=True)
            them.append(json.loads((folder / "times.json").read_text()))
        hits = equal_hits(folder, found)
    moods = {window: [min(one[window][part] for one in them) for part in (0, 1)] for window in them[0]}
    letters, best, (tables, search) = sum(map(len, texts)), min(us), moods[str(WINDOWS[0])]
    return {
        "motifs": len(motifs), "bases": letters, "p_value": args.p_value, "gc": gc,
        "hits": dict(zip(("ours", "moods", "equal"), hits, strict=True)),
        "ours_s": [round(x, 3) for x in us], "thresholds_s": round(thresholds, 2),
        "moods_s": {window: [round(x, 3) for x in times] for window, times in moods.items()},
        "ratio": round((tables + search) / best, 2), "ratio_scan": round(search / best, 2),
        "ratio_best": round(min(map(sum, moods.values())) / best, 2),
        "ours_ns_per_base_and_strand": round(best * 1e9 / letters / len(strands), 4),
    }  # fmt: skip


def collection(args: argparse.Namespace) -> list[Any]:
    """Motifs of the file, or of JASPAR."""
    from collections import Counter

    from loaders.motifs.formats import read_motifs
    from loaders.motifs.jaspar import read_release
    from loaders.tables.files import check_file

    if args.motifs:
        return list(read_motifs(check_file(args.motifs), Counter()))
    return list(read_release(args.release, ["vertebrates"])[0])


if __name__ == "__main__":
    if "--as-peer" in sys.argv:
        peer(Path(sys.argv[-1]))
    else:
        main()
