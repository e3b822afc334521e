from collections.abc import Mapping

import pytest
from django.contrib.auth.models import User

from panicboard import credentials, demo
from panicboard.models import Account, Desk, Venue
from panicboard.venues.base import Credentials

ACCOUNTS = {
    "kestrel-mm": "binance-usdm",
    "kestrel-vol": "binance-options",
    "heron-carry": "binance-portfolio",
    "heron-trend": "coinswitch",
}


def announced(
    url: str = "http://127.0.0.1:8900", accounts: Mapping[str, str] = ACCOUNTS
) -> dict[str, object]:
    rows = [
        {"name": name, "venue": venue, "api_key": f"key {name}", "secret": "secret", "key_type": "hmac"}
        for name, venue in accounts.items()
    ]
    return {"url": url, "accounts": rows}


@pytest.mark.django_db
def test_make_puts_the_announced_accounts_on_desks() -> None:
    demo.make(announced())

    made = Account.objects.values_list("name", "desk__name", "strategy", "venue__adapter", "enabled")
    assert list(made) == [
        ("kestrel-mm", "Kestrel", "market making", "binance-usdm", True),
        ("kestrel-vol", "Kestrel", "volatility", "binance-options", True),
        ("heron-carry", "Heron", "carry", "binance-portfolio", True),
        ("heron-trend", "Heron", "trend", "coinswitch", True),
    ]
    assert set(Venue.objects.values_list("environment", flat=True)) == {"simulated"}
    account = Account.objects.get(name="kestrel-mm")
    assert credentials.unseal(account) == Credentials("key kestrel-mm", "secret", "hmac")


@pytest.mark.django_db
def test_make_again_only_brings_addresses_up_to_date() -> None:
    demo.make(announced())
    before = list(Account.objects.values_list("pk", "name")), User.objects.count(), Desk.objects.count()

    demo.make(announced("http://127.0.0.1:9900"))

    after = list(Account.objects.values_list("pk", "name")), User.objects.count(), Desk.objects.count()
    assert after == before
    assert set(Venue.objects.values_list("base_url", flat=True)) == {"http://127.0.0.1:9900"}


@pytest.mark.django_db
def test_make_disables_accounts_that_the_simulator_no_longer_has() -> None:
    demo.make(announced())

    demo.make(announced(accounts={"kestrel-mm": "binance-usdm"}))

    assert list(Account.objects.filter(enabled=True).values_list("name", flat=True)) == ["kestrel-mm"]


@pytest.mark.django_db
@pytest.mark.parametrize(("environment", "label"), [("live", "live"), ("test", "test network")])
def test_make_refuses_a_database_with_real_accounts(environment: str, label: str) -> None:
    venue = Venue.objects.create(
        name="Binance", adapter="binance-usdm", base_url="https://venue.example", environment=environment
    )
    desk = Desk.objects.create(name="Prop", slug="prop")
    Account.objects.create(name="prop-1", desk=desk, venue=venue)

    with pytest.raises(demo.NotADemo) as raised:
        demo.make(announced())

    assert str(raised.value).startswith(
        f"This database holds prop-1 at Binance ({label}): the demo does not mix"
    )
    assert list(Account.objects.values_list("name", flat=True)) == ["prop-1"]
    assert User.objects.count() == 0


@pytest.mark.django_db
def test_make_makes_people_with_the_rights_of_their_groups() -> None:
    demo.make(announced())

    rights = {
        user.username: (
            user.has_perm("panicboard.press"),
            user.has_perm("panicboard.release"),
            user.is_superuser,
        )
        for user in User.objects.all()
    }
    assert rights == {
        "risk.desk1": (True, True, False),
        "viewer": (False, False, False),
        "admin": (True, True, True),
    }


@pytest.mark.django_db
def test_known_logins_are_those_that_still_have_the_demo_password() -> None:
    demo.make(announced())
    changed = User.objects.get(username="viewer")
    changed.set_password("something of their own")
    changed.save()
    User.objects.filter(username="admin").update(is_active=False)

    assert demo.known_logins() == ["risk.desk1"]
