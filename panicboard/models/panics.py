"""Panics, their sweeps, and every order followed in them; the record of who did what."""

from django.conf import settings
from django.db import models
from django.db.models import Q
from django.urls import reverse

from panicboard.models.accounts import Account, Desk

#: What CLEAR is called where protective orders were left open.
CLEAR_BUT_KEPT = "CLEAR BUT KEPT"


def nothing_open(kept: int) -> str:
    """The good end of sweeps that left so many protective orders open, in words."""
    return f"NO OPEN ORDERS BUT {kept} PROTECTIVE, KEPT" if kept else "NO OPEN ORDERS"


class Panic(models.Model):
    """One press: who, when, why, over which scope."""

    class Scope(models.TextChoices):
        ALL = "all", "everything"
        DESK = "desk", "desk"
        ACCOUNT = "account", "account"
        SYMBOL = "symbol", "symbol of an account"
        ORDERS = "orders", "chosen orders of an account"

    class Via(models.TextChoices):
        BOARD = "board", "board"
        ADMIN = "admin", "admin"
        SHELL = "shell", "shell"
        BREAK_GLASS = "break-glass", "break-glass"
        CANARY = "canary", "canary"
        COUNTDOWN = "countdown", "countdown"

    scope = models.CharField(max_length=10, choices=Scope.choices)
    desk = models.ForeignKey(Desk, on_delete=models.PROTECT, null=True, blank=True)
    account = models.ForeignKey(Account, on_delete=models.PROTECT, null=True, blank=True)
    symbol = models.CharField(max_length=60, blank=True)
    #: The chosen orders of scope ORDERS, each as {"family", "symbol", "venue_order_id", "client_order_id"}.
    order_refs = models.JSONField(default=list, blank=True)
    #: Orders that can only reduce a position stay, where their venue tells them apart.
    keep_protective = models.BooleanField(default=False)
    pressed_at = models.DateTimeField()
    pressed_by = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.PROTECT, null=True, blank=True)
    pressed_by_name = models.CharField(max_length=150)  # kept as it was; a shell user has no row
    pressed_via = models.CharField(max_length=12, choices=Via.choices)
    #: The journal this panic was imported from: pressed while the database was away (`break_glass`).
    journal_id = models.UUIDField(null=True, blank=True, unique=True)
    #: The process that was pressed still ran when its journal was imported: the rest of it is to come.
    journal_open = models.BooleanField(default=False, editable=False)
    held_ms = models.PositiveIntegerField(null=True, blank=True)
    reason = models.TextField(blank=True)
    direct_path = models.BooleanField(
        default=False, help_text="The queue did not take it in time; it ran in the process that was pressed."
    )
    #: Names of disabled accounts in the scope: not swept, and every view of the panic says so.
    skipped = models.JSONField(default=list, blank=True)

    class Meta:
        ordering = ["-pressed_at", "-pk"]
        permissions = [
            ("press", "Can press: cancel open orders"),
            ("release", "Can release latched accounts"),
        ]

    def __str__(self) -> str:
        return f"panic {self.pk} ({self.scope_label})"

    def get_absolute_url(self) -> str:
        return reverse("panic", args=[self.pk])

    @property
    def scope_label(self) -> str:
        return f"{self._scope_label} but protective orders" if self.keep_protective else self._scope_label

    @property
    def _scope_label(self) -> str:
        match self.scope:
            case Panic.Scope.SYMBOL:
                return f"{self.symbol} of account {self.account}"
            case Panic.Scope.ORDERS:
                return f"{len(self.order_refs)} chosen orders of account {self.account}"
            case _:
                return whole_label(self.scope, self.desk, self.account)


def whole_label(scope: str, desk: Desk | None, account: Account | None) -> str:
    """A scope of whole accounts in words."""
    match scope:
        case Panic.Scope.DESK:
            return f"desk {desk or 'that is gone'}"
        case Panic.Scope.ACCOUNT:
            return f"account {account or 'that is gone'}"
        case _:
            return "everything"


