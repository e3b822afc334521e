"""`make screenshots`: the pictures of the README, or with `--all FOLDER` every screen in every state.

From running products with simulated venues. `--play NAME` takes those of one play, `--only WORD` those whose
names have it.
"""

import argparse
import sys
import tempfile
from collections.abc import Iterable
from pathlib import Path

from playwright.sync_api import Browser, sync_playwright

from tests.browser.conftest import FLAGS
from tests.browser.pictures.camera import Studio
from tests.browser.pictures.plays import PLAYS, Play

SHOTS = Path(__file__).parent / "shots"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--all", metavar="FOLDER", type=Path, help="every picture, into this folder; the README's stay"
    )
    parser.add_argument(
        "--play", metavar="NAME", choices=[play.name for play in PLAYS], help="this play alone"
    )
    parser.add_argument("--only", metavar="WORD", default="", help="pictures with this in their name")
    given = parser.parse_args()
    (given.all or SHOTS).mkdir(parents=True, exist_ok=True)
    plays = [play for play in PLAYS if given.play in (None, play.name)]
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path="/usr/bin/chromium", args=list(FLAGS))
        failed = [name for play in plays for name in perform(browser, play, given.all, given.only)]
        browser.close()
    if failed:
        print(f"not taken: {', '.join(failed)}", file=sys.stderr)
    return 1 if failed else 0


def perform(browser: Browser, play: Play, folder: Path | None, only: str) -> Iterable[str]:
    """Take a play's pictures. Returns the names of those whose state did not come."""
    if not folder and not any(picture.in_readme for picture in play.pictures):
        return
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as var:
        studio = Studio(
            browser, play.product(Path(var) / "var"), folder or SHOTS, only_readme=not folder, only=only
        )
        try:
            for picture in play.pictures:
                try:
                    studio.take(picture)
                except Exception as exc:
                    print(f"{play.name}: {picture.name}: {exc}", file=sys.stderr)
                    yield picture.name
        finally:
            try:
                studio.close()
            finally:
                studio.firm.stop()


if __name__ == "__main__":
    sys.exit(main())
