"""What is known after a venue call that did not plainly succeed.

Every failure is one of three kinds: the venue answered and refused (`VenueRejected`), the call surely
did nothing (`NotDone`), or nobody knows (`OutcomeUnknown`). Only reading the venue back resolves the
last. Texts carry the venue's own words and the name of the exception below, never a URL: a URL holds
the signature.
"""


def one_line(text: str) -> str:
    """Words from outside as one line of printable characters: PostgreSQL takes no text that holds a NUL."""
    return " ".join("".join(char if char.isprintable() else " " for char in text).split())


class VenueError(Exception):
    """A venue call failed. `status` is the HTTP status, `code` and `text` are the venue's own."""

    #: What broke on the line, when no answer came: the name of the exception.
    broke = ""

    def __init__(self, message: str, *, status: int | None = None, code: str = "", text: str = "") -> None:
        super().__init__(one_line(message))
        self.status = status
        self.code = one_line(code)
        self.text = one_line(text)


class VenueRejected(VenueError):
    """The venue answered and refused. Repeating the same call cannot help."""


class CredentialsRejected(VenueRejected):
    """The key, its signature, its permissions or its address list were refused: a person must act."""


class ClockRejected(VenueRejected):
    """The venue thinks our timestamp is wrong. The clock is re-read and the call signed anew, once."""


class OrderNotFound(VenueRejected):
    """The order is not in this book: filled, gone, in another book, or past the venue's retention."""


class UnknownSymbol(VenueRejected):
    """The venue has no such symbol in this book: expired, delisted, or never there."""


class EndpointGone(VenueRejected):
    """The venue removed this endpoint; the adapter falls back where another one serves."""


class NotDone(VenueError):
    """The call surely was not executed; it may be repeated."""


class RateLimited(NotDone):
    """The venue's limit is reached, or our address is banned (`banned`), for `retry_after_ms`."""

    def __init__(
        self,
        message: str,
        *,
        retry_after_ms: int,
        banned: bool = False,
        status: int | None = None,
        code: str = "",
        text: str = "",
    ) -> None:
        super().__init__(message, status=status, code=code, text=text)
        self.retry_after_ms = retry_after_ms
        self.banned = banned


class BudgetSpent(NotDone):
    """Our own share of the venue's limit is used up; the call was held back, for `retry_after_ms`.

    `refused` says that it is the venue which wants silence until then, from everybody who shares the limit;
    `by_address`, that it wants it from this address, and another one may call.
    """

    def __init__(
        self, message: str, *, retry_after_ms: int, refused: bool = False, by_address: bool = False
    ) -> None:
        super().__init__(message)
        self.retry_after_ms = retry_after_ms
        self.refused = refused
        self.by_address = by_address


class OutcomeUnknown(VenueError):
    """Timeout, dropped line, 5xx or a body nobody can read: it may have happened. Read, then decide."""
