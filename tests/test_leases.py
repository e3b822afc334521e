"""Leases: one holder at a time, kept alive while its process lives, taken over when it does not."""

from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta

import pytest
from django.db import DatabaseError, connection
from django.utils import timezone

from panicboard import leases
from panicboard.models import Beat, Lease, Panic, Sweep
from tests.factories import make_desk, make_venue
from tests.waiting import until

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def sweep() -> Sweep:
    now = timezone.now()
    venue = make_venue("http://127.0.0.1:9")
    account = make_desk().accounts.create(name="alpha", venue=venue)
    panic = Panic.objects.create(scope=Panic.Scope.ACCOUNT, account=account, pressed_at=now)
    return Sweep.objects.create(panic=panic, account=account, due_at=now)


def take(sweep: Sweep) -> Sweep:
    taken = leases.take(sweep.pk)
    assert taken is not None
    return taken


def hold_elsewhere(sweep: Sweep, left: timedelta) -> None:
    """Let another process hold the sweep, with so much of its lease left."""
    Sweep.objects.filter(pk=sweep.pk).update(
        lease_owner="worker-panic@elsewhere:1:abc", lease_until=timezone.now() + left
    )


def test_take_gives_the_sweep_with_what_a_sweep_needs(sweep: Sweep) -> None:
    taken = take(sweep)

    assert (taken.pk, taken.account.venue, taken.panic) == (sweep.pk, sweep.account.venue, sweep.panic)
    sweep.refresh_from_db()
    assert sweep.lease_owner == taken.lease_owner
    assert sweep.lease_until >= taken.lease_until  # it may have been renewed by now
    assert sweep.lease_owner.startswith(leases.process_name())
    leases.give_back(taken)


def test_second_taker_gets_nothing(sweep: Sweep) -> None:
    first = take(sweep)

    assert leases.take(sweep.pk) is None

    sweep.refresh_from_db()
    assert sweep.lease_owner == first.lease_owner
    leases.give_back(first)


def test_of_many_takers_at_once_one_gets_the_sweep(sweep: Sweep) -> None:
    with ThreadPoolExecutor(16) as pool:
        taken = [found for found in pool.map(leases.take, [sweep.pk] * 16) if found is not None]

    assert [found.pk for found in taken] == [sweep.pk]
    leases.give_back(taken[0])


def test_many_sweeps_taken_at_once_go_to_one_taker_each(sweep: Sweep) -> None:
    for number in range(20):
        account = make_desk().accounts.create(name=f"beta-{number}", venue=sweep.account.venue)
        Sweep.objects.create(panic=sweep.panic, account=account, due_at=sweep.due_at)
    every = list(Sweep.objects.values_list("pk", flat=True))

    with ThreadPoolExecutor(16) as pool:
        taken = [found for found in pool.map(leases.take, every * 2) if found is not None]

    assert sorted(found.pk for found in taken) == every
    for found in taken:
        leases.give_back(found)
    assert set(Sweep.objects.values_list("lease_owner", "lease_until")) == {("", None)}


@pytest.mark.parametrize("state", Sweep.OVER)
def test_sweep_that_is_over_cannot_be_taken(sweep: Sweep, state: str) -> None:
    now = timezone.now()
    Sweep.objects.update(state=state, clear_at=now, known_empty_at=now, full_empty_at=now)

    assert leases.take(sweep.pk) is None


def test_given_back_sweep_can_be_taken_again(sweep: Sweep) -> None:
    first = take(sweep)
    leases.give_back(first)
    sweep.refresh_from_db()
    assert (sweep.lease_owner, sweep.lease_until) == ("", None)

    second = take(sweep)

    assert second.lease_owner != first.lease_owner
    leases.give_back(second)


def test_lapsed_lease_is_taken_over(sweep: Sweep) -> None:
    hold_elsewhere(sweep, timedelta(milliseconds=-1))

    taken = take(sweep)

    assert taken.lease_owner.startswith(leases.process_name())
    leases.give_back(taken)


def test_lease_held_elsewhere_is_not_taken_over(sweep: Sweep) -> None:
    hold_elsewhere(sweep, timedelta(minutes=1))

    assert leases.take(sweep.pk) is None


def test_giving_back_a_lost_lease_leaves_the_new_holder(sweep: Sweep) -> None:
    taken = take(sweep)
    hold_elsewhere(sweep, timedelta(minutes=1))

    leases.give_back(taken)

    sweep.refresh_from_db()
    assert sweep.lease_owner == "worker-panic@elsewhere:1:abc"
    assert sweep.lease_until is not None


