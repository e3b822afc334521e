"""What panicboard itself stands on, broken in the middle of a panic: queue, database, disk, web process.

What was pressed before goes on, what is pressed meanwhile is kept, and all ends clear once it is whole again.
"""

import resource
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

import pytest
import requests
from django.conf import settings

from panicboard import dispatch
from panicboard.models import Account, Panic, Sweep
from tests import database
from tests.faults.floor import Floor, Verdicts
from tests.faults.matrix import cells
from tests.signed_in import Board
from tests.sweep_stage import is_cancel
from tests.venue_calls import CALLS, at, is_about_orders
from tests.waiting import until

pytest_plugins = ["tests.broker_process", "tests.simulator_process", "tests.faults.floor"]
pytestmark = pytest.mark.django_db(transaction=True)


def hold_in_mid_sweep(floor: Floor, accounts: list[Account], seconds: float) -> None:
    """Let the venue keep back, for so long, the answer to each account's first listing."""
    for account in accounts:
        where = at(CALLS[account.venue.adapter].listing)
        floor.simulator.fault("hang", account=account.name, **where, count=1, seconds=seconds, done="first")


def press(board: Board, slug: str) -> requests.Response:
    """Press for a desk, as a browser without a script does. Returns the answer, wherever it leads."""
    return board.post("/panics/", scope="desk", desk=slug, held_ms="1000")


def sent_for_orders(floor: Floor, account: Account) -> int:
    """How many calls about its orders were sent: any press sends some. Heartbeats come all the time."""
    adapter = account.venue.adapter
    return sum(is_about_orders(call, adapter) for call in floor.simulator.log(account.name))


def all_held(floor: Floor, accounts: list[Account]) -> bool:
    return all(any(call["faults"] for call in floor.simulator.log(one.name)) for one in accounts)


def nothing_open(floor: Floor, accounts: list[Account]) -> bool:
    return not any(floor.simulator.book(one.name) for one in accounts)


# Tasks that come more than once.


def delivered_again(floor: Floor, name: str, times: int) -> Verdicts:
    """A panic whose tasks come so often, to two workers, while its sweeps are at work."""
    accounts = floor.desk(name)
    hold_in_mid_sweep(floor, accounts, 1)
    panic = floor.press(name)
    ids = list(panic.sweeps.values_list("pk", flat=True))
    assert dispatch.queue("run_sweep", ids * (times - 1)) == len(ids) * (times - 1)
    until(lambda: all_held(floor, accounts), "every account in mid-sweep")
    floor.until_over(panic)
    assert dispatch.queue("run_sweep", ids) == len(ids)  # and once more when it is over
    until(lambda: floor.broker.all_done("panic"), "the end of every task")
    assert set(panic.sweeps.values_list("round", flat=True)) == {1}
    for account in accounts:
        cancels = Counter(call["path"] for call in floor.simulator.log(account.name) if is_cancel(call))
        assert set(cancels.values()) == {1}, cancels
    return floor.verdicts(panic)


@pytest.fixture(scope="module")
def delivered_twice(floor: Floor) -> Verdicts:
    return delivered_again(floor, "twice", 2)


@pytest.fixture(scope="module")
def delivered_ten_times(floor: Floor) -> Verdicts:
    return delivered_again(floor, "ten-times", 10)


@pytest.mark.parametrize(("adapter", "fault"), cells("task delivered twice"))
def test_task_that_two_workers_have_is_done_once(delivered_twice: Verdicts, adapter: str, fault: str) -> None:
    assert delivered_twice[adapter] == []


@pytest.mark.parametrize(("adapter", "fault"), cells("task delivered ten times at once"))
def test_task_that_comes_ten_times_is_done_once(
    delivered_ten_times: Verdicts, adapter: str, fault: str
) -> None:
    assert delivered_ten_times[adapter] == []


# A venue that hangs, with our real timeouts.


