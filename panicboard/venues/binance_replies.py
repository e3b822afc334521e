"""Reading what the Binance APIs answer, strictly where an order's fate depends on it.

A reply that lacks what we rely on raises OutcomeUnknown: half a listing would look like a shorter book.
Fields nobody reads may come, go and change their type as they like.
"""

from collections.abc import Callable, Sequence
from datetime import datetime
from typing import Any

from panicboard.venues.asked import collect
from panicboard.venues.base import Access, CancelResult, Order, OrderRef
from panicboard.venues.binance import id_list, kind_of
from panicboard.venues.errors import (
    ClockRejected,
    CredentialsRejected,
    EndpointGone,
    OrderNotFound,
    OutcomeUnknown,
    VenueRejected,
)
from panicboard.venues.values import identifier, label, quoted, to_ms, whole

HISTORY_PAGE = 1000  # the longest page of order history that any of the three APIs gives
#: The venue's clock may be this far ahead of what we take it for: it still accepts our calls then.
CLOCK_ERROR_MS = 5000

#: Refusals that concern the account or the API and not the order that was named.
_NOT_THE_ORDER = (CredentialsRejected, ClockRejected, EndpointGone)


def rows(reply: Any, what: str) -> list[dict[str, Any]]:
    """The items of a reply that must be a list of objects. Raises OutcomeUnknown when it is not."""
    if not isinstance(reply, list) or not all(isinstance(item, dict) for item in reply):
        raise OutcomeUnknown(f"{what}: the reply is not a list of objects", text=quoted(reply))
    return reply


def fields(reply: Any, what: str) -> dict[str, Any]:
    """A reply that must be one object. Raises OutcomeUnknown when it is not."""
    if not isinstance(reply, dict):
        raise OutcomeUnknown(f"{what}: the reply is not an object", text=quoted(reply))
    return reply


def required(item: dict[str, Any], key: str) -> str:
    """An id, a symbol or a status, which must be there. Raises OutcomeUnknown when it cannot be one."""
    value = item.get(key)
    if value is None or value == "":
        raise OutcomeUnknown(f"the reply has an item without {key}", text=quoted(item))
    return identifier(value)


def required_id(item: dict[str, Any], key: str) -> str:
    """An order's id, which is a whole number everywhere at Binance. Raises OutcomeUnknown as `required`."""
    order_id = required(item, key)
    if whole(order_id) is None:
        raise OutcomeUnknown(f"{key} {order_id!r} is not the id of an order", text=quoted(item))
    return order_id


def acknowledge(reply: Any, what: str) -> None:
    """Check that a reply says the request was accepted: its code is 200 or 0, as a number or as text.

    Raises OutcomeUnknown for any other code and for none.
    """
    code = fields(reply, what).get("code")
    if isinstance(code, bool) or not isinstance(code, str | int) or str(code) not in ("200", "0"):
        raise OutcomeUnknown(f"{what}: the reply does not say that it was accepted", text=quoted(reply))


def access(reply: Any, what: str) -> Access:
    """Whether the account may trade. Raises OutcomeUnknown when the reply does not tell."""
    can_trade = fields(reply, what).get("canTrade")
    if not isinstance(can_trade, bool):
        raise OutcomeUnknown(f"{what}: the reply does not say canTrade", text=quoted(reply))
    return Access(can_trade, "" if can_trade else "the venue does not let this account trade")


def one_id(ref: OrderRef, venue_key: str, client_key: str) -> dict[str, str]:
    """The parameter that names one order: the venue's id where it is known, else the client's."""
    if ref.venue_order_id:
        return {venue_key: ref.venue_order_id}
    if ref.client_order_id:
        return {client_key: ref.client_order_id}
    raise ValueError(f"an order of {ref.symbol} is named by no id")


