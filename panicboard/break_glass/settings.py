"""The settings of `manage.py panic --break-glass`, as few as it can do with.

Its environment may be half gone with the rest: a DATABASE_URL that nobody can read, a key that is missing,
a disk that is full. None of that may refuse a press, so nothing is required, and nothing is written. There
is no database: whatever asked for one would fail at once.
"""

import os
import secrets
from pathlib import Path

BASE_DIR = Path(__file__).resolve().parents[2]
VAR_DIR = Path(os.environ.get("PANICBOARD_VAR", BASE_DIR / "var")).resolve()

SECRET_KEY = secrets.token_urlsafe(50)
CREDENTIALS_KEYS: list[str] = []
INSTALLED_APPS = ["django.contrib.auth", "django.contrib.contenttypes", "panicboard"]
DATABASES: dict[str, dict[str, object]] = {}
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
TIME_ZONE = "UTC"
USE_TZ = True
USE_I18N = False

_level = os.environ.get("LOG_LEVEL", "").upper()
LOGGING = {
    "version": 1,
    "disable_existing_loggers": False,
    "formatters": {"line": {"format": "%(asctime)s %(levelname)s %(name)s %(message)s"}},
    "handlers": {"stderr": {"()": "panicboard.logs.to_stderr", "formatter": "line"}},
    # Every venue call has a line in the journal; the shell is for what happens to the accounts.
    "root": {"handlers": ["stderr"], "level": _level if _level in ("DEBUG", "INFO", "ERROR") else "WARNING"},
}
