"""What people send: a press, a reason, a release. Every refusal is a sentence that names what is wrong."""

from dataclasses import replace
from typing import Any
from urllib.parse import urlencode

from django import forms
from django.core import signing
from django.core.exceptions import ValidationError
from django.http import QueryDict

from panicboard.audit import GIVE_A_REASON, SHORTEST_REASON
from panicboard.countdowns import Terms
from panicboard.models import Account, Countdown, Desk, Panic
from panicboard.panics import Scope
from panicboard.venues import VENUES

#: Armed, a press has to be confirmed within this time.
ARMED_S = 10
#: The one choice of what to keep: the orders that can only reduce a position.
KEEP = "protective"
_SALT = "panicboard.armed"


class PressForm(forms.Form):
    """A press: `scope`, what that scope names, and what it is to `keep`. It counts as meant when it was held,
    or armed before.

    `order` may be repeated, each as "family|symbol|venue order id". `held_ms` and `armed` are read as
    they are: what is wrong with them never refuses a press, it only has it confirmed.
    """

    #: The fields that make up the scope.
    NAMES = ("scope", "desk", "account", "symbol", "order", "keep")

    scope = forms.CharField(required=False)
    desk = forms.CharField(required=False)
    account = forms.CharField(required=False)
    symbol = forms.CharField(required=False, max_length=60)
    keep = forms.CharField(required=False)

    def __init__(self, sent: QueryDict) -> None:
        super().__init__(sent)
        self.sent = sent

    def clean(self) -> dict[str, Any]:
        cleaned = super().clean() or {}
        kind = cleaned.get("scope")
        if kind not in Panic.Scope.values:
            known = ", ".join(Panic.Scope.values)
            raise ValidationError(f"The scope {kind!r} is not one of {known}. Nothing was cancelled.")
        if cleaned.get("keep") not in ("", KEEP):
            raise ValidationError(
                f"What to keep is {KEEP!r} or nothing, not {cleaned.get('keep')!r}. Nothing was cancelled."
            )
        cleaned["scope"] = Scope(Panic.Scope(kind))
        if kind == Panic.Scope.DESK:
            cleaned["scope"] = Scope(Panic.Scope.DESK, desk=self._desk(cleaned["desk"]))
        elif kind == Panic.Scope.ACCOUNT:
            cleaned["scope"] = Scope(Panic.Scope.ACCOUNT, account=self._account(cleaned["account"]))
        elif kind == Panic.Scope.SYMBOL:
            account, symbol = self._account(cleaned["account"]), cleaned.get("symbol")
            if not symbol:
                raise ValidationError("The press names no symbol. Nothing was cancelled.")
            cleaned["scope"] = Scope(Panic.Scope.SYMBOL, account=account, symbol=symbol)
        elif kind == Panic.Scope.ORDERS:
            account = self._account(cleaned["account"])
            cleaned["scope"] = Scope(Panic.Scope.ORDERS, account=account, order_refs=self._orders(account))
        cleaned["scope"] = replace(cleaned["scope"], keep_protective=cleaned["keep"] == KEEP)
        return cleaned

    @property
    def panic_scope(self) -> Scope:
        return self.cleaned_data["scope"]

    @property
    def sentence(self) -> str:
        """What is wrong."""
        return " ".join(str(error) for errors in self.errors.values() for error in errors)

    @property
    def pairs(self) -> list[tuple[str, str]]:
        """The scope as it was sent, field by field."""
        return [(name, value) for name in self.NAMES for value in self.sent.getlist(name) if value]

    @property
    def query(self) -> str:
        return urlencode(self.pairs)

    @property
    def other_query(self) -> str:
        """The same scope, with the other choice of what to keep."""
        others = [(name, value) for name, value in self.pairs if name != "keep"]
        return urlencode(others if self.sent.get("keep") else [*others, ("keep", KEEP)])

    @property
    def held_ms(self) -> int | None:
        """How long the stop was held; None where no script could tell."""
        text = self.sent.get("held_ms", "")
        return min(int(text), 600_000) if text.isdecimal() and int(text) > 0 else None

    @property
    def was_armed(self) -> bool:
        """Whether this very scope was armed, at most ten seconds ago."""
        try:
            armed = signing.loads(self.sent.get("armed", ""), salt=_SALT, max_age=ARMED_S)
        except signing.BadSignature:
            return False
        return bool(armed == self.query)

    def arm(self) -> str:
        """A token by which this scope counts as armed for the next ten seconds."""
        return signing.dumps(self.query, salt=_SALT)

    def _desk(self, slug: str) -> Desk:
        desk = Desk.objects.filter(slug=slug).first()
        if desk is None:
            raise ValidationError(f"There is no desk {slug!r}. Nothing was cancelled.")
        return desk

    def _account(self, pk: str) -> Account:
        found = Account.objects.select_related("venue", "desk").filter(pk=pk) if pk.isdecimal() else ()
        for account in found:
            return account
        raise ValidationError(f"There is no account {pk!r}. Nothing was cancelled.")

    def _orders(self, account: Account) -> tuple[dict[str, str], ...]:
        refs = tuple(self._order(account, text) for text in self.sent.getlist("order"))
        if not refs:
            raise ValidationError("No order was chosen. Nothing was cancelled.")
        return refs

    def _order(self, account: Account, text: str) -> dict[str, str]:
        family, _, rest = text.partition("|")
        symbol, _, venue_order_id = rest.rpartition("|")
        if not (family and symbol and venue_order_id):
            raise ValidationError(
                f"The order {text!r} is not written as family|symbol|venue order id. Nothing was cancelled."
            )
        adapter = VENUES.get(account.venue.adapter)
        if adapter is None or family not in {one.slug for one in adapter.families}:
            raise ValidationError(f"{account.venue} has no order family {family!r}. Nothing was cancelled.")
        return {
            "family": family,
            "symbol": symbol,
            "venue_order_id": venue_order_id,
            "client_order_id": "",
        }


