"""The record of a panic, to be kept outside: every sweep, order, venue call, and who did what. No secret."""

from datetime import datetime
from decimal import Decimal
from typing import Any

from panicboard import call_log, panic_state
from panicboard.models import AuditEntry, Panic, Sweep, SweptOrder, VenueCall


def of(panic: Panic) -> dict[str, Any]:
    """The whole record as JSON-able values: ids and amounts are strings, times are UTC.

    The venue calls of a sweep are those of its account from the press until it was over, background readings
    among them. Each account has a query of its own: one for all would read what every account was asked for
    as long as the last sweep took.
    """
    orders: dict[int, list[SweptOrder]] = {}
    for order in SweptOrder.objects.filter(sweep__panic=panic).order_by("pk"):
        orders.setdefault(order.sweep_id, []).append(order)
    joined = panic.sweeps.select_related("account__venue", "account__desk", "handed_over_to")
    entries = list(panic.audit_entries.select_related("account").order_by("pk"))

    def calls(sweep: Sweep) -> list[VenueCall]:
        return call_log.between(sweep.account.name, panic.pressed_at, panic_state.ended_at(sweep, entries))

    return {
        "panic": panic.pk,
        "scope": panic.scope,
        "scope_label": panic.scope_label,
        "keep_protective": panic.keep_protective,
        "pressed_at": _time(panic.pressed_at),
        "pressed_by": panic.pressed_by_name,
        "pressed_via": panic.pressed_via,
        "held_ms": panic.held_ms,
        "reason": panic.reason,
        "direct_path": panic.direct_path,
        "disabled_accounts": panic.skipped,
        "chosen_orders": panic.order_refs,
        "sweeps": [_sweep(sweep, orders.get(sweep.pk, []), calls(sweep)) for sweep in joined.order_by("pk")],
        "audit": [_entry(entry) for entry in entries],
    }


def _sweep(sweep: Sweep, orders: list[SweptOrder], calls: list[VenueCall]) -> dict[str, Any]:
    return {
        "account": sweep.account.name,
        "desk": sweep.account.desk.name,
        "venue": sweep.account.venue.name,
        "whole_account": sweep.whole_account,
        "state": sweep.state,
        "keep_protective": sweep.keep_protective,
        "protective_orders_kept": sweep.kept,
        "handed_over_to": sweep.handed_over_to_id,
        "rounds": sweep.round,
        "first_request_at": _time(sweep.first_request_at),
        "acked_at": _time(sweep.acked_at),
        "known_empty_at": _time(sweep.known_empty_at),
        "full_empty_at": _time(sweep.full_empty_at),
        "read_back_at": _time(sweep.read_back_at),
        "clear_at": _time(sweep.clear_at),
        "watched_at": _time(sweep.watched_at),
        "last_word": sweep.last_word,
        "orders": [_order(order) for order in orders],
        "venue_calls": [_call(call) for call in calls],
    }


def _order(order: SweptOrder) -> dict[str, Any]:
    return {
        "family": order.family,
        "symbol": order.symbol,
        "venue_order_id": order.venue_order_id,
        "client_order_id": order.client_order_id,
        "list_id": order.list_id,
        "side": order.side,
        "order_type": order.order_type,
        "quantity": _amount(order.quantity),
        "filled": _amount(order.filled),
        "price": _amount(order.price),
        "trigger_price": _amount(order.trigger_price),
        "protective": order.protective,
        "placed_at": _time(order.placed_at),
        "placed_after_the_press": order.placed_after,
        "seen_at": _time(order.seen_at),
        "outcome": order.outcome,
        "outcome_at": _time(order.outcome_at),
        "vanished": order.vanished,
        "note": order.note,
    }


def _call(call: VenueCall) -> dict[str, Any]:
    return {
        "at": _time(call.at),
        "method": call.method,
        "path": call.path,
        "attempt": call.attempt,
        "status": call.status,
        "code": call.code,
        "latency_ms": call.latency_ms,
        "weight": call.weight,
        "outcome": call.outcome,
    }


def _entry(entry: AuditEntry) -> dict[str, Any]:
    return {
        "at": _time(entry.at),
        "who": entry.actor_name,
        "action": entry.action,
        "account": entry.account.name if entry.account else None,
        "detail": entry.detail,
    }


def _time(at: datetime | None) -> str | None:
    return at.isoformat() if at else None


def _amount(value: Decimal | None) -> str | None:
    return None if value is None else plain(value)


def plain(value: Decimal) -> str:
    """An amount without the zeros that storing it appended."""
    text = f"{value:f}"
    return text.rstrip("0").rstrip(".") if "." in text else text
