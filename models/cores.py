"""How many cores there are, asked once and quietly."""

from __future__ import annotations

import warnings
from contextlib import redirect_stderr
from functools import cache
from io import StringIO

import joblib


@cache
def count_cores() -> int:
    """Physical cores, or logical ones where the machine does not tell.

    scikit-learn asks joblib before its first k-means. Where no tool tells (a bare container has no lscpu), joblib warns
    and prints a traceback, that once; asked here, nobody is troubled.
    """
    with warnings.catch_warnings(), redirect_stderr(StringIO()):
        warnings.simplefilter("ignore")
        return int(joblib.cpu_count(only_physical_cores=True))
