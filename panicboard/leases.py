"""Leases: whoever works on a sweep holds it for two seconds at a time, so that a dead worker only delays.

One thread a process renews every lease the process holds, in one statement, and leaves the process's
sign of life on the way. Losing a lease is found out at the next guarded update, never assumed away.
"""

import contextlib
import logging
import math
import os
import queue
import socket
import threading
import time
import uuid
from collections import Counter
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from datetime import timedelta

from django.conf import settings
from django.db import Error, close_old_connections, connection, transaction
from django.db.models import Q, QuerySet
from django.utils import timezone

from panicboard import database
from panicboard.models import Beat, Lease, Sweep

logger = logging.getLogger(__name__)

RENEW_EVERY_S = 0.5


class LostLease(Exception):
    """Another panic, another worker or a release took this sweep: stop without a word."""


def process_name(kind: str = "") -> str:
    """This process as leases and beats name it."""
    return f"{kind or 'process'}@{socket.gethostname()[:40]}:{os.getpid()}"


class _Renewer:
    """Keeps this process's sweep leases alive, and its beat."""

    def __init__(self) -> None:
        self._owners: Counter[str] = Counter()  # how many leases each owner still holds
        self._lock = threading.Lock()
        self._thread: threading.Thread | None = None
        self._kind = ""

    def add(self, owner: str, leases: int) -> None:
        with self._lock:
            self._owners[owner] += leases
        self._ensure_thread()

    def remove(self, owner: str) -> None:
        with self._lock:
            self._owners[owner] -= 1
            self._owners += Counter()  # forget owners that hold none

    def start_beating(self, kind: str) -> None:
        """Leave signs of life as a process of this kind from now on."""
        self._kind = kind
        self._ensure_thread()

    def _ensure_thread(self) -> None:
        with self._lock:
            if self._thread is None or not self._thread.is_alive():
                self._thread = threading.Thread(target=self._run, name="leases", daemon=True)
                self._thread.start()

    def _run(self) -> None:
        wait = threading.Event()
        while True:
            try:
                self._renew()
            except Error as exc:
                # Nothing else to do here: the leases lapse, and other workers take over where they can.
                logger.warning("leases: the database does not answer (%s)", type(exc).__name__)
                close_old_connections()
            wait.wait(RENEW_EVERY_S)

    def _renew(self) -> None:
        now = timezone.now()
        with self._lock:
            owners = list(self._owners)
        if owners:
            with transaction.atomic():
                database.locked(Sweep.objects.filter(lease_owner__in=owners)).update(
                    lease_until=now + timedelta(seconds=settings.SWEEP_LEASE_S)
                )
        if self._kind:
            Beat.objects.update_or_create(
                process=process_name(self._kind), defaults={"kind": self._kind, "at": now}
            )


_renewer = _Renewer()
start_beating = _renewer.start_beating


class _Claims:
    """Takes leases for all threads of this process: one thread, many leases a statement.

    A panic of two hundred accounts would else begin with two hundred updates that queue for the
    database's one writer, as many selects over five tables, and as many new connections.
    """

    IDLE_S = 5.0
    #: A claim that follows another this closely waits a moment for more of its kind.
    RUSH_S, GATHER_S = 0.05, 0.005

    def __init__(self) -> None:
        self._asked: queue.SimpleQueue[tuple[int, Future[Sweep | None]]] = queue.SimpleQueue()
        self._lock = threading.Lock()
        self._thread: threading.Thread | None = None
        self._work: Callable[[Sequence[Sweep]], object] | None = None
        self._at_most = 0
        #: Sweeps that were taken along, and whose tasks have not come yet.
        self._along: set[int] = set()

    def take_along(self, work: Callable[[Sequence[Sweep]], object], at_most: int) -> None:
        """Have each claim take up to so many waiting sweeps of the same panics along, for `work`."""
        self._work, self._at_most = work, at_most

    def let_go(self, sweep_id: int) -> None:
        self._along.discard(sweep_id)

    def claim(self, sweep_id: int) -> Sweep | None:
        if sweep_id in self._along:
            self._along.discard(sweep_id)
            return None  # begun before its task came; the database need not be asked
        future: Future[Sweep | None] = Future()
        self._asked.put((sweep_id, future))
        with self._lock:
            if self._thread is None or not self._thread.is_alive():
                self._thread = threading.Thread(target=self._run, name="claims", daemon=True)
                self._thread.start()
        return future.result()

    def _run(self) -> None:
        served_at = 0.0
        while True:
            try:
                asked = [self._asked.get(timeout=self.IDLE_S)]
            except queue.Empty:
                connection.close()
                continue
            if time.monotonic() - served_at < self.RUSH_S:
                time.sleep(self.GATHER_S)
            with contextlib.suppress(queue.Empty):
                while True:
                    asked.append(self._asked.get_nowait())
            self._serve(asked)
            served_at = time.monotonic()

    def _serve(self, asked: list[tuple[int, Future[Sweep | None]]]) -> None:
        try:
            taken = _take([sweep_id for sweep_id, _ in asked], self._at_most)
        except Exception as exc:  # whatever it is: those who asked wait for it
            close_old_connections()
            for _, future in asked:
                future.set_exception(exc)
            return
        for sweep_id, future in asked:
            # A task delivered twice finds nothing the second time.
            future.set_result(taken.pop(sweep_id, None))
        self._along |= taken.keys()
        if taken and self._work is not None:
            self._work(list(taken.values()))


