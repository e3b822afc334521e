"""Django admin: desks, venues and accounts are made here; history is only read; secrets only go in."""

from typing import Any
from urllib.parse import urlsplit

from django import forms
from django.contrib import admin, messages
from django.contrib.admin.helpers import ActionForm
from django.db.models import Model, QuerySet
from django.http import HttpRequest
from django.utils.html import format_html

from panicboard import canary, countdowns, credentials, panics, walls
from panicboard.models import (
    Account,
    AuditEntry,
    CanaryRun,
    Countdown,
    Desk,
    Drill,
    DrilledAccount,
    Egress,
    Follow,
    LifeSign,
    Maintenance,
    Panic,
    Reading,
    Sweep,
    SweptOrder,
    Venue,
    VenueCall,
    Wall,
)
from panicboard.venues import open_adapter
from panicboard.venues.base import DIRECT, Credentials, Unlimited
from panicboard.venues.errors import CredentialsRejected

admin.site.site_header = "panicboard administration"
admin.site.site_title = "panicboard"
admin.site.site_url = "/"


class ReadOnlyAdmin(admin.ModelAdmin):
    """History: nobody adds, changes or deletes it here."""

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: Model | None = None) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Model | None = None) -> bool:
        return False


@admin.register(Desk)
class DeskAdmin(admin.ModelAdmin):
    list_display = ("name", "slug", "position")
    list_editable = ("position",)
    prepopulated_fields = {"slug": ("name",)}


@admin.register(Venue)
class VenueAdmin(admin.ModelAdmin):
    list_display = ("name", "adapter", "environment", "base_url", "limit_override")
    list_filter = ("adapter", "environment")


class WriteOnlyLine(forms.TextInput):
    """A line that goes in and is never written back, not even into a form that was refused."""

    def format_value(self, value: object) -> None:
        return None


class WriteOnlyText(forms.Textarea):
    """As WriteOnlyLine, of several lines."""

    def format_value(self, value: object) -> None:
        return None


class EgressForm(forms.ModelForm):
    """A way out: an address of this machine, or a proxy, whose URL is write-only: it may hold a password."""

    proxy_url = forms.CharField(
        required=False,
        strip=True,
        label="Proxy URL",
        widget=WriteOnlyLine(attrs={"autocomplete": "off", "size": 80}),
        help_text="Write-only, as in http://user:password@proxy.example:3128. Empty keeps what is stored.",
    )

    class Meta:
        model = Egress
        fields = ("name", "source_address")

    def clean_name(self) -> str:
        name: str = self.cleaned_data["name"]
        if name.strip().lower() == DIRECT.name:
            raise forms.ValidationError(f"{name!r} is the name of this machine's usual way: choose another.")
        return name

    def clean_source_address(self) -> str | None:
        address: str | None = self.cleaned_data["source_address"]
        others = Egress.objects.filter(source_address=address).exclude(pk=self.instance.pk)
        if address and (other := others.first()):
            raise forms.ValidationError(
                f"{other} leaves from this address already, and venues would count both together."
            )
        return address

    def clean_proxy_url(self) -> str:
        url: str = self.cleaned_data["proxy_url"]
        try:
            parts = urlsplit(url)
            named = parts.scheme in ("http", "https") and parts.hostname and (parts.port or True)
        except ValueError:
            named = False
        if url and not named:
            raise forms.ValidationError("Give the proxy as http://host:port or https://host:port.")
        return url

    def clean(self) -> dict[str, Any]:
        cleaned = super().clean() or {}
        address, proxy = cleaned.get("source_address"), cleaned.get("proxy_url")
        if address and proxy:
            raise forms.ValidationError("Give an address of this machine or a proxy, not both.")
        if not (address or proxy or self.instance.sealed_proxy or self.errors):
            raise forms.ValidationError("Give an address of this machine, or a proxy.")
        return cleaned

    def save(self, commit: bool = True) -> Egress:
        if self.cleaned_data.get("source_address"):
            self.instance.sealed_proxy = ""
        elif self.cleaned_data.get("proxy_url"):
            credentials.seal_proxy(self.instance, self.cleaned_data["proxy_url"])
        egress: Egress = super().save(commit)
        return egress


@admin.register(Egress)
class EgressAdmin(admin.ModelAdmin):
    form = EgressForm
    list_display = ("name", "source_address", "has_proxy")

    @admin.display(boolean=True, description="proxy")
    def has_proxy(self, egress: Egress) -> bool:
        return bool(egress.sealed_proxy)


