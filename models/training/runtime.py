"""What training asks of the machine: how many cores there are, and that freed memory is kept for the next step."""

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
    """Physical cores, or logical ones where the machine does not tell.

    scikit-learn asks joblib before its first k-means. Where no tool tells (a bare container has no lscpu), joblib warns
    and prints a traceback, that once; asked here, nobody is troubled.
    """
    with warnings.catch_warnings(), redirect_stderr(StringIO()):
        warnings.simplefilter("ignore")
        return int(joblib.cpu_count(only_physical_cores=True))


def keep_freed_memory() -> None:
    """Have glibc's malloc keep freed blocks up to 32 MiB; other C libraries are left as they are.

    By default each step's matrices come from the kernel as fresh pages, which it clears one fault after another: a
    quarter of a step of GLUE on a virtual machine.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        mallopt(TRIM_THRESHOLD, MOST_KEPT)
        mallopt(MMAP_THRESHOLD, LARGEST_BLOCK)
