"""A full disk: files appear whole or not at all, and the reason is told."""

from __future__ import annotations

import os
import resource
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]

# A limit on file sizes is the full disk that needs no root: writes fail in the same way, at the same places.
KEEP = """
import pathlib, resource, signal, sys
from kg import predictions
from toy import METRICS, made
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv[2]),) * 2)
try:
    predictions.keep(pathlib.Path(sys.argv[1]), "run", made(), METRICS)
except OSError as error:
    sys.exit(f"OSError {error.errno}")
"""


def keep_under(limit: int, home: Path) -> str:
    command = [sys.executable, "-c", KEEP, str(home), str(limit)]
    path = f"{ROOT}:{ROOT / 'tests' / 'kg'}"
    done = subprocess.run(
        command, env={**os.environ, "PYTHONPATH": path}, capture_output=True, text=True, timeout=120, check=False
    )
    return done.stderr.strip()


def test_no_torn_file_is_left_at_whatever_byte_the_disk_is_full(tmp_path: Path) -> None:
    assert keep_under(resource.RLIM_INFINITY, tmp_path / "free") == ""
    whole = {p.name: p.read_bytes() for p in (tmp_path / "free" / "runs" / "run").iterdir()}
    assert set(whole) == {"PREDICTED_LINK.parquet", "embeddings.parquet", "metrics.json"}
    largest = max(map(len, whole.values()))
    for limit in (1, len(whole["metrics.json"]) + 1, largest // 2, largest - 1):
        home = tmp_path / f"limit-{limit}"
        assert "OSError" in keep_under(limit, home)
        left = {p.name: p.read_bytes() for p in (home / "runs" / "run").iterdir()}
        assert left.items() <= whole.items()
        assert "metrics.json" not in left  # which says that everything is there
