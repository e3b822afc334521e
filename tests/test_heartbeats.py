"""Countdowns at their venues: set, kept alive, taken away, withheld; by real workers and a real keeper."""

import queue
import threading
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest
import requests
from django.utils import timezone

from panicboard import (
    countdown_keeper,
    countdown_state,
    countdowns,
    credentials,
    heartbeat_jobs,
    heartbeat_results,
    heartbeats,
    keeper,
    life_signs,
    panics,
    processes,
    readings,
)
from panicboard.countdown_state import State
from panicboard.models import Account, AuditEntry, Countdown, Follow, Maintenance, Panic, Venue
from panicboard.panics import Scope
from tests import pages
from tests.factories import make_account, seed
from tests.simulator.plain_client import PlainClient
from tests.simulator_process import SimulatorProcess
from tests.waiting import until

if TYPE_CHECKING:
    from tests.product import Product

pytest_plugins = ["tests.simulator_process"]
pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("broker")]
Phase = Countdown.Phase

USDM, OPTIONS_SET = "/fapi/v1/countdownCancelAll", "/eapi/v1/countdownCancelAll"
OPTIONS_BEAT = "/eapi/v1/countdownCancelAllHeartBeat"


@pytest.fixture(autouse=True)
def _nothing_to_write(monkeypatch: pytest.MonkeyPatch) -> None:
    """What a call of another test came to is not written down in this one."""
    monkeypatch.setattr(heartbeat_results, "_results", queue.SimpleQueue())


@pytest.fixture
def keepers(bare_product: "Product") -> "Product":
    """A heartbeat worker, a background worker and a keeper."""
    start_keepers(bare_product)
    return bare_product


def start_keepers(product: "Product") -> None:
    started = [product.start(processes.worker(queue, 1, 8)) for queue in ("heartbeat", "background")]
    product.start(processes.keeper())
    for worker in started:
        worker.wait_for_line(" ready.")


def without_limits(simulator: SimulatorProcess) -> None:
    simulator.control("POST", "limits", {"on": False})
    Venue.objects.update(limit_override=1_000_000)


def plain(simulator: SimulatorProcess, account: Account) -> PlainClient:
    """Somebody else with the same key."""
    key = credentials.unseal(account)
    told = {"api_key": key.api_key, "secret": key.secret, "key_type": key.key_type}
    return PlainClient(simulator.url, told)


def arm(account: Account, *scopes: str, length_s: float = 6, every_s: float = 1, **options: Any) -> None:
    options = {"countdown_ms": int(length_s * 1000), "refresh_ms": int(every_s * 1000), **options}
    countdowns.arm(account, scopes, by="ann", **options)


def phases() -> dict[str, str]:
    return dict(Countdown.objects.values_list("scope", "phase"))


def states(account: Account) -> dict[str, State]:
    lines = countdown_state.of_account(account, timezone.now())
    return {line.scope: line.state for line in lines}


def armed(*scopes: str) -> None:
    until(lambda: phases() == dict.fromkeys(scopes, Phase.ARMED), f"{scopes} to be armed")


def at_venue(simulator: SimulatorProcess) -> dict[str, int]:
    running = simulator.control("GET", "state")["countdowns"]
    return {one["scope"]: one["left_ms"] for one in running}


def firings(simulator: SimulatorProcess) -> dict[str, int]:
    """What ran out at the venue, and over how many orders."""
    return {one["scope"]: one["orders"] for one in simulator.control("GET", "state")["firings"]}


def beats(simulator: SimulatorProcess, since: int = 0) -> list[dict[str, Any]]:
    """Every call that starts a countdown, or starts it again."""
    posts = [call for call in simulator.log(since=since) if call["method"] == "POST"]
    return [call for call in posts if "countdown" in call["path"].lower()]


def press(account: Account) -> Panic:
    scope = Scope(Panic.Scope.ACCOUNT, account=account)
    return panics.start(scope, pressed_by=None, pressed_by_name="ann", via=Panic.Via.SHELL).panic


# ---- armed, kept alive, taken away ----


def test_countdown_is_set_kept_alive_and_taken_away(simulator: SimulatorProcess, keepers: "Product") -> None:
    account = make_account(simulator)
    without_limits(simulator)

    arm(account, "BTCUSDT", "ETHUSDT")

    armed("BTCUSDT", "ETHUSDT")
    assert at_venue(simulator).keys() == {"BTCUSDT", "ETHUSDT"}
    armed_until = {one.scope: one.deadline_at for one in Countdown.objects.all()}
    until(
        lambda: all(one.runs_from > armed_until[one.scope] for one in Countdown.objects.all()),
        "heartbeats beyond the first deadline",
    )
    countdowns.disarm(Countdown.objects.all(), by="ann")
    until(lambda: set(phases().values()) == {Phase.DISARMED}, "both to be disarmed")
    assert (at_venue(simulator), firings(simulator)) == ({}, {})


