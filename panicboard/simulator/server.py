"""The HTTP server: one handler for every path; latency and faults lie around the venue's own answer."""

import asyncio
import time
from email.utils import formatdate

from aiohttp import StreamReader, web
from aiohttp.abc import AbstractStreamWriter
from aiohttp.http_parser import RawRequestMessage

from panicboard.simulator.api import Api, Call, Reply
from panicboard.simulator.coinswitch import CoinSwitchApi
from panicboard.simulator.control import Control
from panicboard.simulator.faults import Fault
from panicboard.simulator.markets import CoinMarginedMarkets, SpotMarkets
from panicboard.simulator.options import OptionsApi
from panicboard.simulator.portfolio import PortfolioApi
from panicboard.simulator.requestlog import Entry
from panicboard.simulator.usdm import UsdmApi
from panicboard.simulator.world import World

ADDRESS_HEADER = "X-Simulator-Address"  # lets one machine stand for several egress addresses
KEEP_ALIVE_S = 600.0
NOT_FOUND = b"<html><head><title>404 Not Found</title></head><body></body></html>"
FIREWALL = b"<html><head><title>403 Forbidden</title></head><body>Request blocked.</body></html>"
GARBAGE = b"\x00\xff<!doctype garbage>{]"

#: What a fault answers instead of acting: HTTP status, code, text.
#: https://developers.binance.com/docs/derivatives/usds-margined-futures/general-info#http-return-codes
ANSWERS = {
    "not_done_503b": (503, 0, "Service Unavailable."),
    "not_done_503c": (503, -1001, "Internal error; unable to process your request. Please try again."),
    "503_1008": (
        503,
        -1008,
        "Request throttled by system-level protection. "
        "Reduce-only/close-position orders are exempt. Please try again.",
    ),
    "429": (429, -1003, "Too many requests; current limit is 2400 requests per minute."),
    "429_retry_after": (429, -1003, "Too many requests; current limit is 2400 requests per minute."),
}
UNKNOWN_503 = (503, 0, "Unknown error, please check your request or try again later.")
TIMEOUT_408 = (
    408,
    -1007,
    "Timeout waiting for response from backend server. Send status unknown; execution status unknown.",
)


def make_apis(world: World) -> list[Api]:
    """The venue APIs over one world."""
    return [UsdmApi(world), OptionsApi(world), PortfolioApi(world), CoinSwitchApi(world)]


