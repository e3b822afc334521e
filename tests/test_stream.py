"""The stream: the whole state first, then what changed; trouble that shows; an end that comes quickly."""

import asyncio
import contextlib
import json
import re
import signal
import socket
import threading
from collections.abc import AsyncIterator, Callable, Iterable
from datetime import datetime, timedelta
from importlib import import_module
from typing import Any

import pytest
import requests
from asgiref.sync import sync_to_async
from django.conf import settings
from django.contrib.auth import BACKEND_SESSION_KEY, HASH_SESSION_KEY, SESSION_KEY
from django.contrib.auth.models import User
from django.contrib.sessions.backends.base import SessionBase
from django.contrib.sessions.models import Session
from django.db import DatabaseError
from django.http import QueryDict
from django.test import AsyncClient, Client
from django.utils import timezone

from panicboard import audit, broadcaster, fragments, processes, stream
from panicboard.broadcaster import Batch, Broadcaster, Viewer
from panicboard.fragments import MOST_OPEN, MOST_SHARING, Fragments, Renderer, Topic, topics_of
from panicboard.middleware import POLICY
from panicboard.models import AuditEntry, Countdown, Sweep, SweptOrder
from tests import countdown_rows
from tests.pages import make_account, make_orders, make_panic, make_reading, make_sweep, make_user
from tests.product import Product

BOARD = frozenset([Topic("board")])
SWAPPED = re.compile(r'id="([^"]+)" hx-swap-oob="true"')


class ScriptedRenderer(Renderer):
    """Gives the fragments of one step a reading; the last step repeats. A step may be an error."""

    def __init__(self, *steps: Fragments | Exception) -> None:
        super().__init__()
        self.steps = list(steps)
        self.running = True
        self.troubles: list[str] = []
        self.read_once = threading.Event()

    def has_news(self) -> bool:
        return self.running

    def read(self, topics: Iterable[Topic], now: datetime, trouble: str = "") -> dict[Topic, Fragments]:
        step = self.steps.pop(0) if len(self.steps) > 1 else self.steps[0]
        self.troubles.append(trouble)
        self.read_once.set()
        if isinstance(step, Exception):
            raise step
        return dict.fromkeys(set(topics), step)


async def news(viewer: Viewer) -> Fragments:
    """The next fragments that the viewer would send."""
    while not (batch := viewer.take()):
        await viewer.wait(5)
    return named(batch)


def named(batch: Batch | None) -> Fragments:
    return {name: html for (_, name), html in batch.news.items()} if batch else {}


async def until(condition: Callable[[], Any]) -> None:
    async with asyncio.timeout(10):
        while not condition():
            await asyncio.sleep(0.005)


# ---- topics ----


@pytest.mark.parametrize(
    ("query", "topics"),
    [
        ("", {Topic("plain")}),
        ("page=board", {Topic("board")}),
        ("page=moon&sweep=x&panic=&drill=x", {Topic("plain")}),
        ("page=drills&drill=17", {Topic("drills"), Topic("drill", 17)}),
        ("panic=208&sweep=5&all=7", {Topic("panic", 208), Topic("orders", 5), Topic("orders", 7, full=True)}),
        (
            "page=board&page=plain&panic=208&panic=209&sweep=5&all=5",  # of tabs that share one stream
            {
                *(Topic("board"), Topic("plain"), Topic("panic", 208), Topic("panic", 209)),
                *(Topic("orders", 5), Topic("orders", 5, full=True)),
            },
        ),
    ],
)
def test_topics_are_what_the_page_asks_for(query: str, topics: set[Topic]) -> None:
    assert topics_of(QueryDict(query)) == topics


def test_topics_of_one_stream_are_limited() -> None:
    query = "&".join([*(f"panic={pk}" for pk in range(100)), *(f"sweep={pk}" for pk in range(100))])

    assert len(topics_of(QueryDict(query))) == MOST_SHARING + MOST_OPEN


def test_topics_have_the_names_by_which_tabs_tell_theirs() -> None:
    query = QueryDict("page=board&page=plain&panic=208&sweep=5&all=7")

    assert sorted(topic.key for topic in topics_of(query)) == [
        *("board", "orders-5", "orders-7-full", "panic-208", "plain")
    ]


# ---- the broadcaster ----


