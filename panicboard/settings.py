"""Settings, read from the environment. A wrong value stops the start and names the variable.

Nothing set means: one machine, SQLite and an embedded Valkey under `var/`, plain HTTP on loopback.
"""

import base64
import hashlib
import os
import secrets
import tempfile
from pathlib import Path
from urllib.parse import urlsplit

import dj_database_url
from django.core.exceptions import ImproperlyConfigured

BASE_DIR = Path(__file__).resolve().parent.parent
VAR_DIR = Path(os.environ.get("PANICBOARD_VAR", BASE_DIR / "var")).resolve()
VAR_DIR.mkdir(mode=0o700, parents=True, exist_ok=True)


def _number(name: str, default: int, least: int, most: int) -> int:
    raw = os.environ.get(name, str(default))
    if not raw.isdigit() or not least <= int(raw) <= most:
        raise ImproperlyConfigured(f"{name}={raw!r} is not a whole number from {least} to {most}")
    return int(raw)


def _key_file(name: str) -> str:
    """A random key kept in `var/`, made at the first start; only its owner may read it."""
    path = VAR_DIR / name
    fresh = base64.urlsafe_b64encode(secrets.token_bytes(32)).decode()
    try:
        with open(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
            file.write(fresh)
        return fresh
    except FileExistsError:
        return path.read_text().strip()


def _secret(name: str, file_name: str) -> str:
    if name in os.environ:
        return os.environ[name]
    if HTTPS:
        raise ImproperlyConfigured(
            f"{name} is not set: a board served over HTTPS needs it in its environment"
        )
    return _key_file(file_name)


# Where people reach the board: the one setting behind hosts, CSRF origins and cookie rules.
PANICBOARD_URL = os.environ.get("PANICBOARD_URL", "http://127.0.0.1:8000").rstrip("/")
_url = urlsplit(PANICBOARD_URL)
if _url.scheme not in ("http", "https") or not _url.hostname:
    raise ImproperlyConfigured(f"PANICBOARD_URL={PANICBOARD_URL!r} is not an http or https address")
HTTPS = _url.scheme == "https"

DEBUG = False
SECRET_KEY = _secret("SECRET_KEY", "secret_key")
#: Fernet keys that seal the accounts' credentials, newest first; older ones are still read.
CREDENTIALS_KEYS = [key for key in _secret("CREDENTIALS_KEYS", "credentials_key").split(",") if key]
ALLOWED_HOSTS = list({_url.hostname, "127.0.0.1", "localhost", "[::1]"})
CSRF_TRUSTED_ORIGINS = [PANICBOARD_URL]

INSTALLED_APPS = [
    "django.contrib.admin",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "django.contrib.messages",
    "whitenoise.runserver_nostatic",
    "django.contrib.staticfiles",
    "django_htmx",
    "panicboard",
]
MIDDLEWARE = [
    "django.middleware.security.SecurityMiddleware",
    "whitenoise.middleware.WhiteNoiseMiddleware",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "django.contrib.auth.middleware.LoginRequiredMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
    "panicboard.middleware.content_security_policy",
    "django_htmx.middleware.HtmxMiddleware",
]
ROOT_URLCONF = "panicboard.urls"
ASGI_APPLICATION = "panicboard.asgi.application"
TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "DIRS": [BASE_DIR / "templates"],
        "APP_DIRS": True,
        "OPTIONS": {
            "context_processors": [
                "django.template.context_processors.request",
                "django.contrib.auth.context_processors.auth",
                "django.contrib.messages.context_processors.messages",
                "panicboard.views.masthead",
            ],
        },
    },
]

# ---- database: SQLite by itself, PostgreSQL by DATABASE_URL ----
DATABASES = {"default": dj_database_url.config(default=f"sqlite:///{VAR_DIR / 'panicboard.sqlite3'}")}
if DATABASES["default"]["ENGINE"].endswith("sqlite3"):
    # IMMEDIATE: a deferred transaction that turns into a write fails at once with "database is locked".
    DATABASES["default"]["OPTIONS"] = {
        "transaction_mode": "IMMEDIATE",
        "timeout": 20,
        "init_command": "PRAGMA journal_mode=WAL; PRAGMA synchronous=NORMAL;",
    }
    DATABASES["default"]["TEST"] = {"NAME": VAR_DIR / "test.sqlite3"}
elif DATABASES["default"]["ENGINE"].endswith("postgresql"):
    # A press must soon learn that its database is away, or locked: by default an address that is silent costs
    # minutes, a connection that is cut off a quarter of an hour, and a lock has no end.
    DATABASES["default"]["OPTIONS"] = {
        "connect_timeout": 5,
        "tcp_user_timeout": 5000,
        "options": "-c lock_timeout=20s",
        **DATABASES["default"].get("OPTIONS", {}),
    }
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"


# ---- Redis (or Valkey): broker, shared rate budget ----
def _embedded_socket() -> Path:
    """Where the embedded Valkey listens. A socket's path may hold about 100 bytes: else a short one."""
    path = VAR_DIR / "valkey.sock"
    if len(os.fsencode(path)) <= 96:
        return path
    digest = hashlib.sha256(os.fsencode(VAR_DIR)).hexdigest()[:16]
    return Path(tempfile.gettempdir()) / f"panicboard-{os.getuid()}-{digest}" / "valkey.sock"


EMBEDDED_SOCKET = _embedded_socket()
EMBEDDED_REDIS = "REDIS_URL" not in os.environ
REDIS_URL = os.environ.get("REDIS_URL", f"unix://{EMBEDDED_SOCKET}")

