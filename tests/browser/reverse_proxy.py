"""A reverse proxy in front of the product, as a firm has one: it counts open streams, and may refuse.

`pytest_plugins = ["tests.browser.reverse_proxy"]`, then `proxied`.
"""

import http.client
import re
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import urlsplit

import pytest

from tests.browser.conftest import Firm

STREAM = re.compile(r"/events/\?")
#: What concerns one connection only, and is not handed on.
_OWN = {"connection", "keep-alive", "transfer-encoding", "content-length"}


class Proxy:
    """Hands every request on to `to`; those whose path matches `refused` are answered 502."""

    def __init__(self, to: str) -> None:
        self.to = to
        self.refused: re.Pattern[str] | None = None
        #: How many streams are open. One whose browser has left counts until something is sent on it.
        self.streams = 0
        self.paths: list[str] = []
        self._lock = threading.Lock()
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        self._server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()

    def count(self, change: int) -> None:
        with self._lock:
            self.streams += change

    def _handler(proxy) -> type[BaseHTTPRequestHandler]:
        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self) -> None:
                proxy.paths.append(self.path)
                if proxy.refused and proxy.refused.search(self.path):
                    self.send_error(502)
                    return
                is_stream = bool(STREAM.search(self.path))
                proxy.count(is_stream)
                try:
                    self._hand_on()
                except OSError:  # either side is gone: so is the connection
                    self.close_connection = True
                finally:
                    proxy.count(-is_stream)

            do_POST = do_GET

            def _hand_on(self) -> None:
                there = http.client.HTTPConnection(urlsplit(proxy.to).netloc)
                body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
                try:
                    there.request(self.command, self.path, body, dict(self.headers))
                except ConnectionError:
                    self.send_error(502)
                    return
                reply = there.getresponse()
                self.send_response_only(reply.status)
                for name, value in reply.getheaders():
                    if name.lower() not in _OWN:
                        self.send_header(name, value)
                self.send_header("Connection", "close")
                self.end_headers()
                while part := reply.read1(65536):
                    self.wfile.write(part)
                self.close_connection = True

            def log_message(self, format: str, *args: object) -> None:
                pass

        return Handler


@pytest.fixture
def proxied(firm: Firm) -> Iterator[Proxy]:
    """The product behind a reverse proxy."""
    proxy = Proxy(firm.url)
    yield proxy
    proxy.close()