def _take(sweep_ids: list[int], along: int) -> dict[int, Sweep]:
    """Take these sweeps, and up to `along` more of their panics that no worker has begun.

    Of each panic no more than this worker's share, so that the others can work at their side.
    """
    free = Sweep.objects.filter(_free()).exclude(state__in=Sweep.OVER)
    if along:
        of_these = Sweep.objects.filter(panic__in=Sweep.objects.filter(pk__in=sweep_ids).values("panic"))
        share = math.ceil(of_these.count() / max(1, _workers().count()))
        waiting = set(of_these.filter(_free(), state=Sweep.State.QUEUED).values_list("pk", flat=True))
        others = sorted(waiting.difference(sweep_ids))
        room = max(0, share - len(waiting.intersection(sweep_ids)))
        sweep_ids = [*sweep_ids, *others[: min(room, along)]]
    return _hold(free.filter(pk__in=sweep_ids))


def take_watched(sweep_id: int) -> Sweep | None:
    """Take the lease of a sweep that is clear and whose account is still latched, to look at it again."""
    return _hold(Sweep.objects.filter(_free(), Sweep.WATCHED, pk=sweep_id)).get(sweep_id)


def _hold(wanted: QuerySet[Sweep]) -> dict[int, Sweep]:
    """Take the leases of these sweeps, and fetch them with all that working on them needs."""
    owner = f"{process_name()}:{uuid.uuid4().hex[:8]}"
    until = timezone.now() + timedelta(seconds=settings.SWEEP_LEASE_S)
    with transaction.atomic():
        if not database.locked(wanted).update(lease_owner=owner, lease_until=until):
            return {}
    taken = Sweep.objects.filter(lease_owner=owner).select_related(
        "panic",
        "account__venue",
        "account__reading",
        "account__egress",
        "account__second_egress",
    )
    sweeps = {sweep.pk: sweep for sweep in taken}
    _renewer.add(owner, len(sweeps))
    return sweeps


def _workers() -> QuerySet[Beat]:
    """The workers that sweep, as far as they have given a sign of life since a lease could lapse."""
    since = timezone.now() - timedelta(seconds=settings.SWEEP_LEASE_S)
    return Beat.objects.filter(kind="worker-panic", at__gte=since)


_claims = _Claims()
#: Take a sweep's lease: the sweep with all that working on it needs, or None while it is over or held.
take = _claims.claim
take_along = _claims.take_along


def _free() -> Q:
    return Q(lease_until=None) | Q(lease_until__lt=timezone.now())


def confirm(sweep: Sweep) -> None:
    """Make sure that a sweep is still ours; inside a transaction it stays so to its end. Raises LostLease."""
    ours = Sweep.objects.filter(pk=sweep.pk, lease_owner=sweep.lease_owner).exclude(state__in=Sweep.OVER)
    if not ours.update(lease_until=timezone.now() + timedelta(seconds=settings.SWEEP_LEASE_S)):
        raise LostLease


def give_back(sweep: Sweep) -> None:
    """Let go of a sweep's lease, if it is still ours."""
    _renewer.remove(sweep.lease_owner)
    _claims.let_go(sweep.pk)
    Sweep.objects.filter(pk=sweep.pk, lease_owner=sweep.lease_owner).update(lease_owner="", lease_until=None)


def lead(name: str, owner: str, seconds: float) -> bool:
    """Take or renew a named lease for this process. Returns whether it is ours now."""
    now = timezone.now()
    until = now + timedelta(seconds=seconds)
    if Lease.objects.filter(Q(owner=owner) | Q(until__lt=now), name=name).update(owner=owner, until=until):
        return True
    _, created = Lease.objects.get_or_create(name=name, defaults={"owner": owner, "until": until})
    return created
