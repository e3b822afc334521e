"""The groups that the first migration makes, and what later ones leave alone."""

from importlib import import_module

import pytest
from django.apps import apps
from django.contrib.auth.models import Group, Permission, User
from django.core.management import call_command

from panicboard import people

pytestmark = pytest.mark.django_db


def rights(user: User) -> set[str]:
    return {
        right
        for right in ("press", "release")
        if User.objects.get(pk=user.pk).has_perm(f"panicboard.{right}")
    }


@pytest.fixture
def groups() -> None:
    people.make_groups(apps.get_app_config("panicboard"))


@pytest.mark.usefixtures("groups")
def test_risk_managers_may_press_and_release_and_viewers_may_not() -> None:
    manager, viewer = User.objects.create_user("risk.desk1"), User.objects.create_user("viewer")

    manager.groups.add(Group.objects.get(name=people.RISK_MANAGERS))
    viewer.groups.add(Group.objects.get(name=people.VIEWERS))

    assert rights(manager) == {"press", "release"}
    assert rights(viewer) == set()


@pytest.mark.usefixtures("groups")
def test_risk_managers_have_no_rights_in_the_admin() -> None:
    held = Group.objects.get(name=people.RISK_MANAGERS).permissions.values_list("codename", flat=True)

    assert sorted(held) == ["arm", "press", "release"]


@pytest.mark.usefixtures("groups")
def test_groups_changed_by_an_administrator_stay_changed() -> None:
    managers, viewers = (Group.objects.get(name=name) for name in (people.RISK_MANAGERS, people.VIEWERS))
    managers.permissions.remove(Permission.objects.get(codename="release"))
    viewers.permissions.add(Permission.objects.get(codename="release"))

    call_command("migrate", verbosity=0)

    assert [p.codename for p in managers.permissions.all()] == ["arm", "press"]
    assert [p.codename for p in viewers.permissions.all()] == ["release"]


def test_migrating_makes_the_groups() -> None:
    Group.objects.all().delete()

    call_command("migrate", verbosity=0)

    assert set(Group.objects.values_list("name", flat=True)) == {"risk managers", "viewers"}


@pytest.mark.usefixtures("groups")
@pytest.mark.django_db(transaction=True)
def test_right_that_came_with_a_later_version_is_given_to_the_groups_that_are_there() -> None:
    Permission.objects.filter(codename="arm").delete()  # as it was before there were countdowns
    import_module("panicboard.migrations.0009_venue_read_countdowns").give_the_new_right(apps, None)

    held = Group.objects.get(name=people.RISK_MANAGERS).permissions.values_list("codename", flat=True)

    assert sorted(held) == ["arm", "press", "release"]