def test_heartbeat_carries_the_time_at_which_it_was_decided(simulator: SimulatorProcess) -> None:
    account = make_account(simulator)
    arm(account, "BTCUSDT", every_s=2)

    (job,) = heartbeat_jobs.claim(Countdown.objects.values_list("pk", flat=True))
    heartbeats._run(job)

    (call,) = beats(simulator)
    params = {name: call["params"][name] for name in ("symbol", "countdownTime", "recvWindow")}
    assert params == {"symbol": "BTCUSDT", "countdownTime": "6000", "recvWindow": str(heartbeat_jobs.FOR_MS)}
    assert abs(int(call["params"]["timestamp"]) - job.at.timestamp() * 1000) < 1000


def test_heartbeat_that_comes_late_is_refused_by_the_venue(simulator: SimulatorProcess) -> None:
    account = make_account(simulator)
    arm(account, "BTCUSDT", every_s=2)
    (job,) = heartbeat_jobs.claim(Countdown.objects.values_list("pk", flat=True))
    at = job.at - timedelta(seconds=5)
    Countdown.objects.update(sent_at=at)
    late = heartbeat_jobs.Job(job.what, job.account, job.countdowns, at)

    heartbeats._CALLS["set"](late)

    heartbeat_results.write([heartbeat_results._results.get()])
    assert {call["status"] for call in beats(simulator)} == {400}
    assert at_venue(simulator) == {}
    assert (Countdown.objects.get().phase, Countdown.objects.get().misses) == (Phase.ARMING, 1)


def test_fifty_underlyings_of_an_account_share_one_heartbeat(
    simulator: SimulatorProcess, keepers: "Product"
) -> None:
    account = make_account(simulator, "binance-options")
    without_limits(simulator)
    arm(account, "BTCUSDT", "ETHUSDT")
    armed("BTCUSDT", "ETHUSDT")

    beat = until(lambda: [c for c in simulator.log() if c["path"] == OPTIONS_BEAT], "a heartbeat")[0]

    assert sorted(beat["params"]["underlyings"].split(",")) == ["BTCUSDT", "ETHUSDT"]
    until(lambda: len([c for c in simulator.log() if c["path"] == OPTIONS_BEAT]) >= 3, "two more")
    assert all("," in c["params"]["underlyings"] for c in simulator.log() if c["path"] == OPTIONS_BEAT)


def test_underlying_that_the_reply_leaves_out_is_lapsing_and_no_other(
    simulator: SimulatorProcess, keepers: "Product"
) -> None:
    account = make_account(simulator, "binance-options")
    without_limits(simulator)
    arm(account, "BTCUSDT", "ETHUSDT")
    armed("BTCUSDT", "ETHUSDT")

    plain(simulator, account).call("POST", OPTIONS_SET, underlying="ETHUSDT", countdownTime=0)

    until(lambda: states(account)["ETHUSDT"] == State.LAPSING, "the one that was left out")
    worst, other = countdown_state.of_account(account, timezone.now())
    assert (worst.scope, other.scope, other.state) == ("ETHUSDT", "BTCUSDT", State.ARMED)
    assert "the venue" in worst.why


def test_what_is_still_to_be_set_is_not_called_lapsing_because_the_venue_has_not_got_it(
    simulator: SimulatorProcess,
) -> None:
    account = make_account(simulator, "binance-options")
    arm(account, "BTCUSDT", length_s=120, every_s=30)

    readings.read_countdowns(account)
    (job,) = heartbeat_jobs.claim(Countdown.objects.values_list("pk", flat=True))
    heartbeats._run(job)
    written()
    before = states(account)
    readings.read_countdowns(account)

    assert (before, states(account)) == ({"BTCUSDT": State.ARMED}, {"BTCUSDT": State.ARMED})
    assert Countdown.objects.get().venue_ms == 120_000


def test_account_without_market_makers_rights_is_told_so(
    simulator: SimulatorProcess, keepers: "Product"
) -> None:
    account = make_account(simulator, "binance-options", market_maker=False)

    arm(account, "BTCUSDT", every_s=2)

    until(lambda: phases() == {"BTCUSDT": Phase.DISARMED}, "the refusal")
    assert "-6005" in Countdown.objects.get().failure