def test_held_lease_is_renewed(sweep: Sweep) -> None:
    taken = take(sweep)

    renewed = until(
        lambda: Sweep.objects.filter(pk=sweep.pk, lease_until__gt=taken.lease_until).first(),
        "a renewed lease",
    )

    assert renewed is not None
    assert renewed.lease_owner == taken.lease_owner
    leases.give_back(taken)


def test_renewing_never_takes_a_lost_lease_back(sweep: Sweep) -> None:
    other_account = make_desk().accounts.create(name="beta", venue=sweep.account.venue)
    other = Sweep.objects.create(panic=sweep.panic, account=other_account, due_at=sweep.due_at)
    lost, kept = take(sweep), take(other)

    hold_elsewhere(sweep, timedelta(minutes=1))
    sweep.refresh_from_db()

    until(
        lambda: Sweep.objects.filter(pk=other.pk, lease_until__gt=kept.lease_until).exists(),
        "a renewal of what is still held",
    )
    now = Sweep.objects.get(pk=sweep.pk)
    assert (now.lease_owner, now.lease_until) == (sweep.lease_owner, sweep.lease_until)
    leases.give_back(lost)
    leases.give_back(kept)


class Taken:
    """Claims as another worker process makes them, and what it took along."""

    def __init__(self, at_most: int = 100) -> None:
        self.claims = leases._Claims()
        self.along: list[Sweep] = []
        self.claims.take_along(self.along.extend, at_most)

    def claim(self, sweep: Sweep) -> Sweep | None:
        claimed = self.claims.claim(sweep.pk)
        # What it takes along is given out after the answer, by the same thread: the next answer is later.
        self.claims.claim(0)
        return claimed


@pytest.fixture
def many(sweep: Sweep) -> list[Sweep]:
    """Twenty sweeps of one panic, while two workers live and a third does not any more."""
    for number in range(19):
        account = make_desk().accounts.create(name=f"beta-{number}", venue=sweep.account.venue)
        Sweep.objects.create(panic=sweep.panic, account=account, due_at=sweep.due_at)
    now = timezone.now()
    for name, at in (("one", now), ("two", now), ("gone", now - timedelta(seconds=30))):
        Beat.objects.create(process=name, kind="worker-panic", at=at)
    return list(Sweep.objects.order_by("pk"))


def test_workers_take_their_share_of_a_panic_along(many: list[Sweep]) -> None:
    one, two = Taken(), Taken()

    assert one.claim(many[0]) == many[0]
    assert two.claim(many[1]) is None  # the first has it

    assert len(one.along) == 9
    assert sorted(sweep.pk for sweep in [many[0], *one.along, *two.along]) == [sweep.pk for sweep in many]
    for sweep in Sweep.objects.exclude(lease_owner=""):
        leases.give_back(sweep)


def test_no_more_is_taken_along_than_a_worker_wants(many: list[Sweep]) -> None:
    one = Taken(at_most=3)

    claimed = one.claim(many[0])

    assert claimed is not None
    assert len(one.along) == 3
    assert Sweep.objects.filter(lease_owner="").count() == 16
    for sweep in [claimed, *one.along]:
        leases.give_back(sweep)


def test_task_of_a_sweep_that_was_taken_along_finds_nothing(many: list[Sweep]) -> None:
    one = Taken()
    claimed = one.claim(many[0])

    assert [one.claims.claim(sweep.pk) for sweep in one.along] == [None] * 9

    assert claimed is not None
    for sweep in [claimed, *one.along]:
        leases.give_back(sweep)


def test_database_that_fails_a_taker_serves_the_next(sweep: Sweep) -> None:
    with connection.cursor() as cursor:
        cursor.execute("ALTER TABLE panicboard_sweep RENAME TO away")
    try:
        with pytest.raises(DatabaseError):
            leases.take(sweep.pk)
    finally:
        with connection.cursor() as cursor:
            cursor.execute("ALTER TABLE away RENAME TO panicboard_sweep")

    leases.give_back(take(sweep))


def test_whatever_goes_wrong_reaches_the_taker(sweep: Sweep) -> None:
    with pytest.raises(ValueError, match="expected a number"):
        leases.take("no number")  # type: ignore[arg-type]

    leases.give_back(take(sweep))


def test_named_lease_has_one_leader_who_may_renew_it() -> None:
    assert leases.lead("keeper", "one", 60) is True
    first_until = Lease.objects.get().until

    assert leases.lead("keeper", "two", 60) is False
    assert leases.lead("keeper", "one", 60) is True

    lease = Lease.objects.get()
    assert lease.owner == "one"
    assert lease.until > first_until


def test_lapsed_named_lease_goes_to_the_next() -> None:
    leases.lead("keeper", "one", -1)

    assert leases.lead("keeper", "two", 60) is True
    assert leases.lead("keeper", "one", 60) is False
    assert Lease.objects.get().owner == "two"
