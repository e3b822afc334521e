from django.apps import AppConfig
from django.db.models.signals import post_migrate

from panicboard.celery import app as celery_app

__all__ = ["PanicboardConfig", "celery_app"]  # importing it makes it the app that tasks register with


class PanicboardConfig(AppConfig):
    name = "panicboard"
    verbose_name = "panicboard"

    def ready(self) -> None:
        from panicboard import people  # needs the app registry

        post_migrate.connect(people.make_groups, sender=self)
