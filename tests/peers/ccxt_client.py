"""ccxt, unmodified, pointed at the simulator."""

from urllib.parse import urlsplit

import ccxt

from tests.simulator_process import SimulatorProcess


def connect(
    kind: type[ccxt.Exchange], simulator: SimulatorProcess, account: dict[str, str], **options: object
) -> ccxt.Exchange:
    """A ccxt client whose every API lies at the simulator, where what is not simulated is answered 404."""
    urls = {name: simulator.url + urlsplit(url).path for name, url in kind().urls["api"].items()}
    return kind(
        {
            "apiKey": account["api_key"],
            "secret": account["secret"],
            "urls": {"api": urls},
            "enableRateLimit": False,
            "options": {
                "fetchCurrencies": False,  # with these two it would ask the wallet API
                "fetchMargins": False,
                "warnOnFetchOpenOrdersWithoutSymbol": False,
                **options,
            },
        }
    )