def test_failed_heartbeat_is_repeated_at_once(simulator: SimulatorProcess, keepers: "Product") -> None:
    account = make_account(simulator)
    without_limits(simulator)
    arm(account, "BTCUSDT", length_s=15, every_s=5)
    armed("BTCUSDT")
    simulator.fault("not_done_503b", path=USDM, count=3)
    Countdown.objects.update(due_at=timezone.now())

    until(lambda: states(account)["BTCUSDT"] == State.LAPSING, "the failure on the board")
    until(lambda: states(account)["BTCUSDT"] == State.ARMED, "the heartbeat that came through")

    outcomes = [call["outcome"] for call in Countdown.objects.get().recent]
    assert outcomes == ["done", "failed", "failed", "failed", "done"]


def test_heartbeat_of_unknown_outcome_is_told_as_such(
    simulator: SimulatorProcess, keepers: "Product"
) -> None:
    account = make_account(simulator)
    without_limits(simulator)
    arm(account, "BTCUSDT", length_s=15, every_s=5)
    armed("BTCUSDT")
    simulator.fault("done_then_503a", path=USDM, count=2)
    Countdown.objects.update(due_at=timezone.now())

    until(lambda: states(account)["BTCUSDT"] == State.UNKNOWN, "the doubt on the board")
    until(lambda: states(account)["BTCUSDT"] == State.ARMED, "the heartbeat whose outcome is known")


def test_disarming_waits_for_the_heartbeat_in_flight(simulator: SimulatorProcess, keepers: "Product") -> None:
    account = make_account(simulator)
    without_limits(simulator)
    arm(account, "BTCUSDT", length_s=30, every_s=10)
    armed("BTCUSDT")
    simulator.fault("hang", path=USDM, seconds=1.5, done=True, count=1)
    Countdown.objects.update(due_at=timezone.now())
    until(lambda: Countdown.objects.filter(in_flight_until__gt=timezone.now()).exists(), "one in flight")

    countdowns.disarm(Countdown.objects.all(), by="ann")

    until(lambda: phases() == {"BTCUSDT": Phase.DISARMED}, "the venue's confirmation")
    *_, hung, stop = beats(simulator)
    assert (hung["params"]["countdownTime"], stop["params"]["countdownTime"]) == ("30000", "0")
    assert stop["arrived_us"] >= hung["answered_us"]
    assert at_venue(simulator) == {}


def test_countdown_whose_deadline_is_near_gets_no_heartbeat(simulator: SimulatorProcess) -> None:
    account = make_account(simulator)
    arm(account, "BTCUSDT", every_s=2)
    ids = list(Countdown.objects.values_list("pk", flat=True))
    Countdown.objects.update(
        phase=Phase.ARMED, to_set=False, deadline_at=timezone.now() + timedelta(milliseconds=900)
    )

    assert heartbeat_jobs.claim(ids) == []


def test_result_of_a_call_that_was_not_the_last_changes_nothing(simulator: SimulatorProcess) -> None:
    account = make_account(simulator)
    arm(account, "BTCUSDT", every_s=2)
    (job,) = heartbeat_jobs.claim(Countdown.objects.values_list("pk", flat=True))
    later = job.at + timedelta(seconds=6)
    Countdown.objects.update(sent_at=later, in_flight_until=later + heartbeat_jobs.IN_FLIGHT)

    heartbeat_results.alive(job, job.countdowns)
    heartbeat_results.write([heartbeat_results._results.get()])

    one = Countdown.objects.get()
    assert (one.phase, one.runs_from, one.sent_at) == (Phase.ARMING, None, later)


# ---- run out ----


def test_what_ran_out_while_panicboard_was_dead_is_told_and_not_armed_again(
    simulator: SimulatorProcess, keepers: "Product"
) -> None:
    account = make_account(simulator)
    seed(simulator, account, 3)
    without_limits(simulator)
    arm(account, "BTCUSDT", length_s=5)
    armed("BTCUSDT")

    keepers.close()  # kill -9, all of them
    until(lambda: firings(simulator) == {"BTCUSDT": 3}, "the venue's own end")
    assert simulator.book() == []
    seen = simulator.control("GET", "state")["requests"]
    until(lambda: Countdown.objects.get().deadline_at < timezone.now(), "the deadline")
    before = states(account)
    with restarted(keepers) as again:
        start_keepers(again)
        until(lambda: phases() == {"BTCUSDT": Phase.FIRED}, "what was found")

    one = Countdown.objects.get()
    assert (before, states(account)) == ({"BTCUSDT": State.PASSED}, {"BTCUSDT": State.FIRED})
    assert (one.found_open, at_venue(simulator), beats(simulator, since=seen)) == (0, {}, [])
    assert "no open orders were left" in one.last_word
    assert AuditEntry.objects.filter(action=AuditEntry.Action.FIRED, account=account).count() == 1


