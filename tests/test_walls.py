"""Walls: what they show of the board, and who gets to see it."""

import asyncio
import json
import logging
import re
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from django.contrib.auth.models import Permission, User
from django.db import OperationalError
from django.test import AsyncClient, Client
from django.utils import timezone

from panicboard import board_state, wall_state, walls
from panicboard.models import Account, AuditEntry, Sweep, Wall
from panicboard.views import walls as views
from panicboard.wall_state import TILES, Hero, Tile, WallPage
from tests.pages import latch, make_account, make_orders, make_panic, make_reading, make_sweep

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("broker", "plain_static_files")]


def account(name: str, open_count: int = 3, **reading: Any) -> Account:
    """An account that was read a second ago."""
    made = make_account(name)
    make_reading(made, open_count, read_at=timezone.now() - timedelta(seconds=1), **reading)
    return made


def shown(turn: int = 0) -> WallPage:
    board = board_state.read(timezone.now())
    return wall_state.of(board, datetime.fromtimestamp(turn * wall_state.PAGE_S, UTC))


def names(page: WallPage) -> list[str]:
    return [tile.name for tile in page.tiles]


# ---- what is shown ----


def test_wall_at_rest_is_grey_and_says_ready() -> None:
    account("alpha", 5)
    account("beta", 7)

    page = shown()

    assert page.hero == Hero("READY", "2 accounts", "calm", 12, "open orders", "")
    assert page.tiles == (
        Tile("beta", "normal", "dot", "quiet", 7),
        Tile("alpha", "normal", "dot", "quiet", 5),
    )


def test_wall_without_accounts_says_so() -> None:
    assert (shown().hero.word, shown().tiles) == ("NO ACCOUNTS", ())


def test_wall_in_a_panic_counts_what_is_still_open_and_calls_clear_what_was_read_back() -> None:
    accounts = [account("alpha"), account("beta"), account("gamma", 0)]
    panic = make_panic()
    latch(panic, *accounts)
    sweeps = [
        make_sweep(panic, one, state)
        for one, state in zip(
            accounts, (Sweep.State.NOT_CLEAR, Sweep.State.READING_BACK, Sweep.State.CLEAR), strict=True
        )
    ]
    make_orders(sweeps[0], "still_open", 2)
    make_orders(sweeps[1], "cancelled", 4)

    page = shown()

    assert page.hero == Hero(
        "PANIC", "everything", "crit", 2, "of 6 still open", "1 of 3 clear", since=panic.pressed_at
    )
    assert page.tiles == (
        Tile("alpha", "NOT CLEAR", "crit", "crit", 2),
        Tile("beta", "READING BACK", "run", "run", 0),
        Tile("gamma", "CLEAR", "proof", "proof", 0),
    )


def test_wall_counts_what_was_last_read_of_accounts_that_are_not_listed_yet() -> None:
    read, unread = account("alpha", 5), make_account("beta")
    listed = account("gamma", 7)
    panic = make_panic(read, unread, state=Sweep.State.CANCELLING)
    make_orders(make_sweep(panic, listed, Sweep.State.CANCELLING), "acked", 7)

    page = shown()

    assert (page.hero.count, page.hero.said) == (12, "of 12 still open")
    assert page.hero.more == "2 not listed \N{MIDDLE DOT} 0 of 3 clear"
    assert {tile.name: tile.count for tile in page.tiles} == {"alpha": 5, "beta": None, "gamma": 7}


@pytest.mark.parametrize(
    ("reading", "word", "look"),
    [({"failure": "HTTP 401"}, "NOT READY", "crit"), ({"read_at": None}, "NOT READY", "crit")],
)
def test_account_that_cannot_be_read_has_no_number(reading: dict[str, Any], word: str, look: str) -> None:
    account("alpha")
    make_reading(make_account("beta"), 9, **{"read_at": timezone.now(), **reading})

    page = shown()

    assert (page.hero.word, page.hero.detail, page.hero.count) == (word, "beta", 3)
    assert "1 unread" in page.hero.more
    assert page.tiles[0] == Tile("beta", word, "crit", look, None)


def test_disabled_account_is_left_out() -> None:
    account("alpha")
    Account.objects.update(enabled=False)

    assert shown().tiles == ()


def test_quiet_accounts_take_turns_and_the_last_tile_tells_of_the_others() -> None:
    for number in range(30):
        account(f"a{number:02}", 100 - number)

    pages = [shown(turn) for turn in range(4)]

    assert [len(page.tiles) for page in pages] == [12, 12, 9, 12]
    assert names(pages[0]) == [*(f"a{number:02}" for number in range(11)), "19 more"]
    assert names(pages[2]) == [*(f"a{number:02}" for number in range(22, 30)), "22 more"]
    assert pages[3] == pages[0]
    seen = {name for page in pages for name in names(page) if name.startswith("a")}
    assert len(seen) == 30
    assert pages[0].tiles[-1] == Tile("19 more", "normal", "dot", "quiet", sum(range(71, 90)))


