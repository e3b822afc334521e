"""USD-M account calls: configuration, balances, positions, order limits, listen keys.

https://developers.binance.com/docs/derivatives/usds-margined-futures/account/rest-api
"""

import hashlib
from collections.abc import Mapping
from decimal import Decimal
from typing import TYPE_CHECKING, Any

from panicboard.simulator.api import Call, Params
from panicboard.simulator.binance_common import refuse
from panicboard.simulator.limits import ORDERS_PER_10_S, ORDERS_PER_MINUTE
from panicboard.simulator.symbols import Symbol

if TYPE_CHECKING:
    from panicboard.simulator.world import World

ORDER_LIMITS = [
    {"rateLimitType": "ORDERS", "interval": "SECOND", "intervalNum": 10, "limit": ORDERS_PER_10_S},
    {"rateLimitType": "ORDERS", "interval": "MINUTE", "intervalNum": 1, "limit": ORDERS_PER_MINUTE},
]


class AccountCalls:
    """The calls about an account rather than its orders. Margin is not simulated: funds are ample."""

    def __init__(self, world: "World", symbols: Mapping[str, Symbol]) -> None:
        self.world = world
        self.symbols = symbols

    def account_config(self, call: Call, params: Params) -> dict[str, Any]:
        """GET accountConfig, weight 5."""
        return {
            "feeTier": 0,
            "canTrade": call.account is not None and call.account.can_trade,
            "canDeposit": True,
            "canWithdraw": True,
            "dualSidePosition": False,
            "updateTime": 0,
            "multiAssetsMargin": False,
            "tradeGroupId": -1,
        }

    def account_v2(self, call: Call, params: Params) -> dict[str, Any]:
        """GET v2/account, weight 5."""
        return {"feeBurn": True, **self.account_config(call, params), **self.account_v3(call, params)}

    def account_v3(self, call: Call, params: Params) -> dict[str, Any]:
        """GET v3/account, weight 5: balances and positions only, no `canTrade`."""
        asset = self.balance(call, params)[0]
        funds = asset["balance"]
        totals = {
            "totalInitialMargin": "0.00000000",
            "totalMaintMargin": "0.00000000",
            "totalWalletBalance": funds,
            "totalUnrealizedProfit": "0.00000000",
            "totalMarginBalance": funds,
            "totalPositionInitialMargin": "0.00000000",
            "totalOpenOrderInitialMargin": "0.00000000",
            "totalCrossWalletBalance": funds,
            "totalCrossUnPnl": "0.00000000",
            "availableBalance": funds,
            "maxWithdrawAmount": funds,
        }
        held = {
            "asset": asset["asset"],
            "walletBalance": funds,
            "unrealizedProfit": "0.00000000",
            "marginBalance": funds,
            "maintMargin": "0.00000000",
            "initialMargin": "0.00000000",
            "positionInitialMargin": "0.00000000",
            "openOrderInitialMargin": "0.00000000",
            "crossWalletBalance": funds,
            "crossUnPnl": "0.00000000",
            "availableBalance": funds,
            "maxWithdrawAmount": funds,
            "updateTime": 0,
        }
        return {**totals, "assets": [held], "positions": []}

    def balance(self, call: Call, params: Params) -> list[dict[str, Any]]:
        """GET v2/balance and v3/balance, weight 5."""
        funds = "1000000.00000000"
        return [
            {
                "accountAlias": hashlib.sha256(call.owner.encode()).hexdigest()[:8],
                "asset": "USDT",
                "balance": funds,
                "crossWalletBalance": funds,
                "crossUnPnl": "0.00000000",
                "availableBalance": funds,
                "maxWithdrawAmount": funds,
                "marginAvailable": True,
                "updateTime": 0,
            }
        ]

    def positions(self, call: Call, params: Params) -> list[dict[str, Any]]:
        """GET positionRisk, weight 5: what the fills of each symbol add up to."""
        symbol = params.get("symbol") or None
        if symbol is not None and symbol not in self.symbols:
            raise refuse(-1121, "Invalid symbol.")
        held: dict[str, Decimal] = {}
        for order in self.world.history(call.owner, "ordinary", symbol):
            if order.executed != "0":
                signed = Decimal(order.executed) * (1 if order.side == "BUY" else -1)
                held[order.symbol] = held.get(order.symbol, Decimal(0)) + signed
        return [self._position(name, size, call.now_ms) for name, size in held.items() if size]

    def brackets(self, call: Call, params: Params) -> list[dict[str, Any]]:
        """GET leverageBracket, weight 1: one bracket for each symbol."""
        wanted = params.get("symbol") or None
        if wanted is not None and wanted not in self.symbols:
            raise refuse(-1121, "Invalid symbol.")
        bracket = {
            "bracket": 1,
            "initialLeverage": 20,
            "notionalCap": 1_000_000,
            "notionalFloor": 0,
            "maintMarginRatio": 0.025,
            "cum": 0.0,
        }
        return [{"symbol": name, "brackets": [bracket]} for name in self.symbols if wanted in (None, name)]

    def position_mode(self, call: Call, params: Params) -> dict[str, bool]:
        """GET positionSide/dual, weight 30: one-way."""
        return {"dualSidePosition": False}

    def multi_assets(self, call: Call, params: Params) -> dict[str, bool]:
        """GET multiAssetsMargin, weight 30: off."""
        return {"multiAssetsMargin": False}

    def order_limits(self, call: Call, params: Params) -> list[dict[str, Any]]:
        """GET rateLimit/order, weight 1."""
        return ORDER_LIMITS

    def listen_key(self, call: Call, params: Params) -> dict[str, str]:
        """POST and PUT listenKey, weight 1: a key, though no stream answers to it."""
        digest = hashlib.sha256(f"listen {call.owner}".encode()).hexdigest()
        return {"listenKey": digest}

    def end_listen_key(self, call: Call, params: Params) -> dict[str, str]:
        """DELETE listenKey, weight 1."""
        return {}

    def _position(self, name: str, size: Decimal, now_ms: int) -> dict[str, Any]:
        price = self.symbols[name].price
        return {
            "symbol": name,
            "positionSide": "BOTH",
            "positionAmt": format(size, "f"),
            "entryPrice": price,
            "breakEvenPrice": price,
            "markPrice": price,
            "unRealizedProfit": "0.00000000",
            "liquidationPrice": "0",
            "isolatedMargin": "0",
            "notional": format(size * Decimal(price), "f"),
            "marginAsset": "USDT",
            "isolatedWallet": "0",
            "initialMargin": "0",
            "maintMargin": "0",
            "positionInitialMargin": "0",
            "openOrderInitialMargin": "0",
            "adl": 0,
            "bidNotional": "0",
            "askNotional": "0",
            "leverage": "20",
            "marginType": "cross",
            "isAutoAddMargin": "false",
            "maxNotionalValue": "1000000",
            "updateTime": now_ms,
        }
