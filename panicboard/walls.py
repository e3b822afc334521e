"""Walls: read-only screens without a login, each by an address of its own that can be revoked."""

from datetime import datetime, timedelta

from django.contrib.auth.models import User
from django.db import transaction
from django.urls import reverse
from django.utils import timezone

from panicboard import audit, secret_paths
from panicboard.models import AuditEntry, Wall

#: How often it is written down that a wall still looks.
SEEN_EVERY = timedelta(seconds=15)


def make(name: str, *, by: str, actor: User | None = None) -> tuple[Wall, str]:
    """Make a wall. Returns it and its path, which is not shown again."""
    secret = secret_paths.new_secret()
    with transaction.atomic():
        wall = Wall.objects.create(
            name=name, secret_hash=secret_paths.hash_of(secret), made_at=timezone.now(), made_by=by[:150]
        )
        audit.record(AuditEntry.Action.WALL, by_name=by, by=actor, detail=f"made the wall {name}")
    return wall, reverse("wall", args=[secret])


def revoke(wall: Wall, *, by: str, actor: User | None = None) -> bool:
    """Let a wall's address lead nowhere from now on. Returns whether it led anywhere."""
    with transaction.atomic():
        live = Wall.objects.filter(pk=wall.pk, revoked_at=None)
        if not live.update(revoked_at=timezone.now(), revoked_by=by[:150]):
            return False
        audit.record(AuditEntry.Action.WALL, by_name=by, by=actor, detail=f"revoked the wall {wall.name}")
    return True


def find(secret: str) -> Wall | None:
    """The wall with this secret, if it is not revoked."""
    return Wall.objects.filter(secret_hash=secret_paths.hash_of(secret), revoked_at=None).first()


def is_valid(wall_id: int, now: datetime) -> bool:
    """Whether this wall may go on looking; it is written down that it does."""
    mine = Wall.objects.filter(pk=wall_id, revoked_at=None)
    wall = mine.first()
    if wall is None:
        return False
    if wall.seen_at is None or now - wall.seen_at >= SEEN_EVERY:
        mine.update(seen_at=now)
    return True