def restarted(product: "Product") -> "Product":
    """The same processes anew, on the same database."""
    from tests.product import Product

    return Product({"DATABASE_URL": product.environment["DATABASE_URL"]})


def test_orders_that_are_open_after_the_deadline_are_the_loudest(
    simulator: SimulatorProcess, keepers: "Product", monkeypatch: pytest.MonkeyPatch
) -> None:
    account = make_account(simulator)
    seed(simulator, account, 2)
    without_limits(simulator)
    arm(account, "BTCUSDT", length_s=5)
    armed("BTCUSDT")
    # Somebody else stopped it at the venue: nothing fires there.
    simulator.fault("not_done_503b", path=USDM)
    until(lambda: states(account)["BTCUSDT"] == State.LAPSING, "a missed heartbeat")
    simulator.clear_faults()
    simulator.fault("503_1008", path=USDM, account="alpha", skip=1)
    plain(simulator, account).call("POST", USDM, symbol="BTCUSDT", countdownTime=0)

    until(lambda: states(account)["BTCUSDT"] == State.NOT_FIRED, "orders that are still open")

    assert Countdown.objects.get().found_open == 2


def test_fired_options_are_locked_until_a_person_unlocks_them(
    simulator: SimulatorProcess, keepers: "Product"
) -> None:
    account = make_account(simulator, "binance-options")
    seed(simulator, account, 1)
    without_limits(simulator)
    arm(account, "BTCUSDT", length_s=5)
    armed("BTCUSDT")
    simulator.fault("not_done_503b", path=OPTIONS_BEAT)

    until(lambda: states(account)["BTCUSDT"] == State.LOCKED, "the lock")
    simulator.clear_faults()
    with pytest.raises(countdowns.Refused, match="unlock it first"):
        arm(account, "BTCUSDT")
    countdowns.unlock(Countdown.objects.select_related("account").get(), "the bot is mended", by="ann")
    until(lambda: states(account)["BTCUSDT"] == State.DISARMED, "the venue's confirmation")

    assert firings(simulator) == {"BTCUSDT": 1}
    order = {"symbol": "BTC-261225-100000-C", "side": "BUY", "type": "LIMIT", "quantity": "1", "price": "1"}
    assert plain(simulator, account).call("POST", "/eapi/v1/order", **order)["status"] in ("NEW", "ACCEPTED")


# ---- who keeps it alive ----


def test_countdown_runs_out_on_time_when_the_bot_is_silent(
    simulator: SimulatorProcess, keepers: "Product"
) -> None:
    account = make_account(simulator)
    without_limits(simulator)
    path = life_signs.make_bot_address(account, by="ann", silence_s=2)
    secret = path.rstrip("/").rpartition("/")[2]
    assert life_signs.beat(secret)
    arm(account, "BTCUSDT", length_s=5, source="bot")
    armed("BTCUSDT")

    heard_at = timezone.now()
    assert life_signs.beat(secret)
    until(lambda: states(account)["BTCUSDT"] == State.LAPSING, "the silence on the board")
    until(lambda: "BTCUSDT" in firings(simulator), "the venue's end")
    until(lambda: states(account)["BTCUSDT"] == State.FIRED, "the end on the board")

    last = max(call["arrived_us"] for call in beats(simulator)) / 1e6
    assert last <= heard_at.timestamp() + 2 + 1


def test_countdown_runs_out_when_nobody_confirms_presence(
    simulator: SimulatorProcess, keepers: "Product"
) -> None:
    account = make_account(simulator)
    without_limits(simulator)
    life_signs.expect_operator(account, by="ann", silence_s=3)
    arm(account, "BTCUSDT", length_s=5, source="operator")
    armed("BTCUSDT")

    assert life_signs.confirm_presence([account], by="bob") == 1
    until(lambda: states(account)["BTCUSDT"] == State.FIRED, "the end")

    assert firings(simulator) == {"BTCUSDT": 0}


def test_bot_that_is_heard_again_in_time_keeps_it_alive(
    simulator: SimulatorProcess, keepers: "Product"
) -> None:
    account = make_account(simulator)
    without_limits(simulator)
    secret = life_signs.make_bot_address(account, by="ann", silence_s=2).rstrip("/").rpartition("/")[2]
    life_signs.beat(secret)
    arm(account, "BTCUSDT", length_s=9, source="bot")
    armed("BTCUSDT")
    until(lambda: states(account)["BTCUSDT"] == State.LAPSING, "the silence")

    life_signs.beat(secret)

    until(lambda: states(account)["BTCUSDT"] == State.ARMED, "the heartbeats")
    assert firings(simulator) == {}


