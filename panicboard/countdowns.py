"""Arming, disarming and unlocking countdowns: what may happen, and what is written down for it.

Nothing is called here. What is to be done at the venue is due from then on, and the heartbeat workers do it
(`heartbeats.py`). A latch withholds every heartbeat of its account; releasing it arms nothing by itself.
"""

from collections.abc import Collection, Iterable, Sequence
from datetime import timedelta
from typing import Any, TypedDict, Unpack

from django.contrib.auth.models import User
from django.db import transaction
from django.db.models import QuerySet
from django.utils import timezone

from panicboard import audit, database
from panicboard import countdown_rules as rules
from panicboard.countdown_rules import Refused as Refused
from panicboard.models import Account, AuditEntry, Countdown, Follow, Panic, Reading
from panicboard.venues import VENUES

Phase = Countdown.Phase
Source = Countdown.Source

COUNTDOWN_MS, REFRESH_MS = 120_000, 30_000
#: When the second net is drawn after a press: its cancels leave first.
SECOND_NET_AFTER = timedelta(seconds=0.5)


class Terms(TypedDict, total=False):
    """How countdowns are armed: length, time between two heartbeats, and who keeps them alive."""

    countdown_ms: int
    refresh_ms: int
    source: str


def terms_of(armed: Countdown | Follow) -> Terms:
    """How this was armed, to arm it so again."""
    return Terms(countdown_ms=armed.countdown_ms, refresh_ms=armed.refresh_ms, source=armed.source)


def arm(
    account: Account,
    scopes: Collection[str],
    *,
    by: str,
    actor: User | None = None,
    countdown_ms: int = COUNTDOWN_MS,
    refresh_ms: int = REFRESH_MS,
    source: str = Source.BOARD,
) -> list[Countdown]:
    """Arm countdowns over these symbols or underlyings, or change the ones that are there.

    At a venue that has none, `scopes` is [""]: panicboard's own over the whole account, which panics it when
    its source has been silent for `countdown_ms`. Raises Refused.
    """
    wanted = sorted(set(scopes))
    local = not VENUES[account.venue.adapter].has_countdown
    rules.check_length(account, countdown_ms, 0 if local else refresh_ms)
    rules.check_scopes(account, wanted, source)
    now = timezone.now()
    with transaction.atomic():
        # As it is now: a press waits for this, or was first.
        account = database.locked(Account.objects.filter(pk=account.pk)).select_related("venue").get()
        rules.check_account(account, now)
        rules.check_source(account, source, now)
        mine = Countdown.objects.filter(account=account, scope__in=wanted)
        rows = {row.scope: row for row in database.locked(mine)}
        rules.check_open(account, rows.values())
        if not local:
            rules.check_weight(account, wanted, refresh_ms)
        changes: dict[str, Any] = {
            "countdown_ms": countdown_ms,
            "refresh_ms": 0 if local else refresh_ms,
            "source": source,
            "phase": Phase.ARMED if local else Phase.ARMING,
            "armed_at": now,
            "armed_by": by[:150],
            "to_set": not local,
            "due_at": now,
            "misses": 0,
            "failure": "",
            "maybe_until": None,
            "venue_ms": None,
            "venue_read_at": None,
            "ended_at": None,
            "found_open": None,
            "found_at": None,
            "withheld_by": None,
            "paused_by": None,
            "last_word": "",
        }
        for scope in wanted:
            row = rows.get(scope)
            # What runs at the venue goes on running until the new length is acknowledged.
            running = row is not None and row.phase in Countdown.KEPT
            fresh_facts = {} if running else {"runs_from": None, "acked_at": None, "deadline_at": None}
            Countdown.objects.update_or_create(
                account=account, scope=scope, defaults={**changes, **fresh_facts}
            )
        said = f"{rules.named(wanted)}: {countdown_ms / 1000:g} s"
        if not local:
            said += f", a heartbeat every {refresh_ms / 1000:g} s"
        audit.record(
            AuditEntry.Action.ARMED,
            by_name=by,
            by=actor,
            account=account,
            detail=f"{said}, kept alive by the {source}",
        )
    return list(Countdown.objects.filter(account=account, scope__in=wanted))


