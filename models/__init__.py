"""Guidance graph and cells in, predictions out; only this package knows torch."""

import os

# The threads of a step wait for each other hundreds of times: with libgomp's long spinning, a machine that does
# anything else takes several times as long. torch reads the variable when it is imported, later; a user's value stays.
os.environ.setdefault("GOMP_SPINCOUNT", "1000")
