"""Wall screens: who looks at the board without signing in. See `panicboard.walls`."""

from django.db import models


class Wall(models.Model):
    """One screen on a trading floor. Its address holds a secret, which is kept as its hash only."""

    name = models.CharField(max_length=100, unique=True, help_text="Where it hangs.")
    secret_hash = models.CharField(max_length=64, unique=True, editable=False)
    made_at = models.DateTimeField(editable=False)
    made_by = models.CharField(max_length=150, editable=False)
    revoked_at = models.DateTimeField(null=True, editable=False)
    revoked_by = models.CharField(max_length=150, blank=True, editable=False)
    seen_at = models.DateTimeField(null=True, editable=False)

    class Meta:
        ordering = ["name"]

    def __str__(self) -> str:
        return self.name
