"""The pages. Each view looks up, acts or reads, and renders; what may happen is decided by the acts."""

from panicboard.views.errors import csrf_failure, permission_denied, server_error
from panicboard.views.pages import masthead

__all__ = ["csrf_failure", "masthead", "permission_denied", "server_error"]
