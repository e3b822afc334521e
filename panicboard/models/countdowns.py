"""Countdowns (dead man's switches), and the signs of life that they hang on. See `panicboard.countdowns`."""

from datetime import datetime, timedelta

from django.db import models
from django.db.models import Q

from panicboard.models.accounts import Account, Venue
from panicboard.models.panics import Panic


class LifeSign(models.Model):
    """What somebody else than panicboard gives to keep an account's countdowns alive, and when it last did.

    A bot calls an address with a secret in it, which is kept as its hash only; an operator confirms presence.
    """

    class Kind(models.TextChoices):
        BOT = "bot", "bot"
        OPERATOR = "operator", "operator"

    account = models.ForeignKey(Account, on_delete=models.CASCADE, related_name="life_signs")
    kind = models.CharField(max_length=10, choices=Kind.choices)
    silence_s = models.PositiveIntegerField(help_text="Heartbeats stop when nothing was heard for so long.")
    secret_hash = models.CharField(max_length=64, blank=True, db_index=True, editable=False)
    last_at = models.DateTimeField(null=True, editable=False)
    last_by = models.CharField(max_length=150, blank=True, editable=False)

    class Meta:
        constraints = [models.UniqueConstraint(fields=["account", "kind"], name="life_sign_once_an_account")]

    def __str__(self) -> str:
        return f"{self.get_kind_display()} of {self.account}"

    @property
    def silent_at(self) -> datetime | None:
        """When it counts as silent unless it is heard again; None while it was never heard."""
        return self.last_at + timedelta(seconds=self.silence_s) if self.last_at else None


class Maintenance(models.Model):
    """A window in which a venue's countdowns are disarmed: it may not fire them, or may fire them late."""

    venue = models.ForeignKey(Venue, on_delete=models.CASCADE, related_name="maintenances")
    begins_at = models.DateTimeField()
    ends_at = models.DateTimeField()
    rearm = models.BooleanField(default=True, help_text="Arm them again when it is over.")
    reason = models.CharField(max_length=200)
    made_by = models.CharField(max_length=150, editable=False)
    begun = models.BooleanField(default=False, editable=False)
    ended = models.BooleanField(default=False, editable=False)

    class Meta:
        ordering = ["-begins_at"]
        constraints = [
            models.CheckConstraint(
                condition=Q(ends_at__gt=models.F("begins_at")),
                name="maintenance_has_length",
                violation_error_message="It must end after it begins.",
            )
        ]

    def __str__(self) -> str:
        return f"maintenance of {self.venue}, {self.begins_at:%Y-%m-%d %H:%M} to {self.ends_at:%H:%M} UTC"


