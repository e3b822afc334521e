"""How static files are kept: under names that change with what is in them."""

from collections.abc import Callable
from re import Match
from typing import Any

from whitenoise.storage import CompressedManifestStaticFilesStorage


class Storage(CompressedManifestStaticFilesStorage):
    """Our scripts name what they import by such a name, too: one version's page never gets another's module.

    Those of other packages (in folders of their own) may name what is for bundlers and not there.
    """

    support_js_module_import_aggregation = True

    def url_converter(
        self, name: str, hashed_files: dict[str, str], *args: Any, **options: Any
    ) -> Callable[[Match[str]], str]:
        if name.endswith(".js") and "/" in name:
            return lambda match: match[0]
        return super().url_converter(name, hashed_files, *args, **options)
