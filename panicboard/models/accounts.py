"""Desks, venues, accounts, and what was last read of them."""

from typing import Any

from django.db import models
from django.urls import reverse

from panicboard.venues import VENUES


def adapter_choices() -> list[tuple[str, str]]:
    """The venues there is an adapter for, by slug."""
    return [(slug, adapter.label) for slug, adapter in VENUES.items()]


class Desk(models.Model):
    """A group of accounts that one team answers for."""

    name = models.CharField(max_length=60, unique=True)
    slug = models.SlugField(max_length=60, unique=True)
    position = models.PositiveSmallIntegerField(default=0, help_text="Order on the board, smallest first.")

    class Meta:
        ordering = ["position", "name"]

    def __str__(self) -> str:
        return self.name


class Venue(models.Model):
    """A venue's API at one address. Live, test and simulated ones stand side by side."""

    class Environment(models.TextChoices):
        LIVE = "live", "live"
        TEST = "test", "test network"
        SIMULATED = "simulated", "simulated"

    name = models.CharField(max_length=60, unique=True)
    adapter = models.CharField(max_length=30, choices=adapter_choices)
    base_url = models.URLField(help_text="Scheme and host, as in https://fapi.binance.com")
    environment = models.CharField(max_length=10, choices=Environment.choices, default=Environment.LIVE)
    limit_override = models.PositiveIntegerField(
        null=True,
        blank=True,
        help_text="Weight a minute that this address may use, where the venue granted another than its "
        "published limit. Leave empty for the published one.",
    )

    class Meta:
        ordering = ["name"]

    def __str__(self) -> str:
        return self.name

    def save(self, *args: Any, **kwargs: Any) -> None:
        self.base_url = self.base_url.rstrip("/")  # one address, one spelling: limits are counted by it
        super().save(*args, **kwargs)


class Egress(models.Model):
    """A way out to the venues with an address of its own: another address of this machine, or a proxy.

    Venues count most limits by address, and ban addresses: accounts on two of them have twice the limit.
    """

    name = models.CharField(max_length=60, unique=True)
    source_address = models.GenericIPAddressField(
        null=True, blank=True, help_text="An address of this machine that calls leave from."
    )
    #: The proxy's URL, sealed: it may hold a password.
    sealed_proxy = models.TextField(blank=True, editable=False)

    class Meta:
        ordering = ["name"]
        verbose_name_plural = "egresses"

    def __str__(self) -> str:
        return self.name


class Account(models.Model):
    """One set of credentials at a venue."""

    class KeyType(models.TextChoices):
        HMAC = "hmac", "HMAC (secret text)"
        RSA = "rsa", "RSA (PEM private key)"
        ED25519 = "ed25519", "Ed25519 (PEM private key; CoinSwitch: 64 hex digits)"

    desk = models.ForeignKey(Desk, on_delete=models.PROTECT, related_name="accounts")
    venue = models.ForeignKey(Venue, on_delete=models.PROTECT, related_name="accounts")
    name = models.CharField(max_length=60, unique=True)
    strategy = models.CharField(max_length=60, blank=True)
    enabled = models.BooleanField(
        default=True, help_text="A disabled account is neither read nor swept, and every panic says so."
    )
    egress = models.ForeignKey(
        Egress,
        on_delete=models.PROTECT,
        null=True,
        blank=True,
        related_name="+",
        help_text="The way out to the venue. Empty: this machine's usual one.",
    )
    second_egress = models.ForeignKey(
        Egress,
        on_delete=models.PROTECT,
        null=True,
        blank=True,
        related_name="+",
        help_text="Tried where the first does not get through. Its address must be allowed for the key, too.",
    )
    canary = models.BooleanField(
        default=False,
        help_text="Once a day panicboard places a small order far from the market in each order family of "
        "this account, panics the account, and sees that they are gone. Only for an account of its own, "
        "without a bot: where anything else is open, nothing is placed, and the run fails.",
    )
    key_type = models.CharField(max_length=10, choices=KeyType.choices, default=KeyType.HMAC)
    sealed_credentials = models.TextField(blank=True, editable=False)
    latched_at = models.DateTimeField(null=True, blank=True, editable=False)
    latched_by = models.ForeignKey(
        "panicboard.Panic", on_delete=models.PROTECT, null=True, blank=True, editable=False, related_name="+"
    )

    class Meta:
        ordering = ["desk__position", "desk__name", "name"]
        constraints = [
            models.CheckConstraint(
                condition=models.Q(latched_at__isnull=True, latched_by__isnull=True)
                | models.Q(latched_at__isnull=False, latched_by__isnull=False),
                name="account_latched_by_a_panic",
            )
        ]

    def __str__(self) -> str:
        return self.name

    def get_absolute_url(self) -> str:
        return reverse("account", args=[self.pk])


class Reading(models.Model):
    """What was last read of an account at its venue, and when the next reading is due.

    `orders` holds the open orders as `readings.to_record` writes them; `symbols` every book symbol
    that held an order lately, as {"family symbol": ISO time last seen}: where a panic cancels first.
    """

    account = models.OneToOneField(Account, on_delete=models.CASCADE, related_name="reading")
    read_at = models.DateTimeField(null=True)
    orders = models.JSONField(default=list)
    symbols = models.JSONField(default=dict)
    open_count = models.PositiveIntegerField(default=0)
    conditional_count = models.PositiveIntegerField(default=0)
    protective_count = models.PositiveIntegerField(default=0)
    failure = models.TextField(blank=True)
    failing_since = models.DateTimeField(null=True)
    clock_offset_ms = models.IntegerField(null=True)
    due_at = models.DateTimeField(db_index=True)
    planned_interval_s = models.FloatField(default=0)
    cancel_weight = models.PositiveIntegerField(default=0)  # what a panic's cancels of these symbols cost

    def __str__(self) -> str:
        return f"reading of {self.account}"
