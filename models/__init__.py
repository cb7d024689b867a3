"""Guidance graph and cells in, predictions out; nothing but this package knows torch."""

import os

# Threads of a step wait for each other hundreds of times: with libgomp's long spinning, a machine that does anything
# else takes several times as long. Read when torch is imported, which is later; a value of the user's stays.
os.environ.setdefault("GOMP_SPINCOUNT", "1000")