@pytest.mark.parametrize("adapter", ["coinswitch", "binance-portfolio"])
def test_local_countdown_panics_the_account_when_its_source_is_silent(
    simulator: SimulatorProcess, keepers: "Product", adapter: str
) -> None:
    account = make_account(simulator, adapter)
    seed(simulator, account, 2)
    life_signs.expect_operator(account, by="ann", silence_s=60)
    keepers.start_worker(processes.worker("panic", 1, 8))

    arm(account, "", length_s=5, source="operator")

    until(lambda: Panic.objects.filter(pressed_via=Panic.Via.COUNTDOWN).exists(), "the panic")
    until(lambda: simulator.book() == [], "its cancels")
    panic = Panic.objects.get()
    account.refresh_from_db()
    assert (account.latched_by, panic.pressed_by_name) == (panic, "countdown")
    assert panic.reason.startswith("nothing was heard of the operator since ")
    assert states(account) == {"": State.FIRED}


# ---- latched ----


def test_second_net_of_a_panic_lets_the_venue_cancel_by_itself(
    simulator: SimulatorProcess, keepers: "Product"
) -> None:
    account = make_account(simulator)
    without_limits(simulator)
    arm(account, "BTCUSDT", length_s=120, every_s=30)
    armed("BTCUSDT")

    panic = press(account)

    until(
        lambda: 0 < at_venue(simulator).get("BTCUSDT", 0) <= heartbeat_jobs.SECOND_NET_MS,
        "the shorter countdown",
    )
    assert states(account) == {"BTCUSDT": State.WITHHELD}
    until(lambda: states(account) == {"BTCUSDT": State.FIRED}, "its end")
    assert firings(simulator) == {"BTCUSDT": 0}
    panics.release(panic, released_by=None, released_by_name="ann", reason="all is well again")
    assert states(account) == {"BTCUSDT": State.FIRED}
    assert countdowns.rearm(account, by="ann") == 1
    armed("BTCUSDT")
    assert Countdown.objects.get().countdown_ms == 120_000


def test_what_may_have_been_set_when_the_press_came_is_shortened_too(
    simulator: SimulatorProcess, keepers: "Product"
) -> None:
    account = make_account(simulator)
    without_limits(simulator)
    simulator.fault("done_then_503a", path=USDM, account="alpha")
    arm(account, "BTCUSDT", length_s=120, every_s=30)
    until(lambda: Countdown.objects.filter(misses__gt=0).exists(), "an arming of unknown outcome")
    press(account)

    simulator.clear_faults()

    until(
        lambda: 0 < at_venue(simulator).get("BTCUSDT", 0) <= heartbeat_jobs.SECOND_NET_MS,
        "the shorter countdown",
    )
    until(lambda: phases() == {"BTCUSDT": Phase.FIRED}, "its end")
    assert Countdown.objects.get().last_word.startswith("ran out at ")
    assert firings(simulator) == {"BTCUSDT": 0}


def test_what_may_have_run_in_a_panic_is_over_when_it_must_be() -> None:
    now = timezone.now()
    account = pages.make_account()
    common = {"account": account, "countdown_ms": 120_000, "phase": Phase.WITHHELD}
    common["withheld_by"] = pages.make_panic(account)
    past, future = now - timedelta(seconds=1), now + timedelta(seconds=60)
    for scope, deadline_at, maybe_until in (
        ("NEVER", None, None),
        ("SURE", past, None),
        ("DOUBT", None, past),
        ("BOTH", past, past),
        ("LATER", past, future),
    ):
        Countdown.objects.create(scope=scope, deadline_at=deadline_at, maybe_until=maybe_until, **common)

    countdown_keeper.see_what_ran_out()

    over = dict(Countdown.objects.filter(phase=Phase.FIRED).values_list("scope", "last_word"))
    said = {scope: word.partition(f" {past:%H:%M:%S}")[0] for scope, word in over.items()}
    assert said == {"SURE": "ran out at", "DOUBT": "may have run out by", "BOTH": "may have run out by"}


def test_latched_account_can_be_neither_armed_nor_disarmed(simulator: SimulatorProcess) -> None:
    account = make_account(simulator)
    arm(account, "BTCUSDT", every_s=2)
    panic = press(account)

    for act in (
        lambda: arm(account, "ETHUSDT", every_s=2),
        lambda: countdowns.disarm(Countdown.objects.all(), by="ann"),
    ):
        with pytest.raises(countdowns.Refused, match=f"latched by panic {panic.pk}"):
            act()


