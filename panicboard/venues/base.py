"""What the acts know of a venue: orders, order families, and the calls every adapter offers.

This package knows no Django model, no task and no template, so it runs in a plain shell.
"""

import secrets
from abc import ABC, abstractmethod
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from enum import StrEnum
from typing import ClassVar, NotRequired, Protocol, TypedDict, Unpack


class OrderState(StrEnum):
    """An order's state in our words; `Order.venue_status` keeps the venue's."""

    OPEN = "open"
    CANCELLED = "cancelled"
    FILLED = "filled"
    EXPIRED = "expired"
    REJECTED = "rejected"
    #: A conditional order that left its book because it triggered: neither filled nor cancelled. What
    #: became of it is told by its ordinary order (`Order.successor_id`), which is followed instead.
    TRIGGERED = "triggered"

    @property
    def is_open(self) -> bool:
        return self is OrderState.OPEN


@dataclass(frozen=True, slots=True)
class Family:
    """A book of a venue that needs its own calls, and what those calls cost in the venue's limit.

    `cancel_weight` is the most that one `cancel_orders` call costs, for up to `cancel_batch` orders of one
    symbol; a mass cancel carries its own weight.
    """

    slug: str
    label: str
    conditional: bool
    cancel_weight: int
    list_symbol_weight: int
    list_all_weight: int
    query_weight: int
    cancel_batch: int = 1
    triggers_into: str = ""  # the family an order moves to when it triggers
    tells_protective: bool = True  # whether its orders say that they can only reduce a position


@dataclass(frozen=True, slots=True)
class Limit:
    """One limit of a venue: `amount` of weight (or calls) each `window_s`, counted per address or per key."""

    pool: str
    per: str  # "address" or "key"
    amount: int
    window_s: int = 60


@dataclass(frozen=True, slots=True)
class Order:
    """One order as a venue reported it; ids are strings (many are above 2**53), times aware."""

    family: str
    symbol: str
    venue_order_id: str
    client_order_id: str
    state: OrderState
    venue_status: str
    side: str
    order_type: str
    quantity: Decimal
    filled: Decimal
    price: Decimal | None = None
    trigger_price: Decimal | None = None
    protective: bool = False  # reduce-only or close-position: its loss can leave a position unguarded
    cancel_pending: bool = False  # open, but the venue has taken a cancel that it has not carried out yet
    list_id: str = ""  # the order list (OCO) it is a leg of
    successor_id: str = ""  # venue order id of the ordinary order that a triggered conditional one became
    placed_at: datetime | None = None
    updated_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class BookSymbol:
    """A symbol in one book: the unit in which orders are known, cancelled and listed."""

    family: str
    symbol: str


@dataclass(frozen=True, slots=True)
class MassCancel:
    """One mass cancel call: the family, and the symbol or underlying it names (None: the whole account)."""

    family: str
    target: str | None
    weight: int
    by_underlying: bool = False


@dataclass(frozen=True, slots=True)
class MassCancelReply:
    """What a venue said to a mass cancel: orders it described, and ids it names as sent for cancelling.

    Neither is an outcome. `orders` carry the states the venue gave; `requested_ids` are venue order ids
    without any state (CoinSwitch names ids only).
    """

    orders: tuple[Order, ...] = ()
    requested_ids: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Listing:
    """One listing of open orders: the family, and the symbol it names (None: every symbol)."""

    family: str
    symbol: str | None
    weight: int
    quick: bool = False


@dataclass(frozen=True, slots=True)
class OrderRef:
    """An order by its ids. Adapters send the venue's id where it is known, else the client's."""

    family: str
    symbol: str
    venue_order_id: str
    client_order_id: str = ""


@dataclass(frozen=True, slots=True)
class CancelResult:
    """What the venue said to the cancel of one order: accepted, or refused with its code and text."""

    ref: OrderRef
    accepted: bool
    not_found: bool = False
    code: str = ""
    text: str = ""


@dataclass(frozen=True, slots=True)
class FarOrder:
    """An order that cannot fill: a bid far below the market, or a buy that triggers far above it."""

    family: str
    symbol: str
    order_type: str
    quantity: Decimal
    price: Decimal | None = None
    trigger_price: Decimal | None = None


@dataclass(frozen=True, slots=True)
class Decided:
    """When a call was decided on, and for how long after that the venue may still carry it out.

    The venue itself then sees to it that what was right at that moment is not done long after it.
    """

    at: datetime
    for_ms: int


@dataclass(frozen=True, slots=True)
class VenueCountdown:
    """A countdown as the venue itself reports it."""

    scope: str  # symbol or underlying
    countdown_ms: int


