"""`python -m panicboard.simulator`."""

import sys

from panicboard.simulator.cli import main

sys.exit(main())