class AccountForm(forms.ModelForm):
    """The account, with its credentials as write-only fields: what is stored is never shown."""

    api_key = forms.CharField(
        required=False,
        strip=True,
        widget=WriteOnlyLine(attrs={"autocomplete": "off", "size": 80}),
        help_text="Write-only. Leave key and secret empty to keep what is stored.",
    )
    secret = forms.CharField(
        required=False,
        strip=True,
        widget=WriteOnlyText(attrs={"autocomplete": "off", "rows": 3, "cols": 80, "spellcheck": "false"}),
        help_text="Write-only. HMAC: the secret text. RSA and Ed25519: the private key as PEM. "
        "CoinSwitch: the secret as 64 hex digits.",
    )

    class Meta:
        model = Account
        fields = (
            "desk",
            "venue",
            "name",
            "strategy",
            "enabled",
            "canary",
            "egress",
            "second_egress",
            "key_type",
        )

    def clean(self) -> dict[str, Any]:
        cleaned = super().clean() or {}
        api_key, secret = cleaned.get("api_key"), cleaned.get("secret")
        if bool(api_key) != bool(secret):
            raise forms.ValidationError("Give key and secret together, or neither to keep what is stored.")
        if cleaned.get("second_egress") and cleaned["second_egress"] == cleaned.get("egress"):
            raise forms.ValidationError("The second egress is the first one: choose another, or none.")
        venue, key_type = cleaned.get("venue"), cleaned.get("key_type")
        if api_key and secret and venue and key_type:
            try:
                open_adapter(
                    venue.adapter,
                    venue.base_url,
                    Credentials(api_key, secret, key_type),
                    budget=Unlimited(),
                    account=self.instance.name,
                )
            except CredentialsRejected as exc:
                raise forms.ValidationError(f"These credentials cannot be used: {exc}.") from None
        return cleaned

    def save(self, commit: bool = True) -> Account:
        if self.cleaned_data.get("api_key"):
            credentials.seal(
                self.instance, api_key=self.cleaned_data["api_key"], secret=self.cleaned_data["secret"]
            )
        account: Account = super().save(commit)
        return account


class ReasonForm(ActionForm):
    """The list's action bar, with the reason that a release needs."""

    reason = forms.CharField(
        required=False,
        label="Reason",
        widget=forms.TextInput({"size": 34, "placeholder": "a release needs 10 characters"}),
    )


@admin.register(Account)
class AccountAdmin(admin.ModelAdmin):
    form = AccountForm
    action_form = ReasonForm
    list_display = (
        "name",
        "desk",
        "venue",
        "enabled",
        "has_credentials",
        "canary",
        "latched_at",
        "latched_by",
    )
    list_filter = ("desk", "venue", "enabled", "canary", ("latched_at", admin.EmptyFieldListFilter))
    list_select_related = ("desk", "venue", "latched_by__desk", "latched_by__account")
    search_fields = ("name", "strategy")
    readonly_fields = ("latched_at", "latched_by")
    actions = ("press", "release", "arm", "disarm", "run_canary")

    @admin.display(boolean=True, description="credentials")
    def has_credentials(self, account: Account) -> bool:
        return bool(account.sealed_credentials)

    @admin.action(description="PRESS: cancel every open order of the chosen accounts", permissions=["press"])
    def press(self, request: HttpRequest, queryset: QuerySet[Account]) -> None:
        for account in queryset:
            self._press(request, account)

    @admin.action(description="Release the chosen accounts", permissions=["release"])
    def release(self, request: HttpRequest, queryset: QuerySet[Account]) -> None:
        try:
            count = panics.release_accounts(
                queryset,
                released_by=request.user,  # type: ignore[arg-type]
                released_by_name=request.user.get_username(),
                reason=request.POST.get("reason", ""),
            )
        except ValueError as exc:
            self.message_user(request, f"Nothing was released. {exc}", messages.ERROR)
            return
        self.message_user(request, f"Released {count} account{'' if count == 1 else 's'}.", messages.WARNING)

    @admin.action(description="Arm countdowns over every symbol with open orders", permissions=["arm"])
    def arm(self, request: HttpRequest, queryset: QuerySet[Account]) -> None:
        for account in queryset.select_related("venue"):
            by, actor = request.user.get_username(), request.user
            try:
                rows = countdowns.arm(account, countdowns.open_scopes(account), by=by, actor=actor)  # type: ignore[arg-type]
            except countdowns.Refused as exc:
                self.message_user(request, f"Not armed. {exc}", messages.ERROR)
            else:
                self.message_user(request, f"Arming {len(rows)} of {account.name}", messages.SUCCESS)

    @admin.action(description="Disarm every countdown of the chosen accounts", permissions=["arm"])
    def disarm(self, request: HttpRequest, queryset: QuerySet[Account]) -> None:
        disarm(self, request, Countdown.objects.filter(account__in=queryset))

    @admin.action(description="Run the canary now on the chosen accounts", permissions=["press"])
    def run_canary(self, request: HttpRequest, queryset: QuerySet[Account]) -> None:
        for account in queryset:
            try:
                run = canary.begin(account, by=request.user.get_username())
            except canary.Refused as exc:
                self.message_user(request, f"No canary. {exc}", messages.ERROR)
            else:
                self.message_user(request, f"{account.name}: canary run {run.pk} has begun", messages.SUCCESS)

    def _press(self, request: HttpRequest, account: Account) -> None:
        try:
            pressed = panics.start(
                panics.Scope(Panic.Scope.ACCOUNT, account=account),
                pressed_by=request.user,  # type: ignore[arg-type]
                pressed_by_name=request.user.get_username(),
                via=Panic.Via.ADMIN,
                reason=request.POST.get("reason", ""),
            )
        except (panics.NothingToSweep, panics.NotWritten) as exc:
            self.message_user(request, str(exc), messages.ERROR)
            return
        said = "joined the running" if pressed.joined else "started"
        link = format_html('<a href="{}">panic {}</a>', pressed.panic.get_absolute_url(), pressed.panic.pk)
        self.message_user(request, format_html("{}: {} {}", account.name, said, link), messages.WARNING)

    def get_deleted_objects(self, objs: Any, request: HttpRequest) -> Any:
        """What would go too: what was last read of an account is no history, and goes without asking."""
        deleted, counts, missing_rights, protected = super().get_deleted_objects(objs, request)
        read = {str(model._meta.verbose_name) for model in (Reading, Countdown, LifeSign, Follow)}
        return deleted, counts, missing_rights - read, protected

    def has_arm_permission(self, request: HttpRequest) -> bool:
        return request.user.has_perm("panicboard.arm")

    def has_press_permission(self, request: HttpRequest) -> bool:
        return request.user.has_perm("panicboard.press")

    def has_release_permission(self, request: HttpRequest) -> bool:
        return request.user.has_perm("panicboard.release")