def single_cancel(ref: OrderRef, cancel: Callable[[OrderRef], None]) -> CancelResult:
    """Cancel one order and tell a refusal as a result, as a batch does."""
    try:
        cancel(ref)
    except _NOT_THE_ORDER:
        raise
    except VenueRejected as exc:
        return _refused(ref, exc.code, exc.text)
    return CancelResult(ref, accepted=True)


def batch_cancel(
    refs: Sequence[OrderRef],
    keys: tuple[str, str],
    send: Callable[[dict[str, str]], Any],
    what: str,
) -> list[CancelResult]:
    """Cancel several orders in one call and tell, for each in order, what the venue said.

    `keys` name the list parameters for venue ids and for client ids; exactly one is sent. The state
    inside the reply is not read: on options it is the one from before the cancel. A refusal of the whole
    request is told of every order, and as not found of none: the venue does not say which it means.

    Raises ValueError when some of the orders are known by the one kind of id only and some by the other.
    """
    if all(ref.venue_order_id for ref in refs):
        ids, params = [ref.venue_order_id for ref in refs], {}
        params[keys[0]] = id_list(ids, numeric=True)
        named_by = "orderId"
    elif all(ref.client_order_id for ref in refs):
        ids = [ref.client_order_id for ref in refs]
        params = {keys[1]: id_list(ids, numeric=False)}
        named_by = "clientOrderId"
    else:
        raise ValueError("orders known by different kinds of ids cannot share one cancel")
    try:
        reply = send(params)
    except _NOT_THE_ORDER:
        raise
    except VenueRejected as exc:
        return [CancelResult(ref, accepted=False, code=exc.code, text=exc.text) for ref in refs]
    items = rows(reply, what)
    by_id = {label(item[named_by]): item for item in items if item.get(named_by)}
    results = []
    for place, (ref, wanted) in enumerate(zip(refs, ids, strict=True)):
        item = by_id.get(wanted)
        if item is None and len(items) == len(refs) and not items[place].get(named_by):
            item = items[place]  # a refusal names no order; the reply keeps the order of the request
        results.append(_batch_result(ref, item))
    return results


def _batch_result(ref: OrderRef, item: dict[str, Any] | None) -> CancelResult:
    code = "" if item is None else label(item.get("code"))
    if item is not None and code.startswith("-"):
        return _refused(ref, code, label(item.get("msg"), 300))
    if item is None or not (item.get("orderId") or item.get("clientOrderId")):
        return CancelResult(ref, accepted=False, text="the reply does not name this order")
    return CancelResult(ref, accepted=True)


def _refused(ref: OrderRef, code: str, text: str) -> CancelResult:
    not_found = issubclass(kind_of(code), OrderNotFound)
    return CancelResult(ref, accepted=False, not_found=not_found, code=code, text=text)


def history_in_windows(
    fetch: Callable[[int, int], list[Order]], since: datetime, now_ms: int, window_ms: int
) -> list[Order]:
    """Every order from `since` on, read in windows that the venue accepts.

    `now_ms` is the venue's time as far as we know it: the windows go on for `CLOCK_ERROR_MS` behind it, or
    the orders of the last moment would be left out where our reading of its clock is late. `fetch` takes the
    first and last ms of a window. A full page may have left orders out, at either end, so its window is read
    again in halves. Raises OutcomeUnknown when a single ms fills a page.
    """
    first, until_ms = to_ms(since), now_ms + CLOCK_ERROR_MS
    windows = [
        (start, min(start + window_ms - 1, until_ms)) for start in range(first, until_ms + 1, window_ms)
    ]
    found: dict[str, Order] = {}
    while windows:
        start, end = windows.pop(0)
        page = fetch(start, end)
        if len(page) < HISTORY_PAGE:
            collect(found, page)
        elif start < end:
            middle = (start + end) // 2
            windows[:0] = [(start, middle), (middle + 1, end)]
        else:
            raise OutcomeUnknown(f"more than {HISTORY_PAGE - 1} orders in one ms: the history is cut short")
    return list(found.values())