class Countdown(models.Model):
    """One countdown: at the venue over one symbol or underlying, or panicboard's own over a whole account.

    It keeps facts apart: what we believe (`runs_from`, the sending of the last heartbeat that was
    acknowledged, and the length), and what the venue says (`venue_ms`, where it can be asked).
    """

    class Source(models.TextChoices):
        """Who keeps it alive."""

        BOARD = "board", "board"  # panicboard itself, as long as it lives
        BOT = "bot", "bot"
        OPERATOR = "operator", "operator"

    class Phase(models.TextChoices):
        ARMING = "arming", "ARMING"  # to be set at the venue
        ARMED = "armed", "ARMED"
        DISARMING = "disarming", "DISARMING"  # to be taken away at the venue
        DISARMED = "disarmed", "DISARMED"
        WITHHELD = "withheld", "WITHHELD"  # a panic latched the account: no heartbeat leaves, and it runs out
        PASSED = "passed", "DEADLINE PASSED"  # what happened is not known yet
        FIRED = "fired", "FIRED"  # its deadline passed, and what was found then is recorded

    #: Phases in which the venue may have it running.
    RUNNING = (Phase.ARMING, Phase.ARMED, Phase.DISARMING, Phase.WITHHELD, Phase.PASSED)
    #: Phases in which heartbeats keep it alive.
    KEPT = (Phase.ARMING, Phase.ARMED)

    account = models.ForeignKey(Account, on_delete=models.CASCADE, related_name="countdowns")
    scope = models.CharField(
        max_length=60, blank=True, help_text="Symbol or underlying; empty: the whole account (local)."
    )
    countdown_ms = models.PositiveIntegerField()
    refresh_ms = models.PositiveIntegerField(default=0)
    source = models.CharField(max_length=10, choices=Source.choices, default=Source.BOARD)
    phase = models.CharField(max_length=10, choices=Phase.choices, default=Phase.ARMING)
    armed_at = models.DateTimeField(null=True)
    armed_by = models.CharField(max_length=150, blank=True)
    #: It still has to be set at the venue; from then on heartbeats keep it alive.
    to_set = models.BooleanField(default=True)
    #: When the last call about it was decided, and until when its answer may be out.
    sent_at = models.DateTimeField(null=True)
    in_flight_until = models.DateTimeField(null=True)
    #: When the last call was decided that the venue acknowledged, and when it did.
    runs_from = models.DateTimeField(null=True)
    acked_at = models.DateTimeField(null=True)
    #: When it runs out at the earliest, by what was acknowledged.
    deadline_at = models.DateTimeField(null=True, db_index=True)
    #: A later call of unknown outcome may have restarted it: then it runs out at this time at the latest.
    maybe_until = models.DateTimeField(null=True)
    misses = models.PositiveSmallIntegerField(default=0)  # in a row
    failure = models.TextField(blank=True)
    venue_ms = models.PositiveIntegerField(null=True)  # 0: the venue says there is none
    venue_read_at = models.DateTimeField(null=True)
    venue_asked_at = models.DateTimeField(null=True, editable=False)
    due_at = models.DateTimeField(null=True)
    ended_at = models.DateTimeField(null=True)
    #: What was found after it had run out: orders open, and when that was read.
    found_open = models.PositiveIntegerField(null=True)
    found_at = models.DateTimeField(null=True)
    #: The venue refuses new orders since it fired, until it is unlocked.
    locked = models.BooleanField(default=False)
    withheld_by = models.ForeignKey(
        Panic, on_delete=models.PROTECT, null=True, related_name="withheld_countdowns", editable=False
    )
    paused_by = models.ForeignKey(
        Maintenance, on_delete=models.SET_NULL, null=True, related_name="paused", editable=False
    )
    #: The last calls, oldest first: {"at", "what", "ms" (of the answer), "outcome"}.
    recent = models.JSONField(default=list)
    last_word = models.TextField(blank=True)

    class Meta:
        ordering = ["account", "scope"]
        constraints = [models.UniqueConstraint(fields=["account", "scope"], name="countdown_once_a_scope")]
        indexes = [
            models.Index(
                fields=["due_at"], condition=~Q(phase__in=["disarmed", "fired"]), name="countdown_due"
            ),
            models.Index(fields=["misses"], condition=Q(misses__gt=0), name="countdown_missed"),
        ]
        permissions = [("arm", "Can arm, disarm and unlock countdowns, and confirm presence")]

    def __str__(self) -> str:
        return f"countdown of {self.account} {self.scope}".rstrip()

    @property
    def refresh(self) -> timedelta:
        """The time between two heartbeats."""
        return timedelta(milliseconds=self.refresh_ms)

    @property
    def is_local(self) -> bool:
        """Whether it is panicboard's own, at a venue that has none."""
        return not self.scope


class Follow(models.Model):
    """That a whole account is armed: every symbol with open orders, and new ones as they appear, like this.

    What a person disarmed, or what ran out, is not armed again by it.
    """

    account = models.OneToOneField(Account, on_delete=models.CASCADE, related_name="follow")
    countdown_ms = models.PositiveIntegerField()
    refresh_ms = models.PositiveIntegerField()
    source = models.CharField(max_length=10, choices=Countdown.Source.choices)
    since = models.DateTimeField()
    by = models.CharField(max_length=150)
    failure = models.TextField(blank=True)  # why what appeared could not be armed

    def __str__(self) -> str:
        return f"all of {self.account}"
