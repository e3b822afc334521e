"""The ASGI entry point that uvicorn serves."""

import gc
import os
import sys

from django.core.asgi import get_asgi_application

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "panicboard.settings")

application = get_asgi_application()

from panicboard import call_log, database  # noqa: E402 (need the app registry)

database.share_connections()
call_log.keep()  # this process calls venues while the queue does not answer

# A thread that reads a thousand accounts must not keep those waiting that send what changed: by default it
# may, for 5 ms at every row that these read.
sys.setswitchinterval(0.0005)
# What was loaded until here stays: the collector need not look at it again and again, while all streams wait.
gc.collect()
gc.freeze()
