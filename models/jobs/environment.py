"""What besides release, cells and configuration decides on the last bits of a training."""

from __future__ import annotations

import hashlib
import os
import platform
import subprocess
from importlib import metadata
from pathlib import Path

import torch


def machine(threads: int | None) -> dict[str, str | int | None]:
    """This machine and installation; `threads` are those asked for of torch, None for its own choice.

    Equal values of two runs that read the same and were configured the same mean equal weights, bit by bit.
    """
    return {
        "cpu": _cpu(),
        "architecture": platform.machine(),
        "gpu": torch.cuda.get_device_name() if torch.cuda.is_available() else None,
        "threads": threads or torch.get_num_threads(),
        "blas_threads": int(os.environ.get("OMP_NUM_THREADS") or len(os.sched_getaffinity(0))),
        "python": platform.python_version(),
        "packages": _packages(),
        "lock": _lock(),
    }


def code_version() -> str:
    """The installed version, and the commit where this is a checkout."""
    version = metadata.version("regkg")
    asked = ["git", "-C", str(Path(__file__).parent), "describe", "--always", "--dirty", "--abbrev=12"]
    found = subprocess.run(asked, capture_output=True, text=True, check=False)
    return f"{version}+{found.stdout.strip()}" if found.returncode == 0 else version


def _cpu() -> str:
    """Its model, where the system says it."""
    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.exists() else []
    return next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), "") or (
        platform.processor() or platform.machine()
    )


def _packages() -> str:
    """sha256 over names and versions of everything installed but this program, whose version is recorded by itself."""
    found = {f"{d.metadata['Name'].lower()}=={d.version}" for d in metadata.distributions()}
    listed = sorted(one for one in found if not one.startswith("regkg=="))
    return hashlib.sha256("\n".join(listed).encode()).hexdigest()


def _lock() -> str | None:
    """sha256 of requirements.txt, where this is a checkout."""
    path = Path(__file__).parents[2] / "requirements.txt"
    return hashlib.sha256(path.read_bytes()).hexdigest() if path.exists() else None