class Sweep(models.Model):
    """One account within one panic: cancel, read back, repeat until clear."""

    class State(models.TextChoices):
        QUEUED = "queued", "QUEUED"
        CANCELLING = "cancelling", "CANCELLING"
        READING_BACK = "reading_back", "READING BACK"
        NOT_CLEAR = "not_clear", "NOT CLEAR"  # read back, and orders are left
        FAILED = "failed", "FAILED"  # could not cancel or read: says why, and goes on trying
        CLEAR = "clear", "CLEAR"
        HANDED_OVER = "handed_over", "HANDED OVER"  # a later panic sweeps this account now
        RELEASED = "released", "RELEASED"  # a person released the account before it was clear

    OVER = (State.CLEAR, State.HANDED_OVER, State.RELEASED)
    #: Clear, and its account is still latched by its panic: looked at until a person releases it.
    WATCHED = Q(
        state="clear", whole_account=True, account__latched_by=models.F("panic"), account__enabled=True
    )

    panic = models.ForeignKey(Panic, on_delete=models.CASCADE, related_name="sweeps")
    account = models.ForeignKey(Account, on_delete=models.PROTECT, related_name="sweeps")
    #: The account as a whole, or only what the panic's scope names (a symbol, chosen orders).
    whole_account = models.BooleanField(default=True)
    #: As the panic says, unless the account's latch is from one that kept nothing: then that holds on.
    keep_protective = models.BooleanField(default=False)
    #: How many protective orders the latest reading found, and left.
    kept = models.PositiveIntegerField(default=0)
    state = models.CharField(max_length=15, choices=State.choices, default=State.QUEUED)
    handed_over_to = models.ForeignKey(
        Panic, on_delete=models.PROTECT, null=True, blank=True, related_name="taken_over"
    )
    round = models.PositiveIntegerField(default=0)
    lease_owner = models.CharField(max_length=80, blank=True)
    lease_until = models.DateTimeField(null=True)
    due_at = models.DateTimeField()
    first_request_at = models.DateTimeField(null=True)
    acked_at = models.DateTimeField(null=True)
    to_read = models.BooleanField(default=False)  # its cancels were answered, and nothing was read since
    #: When the known symbols read back empty, by calls begun after the last cancel was answered.
    known_empty_at = models.DateTimeField(null=True)
    #: When, after that, the full listing of every family read back empty.
    full_empty_at = models.DateTimeField(null=True)
    read_back_at = models.DateTimeField(null=True)
    clear_at = models.DateTimeField(null=True)
    #: Where the venue's limit holds the full listing back: when it comes, as far as can be told. See `turns`.
    full_listing_at = models.DateTimeField(null=True)
    doubt = models.PositiveSmallIntegerField(default=0)  # the most doubtful is listed first
    #: When the known symbols, listed again after it was clear, were still empty.
    watched_at = models.DateTimeField(null=True)
    reopened = models.PositiveIntegerField(default=0)  # how often orders took the clear away again
    failures = models.PositiveIntegerField(default=0)  # in a row; sets the pace of the next try
    last_word = models.TextField(blank=True)

    class Meta:
        ordering = ["pk"]
        constraints = [
            models.UniqueConstraint(fields=["panic", "account"], name="sweep_once_a_panic"),
            models.UniqueConstraint(
                fields=["account"],
                condition=Q(whole_account=True) & ~Q(state__in=["clear", "handed_over", "released"]),
                name="sweep_running_once_an_account",
            ),
            models.CheckConstraint(
                condition=~Q(state="clear")
                | Q(clear_at__isnull=False, known_empty_at__isnull=False, full_empty_at__isnull=False),
                name="sweep_clear_only_with_two_readings",
            ),
        ]
        indexes = [
            models.Index(
                fields=["due_at"],
                condition=~Q(state__in=["clear", "handed_over", "released"]),
                name="sweep_due",
            )
        ]

    def __str__(self) -> str:
        return f"sweep of {self.account} in panic {self.panic_id}"

    @property
    def label(self) -> str:
        """The state in words."""
        return CLEAR_BUT_KEPT if self.state == self.State.CLEAR and self.kept else self.get_state_display()

    @property
    def nothing_open(self) -> str:
        """The good end, in words."""
        return nothing_open(self.kept)


