"""The demo: a dozen accounts of a small trading firm with believable books, and bots if wanted.

Everything is drawn from one seeded generator, so that each start shows the same firm.
"""

import random
from collections.abc import Mapping
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any

from panicboard.simulator.accounts import COINSWITCH, OPTIONS, PORTFOLIO, USDM, Account, new_account
from panicboard.simulator.api import Api
from panicboard.simulator.book import Order
from panicboard.simulator.symbols import USDM_SYMBOLS, OptionSymbol, listed_options
from panicboard.simulator.world import World

MINUTE_MS = 60_000
BOT_PAUSE_MS = (4_000, 20_000)  # between two acts of one bot
BOT_ROOM = 4  # how many orders a bot may have beyond those its account began with

#: Name, venue, key type, and the symbols it trades.
ACCOUNTS: tuple[tuple[str, str, str, tuple[str, ...]], ...] = (
    ("kestrel-mm", USDM, "hmac", ("BTCUSDT", "ETHUSDT", "SOLUSDT", "BNBUSDT")),
    ("kestrel-arb", USDM, "ed25519", ("BTCUSDT", "BTCUSDC", "ETHUSDT", "ETHUSDC")),
    ("osprey-trend", USDM, "hmac", ("XRPUSDT", "DOGEUSDT", "ADAUSDT", "AVAXUSDT", "LINKUSDT")),
    ("finch-grid", USDM, "ed25519", ("SUIUSDT", "ARBUSDT", "NEARUSDT", "币安人生USDT")),
    ("heron-basis", USDM, "hmac", ("BTCUSDT", "LTCUSDT", "BCHUSDT", "测试USDT")),
    ("kestrel-vol", OPTIONS, "hmac", ("BTC", "ETH")),
    ("osprey-gamma", OPTIONS, "ed25519", ("BTC", "SOL", "BNB")),
    ("heron-wings", OPTIONS, "hmac", ("ETH", "XRP", "DOGE")),
    ("heron-carry", PORTFOLIO, "hmac", ("BTCUSDT", "ETHUSDT")),
    ("finch-spread", PORTFOLIO, "ed25519", ("SOLUSDT", "BNBUSDT")),
    ("mumbai-mm", COINSWITCH, "ed25519", ("BTCUSDT", "ETHUSDT")),
    ("mumbai-momentum", COINSWITCH, "ed25519", ("SOLUSDT", "XRPUSDT", "DOGEUSDT")),
)

_PRICES = {symbol.name: symbol for symbol in USDM_SYMBOLS}


