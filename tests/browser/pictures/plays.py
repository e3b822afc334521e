"""The table of all pictures: in which state, how it is brought about, where, in which sizes.

A play has a product of its own; its pictures are taken in this order, and what was brought about lasts until
something else is, or the play is over.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from tests.browser.conftest import Bare, Firm
from tests.browser.pictures import stage
from tests.browser.pictures.camera import ENDS, WALL, Picture

USDM_COUNTDOWN = "*countdownCancelAll*"


@dataclass(frozen=True)
class Play:
    name: str
    product: type[Bare]
    pictures: Sequence[Picture]


PLAYS = (
    Play(
        "bare",
        Bare,
        (
            Picture("board-no-accounts", "/", ".empty", stage.administrator, who="admin"),
            Picture("limits-no-accounts", "/limits/", ".empty", who="admin", sizes=ENDS),
            Picture("history-empty", "/panics/", ".empty", who="admin", sizes=ENDS),
            Picture("presence-empty", "/presence/", who="admin", sizes=ENDS),
            Picture("two-steps-no-accounts", "/panics/two-steps/?scope=all", who="admin", sizes=ENDS),
            Picture("admin", "/admin/", "#content", who="admin", sizes=ENDS),
        ),
    ),
    Play(
        "day",
        Firm,
        (
            Picture("login", "/login/", who="", sizes=ENDS),
            Picture("login-refused", "/login/", then=stage.wrong_password, who="", sizes=ENDS),
            Picture("board-calm", "/", "#stop-scope|12 accounts", in_readme={1440: "board"}),
            Picture("board-calm-foot", "/", then=stage.to_the_foot, sizes=ENDS),
            Picture("board-calm-dark", "/", "#stop-scope|12 accounts", dark=True, sizes=ENDS),
            Picture("board-viewer", "/", "#stop|VIEW ONLY", who="viewer", sizes=ENDS),
            Picture("board-let-go", "/", then=stage.let_go_early, sizes=ENDS),
            Picture("account", "/accounts/1/", ".listed", then=stage.choose_orders),
            Picture("account-foot", "/accounts/1/", ".listed", then=stage.to_the_foot, sizes=ENDS),
            Picture(
                "account-none-chosen", "/accounts/1/", ".listed", then=stage.cancel_nothing_chosen, sizes=ENDS
            ),
            Picture("account-dark", "/accounts/1/", ".listed", dark=True, sizes=ENDS),
            Picture("account-viewer", "/accounts/1/", ".listed", who="viewer", sizes=ENDS),
            Picture(
                "countdowns-armed",
                "/accounts/1/countdowns/",
                "#countdowns [data-secs]| s",
                in_readme={1440: "countdowns"},
            ),
            Picture("countdowns-none", "/accounts/5/countdowns/", "#countdowns", sizes=ENDS),
            Picture("countdowns-local", "/accounts/11/countdowns/", "#countdowns", sizes=ENDS),
            Picture("limits", "/limits/", "#limits"),
            Picture("two-steps", "/panics/two-steps/?scope=all"),
            Picture("two-steps-armed", "/panics/two-steps/?scope=all", then=stage.arm_two_steps, sizes=ENDS),
            Picture("403", "/panics/two-steps/?scope=all", "main|no right", who="viewer", sizes=ENDS),
            Picture("404", "/panics/999/", "h1|no such page", sizes=ENDS),
            Picture("admin-accounts", "/admin/panicboard/account/", "#content", who="admin", sizes=(1440,)),
            Picture(
                "wall-calm",
                "{wall}",
                ".word|READY",
                stage.make_wall,
                sizes=WALL,
                who="",
                in_readme={1920: "wall"},
            ),
            Picture(
                "panic-running",
                "/panics/{panic}/",
                "h1.big|still open",
                stage.every(stage.slow_venues(2500), stage.press),
            ),
            Picture("panic-joined", "/", "#stop|RUNNING", then=stage.hold_until_joined, sizes=(1440,)),
            Picture("wall-panic", "{wall}", ".word|PANIC", sizes=WALL, who=""),
            Picture("board-panic", "/", "#stop|PANIC RUNNING"),
            Picture(
                "panic-clear",
                "/panics/{panic}/",
                ".head.done",
                stage.every(stage.slow_venues(0), stage.until_clear),
                in_readme={1440: "panic"},
            ),
            Picture("panic-clear-foot", "/panics/{panic}/", ".head.done", then=stage.to_the_foot, sizes=ENDS),
            Picture("panic-clear-dark", "/panics/{panic}/", ".head.done", dark=True, sizes=ENDS),
            Picture("panic-release", "/panics/{panic}/", "#release", then=stage.open_release, sizes=ENDS),
            Picture("board-latched", "/", "#board|LATCHED"),
            Picture("wall-latched", "{wall}", ".word|LATCHED", sizes=WALL, who=""),
            Picture("orders-found", "/panics/{panic}/orders/?outcome=cancelled", "#found"),
            Picture(
                "orders-none",
                "/panics/{panic}/orders/?outcome=rejected",
                "#found|no order matches",
                sizes=ENDS,
            ),
            Picture(
                "orders-no-answer",
                "/panics/{panic}/orders/",
                "#found",
                then=stage.cut_off_and_find,
                sizes=ENDS,
            ),
            Picture("history", "/panics/", ".history"),
            Picture("account-latched", "/accounts/1/", ".title|latched"),
            Picture("countdowns-withheld", "/accounts/1/countdowns/", "#countdowns|WITHHELD"),
            Picture("wall-revoked", "{wall}", "h1|shows nothing", stage.revoke_wall, sizes=WALL, who=""),
        ),
    ),
    Play(
        "faults",
        Firm,
        (
            Picture(
                "board-unread",
                "/",
                "#board|unread",
                stage.every(
                    stage.fault("key_revoked", account="kestrel-mm"),
                    stage.fault("not_done_503b", account="heron-wings"),
                    stage.unreadable("kestrel-mm", "heron-wings"),
                ),
            ),
            Picture("account-unread", "/accounts/1/", ".title|cannot be read"),
            Picture(
                "board-loading",
                "/",
                "#board|not read yet",
                stage.every(stage.no_faults, stage.add_unread_account),
            ),
            Picture("account-loading", "/accounts/13/", "#account-now|not read yet", sizes=ENDS),
            Picture(
                "board-folded", "/", ".quiet:not([hidden])", stage.every(stage.thaw, stage.add_accounts(7))
            ),
            Picture("board-opened", "/", ".quiet:not([hidden])", then=stage.open_quiet, sizes=ENDS),
            Picture(
                "account-many",
                "/accounts/{many}/",
                ".listed",
                stage.seed_orders("kestrel-01", "BTCUSDT", 190),
            ),
            Picture("board-stale", "", "#stale|STALE", stage.behind("/", s=6)),
            Picture("board-dashes", "", "body.dashes"),
            Picture(
                "panic-not-clear",
                "/panics/{panic}/",
                "#sweeps|NOT CLEAR",
                stage.every(
                    stage.thaw,
                    stage.seed_orders("kestrel-00", "BTCUSDT", 60),
                    stage.fault("refuse_cancel", account="kestrel-mm", symbol="BTCUSDT"),
                    stage.fault("done_then_503a", account="osprey-trend"),
                    stage.press,
                ),
            ),
            Picture("panic-unknown", "/panics/{panic}/orders/?outcome=unknown", "#found|UNKNOWN", sizes=ENDS),
            Picture("board-not-clear", "/", "#board|not clear", sizes=ENDS),
            Picture(
                "board-direct-path",
                "/",
                "#notice|DIRECT PATH",
                stage.every(stage.no_faults, stage.freeze("valkey")),
                sizes=ENDS,
            ),
            Picture("limits-uncounted", "/limits/", "#limits|by nobody", sizes=ENDS),
            Picture(
                "board-no-worker",
                "/",
                "#notice|NO WORKER",
                stage.every(stage.thaw, stage.freeze("-Q panic")),
                sizes=ENDS,
            ),
            Picture(
                "board-not-ready",
                "/",
                "#stop|TRY",
                stage.every(stage.thaw, stage.until_over, stage.fault("not_done_503b"), stage.all_unreadable),
            ),
            Picture("wall-critical", "{wall}", ".hero.crit", stage.make_wall, sizes=WALL, who=""),
            Picture(
                "wall-stale",
                "",
                ".word|STALE",
                stage.every(stage.wall_is_up, stage.freeze("uvicorn")),
                sizes=WALL,
                who="",
            ),
            Picture(
                "500",
                "/accounts/2/",
                "h1|failed",
                stage.every(stage.thaw, stage.no_faults, stage.sign_everybody_in, stage.spoil_reading),
            ),
            Picture("503", "/", "h1|database", stage.lose_database),
        ),
    ),
    Play(
        "countdowns",
        Firm,
        (
            Picture("presence", "/presence/", "main|too late", stage.expect_operator, sizes=ENDS),
            Picture(
                "countdowns-lapsing",
                "/accounts/1/countdowns/",
                "#countdowns|LAPSING",
                stage.every(
                    stage.countdown(
                        "arm", "--account=kestrel-vol", "--scope=BTCUSDT", "--length-s=20", "--refresh-s=5"
                    ),
                    stage.fault("not_done_503b", path=USDM_COUNTDOWN),
                    stage.fault("not_done_503b", path="*ountdown*"),
                ),
            ),
            Picture("board-lapsing", "/", "#board|LAPSING"),
            Picture("countdowns-locked", "/accounts/6/countdowns/", "#countdowns|LOCKED"),
            Picture("countdowns-fired", "/accounts/1/countdowns/", "#countdowns|FIRED"),
            Picture("board-fired", "/", "#board|FIRED", sizes=ENDS),
            Picture("wall-fired", "{wall}", ".word|FIRED", stage.make_wall, sizes=WALL, who=""),
        ),
    ),
)