@pytest.fixture(scope="module")
def held(floor: Floor) -> Verdicts:
    """At every venue one account that gets no answer at all, and one that nothing is the matter with."""
    accounts = floor.desk("held", each=2)
    stuck, healthy = accounts[: len(CALLS)], accounts[len(CALLS) :]
    for account in stuck:
        path = CALLS[account.venue.adapter].every
        floor.simulator.fault("hang", account=account.name, path=path, seconds=60, done="never")
    panic = floor.press("held")

    def states(of: list[Account]) -> set[str]:
        return set(panic.sweeps.filter(account__in=of).values_list("state", flat=True))

    until(lambda: states(healthy) == {Sweep.State.CLEAR}, "the clear of those that are not held")
    assert all_held(floor, stuck)
    assert states(stuck).isdisjoint(Sweep.OVER), states(stuck)
    floor.simulator.clear_faults()
    floor.until_over(panic)
    return floor.verdicts(panic)


@pytest.mark.parametrize(("adapter", "fault"), cells("timeout before acting"))
def test_account_is_clear_while_another_is_still_held_by_the_venue(
    held: Verdicts, adapter: str, fault: str
) -> None:
    assert held[adapter] == []


# The database.

LOCKED_S = 5.0


@pytest.fixture(scope="module")
def locked(floor: Floor) -> Verdicts:
    """Another connection holds the database for five seconds: in mid-sweep, and over a press."""
    before, meanwhile = floor.desk("before-lock"), floor.desk("while-locked")
    hold_in_mid_sweep(floor, before, 3)
    running = floor.press("before-lock")
    until(lambda: all_held(floor, before), "every account in mid-sweep")
    asked = {one: sent_for_orders(floor, one) for one in meanwhile}

    with database.held():
        began = time.monotonic()
        clear_before = set(running.sweeps.filter(state=Sweep.State.CLEAR))
        shell = floor.press_from_a_shell("while-locked")
        while time.monotonic() - began < LOCKED_S:
            threading.Event().wait(0.1)
            assert set(running.sweeps.filter(state=Sweep.State.CLEAR)) == clear_before
            assert shell.is_running  # it waits, and does not claim anything
        assert not Panic.objects.filter(desk__slug="while-locked").exists()
        assert {one: sent_for_orders(floor, one) for one in meanwhile} == asked

    assert shell.wait(60) == 0, shell.lines
    pressed = floor.panic_of("while-locked")
    for panic in (running, pressed):
        floor.until_over(panic)
    return floor.verdicts(running, pressed)


@pytest.mark.parametrize(("adapter", "fault"), cells("database locked for 5 s"))
def test_locked_database_only_delays(locked: Verdicts, adapter: str, fault: str) -> None:
    assert locked[adapter] == []


# The broker.


def without_the_broker(
    floor: Floor, name: str, take_away: Callable[[], None], give_back: Callable[[], None]
) -> Verdicts:
    """A panic that loses its broker in its midst, and another that is pressed without one."""
    before, meanwhile = floor.desk(f"before-{name}"), floor.desk(f"while-{name}")
    hold_in_mid_sweep(floor, before, 2)
    running = floor.press(f"before-{name}")
    until(lambda: all_held(floor, before), "every account in mid-sweep")
    try:
        take_away()
        shell = floor.press_from_a_shell(f"while-{name}")
        until(lambda: nothing_open(floor, meanwhile), "the cancels of what was pressed without a broker")
    finally:
        give_back()
    pressed = floor.panic_of(f"while-{name}")
    for panic in (running, pressed):
        floor.until_over(panic)
    assert (shell.wait(60), pressed.direct_path) == (0, True), shell.lines
    assert [worker.is_running for worker in floor.workers.values()] == [True, True]
    return floor.verdicts(running, pressed)


@pytest.fixture(scope="module")
def redis_killed(floor: Floor) -> Verdicts:
    return without_the_broker(floor, "kill", floor.broker.kill, floor.broker.mend)


@pytest.fixture(scope="module")
def redis_frozen(floor: Floor) -> Verdicts:
    return without_the_broker(floor, "freeze", floor.broker.freeze, floor.broker.mend)


@pytest.mark.parametrize(("adapter", "fault"), cells("Redis killed"))
def test_killed_broker_loses_nothing(redis_killed: Verdicts, adapter: str, fault: str) -> None:
    assert redis_killed[adapter] == []


@pytest.mark.parametrize(("adapter", "fault"), cells("Redis frozen"))
def test_frozen_broker_loses_nothing(redis_frozen: Verdicts, adapter: str, fault: str) -> None:
    assert redis_frozen[adapter] == []


# The disk.


