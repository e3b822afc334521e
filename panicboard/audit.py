"""The record of who did what, when and why. Written once, never changed."""

from datetime import datetime

from django.contrib.auth.models import User
from django.utils import timezone

from panicboard.models import Account, AuditEntry, Panic

SHORTEST_REASON = 10
GIVE_A_REASON = f"Give a reason of at least {SHORTEST_REASON} characters."


def record(
    action: str,
    *,
    by_name: str,
    by: User | None = None,
    panic: Panic | None = None,
    account: Account | None = None,
    detail: str = "",
    at: datetime | None = None,
) -> None:
    """Write an act down, in the transaction that does it."""
    AuditEntry.objects.create(
        at=at or timezone.now(),
        actor=by,
        actor_name=by_name[:150],
        action=action,
        panic=panic,
        account=account,
        detail=detail,
    )


def is_reason(text: str) -> bool:
    """Whether these words say why: releasing and unlocking are always deliberate."""
    return len(text.strip()) >= SHORTEST_REASON
