"""What one picture shows, and how it is taken."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from playwright.sync_api import Browser, Page, expect

from tests.browser.conftest import Bare, sign_in
from tests.browser.pictures import png

#: Widths and heights of a desk's screen, a small one, a phone, and a screen on the wall.
SIZES = {1440: 900, 1024: 768, 390: 844, 1920: 1080}
PEOPLE = (1440, 1024, 390)
#: Where the middle one shows nothing new.
ENDS = (1440, 390)
WALL = (1920,)
#: A countdown of the demo runs out after 120 s.
PATIENCE_MS = 150_000


@dataclass(frozen=True)
class Picture:
    """One screen in one state.

    `bring` brings the state about, before the first of its sizes; it lasts for those that follow. `path` may
    name what the stage knows, as `{panic}`. `seen` is what has to be on the page first: a selector, and words
    in it after a `|`. `then` is what a person does there.
    """

    name: str
    path: str
    seen: str = "main"
    bring: Callable[["Studio"], None] | None = None
    then: Callable[[Page], None] | None = None
    sizes: Sequence[int] = PEOPLE
    #: Who looks: a login of the demo, or nobody.
    who: str = "risk.desk1"
    dark: bool = False
    #: By width: under which name the README shows it.
    in_readme: Mapping[int, str] = field(default_factory=dict)


class Studio:
    """A running product, browsers in front of it, and what its pictures have come to know."""

    def __init__(self, browser: Browser, firm: Bare, folder: Path, *, only_readme: bool, only: str) -> None:
        self.browser, self.firm = browser, firm
        self._folder, self._only_readme, self._only = folder, only_readme, only
        #: What paths name: a panic's number, a wall's address.
        self.known: dict[str, str] = {}
        #: What has to be undone when the play is over.
        self.undo: list[Callable[[], None]] = []
        self._pages: dict[tuple[str, int, bool], Page] = {}

    def page(self, who: str, width: int, dark: bool = False) -> Page:
        """A page of this person at this size; everybody has one browser a size."""
        key = (who, width, dark)
        if key not in self._pages:
            context = self.browser.new_context(
                viewport={"width": width, "height": SIZES[width]}, color_scheme="dark" if dark else "light"
            )
            self._pages[key] = context.new_page()
            if who:
                sign_in(self._pages[key], self.firm.url, who)
        return self._pages[key]

    def take(self, picture: Picture) -> None:
        """Bring its state about, and take it in every size that is asked for."""
        if picture.bring:
            picture.bring(self)
        if self._only not in picture.name:
            return
        for width in picture.in_readme if self._only_readme else picture.sizes:
            name = picture.in_readme[width] if self._only_readme else f"{picture.name}-{width}"
            page, path = self._look(picture, width), self._folder / f"{name}.png"
            page.screenshot(path=path)
            if self._only_readme:
                png.compress(path)
            print(path, flush=True)
            if picture.path:
                page.goto("about:blank")  # a page that nobody looks at takes the machine's time

    def _look(self, picture: Picture, width: int) -> Page:
        page = self.page(picture.who, width, picture.dark)
        if picture.path:
            page.goto(self.firm.url + picture.path.format(**self.known))
        selector, _, words = picture.seen.partition("|")
        seen = page.locator(selector).first
        expect(seen).to_contain_text(words, timeout=PATIENCE_MS)
        if picture.then:
            picture.then(page)
        page.mouse.move(0, 0)
        page.wait_for_timeout(400)  # the page's script has painted
        return page

    def close(self) -> None:
        for undo in reversed(self.undo):
            undo()
        for page in self._pages.values():
            page.context.close()