class Demo:
    """The firm's accounts and books, put into a world."""

    def __init__(self, world: World, apis: Mapping[str, Api]) -> None:
        self.world = world
        self.apis = apis
        self.random = random.Random(2026)  # noqa: S311  # the same firm at each start, nothing secret
        self._room: dict[str, int] = {}

    def begin(self, *, alive: bool) -> None:
        """Make the accounts and their orders; with `alive`, start one gentle bot in each."""
        for name, venue, key_type, symbols in ACCOUNTS:
            account = new_account(name, venue, key_type)
            self.world.accounts.add(account)
            fill_book = {
                USDM: self._usdm,
                OPTIONS: self._options,
                PORTFOLIO: self._portfolio,
                COINSWITCH: self._coinswitch,
            }
            fill_book[venue](account, symbols)
            if alive:
                self._room[name] = len(self._plain_orders(account)) + BOT_ROOM
                self._bot_later(account, symbols)

    # Books.

    def _usdm(self, account: Account, symbols: tuple[str, ...]) -> None:
        for symbol in symbols:
            self._ladder(account, "ordinary", symbol, 6)
            for order_type, side, step in (("STOP_MARKET", "SELL", -4), ("TAKE_PROFIT_MARKET", "SELL", 6)):
                self._seed(
                    account,
                    "algo",
                    symbol=symbol,
                    type=order_type,
                    side=side,
                    stop_price=self._price(symbol, step),
                    quantity=self._quantity(symbol),
                    reduce_only=True,
                )

    def _options(self, account: Account, bases: tuple[str, ...]) -> None:
        by_base: dict[str, list[OptionSymbol]] = {}
        for option in listed_options(self._today()):
            by_base.setdefault(option.base, []).append(option)
        for base in bases:
            for option in self.random.sample(by_base[base], 4):
                for side in ("BUY", "SELL"):
                    self._seed_option(account, option.name, side)

    def _portfolio(self, account: Account, symbols: tuple[str, ...]) -> None:
        for symbol in symbols:
            inverse = f"{symbol.removesuffix('USDT')}USD_PERP"
            stop = {"type": "STOP_MARKET", "side": "SELL", "reduce_only": True}
            self._ladder(account, "um", symbol, 4)
            self._seed(account, "um_conditional", symbol=symbol, stop_price=self._price(symbol, -5), **stop)
            for step in (-1, 1):
                side = "BUY" if step < 0 else "SELL"
                price = self._price(symbol, step)
                self._seed(account, "cm", symbol=inverse, side=side, price=price, quantity="10")
                self._seed(account, "margin", symbol=symbol, side=side, price=price)
            self._seed(account, "cm_conditional", symbol=inverse, stop_price=self._price(symbol, -5), **stop)
            self._seed(
                account,
                "margin",
                symbol=symbol,
                type="OCO",
                side="SELL",
                price=self._price(symbol, 4),
                stop_price=self._price(symbol, -4),
            )

    def _coinswitch(self, account: Account, symbols: tuple[str, ...]) -> None:
        book = self.apis[COINSWITCH].books[0]
        for symbol in symbols:
            self._ladder(account, book, symbol, 4)
            self._seed(
                account,
                book,
                symbol=symbol,
                type="STOP_MARKET",
                side="SELL",
                stop_price=self._price(symbol, -3),
            )

    # Orders.

    def _ladder(self, account: Account, book: str, symbol: str, rungs: int) -> None:
        """Bids below and offers above the price, as many of each as half of `rungs`."""
        for rung in range(1, rungs // 2 + 1):
            for side, step in (("BUY", -rung), ("SELL", rung)):
                self._seed(
                    account,
                    book,
                    symbol=symbol,
                    side=side,
                    price=self._price(symbol, step / 2),
                    quantity=self._quantity(symbol),
                )

    def _seed_option(self, account: Account, symbol: str, side: str) -> Order:
        price = self.random.randint(20, 900) * (2 if side == "BUY" else 3)
        quantity = f"{self.random.randint(1, 40) / 10:.2f}"
        return self._seed(account, "ordinary", symbol=symbol, side=side, price=str(price), quantity=quantity)

    def _seed(self, account: Account, book: str, **fields: Any) -> Order:
        age_ms = self.random.randint(1, 600) * MINUTE_MS // 4
        fields.setdefault("created_ms", self.world.now_ms() - age_ms)
        return self.apis[account.venue].seed(account, book, fields)

    def _price(self, symbol: str, steps: float) -> str:
        """The symbol's price, moved by so many percent and a little noise."""
        known = _PRICES[symbol]
        percent = Decimal(str(steps)) + Decimal(self.random.randint(-20, 20)) / 100
        return str(round(Decimal(known.price) * (100 + percent) / 100, known.price_digits))

    def _quantity(self, symbol: str) -> str:
        """Something worth 500 to 20,000 USDT."""
        known = _PRICES[symbol]
        worth = Decimal(self.random.randint(500, 20_000))
        smallest = Decimal(1).scaleb(-known.quantity_digits)
        return str(max(smallest, round(worth / Decimal(known.price), known.quantity_digits)))

    def _today(self) -> date:
        return datetime.fromtimestamp(self.world.now_ms() / 1000, UTC).date()

    # Bots.

    def _plain_orders(self, account: Account) -> list[Order]:
        return self.world.books.open(account.name, self.apis[account.venue].books[0])

    def _bot_later(self, account: Account, symbols: tuple[str, ...]) -> None:
        pause_ms = self.random.uniform(*BOT_PAUSE_MS)
        self.world.timers.set(("bot", account.name), pause_ms, lambda: self._bot(account, symbols))

    def _bot(self, account: Account, symbols: tuple[str, ...]) -> None:
        """Cancel one order or place one, then wait; an account swept empty fills up again slowly."""
        orders = self._plain_orders(account)
        full = len(orders) >= self._room[account.name]
        if orders and (full or self.random.random() < 0.5):
            self.world.books.finish(self.random.choice(orders), "CANCELED", self.world.now_ms())
        elif account.venue == OPTIONS:
            options = [o for o in listed_options(self._today()) if o.base in symbols]
            self._seed_option(account, self.random.choice(options).name, self.random.choice(("BUY", "SELL")))
        else:
            symbol, step = self.random.choice(symbols), self.random.choice((-1, 1))
            self._seed(
                account,
                self.apis[account.venue].books[0],
                symbol=symbol,
                side="BUY" if step < 0 else "SELL",
                price=self._price(symbol, step),
                quantity=self._quantity(symbol),
                created_ms=self.world.now_ms(),
            )
        self._bot_later(account, symbols)