def test_a_viewer_gets_the_whole_state_and_then_what_changed() -> None:
    renderer = ScriptedRenderer({"a": "1", "b": "1"}, {"a": "1", "b": "2"})

    async def watch() -> list[Fragments]:
        broadcaster = Broadcaster(lambda: renderer)
        viewer = broadcaster.join(BOARD)
        seen = [await news(viewer), await news(viewer)]
        broadcaster.leave(viewer)
        return seen

    assert asyncio.run(watch()) == [{"a": "1", "b": "1"}, {"b": "2"}]


def test_who_comes_later_gets_the_whole_state_too() -> None:
    async def watch() -> Fragments:
        broadcaster = Broadcaster(lambda: ScriptedRenderer({"a": "1", "b": "1"}))
        first = broadcaster.join(BOARD)
        await news(first)
        second = broadcaster.join(BOARD)
        seen = await news(second)
        for viewer in (first, second):
            broadcaster.leave(viewer)
        return seen

    assert asyncio.run(watch()) == {"a": "1", "b": "1"}


def test_a_viewer_that_reads_slowly_holds_only_the_latest_of_each_fragment() -> None:
    steps: list[Fragments | Exception] = [{"a": str(number), "b": "same"} for number in range(8)]
    renderer = ScriptedRenderer(*steps)

    async def watch() -> Fragments:
        broadcaster = Broadcaster(lambda: renderer)
        slow = broadcaster.join(BOARD)
        await until(lambda: len(renderer.troubles) > 9)
        seen = named(slow.take())
        broadcaster.leave(slow)
        return seen

    assert asyncio.run(watch()) == {"a": "7", "b": "same"}


def test_the_thread_lives_while_there_is_a_viewer() -> None:
    async def watch() -> list[bool]:
        broadcaster = Broadcaster(lambda: ScriptedRenderer({"a": "1"}))
        lives = [broadcaster.is_running]
        viewer = broadcaster.join(BOARD)
        await news(viewer)
        lives.append(broadcaster.is_running)
        broadcaster.leave(viewer)
        await until(lambda: not broadcaster.is_running)
        again = broadcaster.join(BOARD)
        await news(again)
        broadcaster.leave(again)
        return lives

    assert asyncio.run(watch()) == [False, True]


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (DatabaseError("gone"), "the database does not answer (DatabaseError)"),
        (ValueError("a bug"), "the board cannot be drawn (ValueError)"),
    ],
)
def test_trouble_is_told_by_every_tick_and_by_the_notice_line_afterwards(error: Exception, said: str) -> None:
    renderer = ScriptedRenderer(error, error, {"a": "1"})

    async def watch() -> tuple[dict[str, str | None], Fragments, dict[str, str | None]]:
        broadcaster = Broadcaster(lambda: renderer)
        viewer = broadcaster.join(BOARD)
        await until(lambda: broadcaster.tick()["trouble"])
        during = broadcaster.tick()
        seen = await news(viewer)
        await until(lambda: len(renderer.troubles) > 3)
        broadcaster.leave(viewer)
        return during, seen, broadcaster.tick()

    during, seen, after = asyncio.run(watch())

    assert (during["trouble"], during["read"]) == (said, None)
    assert seen == {"a": "1"}
    assert (after["trouble"], after["read"] is not None) == ("", True)
    assert re.fullmatch(
        r"nothing could be read from [\d:]{8} to [\d:]{8}; what is shown now was read after that",
        renderer.troubles[-1],
    )


def test_end_all_ends_every_stream() -> None:
    async def watch() -> bool:
        broadcaster = Broadcaster(lambda: ScriptedRenderer({}))
        viewer = broadcaster.join(BOARD)
        broadcaster.end_all()
        await viewer.wait(5)
        broadcaster.leave(viewer)
        return viewer.ended

    assert asyncio.run(watch())


def test_news_are_read_at_once_while_nothing_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(broadcaster, "QUIET_S", 3600)
    renderer = ScriptedRenderer({"a": "1"}, {"a": "2"})
    renderer.running = False
    happened = threading.Event()
    renderer.has_news = happened.is_set  # type: ignore[method-assign]

    async def watch() -> list[Fragments]:
        quiet = Broadcaster(lambda: renderer)
        viewer = quiet.join(BOARD)
        first = await news(viewer)
        happened.set()
        second = await news(viewer)
        quiet.leave(viewer)
        await until(lambda: not quiet.is_running)
        return [first, second]

    assert asyncio.run(watch()) == [{"a": "1"}, {"a": "2"}]