def test_no_heartbeat_leaves_after_the_latch(simulator: SimulatorProcess, keepers: "Product") -> None:
    """Two hundred presses, each at another moment of a hundred and fifty heartbeats a second."""
    accounts = [
        make_account(simulator, adapter, f"{adapter}-{number}")
        for adapter in ("binance-usdm", "binance-options")
        for number in range(10)
    ]
    scopes = ("BTCUSDT", "ETHUSDT", "SOLUSDT")
    without_limits(simulator)
    accounts = list(Account.objects.select_related("venue"))
    runs, strays, in_flight = 0, list[dict[str, Any]](), 0

    for turn in range(10):
        for account in accounts:
            arm(account, *scopes, length_s=7)
        until(lambda: set(phases_of_all()) == {Phase.ARMED}, f"all to be armed, turn {turn}")
        seen = simulator.control("GET", "state")["requests"]
        # From here on everything is due all the time, so a press finds heartbeats due and in flight.
        latched: dict[str, datetime] = {}
        for account in accounts:
            Countdown.objects.filter(account=account).update(due_at=timezone.now())
            in_flight += Countdown.objects.filter(in_flight_until__gt=timezone.now()).exists()
            latched[account.name] = press(account).pressed_at
            runs += 1
        until(no_heartbeat_is_under_way, "the wire's end")
        strays += [call for call in beats(simulator, since=seen) if is_stray(call, latched)]
        panics.release_accounts(
            Account.objects.all(), released_by=None, released_by_name="ann", reason="the next of the turns"
        )
        countdowns.disarm(Countdown.objects.all(), by="ann")
        until(lambda: set(phases_of_all()) == {Phase.DISARMED}, "the venues' confirmations")

    assert (runs, strays) == (200, [])
    assert in_flight


def no_heartbeat_is_under_way() -> bool:
    return not Countdown.objects.filter(sent_at__gt=timezone.now() - heartbeat_jobs.FOR).exists()


def phases_of_all() -> list[str]:
    return list(Countdown.objects.values_list("phase", flat=True))


def is_stray(call: dict[str, Any], latched: dict[str, datetime]) -> bool:
    """Whether a heartbeat reached the venue after its account's latch that was not under way by then.

    Its timestamp is by the venue's clock, as measured: what counts here is when it was decided by ours.
    """
    arrived_at = datetime.fromtimestamp(call["arrived_us"] / 1e6, UTC)
    latched_at = latched[call["account"]]
    shortened = call["params"].get("countdownTime") == str(heartbeat_jobs.SECOND_NET_MS)
    if arrived_at <= latched_at or shortened:
        return False
    scope = call["params"].get("symbol") or call["params"]["underlyings"].split(",")[0]
    one = Countdown.objects.get(account__name=call["account"], scope=scope)
    decided = [datetime.fromisoformat(made["at"]) for made in one.recent if made["what"] != "shorten"]
    last = max(at for at in decided if at <= arrived_at)
    return last >= latched_at or arrived_at - last > heartbeat_jobs.FOR


# ---- maintenance ----


def test_window_of_maintenance_disarms_and_arms_again(
    simulator: SimulatorProcess, keepers: "Product"
) -> None:
    account = make_account(simulator)
    without_limits(simulator)
    arm(account, "BTCUSDT")
    armed("BTCUSDT")
    now = timezone.now()

    window = Maintenance.objects.create(
        venue=account.venue,
        begins_at=now,
        ends_at=now + timedelta(hours=1),
        reason="the venue moves house",
        made_by="ann",
    )

    until(lambda: phases() == {"BTCUSDT": Phase.DISARMED}, "the window")
    with pytest.raises(countdowns.Refused, match="the venue moves house"):
        arm(account, "BTCUSDT")
    assert at_venue(simulator) == {}
    Maintenance.objects.filter(pk=window.pk).update(ends_at=timezone.now())
    armed("BTCUSDT")
    assert at_venue(simulator).keys() == {"BTCUSDT"}


# ---- the ways round ----


@pytest.mark.parametrize(
    "environment", [{"BROKER_URL": "redis://127.0.0.1:9/0"}, {}], ids=["no queue", "no worker"]
)
def test_keeper_beats_itself_where_nobody_takes_what_is_queued(
    simulator: SimulatorProcess, bare_product: "Product", environment: dict[str, str]
) -> None:
    bare_product.environment = {**bare_product.environment, **environment}
    bare_product.start(processes.keeper())
    account = make_account(simulator)
    without_limits(simulator)

    arm(account, "BTCUSDT")

    armed("BTCUSDT")
    first = Countdown.objects.get().runs_from
    until(lambda: Countdown.objects.get().runs_from > first, "a heartbeat")


