"""Binance calls by plain requests, signed here and not by the adapters: neither side checks itself."""

import base64
import hashlib
import hmac
import time
from collections.abc import Callable
from typing import Any
from urllib.parse import quote, urlencode

import requests
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey

FORM = "application/x-www-form-urlencoded"


def wait_for(read: Callable[[], Any], attempts: int = 500) -> Any:
    """Ask until the answer is not empty."""
    for _ in range(attempts):
        answer = read()
        if answer:
            return answer
        time.sleep(0.01)
    raise AssertionError("it never happened")


class PlainClient:
    """One account. `address` is whom the venue counts the calls for."""

    def __init__(self, url: str, account: dict[str, str], address: str = "10.0.0.1") -> None:
        self.url = url
        self.account = account
        self.session = requests.Session()
        self.session.trust_env = False
        self.session.headers.update({"X-MBX-APIKEY": account["api_key"], "X-Simulator-Address": address})

    def sign(self, text: str) -> str:
        """The signature of a text, as it stands in a query."""
        secret = self.account["secret"]
        if self.account["key_type"] == "hmac":
            return hmac.new(secret.encode(), text.encode(), hashlib.sha256).hexdigest()
        key = serialization.load_pem_private_key(secret.encode(), None)
        if isinstance(key, Ed25519PrivateKey):
            raw = key.sign(text.encode())
        else:
            assert isinstance(key, RSAPrivateKey)
            raw = key.sign(text.encode(), PKCS1v15(), hashes.SHA256())
        return quote(base64.b64encode(raw).decode(), safe="")

    def send(self, method: str, path: str, query: str = "", body: str | None = None) -> requests.Response:
        """A request exactly as given."""
        headers = {"Content-Type": FORM} if body is not None else {}
        target = f"{self.url}{path}?{query}" if query else self.url + path
        return self.session.request(method, target, data=body, headers=headers, timeout=10)

    def response(self, method: str, path: str, **params: object) -> requests.Response:
        """A signed request, parameters in the query."""
        query = urlencode({**params, "timestamp": params.get("timestamp", time.time_ns() // 1_000_000)})
        return self.send(method, path, f"{query}&signature={self.sign(query)}")

    def call(self, method: str, path: str, **params: object) -> Any:
        """A signed request that must succeed. Returns the body."""
        reply = self.response(method, path, **params)
        assert reply.status_code == 200, reply.text
        return reply.json()

    def refusal(self, method: str, path: str, **params: object) -> tuple[int, int, str]:
        """A signed request that must be refused. Returns HTTP status, code and text."""
        reply = self.response(method, path, **params)
        assert reply.headers["Content-Type"] == "application/json"
        body = reply.json()
        return reply.status_code, body["code"], body["msg"]