def follow(
    account: Account, *, by: str, actor: User | None = None, **terms: Unpack[Terms]
) -> list[Countdown]:
    """Arm every symbol with open orders, and new ones as they appear.

    Returns what is armed at once. Raises Refused.
    """
    if not VENUES[account.venue.adapter].has_countdown:
        raise Refused(
            f"{account.venue.name} has no countdown: panicboard's own is over the whole account anyway"
        )
    now = timezone.now()
    following = Follow(
        account=account,
        since=now,
        by=by[:150],
        **{"countdown_ms": COUNTDOWN_MS, "refresh_ms": REFRESH_MS, "source": Source.BOARD, **terms},
    )
    scopes = open_scopes(account)
    rows: list[Countdown] = []
    with transaction.atomic():
        # What is checked while nothing is open is the same.
        rules.check_length(account, following.countdown_ms, following.refresh_ms)
        rules.check_source(account, following.source, now)
        if scopes:
            rows = arm(account, scopes, by=by, actor=actor, **terms)
        Follow.objects.filter(account=account).delete()
        following.save(force_insert=True)
        said = "new symbols as they appear"
        audit.record(AuditEntry.Action.ARMED, by_name=by, by=actor, account=account, detail=said)
    return rows


def arm_what_appeared(following: Follow) -> int:
    """Arm what has open orders and was never armed. Returns how many that were."""
    account = following.account
    if account.latched_by_id is not None or not account.enabled:
        return 0
    ever_armed = Countdown.objects.filter(account=account, armed_at__isnull=False)
    known = set(ever_armed.values_list("scope", flat=True))
    new = [scope for scope in open_scopes(account) if scope not in known]
    failure = ""
    if new:
        try:
            arm(account, new, by=following.by, **terms_of(following))
        except Refused as exc:
            failure, new = f"{rules.named(new)} not armed: {exc}", []
    if failure != following.failure:
        Follow.objects.filter(pk=following.pk).update(failure=failure)
    return len(new)


def disarm(countdowns: Iterable[Countdown], *, by: str, actor: User | None = None, why: str = "") -> int:
    """Have these countdowns taken away at their venues. Returns how many that were. Raises Refused.

    No further heartbeat leaves; the one in flight is waited for; only the venue's answer ends it. One
    that has locked its venue is left, for taking it away would unlock it; where there is no other, that is
    refused.
    """
    rows = list(countdowns)
    by_account: dict[int, list[Countdown]] = {}
    for row in rows:
        by_account.setdefault(row.account_id, []).append(row)
    count = 0
    with transaction.atomic():
        accounts = database.locked(Account.objects.filter(pk__in=by_account)).select_related("venue")
        database.locked(Countdown.objects.filter(pk__in=[row.pk for row in rows]))
        for account in accounts.order_by("pk"):
            if account.latched_by_id is not None:
                raise Refused(
                    f"{account.name} is latched by panic {account.latched_by_id}: its countdowns run out by "
                    "themselves, and are a second net until then. Release it first."
                )
            mine = [row for row in by_account[account.pk] if not rules.may_be_locked(account, row)]
            if not mine:
                rules.check_open(account, by_account[account.pk])
            count += _disarm_of(account, mine)
            if not Countdown.objects.filter(account=account, phase__in=Countdown.KEPT).exists():
                Follow.objects.filter(account=account).delete()
            detail = f"{rules.named([row.scope for row in mine])}{f': {why}' if why else ''}"
            audit.record(AuditEntry.Action.DISARMED, by_name=by, by=actor, account=account, detail=detail)
    return count


def _disarm_of(account: Account, rows: Sequence[Countdown]) -> int:
    now = timezone.now()
    mine = Countdown.objects.filter(pk__in=[row.pk for row in rows], account=account)
    over = mine.filter(phase__in=[Phase.FIRED, Phase.DISARMED], locked=False)
    over = over.exclude(venue_ms__gt=0)  # set there by somebody else, and to be taken away as well
    over.update(phase=Phase.DISARMED, withheld_by=None)
    local = mine.filter(scope="").exclude(phase=Phase.DISARMED)
    ended = local.update(phase=Phase.DISARMED, due_at=None, ended_at=now, last_word="disarmed")
    running = mine.exclude(scope="").exclude(pk__in=over)
    return ended + running.update(
        phase=Phase.DISARMING, due_at=now, misses=0, failure="", withheld_by=None, last_word=""
    )


