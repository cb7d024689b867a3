"""Our GLUE and scglue 0.4.1 on the same guidance graph and cells: speed, memory, quality over time.

Every seed of each program is a child process of its own, on the same cores with the same number of threads.
Each keeps JSON lines; what is finished is not run again and what was killed goes on where it stopped.

    python glue_vs_scglue.py --world WORLD [--seeds 1] [--peer-seeds 1] [--minutes 0] [--threads 1] [--json]
    python glue_vs_scglue.py --world WORLD --steps    # only step times, programs in turn, for a quiet machine
    python glue_vs_scglue.py --world WORLD --steps --device cuda    # both on the GPU

WORLD holds rna.h5ad and atac.h5ad (raw counts in X, obsm["X_rep"], obs["cell_type"], rows paired but used as
unpaired) and links.tsv (gene, peak, weight).
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import statistics
import subprocess
import sys
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
PROGRAMS = ("regkg", "scglue")
WITHIN = 0.01  # of scglue's final FOSCTTM and label transfer: the quality whose time is compared
TURNS = 3  # of each program in --steps

Rows = list[dict[str, Any]]


def main() -> None:
    options = parsed()
    os.environ |= {"OMP_NUM_THREADS": str(options.threads), "MKL_NUM_THREADS": str(options.threads)}
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[: options.threads])
    if options.steps:
        result: dict[str, Any] = step_times(options)
    else:
        for seed in range(options.seeds):
            for program in PROGRAMS:
                if program == "regkg" or seed < options.peer_seeds:
                    train(program, seed, options)
        result = summary(options)
    if options.json:
        print(json.dumps(result))
    else:
        tell(result)


def parsed() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--world", type=Path, required=True)
    parser.add_argument("--out", type=Path, default=Path("bench-results/glue"))
    parser.add_argument("--seeds", type=int, default=1)
    parser.add_argument("--peer-seeds", type=int, default=1, help="of scglue, each of which takes more than an hour")
    parser.add_argument("--minutes", type=float, default=0, help="of training for each program and seed; 0: no limit")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--device", choices=["cpu", "cuda"], default="cpu", help="of both programs")
    parser.add_argument("--peer-python", default=os.environ.get("REGKG_PEER_PYTHON"), help="of scglue's environment")
    parser.add_argument("--steps", action="store_true", help="time steps only, programs in turn")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    if not options.peer_python:
        parser.error("--peer-python or REGKG_PEER_PYTHON: the Python of an environment with scglue 0.4.1")
    return options


def child(program: str, out: Path, seed: int, options: argparse.Namespace, *more: str) -> None:
    """Run one program to its end; its chatter goes to a file beside its log."""
    python, script = (sys.executable, "ours_glue.py") if program == "regkg" else (options.peer_python, "peer_scglue.py")
    out.mkdir(parents=True, exist_ok=True)
    same = ["--seed", str(seed), "--threads", str(options.threads), "--device", options.device, *more]
    command = [python, HERE / script, options.world, out, *same]
    with (out / "chatter.txt").open("a") as chatter:
        subprocess.run(list(map(str, command)), stdout=chatter, stderr=chatter, check=True)


def train(program: str, seed: int, options: argparse.Namespace) -> None:
    """Train one seed unless its log says that it came to its end."""
    out = options.out / f"{program}-seed{seed}"
    if any(row["event"] == "end" for row in read(out)):
        return
    print(f"{program}, seed {seed}: see {out}", file=sys.stderr)
    child(program, out, seed, options, *(["--minutes", str(options.minutes)] if options.minutes else []))


def read(out: Path) -> Rows:
    path = out / "log.jsonl"
    return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


def epochs_of(rows: Rows) -> Rows:
    """One row an epoch, with seconds and CPU seconds since the start of training."""
    cpu_before, stage, found = 0.0, "", []
    for row in (row for row in rows if row["event"] == "epoch"):
        if row["stage"] != stage and found:
            cpu_before = found[-1]["cpu_seconds"]
        stage = row["stage"]
        cpu = row.get("cpu_seconds", cpu_before + row.get("cpu_s", 0.0))  # the peer counts anew in each stage
        found.append({**row, "cpu_seconds": cpu})
    return found


def of_seed(rows: Rows) -> dict[str, Any]:
    """The figures of one seed."""
    epochs = epochs_of(rows)
    steps = {stage: [e for e in epochs if e["stage"] == stage][-1] for stage in {e["stage"] for e in epochs}}
    n_steps, train_s = (sum(e[key] for e in steps.values()) for key in ("steps", "train_s"))
    kept = ("stage", "epoch", "seconds", "cpu_seconds", "foscttm", "label_transfer")
    measured = [{key: row[key] for key in kept} for row in epochs if "foscttm" in row]
    last = next((row for row in reversed(rows) if row["event"] == "final"), measured[-1])
    end = next(row for row in reversed(rows) if row["event"] == "end")
    return {
        "seconds_per_step": train_s / n_steps,
        "seconds_per_epoch": epochs[-1]["seconds"] / len(epochs),
        "epochs": len(epochs),
        "seconds_total": epochs[-1]["seconds"],
        "peak_rss_gb": end["peak_rss_gb"],
        "import_rss_gb": end["import_rss_gb"],
        "foscttm": last["foscttm"],
        "label_transfer": last["label_transfer"],
        "quality_over_time": measured,
    }


def reached(measured: Rows, foscttm: float, label_transfer: float, clock: str) -> float | None:
    """Seconds after which both stay as good as asked or better; None when they do not."""
    after = None
    for row in measured:
        if row["foscttm"] > foscttm or row["label_transfer"] < label_transfer:
            after = None
        elif after is None:
            after = row[clock]
    return after


def summary(options: argparse.Namespace) -> dict[str, Any]:
    """Means over seeds (quality over time: of the first), each seed, and the time to quality."""
    result: dict[str, Any] = {}
    for program in PROGRAMS:
        logs = [read(options.out / f"{program}-seed{seed}") for seed in range(options.seeds)]
        seeds = [of_seed(rows) for rows in logs if any(row["event"] == "end" for row in rows)]
        numbers = [key for key, value in seeds[0].items() if not isinstance(value, list)]
        means = {key: statistics.mean(seed[key] for seed in seeds) for key in numbers}
        spread = {
            f"{key}_sd": statistics.stdev(s[key] for s in seeds) for key in ("foscttm", "label_transfer") if seeds[1:]
        }
        result[program] = {**means, **spread, "quality_over_time": seeds[0]["quality_over_time"], "seeds": seeds}
    target = result["scglue"]["foscttm"] + WITHIN, result["scglue"]["label_transfer"] - WITHIN
    for clock in ("seconds", "cpu_seconds"):
        times = {p: [reached(s["quality_over_time"], *target, clock) for s in result[p]["seeds"]] for p in PROGRAMS}
        mean = {p: statistics.mean(t for t in ts if t is not None) if all(ts) else None for p, ts in times.items()}
        ours, theirs = mean["regkg"], mean["scglue"]
        ratio = theirs / ours if ours and theirs else None
        asked = dict(zip(("target_foscttm", "target_label_transfer"), target, strict=True))
        result[f"time_to_quality_{clock}"] = {**asked, **mean, "each": times, "ratio": ratio}
    return result


def step_times(options: argparse.Namespace) -> dict[str, Any]:
    """Seconds a training step in the second epoch of short runs, programs in turn so that drift hits both."""
    times: dict[str, list[float]] = {program: [] for program in PROGRAMS}
    for turn in range(TURNS):
        for program in PROGRAMS:
            out = options.out / "steps" / f"{program}-{turn}"
            shutil.rmtree(out, ignore_errors=True)
            child(program, out, turn, options, "--epochs", "2", "--no-quality")
            first, second = epochs_of(read(out))[:2]
            times[program].append((second["train_s"] - first["train_s"]) / (second["steps"] - first["steps"]))
    middle = {program: statistics.median(values) for program, values in times.items()}
    return {
        **{program: {"seconds_per_step": middle[program], "turns": times[program]} for program in PROGRAMS},
        "ratio": middle["scglue"] / middle["regkg"],
    }


def tell(result: dict[str, Any]) -> None:
    """The figures as lines for people."""
    for program in PROGRAMS:
        numbers = {k: v for k, v in result[program].items() if isinstance(v, int | float)}
        print(program, "  ".join(f"{name} {value:.4g}" for name, value in numbers.items()))
    if "ratio" in result:
        print(f"a step of scglue takes {result['ratio']:.2f} times as long as one of ours")
    for clock in (key for key in result if key.startswith("time_to_quality")):
        found = result[clock]
        times = ", ".join(f"{p} {'not reached' if found[p] is None else f'{found[p]:.0f} s'}" for p in PROGRAMS)
        ratio = "" if found["ratio"] is None else f": {found['ratio']:.1f} times sooner"
        asked = f"FOSCTTM stays at or below {found['target_foscttm']:.4f} and label transfer at or above "
        print(f"{clock}: {asked}{found['target_label_transfer']:.4f} after {times}{ratio}")


if __name__ == "__main__":
    main()