@dataclass(frozen=True, slots=True)
class HeartbeatReply:
    """Which of the countdowns in one heartbeat the venue restarted, and which it left out (unprotected)."""

    refreshed: tuple[str, ...]
    missing: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Access:
    """Whether this key may trade, as far as the venue tells."""

    can_trade: bool
    detail: str = ""


class Budget(Protocol):
    """Who may spend how much of a venue's limit. One object speaks for one account and one class of work."""

    def spend(self, limit: Limit, weight: int) -> None:
        """Take `weight` from the pool now, or raise BudgetSpent naming how long until it is there."""

    def observe(self, limit: Limit, used: int) -> None:
        """Hear what the venue says is used of the current clock minute (its header)."""

    def block(self, limit: Limit, retry_after_ms: int, why: str) -> None:
        """Hear that the venue refuses everything of this pool for a while (429, 418)."""


class Unlimited:
    """A budget that never refuses: for a plain shell and for tests of something else."""

    def spend(self, limit: Limit, weight: int) -> None: ...

    def observe(self, limit: Limit, used: int) -> None: ...

    def block(self, limit: Limit, retry_after_ms: int, why: str) -> None: ...


@dataclass(frozen=True, slots=True)
class Credentials:
    """An account's key at its venue. `repr` leaves the secret out."""

    api_key: str = field(repr=False)
    secret: str = field(repr=False)
    key_type: str = "hmac"  # "hmac", "rsa" or "ed25519"


@dataclass(frozen=True, slots=True)
class Route:
    """A way out: from one of this machine's addresses, or through a proxy; neither: as the machine does."""

    name: str
    source_address: str = ""
    proxy_url: str = field(default="", repr=False)  # it may hold a password


DIRECT = Route("direct")


class Opened(TypedDict):
    """How an account is opened: what pays for its calls, the name that log lines carry, its ways out, and
    whether for reading alone.
    """

    budget: Budget
    account: str
    routes: NotRequired[Sequence[Route]]
    #: A call that could change anything at the venue then raises `calls.NotAReading`, and is not sent.
    reads_only: NotRequired[bool]


