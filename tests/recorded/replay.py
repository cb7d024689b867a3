"""Commands and requests of regkg run in this process, what they answered, and where two answers differ.

Run as a script it carries out the steps that a JSON file lists, with whatever version of regkg PYTHONPATH leads to;
`record.py` does so with an old one, and the tests replay the same steps with this one.
"""

from __future__ import annotations

import asyncio
import io
import json
import math
import os
import platform
import re
import sys
from contextlib import redirect_stderr, redirect_stdout
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any
from unittest import mock

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

GET = "GET"  # instead of a command: a request to the API
READ = "READ"  # likewise: the lines of a file
ARITHMETIC = ("torch", "numpy", "scipy", "scikit-learn", "scikit-network")
SENTENCES = {"noise", "note", "reason", "sentence", "warnings"}  # worded for people; the numbers in them count
PASSING = re.compile(r"seconds$|_at$|^code$")  # of the moment or the checkout, not of the result


class Regkg:
    """`regkg` with a home of its own.

    Attributes:
        places: name -> folder; `{name}` in a step stands for it, and it stands as `{name}` in an answer.
        environment: the REGKG_ variables.
    """

    def __init__(self, places: Mapping[str, Path], environment: Mapping[str, str]) -> None:
        self.places = {name: str(path) for name, path in places.items()}
        self.environment = dict(environment)

    def __call__(self, *step: str) -> dict[str, Any]:
        """Carry a step out: `exit` (or the status of a request) and `said`, its JSON (or the lines of a file)."""
        words = [word.format_map(self.places) for word in step]
        with mock.patch.dict(os.environ, self.environment):
            code, said = {GET: _get, READ: _read}.get(words[0], _run)(words)
        return {"step": list(step), "exit": code, "said": self._named(said)}

    def _named(self, value: Any) -> Any:
        if isinstance(value, dict):
            return {key: self._named(inner) for key, inner in value.items()}
        if isinstance(value, list):
            return [self._named(inner) for inner in value]
        if isinstance(value, str):
            for name, path in self.places.items():
                value = value.replace(path, f"{{{name}}}")
        return value


def kernels() -> dict[str, Any]:
    """What decides on the last bits of a sum: the processor, what is used of it, and the packages that compute."""
    import scipy.linalg  # noqa: F401 - with its BLAS
    import torch
    from threadpoolctl import threadpool_info

    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.exists() else []
    named = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return {
        "cpu": next(named, platform.processor()),
        "torch for": torch.backends.cpu.get_cpu_capability(),
        "blas for": sorted({f"{one['internal_api']} {one.get('architecture')}" for one in threadpool_info()}),
        **{name: metadata.version(name) for name in ARITHMETIC},
    }


def differences(
    recorded: Any, found: Any, *, tolerance: float = 0.0, passing: bool = True, at: str = "$"
) -> Iterator[str]:
    """Where `found` is not what was recorded: place, value recorded, value found.

    An object may have gained keys, which is how answers grow. Of sentences only the numbers are compared.

    Args:
        recorded, found: values of JSON.
        tolerance: relative, and absolute below 1, of floats.
        passing: compare also what belongs to the moment: times, durations, the version of the code.
        at: where in the answer these values are.
    """
    if isinstance(recorded, dict) and isinstance(found, dict):
        for key, inner in recorded.items():
            if key not in found:
                yield f"{at}.{key}: {inner!r} recorded, missing now"
            elif passing or not PASSING.search(key):
                rule = _numbers if key in SENTENCES else _same
                yield from differences(
                    rule(inner), rule(found[key]), tolerance=tolerance, passing=passing, at=f"{at}.{key}"
                )
    elif isinstance(recorded, list) and isinstance(found, list) and len(recorded) == len(found):
        for place, (one, other) in enumerate(zip(recorded, found, strict=True)):
            yield from differences(one, other, tolerance=tolerance, passing=passing, at=f"{at}[{place}]")
    elif not _equal(recorded, found, tolerance):
        yield f"{at}: {recorded!r} recorded, {found!r} now"


def _same(value: Any) -> Any:
    return value


def _numbers(value: Any) -> Any:
    """Numbers of a sentence or of each of several; another wording may say them in another order."""
    if isinstance(value, list):
        return [_numbers(one) for one in value]
    return sorted(re.findall(r"\d+(?:[.,]\d+)*", value)) if isinstance(value, str) else value


def _equal(one: Any, other: Any, tolerance: float) -> bool:
    numbers = (int, float)
    if type(one) in numbers and type(other) in numbers and tolerance:
        return math.isclose(one, other, rel_tol=tolerance, abs_tol=tolerance)
    return type(one) is type(other) and bool(one == other)


def _run(words: Sequence[str]) -> tuple[int, Any]:
    from cli.main import call

    said, told = io.StringIO(), io.StringIO()
    with redirect_stdout(said), redirect_stderr(told):
        code = call([*words, "--json"])
    text = said.getvalue() or told.getvalue()
    try:
        return code, json.loads(text)
    except ValueError as error:
        raise AssertionError(f"regkg {' '.join(words)}: exit code {code}, no JSON: {text}") from error


def _read(words: Sequence[str]) -> tuple[int, Any]:
    return 0, Path(words[1]).read_text().splitlines()


def _get(words: Sequence[str]) -> tuple[int, Any]:
    return asyncio.run(_answered(words[1]))


async def _answered(path: str) -> tuple[int, Any]:
    import httpx

    from api.app import create_app
    from kg.settings import Settings

    app = create_app(Settings.from_environment())
    transport = httpx.ASGITransport(app)
    async with (
        app.router.lifespan_context(app),
        httpx.AsyncClient(transport=transport, base_url="http://test") as client,
    ):
        response = await client.get(path)
        return response.status_code, response.json()


def main(task: Path) -> None:
    """Carry out the steps of a task, {places, environment, steps}, and write the answers beside it."""
    said = json.loads(task.read_text())
    regkg = Regkg({name: Path(path) for name, path in said["places"].items()}, said["environment"])
    answers = [regkg(*step) for step in said["steps"]]
    task.with_suffix(".answers").write_text(json.dumps({"kernels": kernels(), "answers": answers}))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
