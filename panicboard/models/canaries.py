"""Canary runs: what was placed to be swept, and whether the sweep reached it. See `panicboard.canary`."""

from django.db import models
from django.db.models import Q

from panicboard.models.accounts import Account
from panicboard.models.panics import Panic


class CanaryRun(models.Model):
    """One run of the coverage canary on one account."""

    class State(models.TextChoices):
        RUNNING = "running", "RUNNING"
        HELD = "held", "HELD"  # every order was listed, swept, and is gone by its own id
        ESCAPED = "escaped", "ESCAPED"  # an order is still open although its sweep said clear
        FAILED = "failed", "FAILED"  # it proved nothing; the last word says why

    class Fate(models.TextChoices):
        """What became of one placed order."""

        SENT = "sent", "sent"  # the call may have left; looked for by the client order id
        OPEN = "open", "open"
        REFUSED = "refused", "not placed"
        NOT_FOUND = "not_found", "not found"  # sent, and nobody knows whether it was placed
        GONE = "gone", "gone"
        FILLED = "filled", "filled"
        LOST = "lost", "unknown to the venue"  # it was placed, and is not known by its id any more
        ESCAPED = "escaped", "escaped"

    account = models.ForeignKey(Account, on_delete=models.PROTECT, related_name="canary_runs")
    began_at = models.DateTimeField()
    begun_by = models.CharField(max_length=150)
    ended_at = models.DateTimeField(null=True)
    state = models.CharField(max_length=10, choices=State.choices, default=State.RUNNING)
    #: For each family {"family", "symbol", "client_order_id", "venue_order_id", "sent_at", "listed", "fate",
    #: "note"}; it is on disk before the order's call leaves.
    placed = models.JSONField(default=list)
    #: How often the venue's lists were read for the orders, and how often it was asked for each by its id.
    looks = models.PositiveSmallIntegerField(default=0)
    checks = models.PositiveSmallIntegerField(default=0)
    panic = models.ForeignKey(Panic, on_delete=models.PROTECT, null=True, related_name="+")
    panicked_at = models.DateTimeField(null=True)
    due_at = models.DateTimeField()
    lease_owner = models.CharField(max_length=80, blank=True)
    lease_until = models.DateTimeField(null=True)
    last_word = models.TextField(blank=True)

    class Meta:
        ordering = ["-began_at", "-pk"]
        constraints = [
            models.UniqueConstraint(
                fields=["account"], condition=Q(state="running"), name="canary_running_once_an_account"
            )
        ]
        indexes = [
            models.Index(fields=["due_at"], condition=Q(state="running"), name="canary_due"),
            models.Index(fields=["account", "-began_at"], name="canary_of_account"),
        ]

    def __str__(self) -> str:
        return f"canary run {self.pk} of {self.account}"