@admin.register(Reading)
class ReadingAdmin(ReadOnlyAdmin):
    list_display = ("account", "read_at", "open_count", "conditional_count", "failure", "due_at")
    list_select_related = ("account",)


def disarm(shown: "admin.ModelAdmin[Any]", request: HttpRequest, chosen: QuerySet[Countdown]) -> None:
    """Have these countdowns disarmed, and say what comes of it."""
    by, actor = request.user.get_username(), request.user
    try:
        count = countdowns.disarm(chosen, by=by, actor=actor)  # type: ignore[arg-type]
    except countdowns.Refused as exc:
        shown.message_user(request, f"Nothing was disarmed. {exc}", messages.ERROR)
        return
    shown.message_user(request, f"Disarming {count}: over when the venue confirms it", messages.WARNING)


@admin.register(Countdown)
class CountdownAdmin(ReadOnlyAdmin):
    list_display = ("account", "scope", "phase", "countdown_ms", "source", "deadline_at", "failure")
    list_filter = ("phase", "source")
    search_fields = ("account__name", "scope")
    list_select_related = ("account",)
    actions = ("disarm",)

    @admin.action(description="Disarm the chosen countdowns", permissions=["arm"])
    def disarm(self, request: HttpRequest, queryset: QuerySet[Countdown]) -> None:
        disarm(self, request, queryset)

    def has_arm_permission(self, request: HttpRequest) -> bool:
        return request.user.has_perm("panicboard.arm")


@admin.register(LifeSign)
class LifeSignAdmin(ReadOnlyAdmin):
    """Made and made anew on the page of an account's countdowns; the secret's hash is shown nowhere."""

    list_display = ("account", "kind", "silence_s", "last_at", "last_by")
    list_select_related = ("account",)
    fields = ("account", "kind", "silence_s", "last_at", "last_by")


@admin.register(Follow)
class FollowAdmin(ReadOnlyAdmin):
    list_display = ("account", "countdown_ms", "refresh_ms", "source", "since", "by", "failure")
    list_select_related = ("account",)


@admin.register(Maintenance)
class MaintenanceAdmin(admin.ModelAdmin):
    """Windows in which a venue's countdowns are disarmed."""

    list_display = ("venue", "begins_at", "ends_at", "rearm", "reason", "made_by", "begun", "ended")
    list_select_related = ("venue",)

    def get_readonly_fields(self, request: HttpRequest, obj: Maintenance | None = None) -> tuple[str, ...]:
        """What has begun is history, but for its end."""
        return ("venue", "begins_at", "reason", "made_by", "begun") if obj and obj.begun else ("made_by",)

    def save_model(self, request: HttpRequest, obj: Maintenance, form: Any, change: bool) -> None:
        obj.made_by = obj.made_by or request.user.get_username()
        super().save_model(request, obj, form, change)