class Simulator:
    """The venue APIs and the control plane behind one port."""

    def __init__(self, world: World | None = None) -> None:
        self.world = world or World()
        apis = make_apis(self.world)
        markets: list[Api] = [CoinMarginedMarkets(self.world), SpotMarkets(self.world)]
        self.apis = {api.prefix.split("/")[1]: api for api in [*apis, *markets]}
        self.control = Control(self.world, {api.venue: api for api in apis})
        self._runner: web.ServerRunner | None = None

    async def start(self, host: str, port: int) -> int:
        """Listen. Returns the port (a free one when 0 was asked). Raises OSError when it is taken."""
        server = web.Server(
            self.handle, request_factory=_request, access_log=None, keepalive_timeout=KEEP_ALIVE_S
        )
        self._runner = web.ServerRunner(server, shutdown_timeout=0.5)
        await self._runner.setup()
        await web.TCPSite(self._runner, host, port, backlog=2048).start()
        return int(self._runner.addresses[0][1])

    async def stop(self) -> None:
        """Close every connection and stop listening."""
        if self._runner is not None:
            await self._runner.cleanup()

    async def handle(self, request: web.BaseRequest) -> web.StreamResponse:
        """Answer one request, venue call or control call."""
        arrived_us = time.time_ns() // 1000
        path, _, query = request.raw_path.partition("?")
        body = await request.read() if request.can_read_body else b""
        name = path[1:].partition("/")[0]
        if name == "simulator":
            return self.control.handle(request.method, path, query, body)
        api = self.apis.get(name)
        if api is None:
            return web.Response(status=404, body=NOT_FOUND, content_type="text/html")
        account = self.world.accounts.by_key(api.venue, request.headers.get(api.key_header, ""))
        address = request.headers.get(ADDRESS_HEADER) or request.remote or ""
        entry = self.world.log.add(
            arrived_us, account.name if account else "", address, request.method, path, query, body
        )
        call = Call(request.method, path, query, body, request.headers, address, arrived_us, 0, account)
        era = self.world.era
        latency = self.world.latency.get(api.venue)
        pause_s = latency.draw_s() / 2 if latency else 0
        if pause_s:  # half of it on the way there, half on the way back, as on a real line
            await asyncio.sleep(pause_s)
        reply = await self._answer(api, call, era, entry)
        if pause_s:
            await asyncio.sleep(pause_s)
        entry.weight = call.weight
        entry.answered_us = time.time_ns() // 1000
        if reply is None:
            if request.transport is not None:
                request.transport.abort()
            return web.Response(status=500)
        entry.status = reply.status
        if reply.cut:
            return _send_half(request, reply)
        return web.Response(
            status=reply.status, body=reply.body, headers=reply.headers, content_type=reply.content_type
        )

    async def _answer(self, api: Api, call: Call, era: int, entry: Entry) -> Reply | None:
        """The reply, or None when the line is to be cut."""
        faults: list[Fault] = []
        if self.world.faults.on_calls:
            account = call.account.name if call.account else ""
            faults = self.world.faults.of_call(account, api.venue, call.method, call.path)
            # A cache that has no copy strikes nothing.
            faults = [one for one in faults if one.kind != "cached" or self.world.copies.of(call) is not None]
            entry.faults = tuple((fault.id, fault.kind) for fault in faults)
        reply = await self._before(api, call, faults) if faults else None
        if reply is not None:
            return reply if reply.status else None
        if self.world.era != era:  # held back over a reset: it must not act on another scene
            return None
        call.now_ms += self.world.now_ms()
        if (call.method, call.path) not in api.routes:
            return Reply(404, NOT_FOUND, content_type="text/html")
        reply = api.perform(call)
        self.world.copies.keep(call, reply)
        return await self._after(api, call, reply, faults) if faults else reply

    async def _before(self, api: Api, call: Call, faults: list[Fault]) -> Reply | None:
        """What faults do before the call acts: an answer that ends it (status 0: cut), or None."""
        for fault in faults:
            kind, options = fault.kind, fault.options
            if kind == "clock_skew_ms":
                call.now_ms += int(options.get("ms", 0))
            elif kind == "key_revoked":
                call.revoked = True
            elif kind == "cached":
                copy = self.world.copies.of(call)
                if copy is not None:
                    self.world.faults.use(fault)
                    return self._copy(copy, **options)
            elif kind == "cut_before":
                return Reply(0, b"")
            elif kind == "hang" and options.get("done", "late") != "first":
                await asyncio.sleep(float(options.get("seconds", 30)))
                if options.get("done") == "never":
                    return Reply(0, b"")
            elif kind == "403_html":
                return Reply(403, FIREWALL, content_type="text/html")
            elif kind == "408" and not options.get("done", True):
                return api.error(call, *TIMEOUT_408)
            elif kind == "418":
                until = self.world.now_ms() + int(float(options.get("seconds", 120)) * 1000)
                text = f"Way too many requests; IP banned until {until}."
                return api.error(call, 418, -1003, text)
            elif kind == "refused":
                status, code = int(options.get("status", 400)), int(options.get("code", -2019))
                return api.error(call, status, code, str(options.get("text", "Margin is insufficient.")))
            elif kind in ANSWERS:
                reply = api.error(call, *ANSWERS[kind])
                if kind == "429_retry_after":
                    reply.headers["Retry-After"] = str(options.get("seconds", 1))
                return reply
        return None

    def _copy(self, reply: Reply, tells: str = "age", seconds: float = 30) -> Reply:
        """An answer as a cache gives it once more, told by one header to be so old."""
        made_s = self.world.now_ms() / 1000 - float(seconds)
        name, value = {
            "age": ("Age", str(int(seconds))),
            "date": ("Date", formatdate(made_s, usegmt=True)),
            "x_cache": ("X-Cache", "Hit from cloudfront"),
            "cf_cache_status": ("CF-Cache-Status", "HIT"),
        }[tells]
        reply.headers[name] = value
        return reply

    async def _after(self, api: Api, call: Call, reply: Reply, faults: list[Fault]) -> Reply | None:
        """What faults make of the answer to a call that has acted."""
        for fault in faults:
            kind = fault.kind
            if kind == "done_then_503a":
                return api.error(call, *UNKNOWN_503)
            if kind == "408":
                return api.error(call, *TIMEOUT_408)
            if kind == "cut_after":
                return None
            if kind == "garbage":
                return Reply(200, GARBAGE, reply.headers)
            if kind == "truncated":
                reply.cut = True
            elif kind == "clock_skew_ms":  # a venue has one clock: what it stamps answers with is off, too
                reply.headers["Date"] = formatdate(call.now_ms / 1000, usegmt=True)
            elif kind == "hang" and fault.options.get("done") == "first":
                await asyncio.sleep(float(fault.options.get("seconds", 30)))
        return reply


def _request(
    message: RawRequestMessage,
    payload: StreamReader,
    protocol: web.RequestHandler,
    writer: AbstractStreamWriter,
    task: "asyncio.Task[None]",
) -> web.BaseRequest:
    """A request without a limit to its body: bulk seeding sends many megabytes."""
    loop = asyncio.get_running_loop()
    return web.BaseRequest(message, payload, protocol, writer, task, loop, client_max_size=0)


def _send_half(request: web.BaseRequest, reply: Reply) -> web.Response:
    """Announce the whole body, send half of it, and hang up."""
    transport = request.transport
    if transport is not None:
        head = (
            f"HTTP/1.1 {reply.status} OK\r\n"
            f"Content-Type: {reply.content_type}\r\n"
            f"Content-Length: {len(reply.body)}\r\n\r\n"
        )
        transport.write(head.encode() + reply.body[: len(reply.body) // 2])
        transport.close()
    return web.Response(status=500)