def unlock(countdown: Countdown, reason: str, *, by: str, actor: User | None = None) -> None:
    """Let a venue take new orders again that refuses them since a countdown fired. Raises Refused."""
    if not audit.is_reason(reason):
        raise Refused(audit.GIVE_A_REASON)
    if not countdown.locked:
        raise Refused(f"{countdown.account.name} {countdown.scope} is not locked")
    with transaction.atomic():
        account = database.locked(Account.objects.filter(pk=countdown.account_id)).get()
        if account.latched_by_id is not None:
            raise Refused(
                f"{account.name} is latched by panic {account.latched_by_id}, and unlocking would let new "
                "orders in. Release it first."
            )
        Countdown.objects.filter(pk=countdown.pk).update(
            phase=Phase.DISARMING, due_at=timezone.now(), misses=0, failure=""
        )
        detail = f"{countdown.scope}: {reason}"
        audit.record(AuditEntry.Action.UNLOCKED, by_name=by, by=actor, account=account, detail=detail)


def withhold(accounts: Sequence[Account], panic: Panic, *, stop_at: Sequence[Account] = ()) -> None:
    """Let no heartbeat of these accounts leave from here on: part of the press, in its transaction.

    What runs at a venue runs on, as a second net; it is made shorter right after the press's cancels. Not in
    the accounts to `stop_at`, where protective orders are to stay: it would take them, so it is taken away.
    """
    phases = [*Countdown.KEPT, Phase.DISARMING, Phase.PASSED]
    held = database.locked(Countdown.objects.filter(account__in=accounts, phase__in=phases))
    running = held.exclude(scope="")
    spared = set(running.filter(account__in=stop_at).exclude(phase=Phase.PASSED).values_list("pk", flat=True))
    running.exclude(pk__in=spared).update(
        phase=Phase.WITHHELD,
        withheld_by=panic,
        due_at=panic.pressed_at + SECOND_NET_AFTER,
        misses=0,
        failure="",
    )
    Countdown.objects.filter(pk__in=spared).update(
        phase=Phase.DISARMING,
        withheld_by=panic,
        due_at=panic.pressed_at,
        misses=0,
        failure="",
        last_word=f"taken away: panic {panic.pk} keeps protective orders, which it would cancel",
    )
    held.filter(scope="").update(
        phase=Phase.DISARMED, withheld_by=panic, due_at=None, ended_at=panic.pressed_at
    )


def to_rearm(account: Account) -> QuerySet[Countdown]:
    """What was armed when a panic latched this account, and is not armed again since."""
    return Countdown.objects.filter(account=account, withheld_by__isnull=False)


def released_unarmed(panic: Panic) -> list[str]:
    """The accounts of a panic that are free again while what was armed there is not."""
    withheld = Countdown.objects.filter(withheld_by__isnull=False, account__latched_by=None)
    free = withheld.filter(account__in=panic.sweeps.values("account"))
    return sorted(set(free.values_list("account__name", flat=True)))


def rearm(account: Account, *, by: str, actor: User | None = None) -> int:
    """Arm again what a panic withheld, as it was. Returns how many. Raises Refused."""
    alike: dict[tuple[object, ...], list[Countdown]] = {}
    with transaction.atomic():
        account = database.locked(Account.objects.filter(pk=account.pk)).select_related("venue").get()
        rows = list(database.locked(to_rearm(account)))
        for row in rows:
            alike.setdefault(tuple(terms_of(row).values()), []).append(row)
        for group in alike.values():
            arm(account, [row.scope for row in group], by=by, actor=actor, **terms_of(group[0]))
    return len(rows)


def open_scopes(account: Account) -> list[str]:
    """What countdowns over every order that was last read of this account would name."""
    adapter = VENUES[account.venue.adapter]
    if not adapter.has_countdown:
        return [""]
    reading = Reading.objects.filter(account=account).first()
    return sorted({adapter.countdown_of(order["symbol"]) for order in (reading.orders if reading else [])})