def test_disabled_account_gets_no_heartbeat_and_what_ran_out_is_read(
    simulator: SimulatorProcess, keepers: "Product"
) -> None:
    account = make_account(simulator)
    without_limits(simulator)
    arm(account, "BTCUSDT", length_s=5)
    armed("BTCUSDT")

    Account.objects.update(enabled=False)

    until(lambda: phases() == {"BTCUSDT": Phase.FIRED}, "what was found")
    assert firings(simulator) == {"BTCUSDT": 0}


def test_second_keeper_takes_over_before_anything_lapses(
    simulator: SimulatorProcess, bare_product: "Product"
) -> None:
    """A small measure of `make chaos`: the leading keeper is killed again and again."""
    bare_product.start_worker(processes.worker("heartbeat", 1, 16))
    keepers = [bare_product.start(processes.keeper()) for _ in range(2)]
    account = make_account(simulator)
    without_limits(simulator)
    symbols = symbols_of(simulator, 20)
    arm(account, *symbols, length_s=10, every_s=3)
    until(lambda: set(phases_of_all()) == {Phase.ARMED}, "all to be armed")

    for _ in range(4):
        killed = keepers.pop(0)
        killed.kill()
        keepers.append(bare_product.start(processes.keeper()))
        older = Countdown.objects.filter(runs_from__lt=timezone.now())
        until(lambda older=older: not older.exists(), "every one's next heartbeat")

    assert firings(simulator) == {}


def symbols_of(simulator: SimulatorProcess, count: int) -> list[str]:
    told = requests.get(f"{simulator.url}/fapi/v1/exchangeInfo", timeout=10).json()
    return sorted(one["symbol"] for one in told["symbols"] if one["status"] == "TRADING")[:count]


# ---- whole accounts ----


def read(account: Account) -> None:
    readings.read(Account.objects.select_related("venue").get(pk=account.pk))


def test_account_that_is_armed_whole_has_new_symbols_armed(simulator: SimulatorProcess) -> None:
    account = make_account(simulator)
    seed(simulator, account)
    read(account)
    countdowns.follow(account, by="ann")
    seed(simulator, account, symbol="ETHUSDT")
    read(account)

    armed_now = countdowns.arm_what_appeared(Follow.objects.select_related("account__venue").get())

    assert armed_now == 1
    assert phases() == {"BTCUSDT": Phase.ARMING, "ETHUSDT": Phase.ARMING}


def test_symbol_that_was_disarmed_is_not_armed_again_by_itself(simulator: SimulatorProcess) -> None:
    account = make_account(simulator)
    for symbol in ("BTCUSDT", "ETHUSDT"):
        seed(simulator, account, symbol=symbol)
    read(account)
    countdowns.follow(account, by="ann")
    countdowns.disarm(Countdown.objects.filter(scope="ETHUSDT"), by="ann")

    armed_now = countdowns.arm_what_appeared(Follow.objects.select_related("account__venue").get())

    assert armed_now == 0
    assert phases() == {"BTCUSDT": Phase.ARMING, "ETHUSDT": Phase.DISARMING}


def test_disarming_everything_ends_the_arming_of_the_whole_account(simulator: SimulatorProcess) -> None:
    account = make_account(simulator)
    seed(simulator, account)
    read(account)
    countdowns.follow(account, by="ann")

    countdowns.disarm(Countdown.objects.all(), by="ann")

    assert not Follow.objects.exists()


def test_symbol_that_does_not_fit_any_more_is_told(simulator: SimulatorProcess) -> None:
    account = make_account(simulator)
    seed(simulator, account)
    read(account)
    countdowns.follow(account, by="ann", countdown_ms=6_000, refresh_ms=1_000)
    seed(simulator, account, symbol="ETHUSDT")
    read(account)

    countdowns.arm_what_appeared(Follow.objects.select_related("account__venue").get())

    assert phases() == {"BTCUSDT": Phase.ARMING}
    assert Follow.objects.get().failure == (
        "ETHUSDT not armed: with 1 more and a heartbeat every 1 s, countdowns take 1200 of the 960 a minute "
        "there is for them: 0 fit, or all of them with a heartbeat every 2 s"
    )


# ---- what may not be overwritten, unlocked or held up ----


def written(*results: heartbeat_results.Result) -> Countdown:
    heartbeat_results.write(results or [heartbeat_results._results.get()])
    return Countdown.objects.get()