class DrillForm(forms.Form):
    """Beginning a drill: `scope` as "all", "desk:<slug>" or "account:<pk>", and why, if that is said."""

    scope = forms.ChoiceField(
        error_messages={
            "required": "Choose what to rehearse.",
            "invalid_choice": "There is no scope %(value)s any more. Choose another one.",
        }
    )
    reason = forms.CharField(
        max_length=2000,
        required=False,
        error_messages={"max_length": "Say it in at most 2,000 characters."},
    )

    def __init__(self, sent: QueryDict | None = None) -> None:
        super().__init__(sent)
        desks = list(Desk.objects.all())
        accounts = Account.objects.filter(enabled=True).only("pk", "name", "desk")
        self.fields["scope"].choices = [  # type: ignore[attr-defined]
            ("all", "everything"),
            *((f"desk:{desk.slug}", f"desk {desk}") for desk in desks),
            *((f"account:{account.pk}", f"account {account}") for account in accounts),
        ]

    @property
    def drill_scope(self) -> Scope:
        """The scope that was chosen."""
        kind, _, named = self.cleaned_data["scope"].partition(":")
        if kind == Panic.Scope.DESK:
            return Scope(Panic.Scope.DESK, desk=Desk.objects.get(slug=named))
        if kind == Panic.Scope.ACCOUNT:
            return Scope(Panic.Scope.ACCOUNT, account=Account.objects.get(pk=named))
        return Scope(Panic.Scope.ALL)


class ReasonForm(forms.Form):
    """Why a panic was pressed, said after the press."""

    reason = forms.CharField(
        max_length=2000,
        error_messages={
            "required": "Say why, in a few words.",
            "max_length": "Say it in at most 2,000 characters.",
        },
    )


class ReleaseForm(forms.Form):
    """Releasing latched accounts: a reason, and a tick that the consequences were seen."""

    reason = forms.CharField(
        min_length=SHORTEST_REASON,
        max_length=2000,
        error_messages={
            "required": GIVE_A_REASON,
            "min_length": GIVE_A_REASON,
            "max_length": "Give a reason of at most 2,000 characters.",
        },
    )
    seen = forms.BooleanField(
        error_messages={"required": "Tick that you have seen what is still open and what releasing does."}
    )


class ArmForm(forms.Form):
    """Arming countdowns: over which symbols, how long, how often, and who keeps them alive."""

    scopes = forms.CharField(
        required=False, max_length=4000, help_text="Empty: every symbol with open orders."
    )
    follow = forms.BooleanField(required=False)
    length_s = forms.DecimalField(min_value=1, max_value=100_000, max_digits=9, decimal_places=3)
    refresh_s = forms.DecimalField(
        min_value=1, max_value=100_000, max_digits=9, decimal_places=3, required=False
    )
    source = forms.ChoiceField(choices=Countdown.Source.choices)

    @property
    def wanted(self) -> list[str]:
        """The symbols or underlyings as they were typed, with blanks or commas between."""
        return self.cleaned_data["scopes"].replace(",", " ").upper().split()

    @property
    def terms(self) -> Terms:
        """Length, refresh and source, as the acts take them."""
        refresh_s = self.cleaned_data["refresh_s"] or self.cleaned_data["length_s"] / 4
        return Terms(
            countdown_ms=int(self.cleaned_data["length_s"] * 1000),
            refresh_ms=int(refresh_s * 1000),
            source=self.cleaned_data["source"],
        )


class SilenceForm(forms.Form):
    """After how long a silence a bot or an operator does not count as alive any more."""

    silence_s = forms.IntegerField(min_value=2, max_value=86_400)
