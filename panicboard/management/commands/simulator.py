"""`manage.py simulator`: the four venue APIs on one port, for trying things out and for tests."""

import sys
from argparse import ArgumentParser
from typing import Any

from django.core.management.base import BaseCommand

from panicboard.simulator import cli


class Command(BaseCommand):
    help = "Serve the simulated venue APIs; the first line of output names the address and the accounts."
    requires_system_checks = []

    def add_arguments(self, parser: ArgumentParser) -> None:
        cli.add_arguments(parser)

    def handle(self, *args: Any, **options: Any) -> None:
        sys.exit(cli.run(options))
