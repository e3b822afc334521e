"""What was kept of countdowns until now is what venues said; and who may press may arm from now on, too."""

from django.db import migrations
from django.db.models import F


def keep_as_said(apps, schema_editor):
    countdowns = apps.get_model("panicboard", "Countdown").objects
    countdowns.filter(armed_at=None, venue_ms=None).update(phase="disarmed", venue_ms=F("countdown_ms"))


def give_the_new_right(apps, schema_editor):
    """Where the groups have been made already: at the first migration they get it as they are made."""
    managers = apps.get_model("auth", "Group").objects.filter(name="risk managers").first()
    if managers is None:
        return
    about, _ = apps.get_model("contenttypes", "ContentType").objects.get_or_create(
        app_label="panicboard", model="countdown"
    )
    right, _ = apps.get_model("auth", "Permission").objects.get_or_create(
        codename="arm",
        content_type=about,
        defaults={"name": "Can arm, disarm and unlock countdowns, and confirm presence"},
    )
    managers.permissions.add(right)


class Migration(migrations.Migration):
    dependencies = [
        ("panicboard", "0008_countdowns"),
        ("auth", "0012_alter_user_first_name_max_length"),
        ("contenttypes", "0002_remove_content_type_name"),
    ]

    operations = [
        migrations.RunPython(keep_as_said, migrations.RunPython.noop),
        migrations.RunPython(give_the_new_right, migrations.RunPython.noop),
    ]
