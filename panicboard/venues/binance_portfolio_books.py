"""Portfolio margin's five books: what their calls cost, and which of them trade the same symbols.

The conditional um book is called um/algo since 2026-04-28. Where that is gone (-21015), the older
um/conditional serves the same orders; which of the two answers is remembered by base URL.

https://developers.binance.com/docs/derivatives/portfolio-margin/general-info
"""

import re
import time
from collections.abc import Callable, Collection
from typing import TypeVar

from panicboard.venues.base import BookSymbol, Family
from panicboard.venues.errors import EndpointGone

T = TypeVar("T")

#: Charged for margin openOrders without a symbol. The venue charges one unit for each symbol it trades,
#: a number it does not tell; its used-weight header puts right what this guesses wrong (unverified).
MARGIN_ALL_ORDERS_WEIGHT = 500
UM_CONDITIONAL = Family(
    slug="um_conditional",
    label="um/algo",
    conditional=True,
    cancel_weight=1,
    list_symbol_weight=1,
    list_all_weight=40,
    query_weight=1,
    triggers_into="um",
)
CM_CONDITIONAL = Family(
    slug="cm_conditional",
    label="cm/conditional",
    conditional=True,
    cancel_weight=1,
    list_symbol_weight=1,
    list_all_weight=40,
    query_weight=2,  # open and finished orders are two calls
    triggers_into="cm",
)
UM = Family(
    slug="um",
    label="um",
    conditional=False,
    cancel_weight=1,
    list_symbol_weight=1,
    list_all_weight=40,
    query_weight=1,
)
CM = Family(
    slug="cm",
    label="cm",
    conditional=False,
    cancel_weight=1,
    list_symbol_weight=1,
    list_all_weight=40,
    query_weight=1,
)
MARGIN = Family(
    slug="margin",
    label="margin",
    conditional=False,
    cancel_weight=2,
    list_symbol_weight=5 + 5,  # orders, and order lists
    list_all_weight=MARGIN_ALL_ORDERS_WEIGHT + 5,
    query_weight=10,
    tells_protective=False,
)

#: Books that trade the same symbols: what is known in one is cancelled and read in both.
_GROUPS = ((UM_CONDITIONAL, UM), (CM_CONDITIONAL, CM), (MARGIN,))
MASS_CANCEL_WEIGHTS = {UM_CONDITIONAL: 1, CM_CONDITIONAL: 1, UM: 1, CM: 1, MARGIN: 5}

#: How long um/conditional is used before um/algo is tried again.
ALGO_RETRY_S = 900.0
#: The venue's code for a call that it has removed.
GONE_CODE = "-21015"
# time.monotonic() of when um/algo last answered that it is gone, by base URL.
_algo_gone_at: dict[str, float] = {}


def books_of(symbol: str) -> tuple[Family, ...]:
    """The books that can trade a symbol, told by its form: BTCUSD_PERP is cm, BTCUSDT um or margin."""
    if re.search(r"USD_(PERP|\d{6})$", symbol):
        return CM_CONDITIONAL, CM
    if "_" in symbol:
        return UM_CONDITIONAL, UM  # BTCUSDT_260327, a delivery contract
    return UM_CONDITIONAL, UM, MARGIN


def symbols_of(family: Family, symbols: Collection[BookSymbol]) -> list[str]:
    """The symbols to cancel or list in one book: its own, and those of the book it shares symbols with."""
    group = next(group for group in _GROUPS if family in group)
    slugs = {twin.slug for twin in group}
    return sorted({known.symbol for known in symbols if known.family in slugs})


def algo_or_strategy(
    base_url: str, algo: Callable[[], T], strategy: Callable[[], T], *, cancels: bool = False
) -> T:
    """Make the um/algo call, or the um/conditional one where um/algo is known to be gone.

    Only the venue's own code says that it is gone: a bare 404 may be a gateway's, and what um/conditional
    then tells, if it told of no order, would prove nothing. Cancels are sent there all the same. Raises
    EndpointGone when neither is there; um/algo is then asked again the next time.
    """
    gone_at = _algo_gone_at.get(base_url)
    if gone_at is None or time.monotonic() - gone_at >= ALGO_RETRY_S:
        try:
            answer = algo()
        except EndpointGone as exc:
            if exc.code == GONE_CODE:
                _algo_gone_at[base_url] = time.monotonic()
            elif not cancels:
                raise
        else:
            _algo_gone_at.pop(base_url, None)
            return answer
    try:
        return strategy()
    except EndpointGone:
        _algo_gone_at.pop(base_url, None)
        raise