def test_answer_to_a_call_of_before_does_not_pass_for_the_new_length(simulator: SimulatorProcess) -> None:
    account = make_account(simulator, "binance-options")
    arm(account, "BTCUSDT", length_s=30, every_s=10)
    Countdown.objects.update(phase=Phase.ARMED, to_set=False)
    (job,) = heartbeat_jobs.claim(Countdown.objects.values_list("pk", flat=True))
    arm(account, "BTCUSDT", length_s=60, every_s=10)

    heartbeat_results.alive(job, job.countdowns)
    one = written()

    assert (one.phase, one.to_set, one.deadline_at, one.in_flight_until) == (Phase.ARMING, True, None, None)


@pytest.mark.parametrize("then", ["rearm", "disarm"])
def test_second_net_that_comes_late_leaves_what_was_wanted_since(
    simulator: SimulatorProcess, then: str
) -> None:
    account = make_account(simulator)
    arm(account, "BTCUSDT", length_s=60, every_s=20)
    (job,) = heartbeat_jobs.claim(Countdown.objects.values_list("pk", flat=True))
    heartbeat_results.alive(job, job.countdowns)
    written()
    panic = press(account)
    Countdown.objects.update(due_at=timezone.now())
    (net,) = heartbeat_jobs.claim(Countdown.objects.values_list("pk", flat=True))
    panics.release(panic, released_by=None, released_by_name="ann", reason="all is well again")
    if then == "rearm":
        countdowns.rearm(account, by="ann")
    else:
        countdowns.disarm(Countdown.objects.all(), by="ann")

    heartbeats._run(net)
    one = written()

    assert net.what == "shorten"
    assert one.phase == (Phase.ARMING if then == "rearm" else Phase.DISARMING)
    assert (one.due_at is not None, one.in_flight_until) == (True, None)


@pytest.mark.parametrize("facts", [{"phase": Phase.FIRED, "locked": True}, {"phase": Phase.PASSED}])
def test_disarming_does_not_unlock(simulator: SimulatorProcess, facts: dict[str, Any]) -> None:
    account = make_account(simulator, "binance-options")
    arm(account, "BTCUSDT", every_s=2)
    Countdown.objects.update(**facts)

    with pytest.raises(countdowns.Refused, match="BTCUSDT"):
        countdowns.disarm(Countdown.objects.all(), by="ann")

    assert Countdown.objects.get().phase == facts["phase"]


def test_disarming_all_leaves_what_is_locked(simulator: SimulatorProcess) -> None:
    account = make_account(simulator, "binance-options")
    arm(account, "BTCUSDT", "ETHUSDT", every_s=2)
    Countdown.objects.filter(scope="ETHUSDT").update(phase=Phase.FIRED, locked=True)

    assert countdowns.disarm(Countdown.objects.all(), by="ann") == 1

    assert phases() == {"BTCUSDT": Phase.DISARMING, "ETHUSDT": Phase.FIRED}


def test_options_whose_deadline_passed_are_not_armed_before_it_is_known_what_happened(
    simulator: SimulatorProcess,
) -> None:
    account = make_account(simulator, "binance-options")
    arm(account, "BTCUSDT", every_s=2)
    Countdown.objects.update(phase=Phase.PASSED)

    with pytest.raises(countdowns.Refused, match="its deadline passed"):
        arm(account, "BTCUSDT", every_s=2)


def test_what_fails_for_one_account_holds_up_no_other(
    simulator: SimulatorProcess, keepers: "Product"
) -> None:
    account, broken = make_account(simulator), make_account(simulator, "binance-options", "broken")
    without_limits(simulator)
    read(broken)
    countdowns.follow(broken, by="ann")
    Venue.objects.filter(adapter="binance-options").update(adapter="of-another-version")
    keepers.running[-1].wait_for_line("of-another-version")

    arm(account, "BTCUSDT")

    until(lambda: Countdown.objects.filter(scope="BTCUSDT", phase=Phase.ARMED).exists(), "it to be armed")
    assert countdown_state.by_account(Account.objects.select_related("venue"), timezone.now())


def test_heartbeats_go_on_while_the_keeper_is_busy_with_something_else(
    simulator: SimulatorProcess, bare_product: "Product"
) -> None:
    """The keeper's other work asks nobody for its lease: the countdowns' thread keeps it as well."""
    leadership = keeper.Leadership()
    stop = threading.Event()
    thread = threading.Thread(target=countdown_keeper.run, args=(stop, leadership.taken))
    account = make_account(simulator)
    without_limits(simulator)

    thread.start()
    arm(account, "BTCUSDT")

    try:
        armed("BTCUSDT")
        later = timezone.now() + timedelta(seconds=keeper.LEAD_S + 1)
        until(lambda: Countdown.objects.get().runs_from > later, "a heartbeat after the lease had lapsed")
    finally:
        stop.set()
        thread.join()