# ---- rendering ----


@pytest.mark.django_db
def test_renderer_renders_again_only_what_changed() -> None:
    account = make_account()
    reading = make_reading(account, 4, read_at=timezone.now())
    renderer, now = Renderer(), timezone.now()

    first = renderer.read(BOARD, now)[Topic("board")]
    same = renderer.read(BOARD, now)[Topic("board")]
    reading.open_count = 5
    reading.save()
    changed = renderer.read(BOARD, now)[Topic("board")]

    assert [name for name in first if same[name] is not first[name]] == []
    assert {name for name in first if changed[name] is not first[name]} == {
        f"account-{account.pk}",
        *(f"desk-{account.desk_id}-{part}" for part in ("desk_cells", "desk_accounts", "desk_quiet", "n")),
    }


@pytest.mark.django_db
def test_orders_that_move_are_sent_twice_a_second_at_most_and_the_last_is_never_left_out() -> None:
    sweep = make_panic(make_account(), state=Sweep.State.CANCELLING).sweeps.get()
    (order,) = make_orders(sweep, SweptOrder.Outcome.ACKED)
    topic, renderer, now = Topic("orders", sweep.pk), Renderer(), timezone.now()

    def shown(ms: int) -> str:
        return renderer.read({topic}, now + timedelta(milliseconds=ms))[topic]["orders"]

    first = shown(0)
    SweptOrder.objects.filter(pk=order.pk).update(outcome=SweptOrder.Outcome.STILL_OPEN)

    assert (shown(400) == first, "STILL OPEN" in shown(500)) == (True, True)


