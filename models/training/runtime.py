"""What training needs of the machine: the number of cores, and freed memory kept for the next step."""

from __future__ import annotations

import ctypes
import warnings
from contextlib import redirect_stderr
from functools import cache
from io import StringIO

import joblib

TRIM_THRESHOLD, MMAP_THRESHOLD = -1, -3  # of glibc's malloc.h
LARGEST_BLOCK = 32 * 2**20  # the most that glibc takes for MMAP_THRESHOLD
MOST_KEPT = 2**31 - 1


@cache
def count_cores() -> int:
    """Return the number of physical cores, or of logical ones where the machine does not tell.

    scikit-learn asks joblib before its first k-means. Where no tool tells (a bare container has no lscpu), joblib warns
    once and prints a traceback; asking here first hides both.
    """
    with warnings.catch_warnings(), redirect_stderr(StringIO()):
        warnings.simplefilter("ignore")
        return int(joblib.cpu_count(only_physical_cores=True))


def keep_freed_memory() -> None:
    """Make glibc's malloc keep freed blocks of up to 32 MiB; leave other C libraries as they are.

    By default each step's matrices come from the kernel as fresh pages, which it clears one fault after another: a
    quarter of a step of GLUE on a virtual machine.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        mallopt(TRIM_THRESHOLD, MOST_KEPT)
        mallopt(MMAP_THRESHOLD, LARGEST_BLOCK)