class SweptOrder(models.Model):
    """One order within a sweep, and what became of it."""

    class Outcome(models.TextChoices):
        SENT = "sent", "SENT"
        ACKED = "acked", "ACKED"
        CANCELLED = "cancelled", "CANCELLED"
        FILLED = "filled", "FILLED"
        EXPIRED = "expired", "EXPIRED"
        REJECTED = "rejected", "REJECTED"
        UNKNOWN = "unknown", "UNKNOWN"
        STILL_OPEN = "still_open", "STILL OPEN"

    GONE = (Outcome.CANCELLED, Outcome.FILLED, Outcome.EXPIRED)

    sweep = models.ForeignKey(Sweep, on_delete=models.CASCADE, related_name="orders")
    family = models.CharField(max_length=30)
    symbol = models.CharField(max_length=60)
    venue_order_id = models.CharField(max_length=64)
    client_order_id = models.CharField(max_length=64, blank=True)
    list_id = models.CharField(max_length=64, blank=True)
    side = models.CharField(max_length=10, blank=True)
    order_type = models.CharField(max_length=40, blank=True)
    quantity = models.DecimalField(max_digits=38, decimal_places=18, null=True)
    filled = models.DecimalField(max_digits=38, decimal_places=18, null=True)
    price = models.DecimalField(max_digits=38, decimal_places=18, null=True)
    trigger_price = models.DecimalField(max_digits=38, decimal_places=18, null=True)
    protective = models.BooleanField(default=False)
    placed_at = models.DateTimeField(null=True)
    placed_after = models.BooleanField(default=False)  # placed after the press, by the venue's clock
    seen_at = models.DateTimeField()  # when this panic first knew of it
    outcome = models.CharField(max_length=12, choices=Outcome.choices, default=Outcome.SENT)
    outcome_at = models.DateTimeField()
    #: The venue, asked for this order, does not know it any more: there is nothing left to ask.
    vanished = models.BooleanField(default=False)
    note = models.CharField(max_length=300, blank=True)

    class Meta:
        ordering = ["pk"]
        constraints = [
            models.UniqueConstraint(
                fields=["sweep", "family", "symbol", "venue_order_id"], name="swept_order_once"
            )
        ]

    def __str__(self) -> str:
        return f"{self.symbol} {self.venue_order_id}: {self.get_outcome_display()}"


class AuditEntry(models.Model):
    """Who did what, when and why. Written once, never changed."""

    class Action(models.TextChoices):
        PRESSED = "pressed", "pressed"
        JOINED = "joined", "joined a running panic"
        REASON = "reason", "gave a reason"
        RELEASED = "released", "released"
        EXPORTED = "exported", "exported the break-glass file"
        IMPORTED = "imported", "imported a journal"
        UNREADABLE = "unreadable", "could not read a journal"
        ARMED = "armed", "armed countdowns"
        DISARMED = "disarmed", "disarmed countdowns"
        UNLOCKED = "unlocked", "unlocked a venue"
        FIRED = "fired", "countdown ran out"
        LIFE_SIGN = "life sign", "set up a life sign"
        WALL = "wall", "made or revoked a wall"
        DRILLED = "drilled", "began a drill"

    at = models.DateTimeField()
    actor = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.PROTECT, null=True, blank=True)
    actor_name = models.CharField(max_length=150)
    action = models.CharField(max_length=20, choices=Action.choices)
    panic = models.ForeignKey(
        Panic, on_delete=models.PROTECT, null=True, blank=True, related_name="audit_entries"
    )
    account = models.ForeignKey(Account, on_delete=models.PROTECT, null=True, blank=True)
    detail = models.TextField(blank=True)

    class Meta:
        ordering = ["-at", "-pk"]
        verbose_name_plural = "audit entries"

    def __str__(self) -> str:
        return f"{self.at:%Y-%m-%d %H:%M:%S} {self.actor_name} {self.action}"
