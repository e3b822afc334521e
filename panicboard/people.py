"""Who may do what: two groups, made once; an administrator may change them afterwards."""

from django.contrib.auth.management import create_permissions
from django.contrib.auth.models import Group, Permission, User

RISK_MANAGERS = "risk managers"
VIEWERS = "viewers"


def make_groups(sender, **kwargs: object) -> None:  # type: ignore[no-untyped-def]
    """Make the groups with their permissions at the first migration, and never touch them again."""
    create_permissions(sender, verbosity=0)
    rights = {RISK_MANAGERS: ("press", "release", "arm"), VIEWERS: ()}
    for name, codenames in rights.items():
        group, created = Group.objects.get_or_create(name=name)
        if created:
            group.permissions.set(
                Permission.objects.filter(content_type__app_label="panicboard", codename__in=codenames)
            )


def who_to_ask() -> str:
    """Who can give rights and make accounts, in a sentence for whoever cannot."""
    administrators = User.objects.filter(is_superuser=True, is_active=True).order_by("username")
    names = ", ".join(administrators.values_list("username", flat=True)[:5])
    return f"Ask an administrator: {names}." if names else "Ask whoever installed panicboard."
