"""The first moments of a panic: cancels leave before this process receives more tasks."""

import threading

import pytest

from panicboard import rush


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
