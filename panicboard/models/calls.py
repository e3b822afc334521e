"""The log of venue calls. See `panicboard.call_log`."""

from django.db import models


class VenueCall(models.Model):
    """One HTTP request to a venue, as it came out. It holds no query and no body: nothing secret."""

    account = models.CharField(max_length=60)  # its name then: the log outlives the account
    at = models.DateTimeField(db_index=True)
    method = models.CharField(max_length=8)
    path = models.CharField(max_length=200)
    attempt = models.PositiveSmallIntegerField()
    status = models.PositiveSmallIntegerField(null=True)  # none: no answer came
    code = models.CharField(max_length=60, blank=True)  # the venue's, or what broke
    latency_ms = models.FloatField()
    weight = models.PositiveSmallIntegerField()
    outcome = models.CharField(max_length=10)

    class Meta:
        indexes = [models.Index(fields=["account", "-at"], name="venue_call_of_account")]

    def __str__(self) -> str:
        return f"{self.account}: {self.method} {self.path}"
