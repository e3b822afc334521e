"""How the property tests search: the same examples on every run, and nothing left in the tree.

`HYPOTHESIS_PROFILE=search` looks further, and elsewhere each time.
"""

import os
from pathlib import Path

from hypothesis import settings
from hypothesis.configuration import set_hypothesis_home_dir

set_hypothesis_home_dir(Path(os.environ["PANICBOARD_VAR"]) / "hypothesis")
settings.register_profile("every run", max_examples=60, derandomize=True, database=None, deadline=None)
settings.register_profile("search", max_examples=500, derandomize=False, database=None, deadline=None)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "every run"))
