"""Signs of life that countdowns hang on: a bot that calls an address, an operator who confirms presence.

The address holds a secret, as in cron monitoring. It is shown once, when it is made; only its hash is kept.
"""

from collections.abc import Iterable

from django.contrib.auth.models import User
from django.db import transaction
from django.urls import reverse
from django.utils import timezone

from panicboard import audit, secret_paths
from panicboard.models import Account, AuditEntry, LifeSign

BOT_SILENCE_S, OPERATOR_SILENCE_S = 30, 900
SHORTEST_S, LONGEST_S = 2, 86_400


def make_bot_address(
    account: Account, *, by: str, actor: User | None = None, silence_s: int = BOT_SILENCE_S
) -> str:
    """Make, or make anew, the path that the account's bot calls. Returns it: it is not shown again.

    Raises ValueError for a silence that makes no sense.
    """
    _check(silence_s)
    secret = secret_paths.new_secret()
    with transaction.atomic():
        LifeSign.objects.update_or_create(
            account=account,
            kind=LifeSign.Kind.BOT,
            defaults={"silence_s": silence_s, "secret_hash": secret_paths.hash_of(secret)},
        )
        detail = f"a new address for the bot, silent after {silence_s} s"
        audit.record(AuditEntry.Action.LIFE_SIGN, by_name=by, by=actor, account=account, detail=detail)
    return reverse("beat", args=[secret])


def expect_operator(
    account: Account, *, by: str, actor: User | None = None, silence_s: int = OPERATOR_SILENCE_S
) -> LifeSign:
    """Have the account's countdowns hang on somebody's presence, confirmed now and every so often."""
    _check(silence_s)
    with transaction.atomic():
        sign, _ = LifeSign.objects.update_or_create(
            account=account,
            kind=LifeSign.Kind.OPERATOR,
            defaults={"silence_s": silence_s, "last_at": timezone.now(), "last_by": by[:150]},
        )
        detail = f"an operator confirms presence every {silence_s} s"
        audit.record(AuditEntry.Action.LIFE_SIGN, by_name=by, by=actor, account=account, detail=detail)
    return sign


def beat(secret: str) -> bool:
    """Hear a bot. Returns whether any account's bot has this secret."""
    known = LifeSign.objects.filter(secret_hash=secret_paths.hash_of(secret), kind=LifeSign.Kind.BOT)
    return bool(known.update(last_at=timezone.now(), last_by="bot"))


def confirm_presence(accounts: Iterable[Account], *, by: str) -> int:
    """Hear an operator. Returns for how many accounts that counts."""
    expected = LifeSign.objects.filter(kind=LifeSign.Kind.OPERATOR, account__in=list(accounts))
    return expected.update(last_at=timezone.now(), last_by=by[:150])


def _check(silence_s: int) -> None:
    if not SHORTEST_S <= silence_s <= LONGEST_S:
        raise ValueError(f"a silence of {silence_s} s: {SHORTEST_S} to {LONGEST_S} s make sense")
