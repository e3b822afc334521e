"""What was kept of countdowns until now is what venues said of them."""

from django.db import migrations
from django.db.models import F


def keep_as_said(apps, schema_editor):
    countdowns = apps.get_model("panicboard", "Countdown").objects
    countdowns.filter(armed_at=None, venue_ms=None).update(phase="disarmed", venue_ms=F("countdown_ms"))


class Migration(migrations.Migration):
    dependencies = [("panicboard", "0008_countdowns")]

    operations = [migrations.RunPython(keep_as_said, migrations.RunPython.noop)]
