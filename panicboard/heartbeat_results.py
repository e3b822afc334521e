"""What calls about countdowns came to: when each is due again, and how that is written down, in batches.

A call speaks of a countdown as it was armed then, and only while no later one was sent.
"""

import atexit
import logging
import queue
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from django.db import Error, close_old_connections, connection, transaction
from django.utils import timezone

from panicboard import audit, database
from panicboard.heartbeat_jobs import Job
from panicboard.models import Account, AuditEntry, Countdown
from panicboard.venues import VENUES

logger = logging.getLogger(__name__)
Phase = Countdown.Phase

#: Between two tries after a failure, from the first to the longest.
AGAIN_S = (0.25, 0.5, 1.0, 2.0, 4.0)
#: How many calls of a countdown are kept with it.
KEPT_CALLS = 20
WRITE_EVERY_S = 0.02
#: Each countdown gets another moment of its refresh: by this fraction any number of them spread evenly.
GOLDEN = 0.6180339887498949


@dataclass(frozen=True)
class Result:
    """What one call came to for one countdown: fields to be written, if it is still the last that was sent.

    It speaks of the countdown as it was armed then: of one that was armed anew it says nothing. `kept` are
    written only where heartbeats still keep it alive; with `only_in`, all of it only in these phases.
    """

    countdown: Countdown
    job: Job
    outcome: str
    changes: dict[str, Any]
    kept: dict[str, Any] | None = None
    only_in: tuple[str, ...] = ()

    def changes_at(self, now: datetime) -> dict[str, Any]:
        """What is written in every case: the changes, and that the call is answered."""
        call = {
            "at": self.job.at.isoformat(),
            "what": self.job.what,
            "ms": round((now - self.job.at).total_seconds() * 1000),
            "outcome": self.outcome,
        }
        recent = [*self.countdown.recent, call][-KEPT_CALLS:]
        return {**self.changes, "in_flight_until": None, "recent": recent}


_results: "queue.SimpleQueue[Result]" = queue.SimpleQueue()


def done(job: Job, changes: dict[str, Any], *, only_in: Sequence[str]) -> None:
    """The venue did what was asked of it for one countdown."""
    (one,) = job.countdowns
    _results.put(Result(one, job, "done", changes, only_in=tuple(only_in)))


def alive(job: Job, countdowns: Sequence[Countdown]) -> None:
    """The venue acknowledged: these run from the moment at which the call was decided, at the earliest."""
    now = timezone.now()
    for one in countdowns:
        next_at = _next_at(one, job)
        _results.put(
            Result(
                one,
                job,
                "done",
                {
                    "runs_from": job.at,
                    "acked_at": now,
                    "deadline_at": job.at + timedelta(milliseconds=one.countdown_ms),
                    "maybe_until": None,
                    "misses": 0,
                    "failure": "",
                    "to_set": False,
                },
                kept={"phase": Phase.ARMED, "due_at": max(next_at, now)},
            )
        )


def _next_at(one: Countdown, job: Job) -> datetime:
    """When the heartbeat after this one is due: at its own moment of the refresh, one refresh later at most.

    What was held up together, or sent late, is thereby spread again, and never comes in one burst for good.
    What shares one heartbeat stays together, and moves with it.
    """
    part = one.pk * GOLDEN % 1
    if VENUES[job.account.venue.adapter].one_heartbeat_for_many:
        part = one.account_id * GOLDEN % 1
        return job.at + one.refresh * (part if one.to_set else 1)
    refresh_s = one.refresh_ms / 1000
    since_its_moment_s = (job.at.timestamp() - part * refresh_s) % refresh_s
    return job.at + timedelta(seconds=refresh_s - since_its_moment_s)


def missed(
    job: Job, countdowns: Sequence[Countdown], why: str, *, unknown: bool = False, wait_s: float = 0.0
) -> None:
    """A call did not come about, or nobody knows whether it did: it is repeated soon."""
    now = timezone.now()
    for one in countdowns:
        again_s = max(AGAIN_S[min(one.misses, len(AGAIN_S) - 1)], min(wait_s, AGAIN_S[-1]))
        changes: dict[str, Any] = {
            "misses": one.misses + 1,
            "failure": why,
            "due_at": now + timedelta(seconds=again_s),
        }
        if unknown and job.what in ("set", "heartbeat"):
            until = now + timedelta(milliseconds=one.countdown_ms)
            changes["maybe_until"] = max(until, one.maybe_until or until)
        _results.put(Result(one, job, "unknown" if unknown else "failed", changes))


