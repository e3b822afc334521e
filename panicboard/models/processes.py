"""What the processes leave for each other: who leads, and who was alive when."""

from django.db import models


class Lease(models.Model):
    """A right that one process holds for a short while, such as leading the keepers."""

    name = models.CharField(max_length=40, primary_key=True)
    owner = models.CharField(max_length=80)
    until = models.DateTimeField()

    def __str__(self) -> str:
        return f"{self.name}: {self.owner} until {self.until:%H:%M:%S}"


class Beat(models.Model):
    """A sign of life of one process, renewed twice a second; `kind` is its part (worker-panic, keeper)."""

    process = models.CharField(max_length=80, primary_key=True)
    kind = models.CharField(max_length=40, db_index=True)
    at = models.DateTimeField()

    def __str__(self) -> str:
        return f"{self.process} at {self.at:%H:%M:%S}"
