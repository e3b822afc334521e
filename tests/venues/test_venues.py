"""What holds of every venue before a single call is made: what it declares, and the calls it plans."""

import pytest

from panicboard.venues import VENUES, open_adapter
from panicboard.venues.base import BookSymbol, Credentials, VenueAdapter
from panicboard.venues.binance_options import BinanceOptions
from panicboard.venues.binance_portfolio import BinancePortfolio
from panicboard.venues.binance_usdm import BinanceUsdm
from panicboard.venues.coinswitch import CoinSwitch
from panicboard.venues.errors import CredentialsRejected

SYMBOLS = {
    "binance-usdm": ["BTCUSDT", "ETHUSDT"],
    "binance-options": ["BTC-200730-9000-C", "BTC-200730-9000-P", "ETH-200730-300-P"],
    "binance-portfolio": ["BTCUSDT", "ETHUSDT", "BTCUSD_PERP"],
    "coinswitch": ["BTCUSDT", "ETHUSDT"],
}
SEED = "9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60"
KEYS = {
    "hmac": Credentials("key", "secret"),
    "ed25519": Credentials(
        "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a", SEED, "ed25519"
    ),
}

every_venue = pytest.mark.parametrize("adapter", VENUES.values(), ids=VENUES)


def books_of(adapter: type[VenueAdapter]) -> list[BookSymbol]:
    return [book for symbol in SYMBOLS[adapter.slug] for book in adapter.book_symbols(symbol)]


def test_the_four_venues_are_known_by_their_slugs():
    assert dict(VENUES) == {
        "binance-usdm": BinanceUsdm,
        "binance-options": BinanceOptions,
        "binance-portfolio": BinancePortfolio,
        "coinswitch": CoinSwitch,
    }
    assert all(adapter.slug == slug for slug, adapter in VENUES.items())


@every_venue
def test_conditional_books_are_read_first(adapter):
    conditional = [family.conditional for family in adapter.families]

    assert conditional == sorted(conditional, reverse=True)
    assert len({family.slug for family in adapter.families}) == len(adapter.families)


@every_venue
@pytest.mark.parametrize("whole_account", [True, False])
def test_planned_mass_cancels_reach_every_book_of_every_symbol(adapter, whole_account):
    books = books_of(adapter)

    calls = adapter.mass_cancels(books, whole_account=whole_account)

    assert [book for book in books if not any(adapter.covers(call, book) for call in calls)] == []
    assert all(call.weight >= 1 for call in calls)


@every_venue
def test_mass_cancels_of_some_symbols_touch_no_other(adapter):
    books = books_of(adapter)[:1]

    calls = adapter.mass_cancels(books, whole_account=False)

    assert {(call.target, call.by_underlying) for call in calls} == {(books[0].symbol, False)}


@every_venue
def test_planned_listings_read_every_book_of_every_symbol(adapter):
    books = books_of(adapter)

    read = {(listing.family, listing.symbol) for listing in adapter.listings(books)}

    assert [b for b in books if not {(b.family, b.symbol), (b.family, None)} & read] == []


@every_venue
def test_a_full_reading_lists_every_family_once_in_order(adapter):
    listings = adapter.listings(None)

    assert [(listing.family, listing.symbol) for listing in listings] == [
        (family.slug, None) for family in adapter.families
    ]
    assert adapter.listings([]) == []


@every_venue
def test_what_is_paid_from_is_declared(adapter):
    assert adapter.listing_limit() in adapter.limits
    assert adapter.cancel_limit() in adapter.limits
    assert all(
        family.triggers_into in ("", *(f.slug for f in adapter.families)) for family in adapter.families
    )


@pytest.mark.parametrize("slug", VENUES)
def test_an_account_is_opened_without_any_call(slug, budget, venue_http):
    key = KEYS["ed25519" if slug == "coinswitch" else "hmac"]

    adapter = open_adapter(slug, "https://venue.example", key, budget=budget, account="alpha")

    assert type(adapter) is VENUES[slug]
    assert (budget.spent, len(venue_http.calls)) == ([], 0)


def test_a_venue_nobody_knows_is_refused_by_name(budget):
    with pytest.raises(ValueError, match="venue 'mtgox' is not known; there are binance-options, "):
        open_adapter("mtgox", "https://venue.example", KEYS["hmac"], budget=budget, account="alpha")


@pytest.mark.parametrize("missing", [Credentials("", "secret"), Credentials("key", "")])
@pytest.mark.parametrize("slug", VENUES)
def test_a_missing_credential_stops_with_a_message(slug, missing, budget):
    with pytest.raises(CredentialsRejected) as caught:
        open_adapter(slug, "https://venue.example", missing, budget=budget, account="alpha")

    assert str(caught.value) == "the account has no key, or no secret"


def test_a_key_of_a_type_the_venue_does_not_take_is_refused(budget):
    with pytest.raises(CredentialsRejected) as caught:
        open_adapter("coinswitch", "https://venue.example", KEYS["hmac"], budget=budget, account="alpha")

    assert str(caught.value) == f"{CoinSwitch.label} takes no hmac keys"


def test_credentials_do_not_show_themselves():
    assert repr(Credentials("my-key", "my-secret", "rsa")) == "Credentials(key_type='rsa')"