@pytest.mark.parametrize("abnormal", [1, 11, 12, 20])
def test_abnormal_accounts_are_pinned_and_take_turns_only_among_themselves(abnormal: int) -> None:
    for number in range(abnormal):
        account(f"bad{number:02}", failure="HTTP 401")
    for number in range(20):
        account(f"good{number:02}")

    pages = [shown(turn) for turn in range(40)]

    assert {len(page.tiles) for page in pages} <= set(range(2, TILES + 1))
    on_every = set.intersection(*(set(names(page)) for page in pages))
    bad = {f"bad{number:02}" for number in range(abnormal)}
    if abnormal < TILES:
        assert bad <= on_every
    else:
        assert bad <= {name for page in pages for name in names(page)}
        assert not any(name.startswith("good") for page in pages for name in names(page))
        assert {page.tiles[-1].look for page in pages if len(page.tiles) == TILES} == {"crit"}


# ---- who sees it ----


@pytest.fixture
def path() -> str:
    return walls.make("floor 3", by="root")[1]


def test_wall_needs_no_login_leaves_no_cookie_and_shows_the_accounts(client: Client, path: str) -> None:
    account("alpha")

    reply = client.get(path)

    text = reply.content.decode()
    assert (reply.status_code, dict(reply.cookies), reply["Cache-Control"][:8]) == (200, {}, "max-age=")
    assert "alpha" in text
    assert re.findall(r"<(?:form|button|a|input)\b", text) == []


def test_wall_takes_nothing_but_looks(client: Client, path: str, caplog: pytest.LogCaptureFixture) -> None:
    for address in (path, f"{path}events/", f"{path}poll/"):
        assert {getattr(client, method)(address).status_code for method in ("post", "put", "delete")} == {405}
    assert not any(path in record.getMessage() for record in caplog.records)


def test_only_the_hash_of_the_address_is_kept(path: str) -> None:
    secret = path.rstrip("/").rpartition("/")[2]
    kept = [str(value) for row in Wall.objects.values() for value in row.values()]
    kept += [str(value) for row in AuditEntry.objects.values() for value in row.values()]

    assert len(secret) >= 40
    assert not any(secret in value for value in kept)


def test_revoked_wall_shows_nothing_and_is_not_logged(
    client: Client, path: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)

    assert walls.revoke(Wall.objects.get(), by="root")
    assert not walls.revoke(Wall.objects.get(), by="root")

    for address, status in ((path, 404), (f"{path}poll/", 404), ("/wall/never-was/", 404)):
        assert client.get(address).status_code == status
    said = " ".join(record.getMessage() for record in caplog.records)
    assert (path in said, "never-was" in said) == (False, False)
    acts = AuditEntry.objects.filter(action=AuditEntry.Action.WALL).values_list("detail", flat=True)
    assert sorted(acts) == ["made the wall floor 3", "revoked the wall floor 3"]


def test_poll_brings_the_whole_wall_and_is_seen(client: Client, path: str) -> None:
    account("alpha")

    told = json.loads(client.get(f"{path}poll/").content)

    assert re.findall(r'id="(wall-\w+)"', "".join(told["fragments"])) == [
        "wall-env",
        "wall-hero",
        "wall-tiles",
    ]
    assert told["tick"]["version"]
    assert Wall.objects.get().seen_at is not None


@pytest.mark.django_db(transaction=True)
def test_stream_of_a_wall_ends_when_it_is_revoked(path: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(views, "CHECK_S", 0.05)
    account("alpha")

    async def watch() -> list[str]:
        reply = await AsyncClient().get(f"{path}events/")
        seen = ""
        async for part in reply.streaming_content:
            seen += part.decode()
            if "wall-tiles" in seen:
                await asyncio.to_thread(_revoke)
        return re.findall(r"^event: (\w+)$", seen, re.MULTILINE)

    events = asyncio.run(asyncio.wait_for(watch(), 20))

    assert ("fragment" in events, events[-1]) == (True, "revoked")


def _revoke() -> None:
    from django.db import connections

    Wall.objects.filter(revoked_at=None).update(revoked_at=timezone.now())
    connections.close_all()


def test_wall_goes_on_while_nobody_can_tell_whether_it_may() -> None:
    def lost() -> bool:
        raise OperationalError("gone")

    assert views.stream.Frames(views.TOPICS, lost, 1.0, "revoked")._ask()


def test_administrator_makes_a_wall_sees_its_address_once_and_revokes_it(client: Client) -> None:
    user = User.objects.create_superuser("root")
    client.force_login(user)

    made = client.post("/admin/panicboard/wall/add/", {"name": "floor 3"}, follow=True).content.decode()
    again = client.get("/admin/panicboard/wall/").content.decode()

    (address,) = re.findall(r"http://testserver(/wall/[\w-]+/)", made)
    assert "/wall/" not in again.replace("/panicboard/wall/", "")
    assert Client().get(address).status_code == 200
    wall = Wall.objects.get()
    client.post("/admin/panicboard/wall/", {"action": "revoke", "_selected_action": [wall.pk]})
    assert Client().get(address).status_code == 404
    wall.refresh_from_db()
    assert (wall.made_by, wall.revoked_by) == ("root", "root")


def test_staff_that_may_only_view_walls_revokes_none(client: Client, path: str) -> None:
    user = User.objects.create_user("staff", is_staff=True)
    user.user_permissions.add(Permission.objects.get(codename="view_wall"))
    client.force_login(user)

    client.post("/admin/panicboard/wall/", {"action": "revoke", "_selected_action": [Wall.objects.get().pk]})

    assert Wall.objects.get().revoked_at is None
