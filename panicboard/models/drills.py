"""Drills: who rehearsed what, and what came of each account. See `panicboard.drills`."""

from django.conf import settings
from django.db import models
from django.db.models import Q
from django.urls import reverse

from panicboard.models.accounts import Account, Desk
from panicboard.models.panics import Panic, whole_label


class Drill(models.Model):
    """One rehearsal: who, when, why, over which scope. It is over when each of its accounts is."""

    #: Those of a panic that are about whole accounts.
    SCOPES = (Panic.Scope.ALL, Panic.Scope.DESK, Panic.Scope.ACCOUNT)

    scope = models.CharField(max_length=10, choices=[(one.value, one.label) for one in SCOPES])
    desk = models.ForeignKey(Desk, on_delete=models.PROTECT, null=True, blank=True)
    account = models.ForeignKey(Account, on_delete=models.PROTECT, null=True, blank=True)
    began_at = models.DateTimeField()
    begun_by = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.PROTECT, null=True, blank=True)
    begun_by_name = models.CharField(max_length=150)  # kept as it was; a shell user has no row
    reason = models.TextField(blank=True)
    #: Names of disabled accounts in the scope: a panic would not sweep them, so the drill says so.
    skipped = models.JSONField(default=list, blank=True)

    class Meta:
        ordering = ["-began_at", "-pk"]

    def __str__(self) -> str:
        return f"drill {self.pk} ({self.scope_label})"

    def get_absolute_url(self) -> str:
        return reverse("drill", args=[self.pk])

    @property
    def scope_label(self) -> str:
        return whole_label(self.scope, self.desk, self.account)


class DrilledAccount(models.Model):
    """One account within one drill: reached, read in full, and measured."""

    class State(models.TextChoices):
        QUEUED = "queued", "QUEUED"
        WAITING = "waiting", "WAITS"  # for a limit, for a panic, or to try again: the last word says which
        READING = "reading", "READING"
        CLEAR = "clear", "DRILL CLEAR"  # every family was read, and the key may trade
        FAILED = "failed", "DRILL FAILED"  # the last word says why

    OVER = (State.CLEAR, State.FAILED)

    drill = models.ForeignKey(Drill, on_delete=models.CASCADE, related_name="accounts")
    account = models.ForeignKey(Account, on_delete=models.PROTECT, related_name="drills")
    state = models.CharField(max_length=10, choices=State.choices, default=State.QUEUED)
    tries = models.PositiveSmallIntegerField(default=0)  # readings that broke; waits for a limit are none
    began_at = models.DateTimeField(null=True)  # a worker first had it
    first_request_at = models.DateTimeField(null=True)
    read_at = models.DateTimeField(null=True)  # when the reading that came about began
    read_ms = models.PositiveIntegerField(null=True)  # from its first request to its last answer
    ended_at = models.DateTimeField(null=True)
    calls = models.PositiveIntegerField(default=0)
    weight = models.PositiveIntegerField(default=0)
    #: For each family, in the order of reading: {"family", "label", "orders", "ms"}.
    families = models.JSONField(default=list, blank=True)
    orders = models.PositiveIntegerField(default=0)
    protective = models.PositiveIntegerField(default=0)
    #: The mass cancels that a panic would have begun with, and what they cost of the venue's limit.
    cancels = models.PositiveIntegerField(default=0)
    cancel_weight = models.PositiveIntegerField(default=0)
    doubt = models.TextField(blank=True)  # why a panic may miss something although everything was read
    last_word = models.TextField(blank=True)
    due_at = models.DateTimeField()
    lease_owner = models.CharField(max_length=80, blank=True)
    lease_until = models.DateTimeField(null=True)

    class Meta:
        ordering = ["pk"]
        constraints = [
            models.UniqueConstraint(fields=["drill", "account"], name="drilled_once_a_drill"),
            models.CheckConstraint(
                condition=~Q(state="clear") | Q(read_at__isnull=False, ended_at__isnull=False),
                name="drill_clear_only_when_read",
            ),
        ]
        indexes = [
            models.Index(fields=["due_at"], condition=~Q(state__in=["clear", "failed"]), name="drill_due")
        ]

    def __str__(self) -> str:
        return f"{self.account} in drill {self.drill_id}"
