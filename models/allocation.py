"""Memory that one step frees is kept for the next."""

from __future__ import annotations

import ctypes

TRIM_THRESHOLD, MMAP_THRESHOLD = -1, -3  # of glibc's malloc.h
LARGEST_BLOCK = 32 * 2**20  # the most that glibc takes for MMAP_THRESHOLD
MOST_KEPT = 2**31 - 1


def keep_freed_memory() -> None:
    """Have glibc's malloc keep freed blocks up to 32 MiB; other C libraries are left as they are.

    By default each step's matrices come from the kernel as fresh pages, which it clears one fault after another: a
    quarter of a step of GLUE on a virtual machine.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        mallopt(TRIM_THRESHOLD, MOST_KEPT)
        mallopt(MMAP_THRESHOLD, LARGEST_BLOCK)
