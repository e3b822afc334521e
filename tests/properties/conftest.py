"""How the property tests search: the same examples on every run, and nothing left in the tree.

`HYPOTHESIS_PROFILE=search` looks further, and elsewhere each time.
"""

import logging
import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import settings
from hypothesis.configuration import set_hypothesis_home_dir

set_hypothesis_home_dir(Path(os.environ["PANICBOARD_VAR"]) / "hypothesis")
settings.register_profile("every run", max_examples=50, derandomize=True, database=None, deadline=None)
settings.register_profile("search", max_examples=500, derandomize=False, database=None, deadline=None)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "every run"))


@pytest.fixture(autouse=True)
def few_log_lines() -> Iterator[None]:
    """Leave out the line for each of some ten thousand venue calls."""
    logger = logging.getLogger("panicboard")
    logger.setLevel(logging.ERROR)
    yield
    logger.setLevel(logging.NOTSET)
