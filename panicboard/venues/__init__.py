"""The venues panicboard knows. A new one takes its file, a line in `VENUES`, and its tests."""

from typing import Unpack

from panicboard.venues.base import Credentials, Opened, VenueAdapter
from panicboard.venues.binance_options import BinanceOptions
from panicboard.venues.binance_portfolio import BinancePortfolio
from panicboard.venues.binance_usdm import BinanceUsdm
from panicboard.venues.coinswitch import CoinSwitch
from panicboard.venues.errors import CredentialsRejected

VENUES: dict[str, type[VenueAdapter]] = {
    BinanceUsdm.slug: BinanceUsdm,
    BinanceOptions.slug: BinanceOptions,
    BinancePortfolio.slug: BinancePortfolio,
    CoinSwitch.slug: CoinSwitch,
}


def open_adapter(
    slug: str, base_url: str, credentials: Credentials, **opened: Unpack[Opened]
) -> VenueAdapter:
    """Open one account at one venue, by these ways out; no call is made yet.

    Raises ValueError for a venue nobody knows, and CredentialsRejected when the key or the secret is
    missing or is not of a type this venue takes.
    """
    if slug not in VENUES:
        raise ValueError(f"venue {slug!r} is not known; there are {', '.join(sorted(VENUES))}")
    adapter = VENUES[slug]
    if not credentials.api_key or not credentials.secret:
        raise CredentialsRejected("the account has no key, or no secret")
    if credentials.key_type not in adapter.key_types:
        raise CredentialsRejected(f"{adapter.label} takes no {credentials.key_type} keys")
    return adapter(base_url, credentials, **opened)
