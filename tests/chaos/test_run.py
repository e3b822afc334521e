"""A short chaos run as it is started from a shell: its verdict, and what it leaves behind."""

import json
import signal
import subprocess
import sys

import pytest

from tests.chaos import plan as plans

SEED, SECONDS = 1, 15
MUST_BE_ZERO = ("false_clears", "lost_presses", "orders_left", "heartbeats_after_latch")


def start() -> subprocess.Popen[str]:
    """A run in a session of its own, by which its processes are found."""
    argv = [sys.executable, "-m", "tests.chaos", "--seconds", str(SECONDS), "--seed", str(SEED)]
    pipe = subprocess.PIPE
    return subprocess.Popen(argv, stdout=pipe, stderr=pipe, text=True, start_new_session=True)


def left_behind(run: subprocess.Popen[str]) -> str:
    """The processes of a run's session, by name."""
    argv = ["ps", "-s", str(run.pid), "-o", "args="]
    return subprocess.run(argv, capture_output=True, text=True, timeout=10).stdout


def test_short_run_ends_well_and_says_so_in_its_last_line() -> None:
    with start() as run:
        stdout, stderr = run.communicate(timeout=400)

    assert run.returncode == 0, stderr
    plan = plans.make(SEED, SECONDS)
    assert stderr.splitlines()[0] == f"seed 1, 15 s, {len(plan.events)} events, schedule {plan.digest()}"
    verdict = json.loads(stdout.splitlines()[-1])
    assert list(verdict) == [
        "seed",
        "seconds",
        "faults",
        "panics",
        "sweeps",
        *MUST_BE_ZERO,
        "clear_after_fault_s",
    ]
    assert (verdict["seed"], verdict["seconds"]) == (SEED, SECONDS)
    assert {verdict[name] for name in MUST_BE_ZERO} == {0}
    assert verdict["panics"] >= 1
    assert verdict["sweeps"] >= 50
    assert verdict["faults"] == sum(event.is_fault for event in plan.events)
    assert set(verdict["clear_after_fault_s"]) == {"median", "max"}


@pytest.mark.skipif(sys.platform != "linux", reason="processes are found by their session")
def test_interrupted_run_leaves_no_process_behind() -> None:
    with start() as run:
        assert run.stderr is not None
        for line in run.stderr:
            if "press 1" in line:
                break
        before = left_behind(run)
        run.send_signal(signal.SIGINT)
        status = run.wait(timeout=60)

    assert [name in before for name in ("panicboard.simulator", "celery", "uvicorn")] == [True] * 3
    assert (status, left_behind(run)) == (130, "")
