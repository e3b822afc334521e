"""Orders that cannot fill: how far away and how small, as the symbol's rules allow."""

from decimal import Decimal

import pytest

from panicboard.venues.base import FarOrder
from panicboard.venues.binance_markets import price_of, rules_of, symbol_rules
from panicboard.venues.errors import NotDone, OutcomeUnknown
from panicboard.venues.far_orders import Rules, far_bid, far_stop, plain

D = Decimal
RULES = Rules(tick=D("0.01"), step=D("0.001"), least_quantity=D("0.001"), least_worth=D(5))
#: From the example of exchangeInfo: https://developers.binance.com/docs/derivatives/usds-margined-futures/market-data/rest-api/Exchange-Information
BLZUSDT = {
    "symbol": "BLZUSDT",
    "status": "TRADING",
    "filters": [
        {"filterType": "PRICE_FILTER", "maxPrice": "300", "minPrice": "0.0001", "tickSize": "0.0001"},
        {"filterType": "LOT_SIZE", "maxQty": "10000000", "minQty": "1", "stepSize": "1"},
        {"filterType": "MARKET_LOT_SIZE", "maxQty": "590119", "minQty": "1", "stepSize": "1"},
        {"filterType": "MAX_NUM_ORDERS", "limit": 200},
        {"filterType": "MAX_NUM_ALGO_ORDERS", "limit": 100},
        {"filterType": "MIN_NOTIONAL", "notional": "5.0"},
        {
            "filterType": "PERCENT_PRICE",
            "multiplierUp": "1.1500",
            "multiplierDown": "0.8500",
            "multiplierDecimal": "4",
        },
    ],
}


def test_bid_is_at_half_of_the_price_and_as_small_as_the_rules_allow():
    assert far_bid("ordinary", "XUSDT", D("99.99"), RULES) == FarOrder(
        "ordinary", "XUSDT", "LIMIT", D("0.100"), price=D("50.00")
    )


def test_stop_triggers_at_twice_the_price_and_is_worth_enough_at_half_of_it():
    assert far_stop("conditional", "XUSDT", D("99.995"), RULES) == FarOrder(
        "conditional", "XUSDT", "STOP_MARKET", D("0.101"), trigger_price=D("199.99")
    )


@pytest.mark.parametrize(
    ("price", "quantity"), [("100000", "0.001"), ("10000", "0.001"), ("9999", "0.002"), ("10", "1.000")]
)
def test_quantity_is_the_least_that_is_worth_enough(price, quantity):
    assert far_bid("ordinary", "XUSDT", D(price), RULES).quantity == D(quantity)


def test_bid_keeps_above_the_lowest_that_the_venue_takes():
    rules = Rules(D("0.01"), D("0.001"), D("0.001"), lowest_bid=D("0.6"))

    assert far_bid("margin", "XUSDT", D(100), rules).price == D("66.00")


@pytest.mark.parametrize(
    ("price", "rules"),
    [
        ("100", Rules(D("0.01"), D(1), D(1), lowest_bid=D("0.8"))),
        ("0.01", Rules(D("0.01"), D(1), D(1))),
        ("0", RULES),
        ("100", Rules(D(0), D(1), D(1))),
    ],
    ids=["venue takes none", "a tick is all there is", "no price", "no tick"],
)
def test_where_no_bid_is_far_away_none_is_made(price, rules):
    with pytest.raises(NotDone):
        far_bid("ordinary", "XUSDT", D(price), rules)


@pytest.mark.parametrize(("value", "text"), [("0.100", "0.1"), ("1E+2", "100"), ("4.2280", "4.228")])
def test_amounts_travel_without_exponent_and_without_zeros_behind(value, text):
    assert plain(D(value)) == text


def test_rules_are_those_of_the_venues_filters():
    assert symbol_rules({"symbols": [BLZUSDT]}, "BLZUSDT") == Rules(D("0.0001"), D(1), D(1), D(5))


def test_rules_of_spot_bound_bids_from_below():
    spot = [
        *BLZUSDT["filters"][:2],
        {"filterType": "PERCENT_PRICE_BY_SIDE", "bidMultiplierUp": "5", "bidMultiplierDown": "0.2"},
        {"filterType": "NOTIONAL", "minNotional": "10.00"},
    ]

    assert rules_of({"filters": spot}) == Rules(D("0.0001"), D(1), D(1), D(10), D("0.2"))


@pytest.mark.parametrize("status", [{"status": "SETTLING"}, {"status": None, "contractStatus": "CLOSE"}])
def test_symbol_that_is_not_traded_has_no_rules(status):
    with pytest.raises(NotDone, match=r"^BLZUSDT is not traded now$"):
        symbol_rules({"symbols": [BLZUSDT | status]}, "BLZUSDT")
    with pytest.raises(NotDone, match=r"^XUSDT is not traded now$"):
        symbol_rules({"symbols": [BLZUSDT]}, "XUSDT")


@pytest.mark.parametrize("missing", ["PRICE_FILTER", "LOT_SIZE"])
def test_rules_that_are_not_told_are_not_made_up(missing):
    filters = [one for one in BLZUSDT["filters"] if one["filterType"] != missing]

    with pytest.raises(OutcomeUnknown):
        rules_of({"filters": filters})


def test_price_is_that_of_the_symbol_in_an_object_or_a_list():
    row = {"symbol": "BTCUSD_PERP", "markPrice": "9500.1"}

    assert price_of(row, "BTCUSD_PERP", "markPrice") == D("9500.1")
    assert price_of([{"symbol": "X", "markPrice": "1"}, row], "BTCUSD_PERP", "markPrice") == D("9500.1")
    for nothing in ([], [{"symbol": "X", "markPrice": "1"}], {"symbol": "BTCUSD_PERP"}):
        with pytest.raises(OutcomeUnknown, match=r"^the venue tells no price of BTCUSD_PERP$"):
            price_of(nothing, "BTCUSD_PERP", "markPrice")