@pytest.mark.django_db
def test_account_that_is_folded_away_sends_its_count_alone_unless_its_desk_is_open(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(fragments, "FOLDED_FOR", timedelta(seconds=1))
    accounts = [make_account(f"a{number}") for number in range(6)]
    for number, account in enumerate(accounts):
        make_reading(account, 10 - number, read_at=timezone.now())
    renderer, now, desk = Renderer(), timezone.now(), Topic("desk", accounts[0].desk_id)

    def names(at: datetime) -> list[list[str]]:
        read = renderer.read([Topic("board"), desk], at)
        return [
            sorted(name for name in read[topic] if name.startswith(("account-", "quiet-")))
            for topic in (Topic("board"), desk)
        ]

    rows = sorted(f"account-{account.pk}" for account in accounts)
    folded = [f"quiet-{account.pk}" for account in accounts[4:]]
    assert names(now) == [sorted([*(f"account-{one.pk}" for one in accounts[:4]), *folded]), rows]
    # The last one grows and takes the place of the fourth, whose row is sent on for a while.
    accounts[5].reading.open_count = 99
    accounts[5].reading.save()
    assert set(names(now)[0]) == {*rows, folded[0]} - {f"account-{accounts[4].pk}"}
    assert f"quiet-{accounts[3].pk}" in names(now + timedelta(seconds=1))[0]


@pytest.mark.django_db(transaction=True)
def test_renderer_has_news_after_an_act_and_after_a_heartbeat_that_failed_or_came_again() -> None:
    renderer, account = Renderer(), make_account()
    countdown = countdown_rows.make(account)
    renderer.read(BOARD, timezone.now())
    told = [renderer.has_news()]

    def tell(happened: object) -> None:
        told.append(renderer.has_news())
        renderer.read(BOARD, timezone.now())
        told.append(renderer.has_news())

    tell(audit.record(AuditEntry.Action.RELEASED, by_name="ann", account=account))
    for misses in (1, 2, 0):
        tell(Countdown.objects.filter(pk=countdown.pk).update(misses=misses))

    assert told == [False, *[True, False] * 4]


@pytest.mark.django_db(transaction=True)
def test_while_a_panic_runs_whatever_was_written_down_is_news_and_nothing_else() -> None:
    renderer = Renderer()
    panic = make_panic(make_account(), state=Sweep.State.CANCELLING)
    topics = [Topic("panic", panic.pk)]
    renderer.read(topics, timezone.now())
    renderer.read(topics, timezone.now())
    told = [renderer.has_news()]
    Sweep.objects.update(last_word="2 still listed")
    told.append(renderer.has_news())
    renderer.read(topics, timezone.now())
    told.append(renderer.has_news())

    assert told == [False, True, False]


@pytest.mark.django_db
def test_renderer_knows_when_anything_runs() -> None:
    renderer = Renderer()
    panic = make_panic(make_account(), state=Sweep.State.CANCELLING)

    renderer.read([Topic("panic", panic.pk)], timezone.now())
    while_running = renderer.running
    Sweep.objects.update(state=Sweep.State.RELEASED)
    renderer.read(BOARD, timezone.now())

    assert (while_running, renderer.running) == (True, False)


@pytest.mark.django_db
def test_account_has_its_state_and_the_masthead_on_the_stream() -> None:
    account = make_account()
    make_reading(account, 4)
    topic, gone = Topic("account", account.pk), Topic("account", 99)

    read = Renderer().read([topic, gone], timezone.now())

    assert set(read[topic]) == {"now", "summary", "scope", "status", "notice"}
    assert 'id="account-now"' in read[topic]["now"]
    assert "now" not in read[gone]


@pytest.mark.django_db
def test_renderer_has_nothing_of_a_panic_that_is_not_there() -> None:
    read = Renderer().read([Topic("panic", 99), Topic("orders", 99)], timezone.now())

    assert set(read[Topic("panic", 99)]) == {"summary", "scope", "status", "notice"}
    assert read[Topic("orders", 99)] == {}


# ---- over HTTP ----


class Events:
    """What an open stream has sent, event by event."""

    def __init__(self, content: AsyncIterator[bytes]) -> None:
        self._content = content
        self._text = ""

    async def next(self) -> tuple[str, str]:
        while True:
            event, rest, text = self._text.partition("\n\n")
            if rest:
                self._text = text
                name = re.search(r"^event: (\w+)$", event, re.MULTILINE)
                data = "\n".join(line[6:] for line in event.splitlines() if line.startswith("data: "))
                return (name[1] if name else "", data)
            async with asyncio.timeout(10):
                self._text += (await anext(self._content)).decode()

    async def until(self, wanted: Callable[[str], bool]) -> None:
        """Read until a fragment comes that is wanted."""
        while True:
            name, data = await self.next()
            if name == "fragment" and wanted(data):
                return

    async def tick(self) -> dict[str, str]:
        """The next tick."""
        while (event := await self.next())[0] != "tick":
            pass
        return dict(json.loads(event[1]))


def signed_in(user: User) -> SessionBase:
    session = import_module(settings.SESSION_ENGINE).SessionStore()
    session[SESSION_KEY] = str(user.pk)
    session[BACKEND_SESSION_KEY] = "django.contrib.auth.backends.ModelBackend"
    session[HASH_SESSION_KEY] = user.get_session_auth_hash()
    session.save()
    return session


@pytest.fixture
def cookies(transactional_db: None) -> dict[str, str]:
    return {settings.SESSION_COOKIE_NAME: str(signed_in(make_user()).session_key)}


@contextlib.asynccontextmanager
async def open_stream(
    cookies: dict[str, str], query: str = "page=board"
) -> AsyncIterator[tuple[Any, Events]]:
    """An open stream of the real broadcaster, which has ended when this has."""
    client = AsyncClient()
    client.cookies.load(cookies)
    response = await client.get(f"/events/?{query}")
    yield response, Events(response.streaming_content)
    await sync_to_async(response.close)()
    await until(lambda: not stream.broadcaster.is_running)


def test_stream_starts_with_the_whole_state_of_its_page(cookies: dict[str, str]) -> None:
    panic = make_panic()
    sweep = make_sweep(panic, make_account(), Sweep.State.NOT_CLEAR)
    make_orders(sweep, SweptOrder.Outcome.UNKNOWN)
    expected = {
        f"panic-{panic.pk}-head",
        f"panic-{panic.pk}-next",
        f"panic-{panic.pk}-facts",
        "tally",
        f"sweep-{sweep.pk}",
        f"sweep-{sweep.pk}-orders",
        "release-seen",
        "alert-line",
        "summary",
        "stop-scope",
        "status-line",
        "notice",
    }

    async def watch() -> tuple[Any, set[str]]:
        seen: set[str] = set()
        async with open_stream(cookies, f"panic={panic.pk}&sweep={sweep.pk}") as (response, events):
            while not seen >= expected:
                name, data = await events.next()
                seen |= set(SWAPPED.findall(data)) if name == "fragment" else set()
        return response, seen

    response, seen = asyncio.run(watch())

    assert seen == expected
    assert response["Content-Type"] == "text/event-stream"
    assert response["Content-Security-Policy"] == POLICY
    assert (response["Cache-Control"], response["X-Accel-Buffering"]) == ("no-store", "no")


def test_stream_sends_what_changes_while_a_panic_runs(cookies: dict[str, str]) -> None:
    sweep = make_sweep(make_panic(), make_account(), Sweep.State.NOT_CLEAR)
    make_orders(sweep, SweptOrder.Outcome.STILL_OPEN, 2)

    async def watch() -> None:
        async with open_stream(cookies, f"panic={sweep.panic_id}") as (_, events):
            await events.until(lambda html: "2</b> of 2 still open" in html)
            await sweep.orders.all().aupdate(outcome=SweptOrder.Outcome.CANCELLED)
            await events.until(lambda html: "0</b> of 2 still open" in html)
            await Sweep.objects.all().aupdate(state=Sweep.State.RELEASED)
            await events.until(lambda html: "over before every account was clear" in html)

    asyncio.run(watch())


def test_stream_ticks_with_the_time_and_what_was_read(cookies: dict[str, str]) -> None:
    async def watch() -> list[dict[str, str]]:
        async with open_stream(cookies, "") as (_, events):
            return [await events.tick(), await events.tick()]

    first, second = asyncio.run(watch())

    assert datetime.fromisoformat(first["now"]) < datetime.fromisoformat(second["now"])
    assert datetime.fromisoformat(second["read"]) <= datetime.fromisoformat(second["now"])
    assert second["trouble"] == ""


def test_stream_without_a_login_says_so_and_ends(transactional_db: None) -> None:
    async def watch() -> list[bytes]:
        response = await AsyncClient().get("/events/?page=board")
        return [chunk async for chunk in response.streaming_content]

    assert asyncio.run(watch()) == [b"event: login\ndata: expired\n\n"]


def test_stream_ends_when_the_login_does(cookies: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stream, "CHECK_LOGIN_S", 0.0)

    async def watch() -> tuple[str, str]:
        async with open_stream(cookies) as (_, events):
            await events.tick()
            await Session.objects.all().adelete()
            while (event := await events.next())[0] != "login":
                pass
            with pytest.raises(StopAsyncIteration):
                await events.next()
            return event

    assert asyncio.run(watch()) == ("login", "expired")


def test_poll_gives_the_same_fragments_in_one_reply(client: Client, transactional_db: None) -> None:
    make_reading(make_account(), 62, read_at=timezone.now())
    client.force_login(make_user())

    reply = client.get("/events/poll/?page=board")

    read = Renderer().read(BOARD, timezone.now())[Topic("board")]
    assert reply.json()["fragments"] == [str(html) for html in read.values()]
    assert reply.json()["tick"]["trouble"] == ""
    assert reply["Cache-Control"] == "no-store"


def test_poll_without_a_login_is_401(client: Client, transactional_db: None) -> None:
    assert client.get("/events/poll/?page=board").status_code == 401


def test_an_open_stream_does_not_hold_up_the_end_of_the_server(
    bare_product: Product, cookies: dict[str, str]
) -> None:
    listener = socket.create_server(("127.0.0.1", 0))
    web = bare_product.start(processes.web(listener.fileno()))
    url = f"http://127.0.0.1:{listener.getsockname()[1]}/events/?page=board"
    response = requests.get(url, cookies=cookies, stream=True, timeout=30)
    lines = response.iter_lines()
    assert next(lines) == b"retry: 1000"

    web.signal(signal.SIGTERM)
    rest = list(lines)
    status = web.wait()
    listener.close()

    # It was ended, not cut off: the last chunk came, and the server did not have to cancel it.
    assert rest[-1] == b""
    assert status in (0, -signal.SIGTERM)
    assert [line for line in web.lines if "Cancel" in line or "Traceback" in line] == []