CELERY_BROKER_URL = os.environ.get("BROKER_URL") or REDIS_URL.replace("unix://", "redis+socket://", 1)
CELERY_TASK_IGNORE_RESULT = True  # outcomes go to the database; a dead result backend blocked 19 s
CELERY_RESULT_BACKEND_THREAD_SAFE = True  # there is none: or each thread makes itself one of that kind
CELERY_TASK_ACKS_LATE = True
CELERY_WORKER_PREFETCH_MULTIPLIER = 1
CELERY_BROKER_CONNECTION_RETRY_ON_STARTUP = True
CELERY_WORKER_HIJACK_ROOT_LOGGER = False
CELERY_TASK_DEFAULT_QUEUE = "background"
CELERY_TASK_ROUTES = {
    f"panicboard.tasks.{task}": {"queue": queue}
    for queue, tasks in {"panic": ("run_sweep", "watch_sweep"), "heartbeat": ("send_heartbeats",)}.items()
    for task in tasks
}
CELERY_BROKER_POOL_LIMIT = 64  # presses at once that each learn of a frozen broker in time
# A press must learn within 300 ms that its broker is gone: the defaults took from 0.6 s to over 30 s.
CELERY_TASK_PUBLISH_RETRY_POLICY = {"max_retries": 0}
if CELERY_BROKER_URL.startswith(("amqp://", "amqps://", "pyamqp://")):
    CELERY_BROKER_TRANSPORT_OPTIONS: dict[str, object] = {
        "confirm_publish": True,
        "connect_timeout": 0.1,
        "read_timeout": 0.1,
        "write_timeout": 0.1,
        "confirm_timeout": 0.1,
    }
else:
    CELERY_BROKER_TRANSPORT_OPTIONS = {
        "socket_timeout": 0.2,
        "socket_connect_timeout": 0.2,
        "retry_on_timeout": False,
        "max_retries": 0,
        # A killed worker's task comes back after this; the keeper's lease check is quicker still.
        "visibility_timeout": 15,
        "unacked_restore_interval": 1,
        "unacked_restore_throttle": 1,
        # Who looks for such tasks locks the others out. It may die of it, or lose its broker: by default
        # nothing would come back for five minutes then.
        "unacked_mutex_expire": 2,
    }

# ---- panics ----
#: A worker holds a sweep for this long at a time; after it another may take over.
SWEEP_LEASE_S = 2
#: The share of a venue's limit that heartbeats and background reads together never touch, in percent.
BUDGET_RESERVE_PERCENT = _number("BUDGET_RESERVE_PERCENT", 50, 10, 90)
#: The shortest time between two background reads of one account, in seconds.
READ_INTERVAL_S = _number("READ_INTERVAL_S", 5, 1, 3600)
#: How often the canary of a marked account runs, and how soon its panic must be clear.
CANARY_EVERY_H = _number("CANARY_EVERY_H", 24, 1, 168)
CANARY_CLEAR_WITHIN_S = _number("CANARY_CLEAR_WITHIN_S", 300, 60, 3600)
CALL_LOG_DAYS = _number("CALL_LOG_DAYS", 90, 1, 3650)

# ---- people ----
LOGIN_URL = "login"
LOGIN_REDIRECT_URL = "board"
LOGOUT_REDIRECT_URL = "login"
SESSION_COOKIE_AGE = 14 * 3600  # one shift
AUTH_PASSWORD_VALIDATORS = [
    {"NAME": f"django.contrib.auth.password_validation.{name}"}
    for name in ("UserAttributeSimilarityValidator", "MinimumLengthValidator", "CommonPasswordValidator")
]

# ---- HTTP ----
SECURE_CONTENT_TYPE_NOSNIFF = True
SECURE_REFERRER_POLICY = "same-origin"
X_FRAME_OPTIONS = "DENY"
CSRF_FAILURE_VIEW = "panicboard.views.csrf_failure"  # an old page's press is confirmed, not lost
SESSION_COOKIE_SECURE = CSRF_COOKIE_SECURE = HTTPS
SECURE_SSL_REDIRECT = HTTPS
SECURE_HSTS_SECONDS = 31_536_000 if HTTPS else 0
SECURE_HSTS_INCLUDE_SUBDOMAINS = SECURE_HSTS_PRELOAD = HTTPS
SECURE_PROXY_SSL_HEADER = ("HTTP_X_FORWARDED_PROTO", "https") if HTTPS else None

STATIC_URL = "static/"
STATIC_ROOT = VAR_DIR / "static"
STATICFILES_DIRS = [BASE_DIR / "static"]
STORAGES = {
    "default": {"BACKEND": "django.core.files.storage.FileSystemStorage"},
    "staticfiles": {"BACKEND": "panicboard.static_files.Storage"},
}

LANGUAGE_CODE = "en"
TIME_ZONE = "UTC"
USE_TZ = True
USE_I18N = False

LOG_LEVEL = os.environ.get("LOG_LEVEL", "INFO").upper()
if LOG_LEVEL not in ("DEBUG", "INFO", "WARNING", "ERROR"):
    raise ImproperlyConfigured(f"LOG_LEVEL={LOG_LEVEL!r} is not DEBUG, INFO, WARNING or ERROR")
LOGGING = {
    "version": 1,
    "disable_existing_loggers": False,
    "formatters": {
        "line": {"()": "panicboard.logs.Line", "format": "%(asctime)s %(levelname)s %(name)s %(message)s"}
    },
    "handlers": {"stderr": {"()": "panicboard.logs.to_stderr", "formatter": "line"}},
    "root": {"handlers": ["stderr"], "level": LOG_LEVEL},
    # Two lines a task, and a query, would cost more than they tell: every venue call has its own.
    "loggers": {
        name: {"level": "WARNING"} for name in ("celery.worker.strategy", "celery.app.trace", "psycopg.pool")
    },
}