class VenueAdapter(ABC):
    """One account at one venue. Each method below is one venue call, unless it says otherwise.

    Every method raises the errors of `venues.errors`; none returns a guess.
    """

    slug: ClassVar[str]
    label: ClassVar[str]
    #: In the order in which a reading lists them: an order that triggers moves from a conditional book
    #: to an ordinary one, so the conditional book is always read first.
    families: ClassVar[tuple[Family, ...]]
    limits: ClassVar[tuple[Limit, ...]]
    #: Under which a ban of an address is kept where the venue counts by key.
    bans: ClassVar[Limit | None] = None
    key_types: ClassVar[tuple[str, ...]]
    has_countdown: ClassVar[bool] = False
    #: What a countdown names here: "symbol" or "underlying".
    countdown_scope: ClassVar[str] = ""
    #: What `set_countdown` costs, and what one call costs that keeps countdowns alive.
    countdown_weight: ClassVar[int] = 0
    heartbeat_weight: ClassVar[int] = 0
    #: Does one heartbeat keep many countdowns of an account alive?
    one_heartbeat_for_many: ClassVar[bool] = False
    #: The shortest countdown, and how much later than its length the venue may let it run out.
    shortest_countdown_ms: ClassVar[int] = 0
    countdown_check_ms: ClassVar[int] = 0
    #: Can the venue report its countdowns (`countdowns()`)?
    has_countdown_read: ClassVar[bool] = False
    #: Whether the venue refuses new orders after a countdown fired, until a heartbeat or a new countdown.
    locks_after_firing: ClassVar[bool] = False
    #: How long after its acknowledgement a cancel usually takes effect, in ms. Reading sooner is in vain.
    cancel_settle_ms: ClassVar[int] = 0
    #: What `check_access` costs of the listing limit.
    access_weight: ClassVar[int] = 0
    #: Does one mass cancel reach every symbol of the account?
    account_wide_cancel: ClassVar[bool] = False

    #: Does `history` take an empty symbol for all symbols at once?
    account_wide_history: ClassVar[bool] = False
    #: The families in which `place_far_order` places, first to last; none that would need a position.
    canary_families: ClassVar[tuple[str, ...]]

    @abstractmethod
    def __init__(self, base_url: str, credentials: Credentials, **opened: Unpack[Opened]) -> None:
        """Hold what the calls need; none is made.

        Raises CredentialsRejected when the secret is not a key of the stated type.
        """

    @classmethod
    def family(cls, slug: str) -> Family:
        return next(family for family in cls.families if family.slug == slug)

    @classmethod
    def untold_books(cls) -> list[str]:
        """The books whose orders do not say whether they can only reduce a position."""
        return [family.label for family in cls.families if not family.tells_protective]

    @classmethod
    def listing_limit(cls) -> Limit:
        """The limit that `open_orders` is paid from."""
        return cls.limits[0]

    @classmethod
    def cancel_limit(cls) -> Limit:
        """The limit that `mass_cancel` is paid from."""
        return cls.limits[0]

    @classmethod
    def book_symbols(cls, symbol: str) -> list[BookSymbol]:
        """Every book in which orders of this symbol can stand."""
        return [BookSymbol(family.slug, symbol) for family in cls.families]

    @classmethod
    @abstractmethod
    def mass_cancels(cls, symbols: Collection[BookSymbol], *, whole_account: bool) -> list[MassCancel]:
        """The calls that together cancel every order of every family on these symbols (no call is made).

        `whole_account` says that the whole account is being swept: a venue with an account-wide call then
        uses it, which reaches symbols nobody knows of. Without it no other symbol may be touched.
        """

    @classmethod
    def covers(cls, call: MassCancel, book: BookSymbol) -> bool:
        """Whether a mass cancel reaches the orders of this book symbol."""
        return call.family == book.family and call.target in (None, book.symbol)

    @classmethod
    @abstractmethod
    def listings(cls, symbols: Collection[BookSymbol] | None, *, quick: bool = False) -> list[Listing]:
        """The calls that read back these symbols (None: every symbol), conditional books first. No call.

        `quick` is for a first look that a full reading follows: a venue whose lists go back in time by
        dear calls then looks at the newest orders only.
        """

    @abstractmethod
    def sync_clock(self) -> int:
        """Read the venue's clock and keep the offset. Returns the offset in ms (venue minus here)."""

    @abstractmethod
    def check_access(self) -> Access:
        """Ask the venue whether this key is valid and may trade."""

    @abstractmethod
    def mass_cancel(self, call: MassCancel) -> MassCancelReply:
        """Make one mass cancel call. Returns what the venue names in its reply, if it names anything.

        A reply is an acknowledgement, never proof: only `open_orders` afterwards shows what is left.
        """

    @abstractmethod
    def cancel_orders(self, family: str, symbol: str, refs: Sequence[OrderRef]) -> list[CancelResult]:
        """Cancel up to `cancel_batch` orders of one family and symbol; one result each, in order.

        An accepted cancel is an acknowledgement, never proof, as with `mass_cancel`.
        """

    @abstractmethod
    def open_orders(self, listing: Listing) -> list[Order]:
        """The open orders of one listing, all pages of it. Raises rather than return a part."""

    @abstractmethod
    def order(self, ref: OrderRef) -> Order:
        """One order's present state. Raises OrderNotFound when the venue does not know it."""

    @classmethod
    def canary_order_id(cls) -> str:
        """A new client order id, by which a person knows a canary's order."""
        return f"panicboard-canary-{secrets.token_hex(6)}"

    @abstractmethod
    def plan_far_order(self, family: str) -> FarOrder:
        """The smallest order of this family that cannot fill, by the venue's present price and filters.

        Several calls, of public market data; nothing is placed. Raises NotDone when no order is far away.
        """

    @abstractmethod
    def place_far_order(self, order: FarOrder, client_order_id: str) -> Order:
        """Place what `plan_far_order` planned, in one call. Returns it as the venue took it.

        Placing is not idempotent: after OutcomeUnknown the order is looked up with `order`, by its client
        order id, and never placed again. Counts in the venue's limit of orders.
        """

    def history_weight(self, family: str) -> int | None:
        """What `history` costs in this family, or None where the venue has no such call."""
        return None

    def history(self, family: str, symbol: str, since: datetime) -> list[Order]:
        """Orders of one family and symbol placed since then, finished ones included."""
        raise NotImplementedError(f"{self.label} has no order history for {family}")

    @classmethod
    def countdown_of(cls, symbol: str) -> str:
        """What a countdown over the orders of this symbol names (only where `has_countdown`)."""
        return symbol

    def set_countdown(self, scope: str, countdown_ms: int, decided: Decided | None = None) -> int:
        """Start, or restart, the countdown of one scope; 0 stops it. Returns what the venue confirmed."""
        raise NotImplementedError(f"{self.label} has no countdown")

    def heartbeat(self, scopes: Sequence[str], decided: Decided | None = None) -> HeartbeatReply:
        """Restart the countdowns of these scopes in one call (only where `one_heartbeat_for_many`)."""
        raise NotImplementedError(f"{self.label} has no heartbeat for many countdowns")

    def countdowns(self) -> list[VenueCountdown]:
        """The countdowns the venue says are set (only where `has_countdown_read`)."""
        raise NotImplementedError(f"{self.label} cannot report its countdowns")
