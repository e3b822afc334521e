"""Orders too far from the market to fill: how far, and how small, as a symbol's rules allow.

They are what a canary is made of: a buy at half of the present price, or one whose trigger is at twice of
it. Nothing here asks a venue; adapters give the price and the rules.
"""

from dataclasses import dataclass
from decimal import ROUND_CEILING, ROUND_FLOOR, Decimal

from panicboard.venues.base import FarOrder
from panicboard.venues.errors import NotDone

#: A bid's price, and a buy's trigger, as a share of the present price.
FAR_BELOW, FAR_ABOVE = Decimal("0.5"), Decimal(2)
#: A bid nearer to the market than this share of the price is not far away.
NEAREST = Decimal("0.8")
#: How far above the venue's lowest bid ours stays: the price moves between asking and placing.
MARGIN = Decimal("1.1")


@dataclass(frozen=True, slots=True)
class Rules:
    """What a venue wants of an order on one symbol.

    `least_worth` is the least price times quantity; `lowest_bid` the lowest bid as a share of the present
    price (0: there is none).
    """

    tick: Decimal
    step: Decimal
    least_quantity: Decimal
    least_worth: Decimal = Decimal(0)
    lowest_bid: Decimal = Decimal(0)


def far_bid(family: str, symbol: str, price: Decimal, rules: Rules) -> FarOrder:
    """The smallest bid far below `price`. Raises NotDone when the venue takes none that is far away."""
    bid = _rounded(price * max(FAR_BELOW, rules.lowest_bid * MARGIN), rules.tick, ROUND_CEILING)
    if not 0 < bid <= price * NEAREST:
        raise NotDone(f"{symbol}: no bid is far enough below {price:f}")
    return FarOrder(family, symbol, "LIMIT", _quantity(bid, rules), price=bid)


def far_stop(family: str, symbol: str, price: Decimal, rules: Rules) -> FarOrder:
    """The smallest stop buy far above `price`; its worth is reckoned low, for venues differ in how."""
    trigger = _rounded(price * FAR_ABOVE, rules.tick, ROUND_FLOOR)
    quantity = _quantity(price * FAR_BELOW, rules)
    return FarOrder(family, symbol, "STOP_MARKET", quantity, trigger_price=trigger)


def plain(value: Decimal | None) -> str | None:
    """An amount as venues take it: no exponent, no zeros behind; None where the order has none."""
    return None if value is None else format(value.normalize(), "f")


def _quantity(price: Decimal, rules: Rules) -> Decimal:
    return _rounded(max(rules.least_quantity, rules.least_worth / price), rules.step, ROUND_CEILING)


def _rounded(value: Decimal, step: Decimal, rounding: str) -> Decimal:
    if step <= 0:
        raise NotDone(f"a step of {step} cannot be kept")
    return (value / step).to_integral_value(rounding) * step
