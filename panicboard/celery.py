"""The Celery app and its queues: panics never queue behind a heartbeat or a read."""

import os

from celery import Celery
from celery.signals import setup_logging

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "panicboard.settings")

app = Celery("panicboard")
app.config_from_object("django.conf:settings", namespace="CELERY")
app.autodiscover_tasks(["panicboard"])


@setup_logging.connect
def _keep_django_logging(**kwargs: object) -> None:
    """Being connected is enough: Celery then leaves logging as Django's settings made it."""
