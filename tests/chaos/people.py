"""Those who press and release in a chaos run: on the page of the web process, or in this process."""

import contextlib
import logging
import re
import threading
from dataclasses import dataclass, replace

from django.db import connections
from django.db.models import Q

from panicboard import countdowns, panics
from panicboard.models import Account, Countdown, Desk, Panic, Sweep
from panicboard.panics import Scope
from tests.chaos.judge import Press
from tests.chaos.plan import TRADERS
from tests.signed_in import Board
from tests.venue_calls import COUNTDOWNS

logger = logging.getLogger(__name__)
WHY = "chaos: clear, and released for the next press"
#: What countdowns are armed over: symbols at one venue, underlyings at the other.
ARMED = ("BTCUSDT", "ETHUSDT")
LENGTH_MS, REFRESH_MS = 20_000, 4_000
_ARM_FORM = {
    "scopes": " ".join(ARMED),
    "length_s": str(LENGTH_MS // 1000),
    "refresh_s": str(REFRESH_MS // 1000),
    "source": Countdown.Source.BOARD.value,
}
_PANIC_PAGE = re.compile(r"/panics/(\d+)/")


@dataclass
class People:
    """What was pressed, and what became of it. Each press takes as long as it takes, on its own thread."""

    board: Board

    def __post_init__(self) -> None:
        self._presses: dict[int, Press] = {}
        self._threads: list[threading.Thread] = []

    def press(self, scope: str, of: str, by: str) -> int:
        """Begin a press of everything, a desk or an account, on the "page" or "here". Returns its number."""
        number = len(self._presses) + 1
        accounts = tuple(trader.name for trader in TRADERS if of in ("", trader.desk, trader.name))
        self._presses[number] = Press(number, accounts)
        arguments = (number, scope, of, by)
        thread = threading.Thread(target=self._press, args=arguments, daemon=True, name="press")
        self._threads.append(thread)
        thread.start()
        return number

    def wait(self, timeout_s: float) -> None:
        """Wait until every press is answered; none takes this long unless something hangs."""
        for thread in self._threads:
            thread.join(timeout_s)

    @property
    def presses(self) -> tuple[Press, ...]:
        """Every press, those without an answer too."""
        return tuple(self._presses.values())

    def _press(self, number: int, scope: str, of: str, by: str) -> None:
        panic, refused = None, ""
        try:
            panic = self._on_the_page(scope, of) if by == "page" else self._here(scope, of)
        except Exception as exc:  # whatever it is, a person would have seen it
            logger.exception("press %s", number)
            refused = f"{type(exc).__name__}: {exc}"
        finally:
            connections.close_all()
        self._presses[number] = replace(self._presses[number], panic=panic, refused=refused)

    def _on_the_page(self, scope: str, of: str) -> int:
        named = {"desk": of} if scope == "desk" else {}
        if scope == "account":
            named = {"account": str(Account.objects.get(name=of).pk)}
        page = self.board.another().press(scope=scope, **named)
        told = _PANIC_PAGE.fullmatch(page)
        assert told, f"the press led to {page}"
        return int(told[1])

    def _here(self, scope: str, of: str) -> int:
        chosen = Scope(Panic.Scope.ALL)
        if scope == "desk":
            chosen = Scope(Panic.Scope.DESK, desk=Desk.objects.get(slug=of))
        elif scope == "account":
            chosen = Scope(Panic.Scope.ACCOUNT, account=Account.objects.get(name=of))
        pressed = panics.start(chosen, pressed_by=None, pressed_by_name="chaos", via=Panic.Via.SHELL)
        return pressed.panic.pk

    def see_to_countdowns(self, act: str, accounts: list[str], by: str) -> None:
        """Arm or disarm the countdowns of these accounts, on a thread of its own."""
        threading.Thread(
            target=self._see_to_countdowns, args=(act, accounts, by), daemon=True, name=act
        ).start()

    def _see_to_countdowns(self, act: str, names: list[str], by: str) -> None:
        try:
            board = self.board.another()
            for account in Account.objects.filter(name__in=names).select_related("venue"):
                if by == "page":
                    fields = _ARM_FORM if act == "arm" else {}
                    reply = board.post(f"/accounts/{account.pk}/countdowns/{act}/", **fields)
                    assert reply.status_code in (303, 422), f"{act} {account}: {reply.status_code}"
                    continue
                with contextlib.suppress(countdowns.Refused):  # a press was quicker
                    arm(account) if act == "arm" else disarm(account)
        except Exception:  # a person would see it, and try again; the venue is what is judged
            logger.exception(act)
        finally:
            connections.close_all()

    def release(self, by: str) -> None:
        """Release what is clear, on a thread of its own."""
        threading.Thread(target=self._release, args=(by,), daemon=True, name="release").start()

    def _release(self, by: str) -> None:
        try:
            running = Sweep.objects.exclude(state__in=Sweep.OVER)
            clear = Account.objects.filter(~Q(pk__in=running.values("account")), latched_by__isnull=False)
            if by == "here":
                panics.release_accounts(clear, released_by=None, released_by_name="chaos", reason=WHY)
                rearm()
                return
            holding = set(clear.values_list("latched_by", flat=True))
            for number in sorted(holding - set(running.values_list("panic", flat=True))):
                self.board.another().post(f"/panics/{number}/release/", reason=WHY, seen="on")
            rearm()
        except Exception:  # a release that fails leaves the latch, which is no loss
            logger.exception("release")
        finally:
            connections.close_all()


def arm_everywhere() -> None:
    """Arm countdowns wherever a venue has them."""
    for account in Account.objects.filter(venue__adapter__in=COUNTDOWNS).select_related("venue"):
        arm(account)


def arm(account: Account) -> None:
    """Arm short countdowns, so that something is due all the time."""
    countdowns.arm(account, ARMED, by="chaos", countdown_ms=LENGTH_MS, refresh_ms=REFRESH_MS)


def disarm(account: Account) -> None:
    countdowns.disarm(Countdown.objects.filter(account=account), by="chaos")


def rearm() -> None:
    """Arm again what panics withheld, as far as their accounts are released and their venues unlocked."""
    free = Account.objects.filter(latched_by=None, countdowns__withheld_by__isnull=False)
    for account in free.distinct().select_related("venue"):
        with contextlib.suppress(countdowns.Refused):  # a press was quicker
            if locked := Countdown.objects.filter(account=account, locked=True).select_related("account"):
                for one in locked:
                    countdowns.unlock(one, WHY, by="chaos")
            else:
                countdowns.rearm(account, by="chaos")
