"""The first moments of a panic: cancels leave before tasks are received, and before the rest of any sweep."""

import threading

import pytest
from django.db import connections

from panicboard import rush
from panicboard.models import Panic, Sweep
from tests.pages import make_account, make_panic


def receive(order: list[str]) -> threading.Thread:
    """Receive a task beside the test, as a worker's consumer does."""

    def run() -> None:
        rush.leave_alone()
        order.append("received")

    thread = threading.Thread(target=run)
    thread.start()
    return thread


def test_task_is_received_at_once_while_no_cancels_leave() -> None:
    order: list[str] = []

    receive(order).join()

    assert order == ["received"]


def test_task_is_received_after_every_cancel_that_was_coming(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rush, "ALONE_S", 60.0)
    order: list[str] = []
    rush.coming()
    rush.coming()

    receiving = receive(order)
    for number in (1, 2):
        order.append(f"cancel {number}")
        rush.gone()
    receiving.join()

    assert order == ["cancel 1", "cancel 2", "received"]


def test_venue_that_hangs_holds_up_no_task_for_long(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rush, "ALONE_S", 0.01)
    order: list[str] = []
    rush.coming()

    receive(order).join()
    order.append("answered")
    rush.gone()

    assert order == ["received", "answered"]


@pytest.fixture
def panic(monkeypatch: pytest.MonkeyPatch, transactional_db: None) -> Panic:
    """A panic all of whose sweeps are taken; whoever waits in vain here waits for a minute."""
    monkeypatch.setattr(rush, "NO_PROGRESS_S", 60.0)
    panic = make_panic(make_account())
    panic.sweeps.update(lease_owner="worker-panic@elsewhere:1:abc", state=Sweep.State.CANCELLING)
    return panic


def stand_aside(panic: Panic, order: list[str]) -> threading.Thread:
    """Stand aside beside the test, as a sweep does whose cancels were answered."""

    def run() -> None:
        try:
            rush.stand_aside(panic.pk)
            order.append("went on")
        finally:
            connections.close_all()

    thread = threading.Thread(target=run)
    thread.start()
    return thread


def test_sweep_stands_aside_for_cancels_that_have_not_left(panic: Panic) -> None:
    order: list[str] = []
    rush.coming()
    aside = stand_aside(panic, order)

    aside.join(3 * rush.LOOK_EVERY_S)
    order.append("cancels left")
    rush.gone()
    aside.join()

    assert order == ["cancels left", "went on"]


def test_sweep_stands_aside_for_cancels_that_another_process_has_taken_on(panic: Panic) -> None:
    order: list[str] = []
    panic.sweeps.update(state=Sweep.State.QUEUED)
    aside = stand_aside(panic, order)

    aside.join(3 * rush.LOOK_EVERY_S)
    order.append("cancels left")
    panic.sweeps.update(state=Sweep.State.CANCELLING)
    aside.join()

    assert order == ["cancels left", "went on"]


def test_cancels_that_have_left_are_marked_for_the_other_processes(panic: Panic) -> None:
    panic.sweeps.update(state=Sweep.State.QUEUED)

    with rush.leaving(panic.pk, panic.sweeps.get().pk):
        pass
    rush.stand_aside(panic.pk)

    assert panic.sweeps.get().state == Sweep.State.CANCELLING


def test_sweep_stands_aside_for_cancels_that_wait_for_a_thread(
    panic: Panic, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rush, "SENT_S", 0.0)
    order: list[str] = []
    rush.coming()

    with rush.leaving(panic.pk, panic.sweeps.get().pk) as leaving:
        leaving.expect(2)
        leaving()
        aside = stand_aside(panic, order)
        aside.join(3 * rush.LOOK_EVERY_S)
        order.append("the second leaves")
        leaving()
        aside.join()
    rush.gone()

    assert order == ["the second leaves", "went on"]


def test_sweep_does_not_stand_aside_for_the_answer_of_a_venue_that_hangs(
    panic: Panic, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rush, "SENT_S", 0.01)
    order: list[str] = []
    rush.coming()

    with rush.leaving(panic.pk, panic.sweeps.get().pk):
        stand_aside(panic, order).join()
        order.append("answered")
    rush.gone()

    assert order == ["went on", "answered"]