def refused(job: Job, why: str) -> None:
    """The venue does not take this countdown at all: it is not armed, and says why."""
    for one in job.countdowns:
        changes: dict[str, Any] = {"misses": 0, "failure": why}
        ended = {"phase": Phase.DISARMED, "due_at": None, "ended_at": timezone.now()}
        if one.deadline_at is not None:  # an earlier one runs on, with its earlier length
            changes["due_at"] = timezone.now() + timedelta(seconds=AGAIN_S[-1])
            ended = {}
        _results.put(Result(one, job, "refused", changes, kept=ended))


def write(results: Sequence[Result]) -> None:
    """Write down what these calls came to, each unless a later call was sent since."""
    now = timezone.now()
    with database.WRITERS, transaction.atomic():
        database.locked(Countdown.objects.filter(pk__in={result.countdown.pk for result in results}))
        acknowledged = [result for result in results if result.outcome == "done" and result.kept is not None]
        one_by_one = [result for result in results if result.outcome != "done" or result.kept is None]
        if not _write_alike(acknowledged, now):
            one_by_one = list(results)
        for result in one_by_one:
            one, job, changes = result.countdown, result.job, result.changes_at(now)
            mine = Countdown.objects.filter(pk=one.pk, sent_at=job.at, armed_at=one.armed_at)
            if result.only_in:
                mine = mine.filter(phase__in=result.only_in)
            if result.kept is not None and mine.filter(phase__in=Countdown.KEPT).update(
                **changes, **result.kept
            ):
                continue
            if not mine.update(**changes):
                # Something else is to be done about it by now: only that nothing is in flight any more.
                Countdown.objects.filter(pk=one.pk, sent_at=job.at).update(in_flight_until=None)
            elif result.changes.get("phase") == Phase.FIRED:
                say_fired(job.account, one.scope, result.changes["last_word"])


def _write_alike(results: Sequence[Result], now: datetime) -> bool:
    """Write down heartbeats that were acknowledged, by one statement that is prepared once.

    Returns whether each countdown was still kept alive, and its call the last one; else some are not written.
    An update by the ORM costs as much as the heartbeat itself.
    """
    if not results:
        return True
    changes = [{**result.changes_at(now), **(result.kept or {})} for result in results]
    columns = {field.name: field for field in Countdown._meta.concrete_fields}
    fields = [columns[name] for name in changes[0]]
    written = ", ".join(f"{field.column} = %s" for field in fields)
    phases = ", ".join("%s" for _ in Countdown.KEPT)
    table = Countdown._meta.db_table
    # Names of the model's own, no values.
    sql = (
        f"UPDATE {table} SET {written} "  # noqa: S608
        f"WHERE id = %s AND sent_at = %s AND armed_at = %s AND phase IN ({phases})"
    )
    rows = [
        [
            *(field.get_db_prep_save(mine[field.name], connection) for field in fields),
            result.countdown.pk,
            columns["sent_at"].get_db_prep_save(result.job.at, connection),
            columns["armed_at"].get_db_prep_save(result.countdown.armed_at, connection),
            *Countdown.KEPT,
        ]
        for result, mine in zip(results, changes, strict=True)
    ]
    with connection.cursor() as cursor:
        cursor.executemany(sql, rows)
        return bool(cursor.rowcount == len(rows))


def say_fired(account: Account, scope: str, word: str) -> None:
    """Record that a countdown ran out, and what was found."""
    logger.error("countdown of %s %s %s", account.name, scope, word)
    detail = f"{scope}: {word}"
    audit.record(AuditEntry.Action.FIRED, by_name="countdown", account=account, detail=detail)


class Writer:
    """A thread that writes results down, a few at a time, for as long as its process lives."""

    def __init__(self) -> None:
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="heartbeat-results", daemon=True)
        self._waiting: list[Result] = []

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        """Write down what there is, and end."""
        self._stop.set()
        self._thread.join()

    def _run(self) -> None:
        while not self._stop.is_set():
            try:
                self._waiting.append(_results.get(timeout=0.1))
            except queue.Empty:
                continue
            self._stop.wait(WRITE_EVERY_S)
            self._write()
        self._write()
        close_old_connections()

    def _write(self) -> None:
        while not _results.empty():
            self._waiting.append(_results.get())
        if not self._waiting:
            return
        try:
            write(self._waiting)
        except Error as exc:
            logger.error("heartbeats: the database does not answer (%s); trying again", type(exc).__name__)
            close_old_connections()
            self._stop.wait(0.2)
        else:
            self._waiting = []


def keep() -> None:
    """Write down what this process's calls come to, until it ends."""
    writer = Writer()
    writer.start()
    atexit.register(writer.stop)
