"""What determines the last bits of a training besides release, cells and configuration."""

from __future__ import annotations

import hashlib
import os
import platform
import subprocess
from importlib import metadata
from pathlib import Path

import torch


def machine(threads: int | None) -> dict[str, str | int | None]:
    """Describe this machine and installation; `threads` is the number requested of torch, None for its own choice.

    If two runs with equal inputs and configuration have equal values here, their weights are equal bit by bit.
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
    """Return the installed version, with the commit where this is a checkout."""
    version = metadata.version("regkg")
    command = ["git", "-C", str(Path(__file__).parent), "describe", "--always", "--dirty", "--abbrev=12"]
    described = subprocess.run(command, capture_output=True, text=True, check=False)
    return f"{version}+{described.stdout.strip()}" if described.returncode == 0 else version


def _cpu() -> str:
    """Return the model of the CPU, where the system names it."""
    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.exists() else []
    return next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), "") or (
        platform.processor() or platform.machine()
    )


def _packages() -> str:
    """Return the sha256 of names and versions of all installed packages but this one, whose version is recorded."""
    installed = {f"{d.metadata['Name'].lower()}=={d.version}" for d in metadata.distributions()}
    listed = sorted(package for package in installed if not package.startswith("regkg=="))
    return hashlib.sha256("\n".join(listed).encode()).hexdigest()


def _lock() -> str | None:
    """Return the sha256 of requirements.txt, where this is a checkout."""
    path = Path(__file__).parents[2] / "requirements.txt"
    return hashlib.sha256(path.read_bytes()).hexdigest() if path.exists() else None
