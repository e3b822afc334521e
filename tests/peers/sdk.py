"""How the official SDKs are pointed at the simulator: by their own configuration, and nothing else."""

from binance_common.configuration import ConfigurationRestAPI

from tests.simulator_process import SimulatorProcess


def sdk_config(simulator: SimulatorProcess, account: dict[str, str], **options: str) -> ConfigurationRestAPI:
    """The SDK's own configuration for an account: HMAC by its secret, other keys by their PEM text."""
    key = "api_secret" if account["key_type"] == "hmac" else "private_key"
    credentials = {"api_key": account["api_key"], key: account["secret"], **options}
    return ConfigurationRestAPI(**credentials, base_path=simulator.url, retries=0, timeout=5000)
