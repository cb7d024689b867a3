"""Nobody is troubled where a machine does not tell how many cores it has."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]
SCRIPT = """
import numpy as np
from models.training.runtime import count_cores
{asked}
from sklearn.cluster import KMeans
KMeans(2, n_init=1).fit(np.random.default_rng(0).random((10, 2)))
print(count_cores())
"""


def ran(code: str) -> subprocess.CompletedProcess[str]:
    environment = {"PATH": "", "PYTHONPATH": str(ROOT)}  # no lscpu
    command = [sys.executable, "-c", SCRIPT.format(asked=code)]
    return subprocess.run(command, capture_output=True, text=True, check=True, env=environment, timeout=120)


def test_a_machine_that_does_not_tell_its_cores_is_taken_as_it_is() -> None:
    done = ran("count_cores()")
    assert done.stderr == ""
    assert int(done.stdout) >= 1


def test_unasked_the_first_clustering_would_complain() -> None:
    assert "physical cores" in ran("").stderr