@admin.register(Wall)
class WallAdmin(admin.ModelAdmin):
    """Screens that nobody signs in to. Their addresses are shown once, when they are made."""

    list_display = ("name", "made_at", "made_by", "seen_at", "revoked_at", "revoked_by")
    fields = ("name",)
    actions = ("revoke",)

    def has_change_permission(self, request: HttpRequest, obj: Wall | None = None) -> bool:
        return obj is None and super().has_change_permission(request, obj)

    def has_delete_permission(self, request: HttpRequest, obj: Wall | None = None) -> bool:
        """What looked at the firm's orders, and since when, is not forgotten."""
        return False

    def save_model(self, request: HttpRequest, obj: Wall, form: Any, change: bool) -> None:
        by, actor = request.user.get_username(), request.user
        made, path = walls.make(obj.name, by=by, actor=actor)  # type: ignore[arg-type]
        obj.pk = made.pk
        address = request.build_absolute_uri(path)
        said = format_html("The address of {}, shown this once: <code>{}</code>", obj.name, address)
        self.message_user(request, said, messages.WARNING)

    def log_addition(self, request: HttpRequest, obj: Wall, message: Any) -> Any:
        return super().log_addition(request, Wall.objects.get(pk=obj.pk), message)

    @admin.action(description="Revoke: their addresses lead nowhere from now on", permissions=["change"])
    def revoke(self, request: HttpRequest, queryset: QuerySet[Wall]) -> None:
        by, actor = request.user.get_username(), request.user
        count = sum(walls.revoke(wall, by=by, actor=actor) for wall in queryset)  # type: ignore[arg-type]
        self.message_user(request, f"{count} revoked.")


class AccountRowsInline(admin.TabularInline):
    """Rows that each name an account, in one query."""

    extra = 0
    can_delete = False

    def get_queryset(self, request: HttpRequest) -> QuerySet[Any]:
        return super().get_queryset(request).select_related("account")


class SweepInline(AccountRowsInline):
    model = Sweep
    fk_name = "panic"
    fields = ("account", "state", "round", "first_request_at", "read_back_at", "clear_at", "last_word")
    readonly_fields = fields
    show_change_link = True


class AuditInline(AccountRowsInline):
    model = AuditEntry
    fields = ("at", "actor_name", "action", "account", "detail")
    readonly_fields = fields


@admin.register(Panic)
class PanicAdmin(ReadOnlyAdmin):
    list_display = ("pk", "scope_label", "pressed_at", "pressed_by_name", "pressed_via", "reason")
    list_filter = ("scope", "pressed_via")
    list_select_related = ("desk", "account")
    date_hierarchy = "pressed_at"
    inlines = (SweepInline, AuditInline)


class DrilledAccountInline(AccountRowsInline):
    model = DrilledAccount
    fields = ("account", "state", "read_at", "read_ms", "calls", "weight", "orders", "cancels", "last_word")
    readonly_fields = fields


@admin.register(Drill)
class DrillAdmin(ReadOnlyAdmin):
    """Begun on the page of drills, or from a shell."""

    list_display = ("pk", "scope_label", "began_at", "begun_by_name", "reason")
    list_filter = ("scope",)
    list_select_related = ("desk", "account")
    date_hierarchy = "began_at"
    inlines = (DrilledAccountInline,)


@admin.register(Sweep)
class SweepAdmin(ReadOnlyAdmin):
    list_display = ("pk", "panic", "account", "state", "round", "clear_at", "last_word")
    list_filter = ("state",)
    list_select_related = ("panic__desk", "panic__account", "account")


@admin.register(SweptOrder)
class SweptOrderAdmin(ReadOnlyAdmin):
    list_display = ("pk", "sweep", "family", "symbol", "venue_order_id", "outcome", "outcome_at", "note")
    list_filter = ("outcome", "family")
    list_select_related = ("sweep__account",)
    search_fields = ("venue_order_id", "client_order_id", "symbol")


@admin.register(CanaryRun)
class CanaryRunAdmin(ReadOnlyAdmin):
    list_display = ("pk", "account", "began_at", "state", "panic", "last_word")
    list_filter = ("state",)
    list_select_related = ("account", "panic__desk", "panic__account")
    date_hierarchy = "began_at"


@admin.register(AuditEntry)
class AuditEntryAdmin(ReadOnlyAdmin):
    list_display = ("at", "actor_name", "action", "panic", "account", "detail")
    list_filter = ("action",)
    list_select_related = ("panic__desk", "panic__account", "account")
    date_hierarchy = "at"


@admin.register(VenueCall)
class VenueCallAdmin(ReadOnlyAdmin):
    list_display = (
        "at",
        "account",
        "method",
        "path",
        "attempt",
        "status",
        "code",
        "latency_ms",
        "weight",
        "outcome",
    )
    list_filter = ("outcome",)
    search_fields = ("=account",)
    date_hierarchy = "at"
    show_full_result_count = False  # counting millions of rows for the words "of n" takes seconds
