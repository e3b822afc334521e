"""Which version of the pages this process serves: a page of another one reloads itself."""

import hashlib
from functools import cache
from pathlib import Path

from django.conf import settings


@cache
def of_pages() -> str:
    """A word that changes with any template, style or script."""
    digest = hashlib.sha256()
    for folder in ("templates", "static"):
        for path in sorted(Path(settings.BASE_DIR, folder).rglob("*")):
            if path.is_file():
                digest.update(path.read_bytes())
    return digest.hexdigest()[:12]
