"""The matrix is what it says: every cell it calls held has tests, and the README shows this table."""

import json
import os
import re
import subprocess
import sys
from functools import cache

from tests.faults import matrix

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


def cells_of(test_id: str) -> set[str]:
    """The cells that an id names between its brackets, by itself or beside other parameters."""
    bracketed = re.search(r"\[(.*)\]$", test_id)
    parameters = f"-{bracketed[1]}-" if bracketed else ""
    known = {matrix.label(fault.name, venue) for fault in matrix.FAULTS for venue in matrix.VENUES}
    return {cell for cell in known if f"-{cell}-" in parameters}


def test_every_cell_that_is_held_has_a_test_and_no_other_has() -> None:
    tested = {cell for test in collected() for cell in cells_of(str(test["id"]))}

    assert tested == matrix.held()


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


def test_readme_shows_the_matrix() -> None:
    assert matrix.in_readme(matrix.README.read_text())[1] == matrix.table()
