"""A small forward proxy for plain HTTP: `pytest_plugins = ["tests.forward_proxy"]`, then `forward_proxy`.

Test modules import names from here before pytest could rewrite its asserts: PYTEST_DONT_REWRITE.
"""

import http.client
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from urllib.parse import urlsplit

import pytest


class ForwardProxy(ThreadingHTTPServer):
    """Sends what it is asked for on from an address of its own, and remembers the paths."""

    daemon_threads = True

    def __init__(self, source_address: str) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.source_address = source_address
        self.paths: list[str] = []

    @property
    def url(self) -> str:
        return f"http://desk:hunter2@127.0.0.1:{self.server_address[1]}"


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: ForwardProxy

    def _forward(self) -> None:
        asked = urlsplit(self.path)
        self.server.paths.append(asked.path)
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        headers = {name: value for name, value in self.headers.items() if not name.startswith("Proxy-")}
        onward = http.client.HTTPConnection(asked.netloc, source_address=(self.server.source_address, 0))
        onward.request(self.command, f"{asked.path}?{asked.query}", body, headers)
        answer = onward.getresponse()
        content = answer.read()
        self.send_response(answer.status)
        for name, value in answer.getheaders():
            if name not in ("Content-Length", "Server", "Date"):
                self.send_header(name, value)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)
        onward.close()

    do_GET = do_POST = do_DELETE = _forward

    def log_message(self, *args: object) -> None:
        """Nothing on the terminal."""


@pytest.fixture
def forward_proxy() -> Iterator[ForwardProxy]:
    """A proxy whose calls reach the venue from 127.0.0.9."""
    with ForwardProxy("127.0.0.9") as proxy:
        thread = Thread(target=proxy.serve_forever, daemon=True)
        thread.start()
        yield proxy
        proxy.shutdown()
        thread.join()
