"""Who may do what: two groups, made once; an administrator may change them afterwards."""

from django.contrib.auth.management import create_permissions
from django.contrib.auth.models import Group, Permission

RISK_MANAGERS = "risk managers"
VIEWERS = "viewers"


def make_groups(sender, **kwargs: object) -> None:  # type: ignore[no-untyped-def]
    """Make the groups with their permissions at the first migration, and never touch them again.

    A right that came with a later version is given once, when it comes to be.
    """
    ours = Permission.objects.filter(content_type__app_label="panicboard")
    before = set(ours.values_list("codename", flat=True))
    create_permissions(sender, verbosity=0)
    rights = {RISK_MANAGERS: ("press", "release", "arm"), VIEWERS: ()}
    for name, codenames in rights.items():
        group, created = Group.objects.get_or_create(name=name)
        new = [codename for codename in codenames if created or codename not in before]
        group.permissions.add(*ours.filter(codename__in=new))
