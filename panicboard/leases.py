"""Leases: whoever works on a sweep holds it for two seconds at a time, so that a dead worker only delays.

One thread a process renews every lease the process holds, in one statement, and leaves the process's
sign of life on the way. Losing a lease is found out at the next guarded update, never assumed away.
"""

import logging
import os
import socket
import threading
import uuid
from datetime import timedelta

from django.conf import settings
from django.db import DatabaseError, close_old_connections
from django.db.models import Q
from django.utils import timezone

from panicboard.models import Beat, Lease, Sweep

logger = logging.getLogger(__name__)

RENEW_EVERY_S = 0.5


def process_name(kind: str = "") -> str:
    """This process as leases and beats name it."""
    return f"{kind or 'process'}@{socket.gethostname()[:40]}:{os.getpid()}"


class _Renewer:
    """Keeps this process's sweep leases alive, and its beat."""

    def __init__(self) -> None:
        self._owners: set[str] = set()
        self._lock = threading.Lock()
        self._thread: threading.Thread | None = None
        self._kind = ""

    def add(self, owner: str) -> None:
        with self._lock:
            self._owners.add(owner)
        self._ensure_thread()

    def remove(self, owner: str) -> None:
        with self._lock:
            self._owners.discard(owner)

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
            except DatabaseError as exc:
                # Nothing else to do here: the leases lapse, and other workers take over where they can.
                logger.warning("leases: the database does not answer (%s)", type(exc).__name__)
                close_old_connections()
            wait.wait(RENEW_EVERY_S)

    def _renew(self) -> None:
        now = timezone.now()
        with self._lock:
            owners = list(self._owners)
        if owners:
            Sweep.objects.filter(lease_owner__in=owners).update(
                lease_until=now + timedelta(seconds=settings.SWEEP_LEASE_S)
            )
        if self._kind:
            Beat.objects.update_or_create(
                process=process_name(self._kind), defaults={"kind": self._kind, "at": now}
            )


_renewer = _Renewer()
start_beating = _renewer.start_beating


def take(sweep_id: int) -> Sweep | None:
    """Take a sweep's lease. Returns the sweep, or None while it is over or another worker holds it."""
    now = timezone.now()
    owner = f"{process_name()}:{uuid.uuid4().hex[:8]}"
    taken = (
        Sweep.objects.filter(Q(lease_until=None) | Q(lease_until__lt=now), pk=sweep_id)
        .exclude(state__in=Sweep.OVER)
        .update(lease_owner=owner, lease_until=now + timedelta(seconds=settings.SWEEP_LEASE_S))
    )
    if not taken:
        return None
    _renewer.add(owner)
    return Sweep.objects.select_related("panic", "account__venue", "account__reading").get(pk=sweep_id)


def give_back(sweep: Sweep) -> None:
    """Let go of a sweep's lease, if it is still ours."""
    _renewer.remove(sweep.lease_owner)
    Sweep.objects.filter(pk=sweep.pk, lease_owner=sweep.lease_owner).update(lease_owner="", lease_until=None)


def lead(name: str, owner: str, seconds: float) -> bool:
    """Take or renew a named lease for this process. Returns whether it is ours now."""
    now = timezone.now()
    until = now + timedelta(seconds=seconds)
    if Lease.objects.filter(Q(owner=owner) | Q(until__lt=now), name=name).update(owner=owner, until=until):
        return True
    _, created = Lease.objects.get_or_create(name=name, defaults={"owner": owner, "until": until})
    return created
