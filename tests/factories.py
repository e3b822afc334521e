"""Rows for tests: desks, venues and accounts that stand at the simulator."""

from typing import Any

from panicboard import credentials
from panicboard.models import Account, Desk, Venue
from tests.simulator_process import SimulatorProcess

#: For each venue: what its ordinary book is called at the simulator, and a symbol that trades there.
BOOKS = {
    "binance-usdm": ("ordinary", "BTCUSDT"),
    "binance-options": ("ordinary", "BTC-261225-100000-C"),
    "binance-portfolio": ("um", "BTCUSDT"),
    "coinswitch": ("ordinary", "BTCUSDT"),
}
VENUES = tuple(BOOKS)


def make_desk(slug: str = "delta", name: str = "") -> Desk:
    desk, _ = Desk.objects.get_or_create(slug=slug, defaults={"name": name or slug.title()})
    return desk


def make_venue(url: str, adapter: str = "binance-usdm", **fields: Any) -> Venue:
    venue, _ = Venue.objects.get_or_create(
        base_url=url,
        adapter=adapter,
        defaults={"name": f"{adapter} at {url}", "environment": Venue.Environment.SIMULATED, **fields},
    )
    return venue


def make_account(
    simulator: SimulatorProcess,
    adapter: str = "binance-usdm",
    name: str = "alpha",
    *,
    desk: str = "delta",
    enabled: bool = True,
    **options: object,
) -> Account:
    """An account at the simulator and its row here, with the same key."""
    made = simulator.create_account(adapter, name, **options)
    account = Account(
        desk=make_desk(desk),
        venue=make_venue(simulator.url, adapter),
        name=name,
        key_type=made["key_type"],
        enabled=enabled,
    )
    credentials.seal(account, api_key=made["api_key"], secret=made["secret"])
    account.save()
    return account


def seed(
    simulator: SimulatorProcess, account: Account, count: int = 1, **fields: object
) -> list[dict[str, Any]]:
    """Open orders on the account's ordinary book and usual symbol, unless told otherwise."""
    book, symbol = BOOKS[account.venue.adapter]
    spec = {"book": book, "symbol": symbol, "count": count, **fields}
    return simulator.seed(account.name, **spec)
