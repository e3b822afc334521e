"""What the books of portfolio margin share: symbols, ids, and how orders are looked up and added.

https://developers.binance.com/docs/derivatives/portfolio-margin/error-code
"""

from collections.abc import Callable, Iterable, Mapping
from typing import Any

from panicboard.simulator.api import Call, Params, Reply, encode
from panicboard.simulator.binance_common import integer, need, need_one, refuse
from panicboard.simulator.book import Order
from panicboard.simulator.seeding import seeded_order
from panicboard.simulator.symbols import USDM_SYMBOLS, Symbol, unlisted
from panicboard.simulator.usdm_orders import check_client_id
from panicboard.simulator.world import World

FIRST_ID = 4_611_875_134_427_365_377  # the venue's own example; a double cannot hold it
WEEK_MS = 7 * 86_400_000

COINM_SYMBOLS = (
    Symbol("BTCUSD_PERP", "BTC", "USD", "91350.0", 1, 0),
    Symbol("ETHUSD_PERP", "ETH", "USD", "3012.40", 2, 0),
    Symbol("SOLUSD_PERP", "SOL", "USD", "141.20", 2, 0),
    Symbol("BNBUSD_PERP", "BNB", "USD", "902.10", 2, 0),
)
MARGIN_SYMBOLS = tuple(symbol for symbol in USDM_SYMBOLS if symbol.base.isascii())

#: The symbols of each product. The conditional books trade those of their ordinary book.
SYMBOLS = {"um": USDM_SYMBOLS, "cm": COINM_SYMBOLS, "margin": MARGIN_SYMBOLS}


class PortfolioState:
    """The symbols known now, and what every book does alike. `count_orders` is the API's order count."""

    def __init__(self, world: World, count_orders: Callable[[Call, int], dict[str, str]]) -> None:
        self.world = world
        self.count_orders = count_orders
        self.symbols: dict[str, dict[str, Symbol]] = {}
        self._forget()
        world.on_reset.append(self._forget)

    def symbol(self, product: str, params: Params) -> Symbol:
        """The `symbol` parameter. Raises -1102 without one, -1121 for one nobody knows."""
        symbol = self.symbols[product].get(need(params, "symbol"))
        if symbol is None:
            raise refuse(-1121, "Invalid symbol.")
        return symbol

    def symbol_or_all(self, product: str, params: Params) -> str | None:
        """The name in the `symbol` parameter, None when it was not sent. Raises -1121."""
        return self.symbol(product, params).name if params.get("symbol") else None

    def next_id(self) -> str:
        """A new order id, above 2**53 as the venue's are."""
        return str(FIRST_ID + next(self.world.serial))

    def add(self, account: str, book: str, fields: Mapping[str, Any], client_order_id: str = "") -> Order:
        """Put a new order on its book, under a new id and, if it has none, a made-up client id."""
        order_id = self.next_id()
        now_ms = self.world.now_ms()
        order = Order(
            account,
            book,
            order_id=order_id,
            client_order_id=client_order_id or f"web_{order_id}",
            created_ms=now_ms,
            updated_ms=now_ms,
            **fields,
        )
        return self.world.books.add(order)

    def seed(
        self, account: str, book: str, product: str, fields: Mapping[str, Any], defaults: Mapping[str, Any]
    ) -> Order:
        """Make an order from a control call, not yet on its book; its symbol becomes known."""
        symbol = self.seed_symbol(product, str(fields["symbol"]))
        order_id = self.next_id()
        return seeded_order(
            account,
            book,
            fields,
            order_id=order_id,
            client_order_id=f"sim-{order_id}",
            now_ms=self.world.now_ms(),
            **{"price": symbol.price, **defaults},
        )

    def seed_symbol(self, product: str, name: str) -> Symbol:
        """A symbol that orders are seeded on; one nobody knew becomes known."""
        return self.symbols[product].setdefault(name, unlisted(name))

    def new_client_id(self, params: Params, name: str, account: str, book: str, symbol: str) -> str:
        """A client id for a new order, "" when none was sent. Raises -4015, -4116."""
        wanted = params.get(name, "")
        if wanted:
            check_client_id(wanted)
            known = self.world.books.find(account, book, symbol, client_order_id=wanted)
            if known is not None and known.is_open:
                raise refuse(-4116, "ClientOrderId is duplicated.")
        return wanted

    def placed(self, payload: object, headers: dict[str, str]) -> Reply:
        """The reply to a placing call, with the order counts in its headers."""
        return Reply(200, encode(payload), headers)

    def find(
        self, call: Call, params: Params, book: str, symbol: str | None, id_name: str, client_id_name: str
    ) -> Order | None:
        """The order that one of two id parameters names. Raises -1102."""
        order_id, client_order_id = id_or_client_id(params, id_name, client_id_name)
        return self.world.books.find(call.owner, book, symbol, order_id, client_order_id)

    def _forget(self) -> None:
        self.symbols = {
            product: {symbol.name: symbol for symbol in symbols} for product, symbols in SYMBOLS.items()
        }


def id_or_client_id(params: Params, id_name: str, client_id_name: str) -> tuple[str, str]:
    """Two id parameters of which one must be there; the first is a number. Raises -1102."""
    _, client_id = need_one(params, id_name, client_id_name)
    number = integer(params, id_name)
    return "" if number is None else str(number), client_id


def history(
    orders: Iterable[Order], params: Params, now_ms: int, id_name: str, most: int = 1000
) -> list[Order]:
    """One page of history: by id onwards, or by time, of at most 7 days, the last 7 if nothing is said.

    Raises -1023, -1130 or -4165.
    """
    limit = integer(params, "limit") or 500
    if not 0 < limit <= most:
        raise refuse(-1130, "Data sent for parameter 'limit' is not valid.")
    first_id, start, end = (integer(params, name) for name in (id_name, "startTime", "endTime"))
    if first_id is not None:
        return [order for order in orders if int(order.order_id) >= first_id][:limit]
    if start is None:
        end = now_ms if end is None else end
        start = end - WEEK_MS
    elif end is None:
        end = start + WEEK_MS
    if start > end:
        raise refuse(-1023, "Start time is greater than end time.")
    if end - start > WEEK_MS:
        raise refuse(-4165, "Maximum time interval is 7 days.")
    return [order for order in orders if start <= order.created_ms <= end][:limit]