@contextmanager
def no_room(floor: Floor) -> Iterator[None]:
    """Let no process write to any file any more, the broker's neither, as on a full disk.

    By a limit of the kernel on the size of files (RLIMIT_FSIZE), which is set from outside on processes that
    run: each write fails, also one that would not make a file longer, and nothing else changes. It needs no
    right and leaves nothing behind. A small file system of our own would need the right to mount one, and
    SQLite's own limit on pages concerns one connection, which must set it itself.
    """
    pids = [running.pid for running in floor.product.running if running.is_running] + [floor.broker.pid()]
    _, most = resource.prlimit(pids[0], resource.RLIMIT_FSIZE)

    def allow(size: int) -> None:
        for pid in pids:
            with suppress(ProcessLookupError):  # it ended over it
                resource.prlimit(pid, resource.RLIMIT_FSIZE, (size, most))

    allow(0)
    try:
        yield
    finally:
        allow(most)


@pytest.fixture(scope="module")
def disk_full(floor: Floor) -> Verdicts:
    if not database.is_sqlite():
        pytest.skip("the files of PostgreSQL are its server's")
    board = floor.board()
    before, meanwhile = floor.desk("before-full"), floor.desk("while-full")
    hold_in_mid_sweep(floor, before, 1)
    assert press(board, "before-full").status_code == 303
    running = floor.panic_of("before-full")
    until(lambda: all_held(floor, before), "every account in mid-sweep")
    asked = {one: sent_for_orders(floor, one) for one in meanwhile}

    with no_room(floor):
        clear_before = set(running.sweeps.filter(state=Sweep.State.CLEAR))
        refused = press(board, "while-full")
        floor.keeper.wait_for_line("keeper: the database does not answer")
        # As long as a lease: whoever could take a sweep over has tried to.
        threading.Event().wait(settings.SWEEP_LEASE_S)
        clear_meanwhile = set(running.sweeps.filter(state=Sweep.State.CLEAR))
        pressed = Panic.objects.filter(desk__slug="while-full").exists()
    floor.start_dead_workers()
    floor.until_over(running)

    address = running.get_absolute_url()
    floor.shown += [refused.text, board.page(f"{address}?record=1"), board.page(f"{address}record.json")]
    assert (refused.status_code, "NOT SENT - the database does not take" in refused.text) == (422, True)
    assert (pressed, clear_meanwhile) == (False, clear_before)
    assert {one: sent_for_orders(floor, one) for one in meanwhile} == asked
    assert press(board, "while-full").status_code == 303
    again = floor.panic_of("while-full")
    floor.until_over(again)
    assert floor.web.is_running
    return floor.verdicts(running, again)


@pytest.mark.parametrize(("adapter", "fault"), cells("disk full"))
def test_full_disk_takes_no_press_and_pretends_none(disk_full: Verdicts, adapter: str, fault: str) -> None:
    assert disk_full[adapter] == []


# The web process.


@pytest.fixture(scope="module")
def web_killed(floor: Floor) -> Verdicts:
    """Killed when it had answered: while it was still queueing tasks, and while it swept by itself."""
    floor.desk("queued", each=5)  # more than are queued before the answer
    direct = floor.desk("direct")
    floor.until_ready()
    board = floor.board()
    answered = press(board, "queued")
    floor.web.kill()
    queued_panic = floor.panic_of("queued")
    floor.until_over(queued_panic)

    board = floor.board()
    hold_in_mid_sweep(floor, direct, 30)
    try:
        floor.broker.kill()
        answered_directly = press(board, "direct")
        until(lambda: all_held(floor, direct), "every account in mid-sweep")
        floor.web.kill()
    finally:
        floor.broker.mend()
    direct_panic = floor.panic_of("direct")
    floor.until_over(direct_panic)

    for answer, panic in ((answered, queued_panic), (answered_directly, direct_panic)):
        assert (answer.status_code, answer.headers["Location"]) == (303, panic.get_absolute_url())
    assert (queued_panic.direct_path, direct_panic.direct_path) == (False, True)
    return floor.verdicts(queued_panic, direct_panic)


@pytest.mark.parametrize(("adapter", "fault"), cells("web killed after the press"))
def test_web_process_killed_after_its_answer_loses_nothing(
    web_killed: Verdicts, adapter: str, fault: str
) -> None:
    assert web_killed[adapter] == []
