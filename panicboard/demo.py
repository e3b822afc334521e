"""The demo: simulated venues, their accounts on desks, and three people who may log in.

It never mixes with anything else: where an account of a live or test venue exists, nothing is made.
"""

import contextlib
from collections.abc import Mapping
from typing import Any

from django.contrib.auth.models import Group, User
from django.db import transaction
from django.utils.text import slugify

from panicboard import countdowns, credentials, people
from panicboard.models import Account, Desk, Venue
from panicboard.venues import VENUES

#: By venue: in how many accounts countdowns are armed, and over what.
ARMED = {"binance-usdm": (2, ("BTCUSDT", "ETHUSDT")), "binance-options": (1, ("BTCUSDT",))}
#: Who may log in, and the group each is in; the administrator is a superuser and in none.
LOGINS: Mapping[str, str | None] = {
    "risk.desk1": people.RISK_MANAGERS,
    "viewer": people.VIEWERS,
    "admin": None,
}
PASSWORD = "panic-demo"  # noqa: S105  # printed at each start of the demo

#: What the second half of an account's name is short for.
STRATEGIES = {"mm": "market making", "arb": "arbitrage", "vol": "volatility"}


class NotADemo(Exception):
    """The database holds real accounts; the text names one and says what to do."""


def refuse_real_accounts() -> None:
    """Raise NotADemo where an account of a venue that is not simulated exists."""
    real = (
        Account.objects.exclude(venue__environment=Venue.Environment.SIMULATED)
        .select_related("venue")
        .first()
    )
    if real is not None:
        raise NotADemo(
            f"This database holds {real.name} at {real.venue.name} ({real.venue.get_environment_display()}): "
            "the demo does not mix with it. Start without --demo, or give the demo a directory of its own "
            "with PANICBOARD_VAR (and DATABASE_URL unset)."
        )


@transaction.atomic
def make(announced: Mapping[str, Any]) -> None:
    """Make desks, venues, accounts and logins for what the simulator announced, or bring them up to date.

    `announced` is {"url", "accounts": [{"name", "venue", "api_key", "secret", "key_type"}]}, `venue` being
    an adapter's slug; the first word of an account's name is its desk. Simulated accounts that it no longer
    names are disabled; people who exist already are left as they are. Raises NotADemo.
    """
    refuse_real_accounts()
    for row in announced["accounts"]:
        desk_name, _, strategy = row["name"].partition("-")
        desk, _ = Desk.objects.get_or_create(
            slug=slugify(desk_name),
            defaults={"name": desk_name.capitalize(), "position": Desk.objects.count()},
        )
        venue, _ = Venue.objects.update_or_create(
            name=VENUES[row["venue"]].label,
            defaults={
                "adapter": row["venue"],
                "base_url": announced["url"],
                "environment": Venue.Environment.SIMULATED,
            },
        )
        account = Account.objects.filter(name=row["name"]).first()
        if account is None:
            account = Account(name=row["name"], desk=desk, strategy=STRATEGIES.get(strategy, strategy))
        account.venue = venue
        account.key_type = row["key_type"]
        account.enabled = True
        credentials.seal(account, api_key=row["api_key"], secret=row["secret"])
        account.save()
    Account.objects.exclude(name__in=[row["name"] for row in announced["accounts"]]).update(enabled=False)
    _arm_some()
    _make_logins()


def _arm_some() -> None:
    """Arm a few countdowns, anew at each start: with the simulated venues what ran there is gone."""
    for adapter, (accounts, scopes) in ARMED.items():
        for account in Account.objects.filter(venue__adapter=adapter, enabled=True)[:accounts]:
            with contextlib.suppress(countdowns.Refused):  # latched since the last time
                countdowns.arm(account, scopes, by="demo")


def known_logins() -> list[str]:
    """Return the demo's people whose password everybody knows: those still as the demo made them."""
    return [
        user.username
        for user in User.objects.filter(username__in=LOGINS, is_active=True).order_by("pk")
        if user.check_password(PASSWORD)
    ]


def _make_logins() -> None:
    for username, group in LOGINS.items():
        if User.objects.filter(username=username).exists():
            continue
        if group is None:
            User.objects.create_superuser(username, password=PASSWORD)
        else:
            user = User.objects.create_user(username, password=PASSWORD)
            user.groups.add(Group.objects.get(name=group))
