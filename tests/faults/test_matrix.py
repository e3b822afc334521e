"""The matrix is what it says: every cell it calls held has tests, and the README shows this table."""

import json
import os
import subprocess
import sys
from functools import cache
from typing import Any

import pytest

from tests.faults import matrix
from tests.faults.matrix import cells_of

COLLECT = [
    sys.executable,
    "-m",
    "pytest",
    "--collect-only",
    "-qq",
    "-p",
    "tests.faults.collecting",
    "tests/faults",
]


@cache
def collected() -> list[dict[str, object]]:
    """Every test of this folder, as pytest finds it: its id, and what marks it as left out."""
    # Its conftest.py sets these for itself, and finds settings that were read too early otherwise.
    ours = ("DJANGO_SETTINGS_MODULE", "PANICBOARD_VAR")
    env = {name: value for name, value in os.environ.items() if name not in ours}
    ran = subprocess.run(
        COLLECT, cwd=matrix.README.parent, env=env, capture_output=True, text=True, check=False
    )
    assert ran.returncode == 0, ran.stdout + ran.stderr
    return [json.loads(line) for line in ran.stdout.splitlines() if line.startswith("{")]


def test_every_cell_that_is_held_has_a_test_and_no_other_has() -> None:
    tested = {cell for test in collected() for cell in cells_of(str(test["id"]))}

    assert tested == matrix.every_cell()


def test_no_test_of_a_cell_is_left_out() -> None:
    assert [test["id"] for test in collected() if test["left_out"]] == []


def test_cell_is_told_from_others_whose_names_begin_or_end_alike() -> None:
    assert cells_of("f.py::t[429 at coinswitch]") == {"429 at coinswitch"}
    assert cells_of("f.py::t[429 with Retry-After at coinswitch-x]") == {"429 with Retry-After at coinswitch"}
    assert cells_of("f.py::t[unknown status at binance-usdm-usdm conditional]") == {
        "unknown status at binance-usdm"
    }
    assert cells_of("f.py::t[not 429 at coinswitch]") == set()
    assert cells_of("f.py::t") == set()


@pytest.mark.parametrize(
    ("outcomes", "held"),
    [
        (("passed", "passed", "passed"), True),
        (("passed", "failed", "passed"), False),
        (("failed", "passed"), False),  # its set-up
        (("passed", "skipped", "passed"), False),
        (("passed", "passed", "failed"), False),  # its end, where secrets are looked for
        ((), False),
    ],
)
def test_cell_is_held_by_what_became_of_its_tests(outcomes: tuple[Any, ...], held: bool) -> None:
    cell, results = "429 at coinswitch", matrix.Results()
    for when, outcome in zip(("setup", "call", "teardown"), outcomes, strict=False):
        report = pytest.TestReport(f"f.py::t[{cell}]", ("f.py", 1, "t"), {}, outcome, None, when)  # type: ignore[arg-type]
        results.pytest_runtest_logreport(report)

    assert results.held() == ({cell} if held else set())
    assert ("NOT HELD" in matrix.table(matrix.every_cell() - {cell} | results.held())) is not held


def test_readme_shows_every_cell_held() -> None:
    assert matrix.in_readme(matrix.README.read_text())[1] == matrix.table(matrix.every_cell())
