"""The ASGI entry point that uvicorn serves."""

import os

from django.core.asgi import get_asgi_application

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "panicboard.settings")

application = get_asgi_application()

from panicboard import call_log, database  # noqa: E402 (need the app registry)

database.share_connections()
call_log.keep()  # this process calls venues while the queue does not answer
