from panicboard.models.accounts import Account, Desk, Egress, Reading, Venue
from panicboard.models.calls import VenueCall
from panicboard.models.canaries import CanaryRun
from panicboard.models.countdowns import Countdown, Follow, LifeSign, Maintenance
from panicboard.models.drills import Drill, DrilledAccount
from panicboard.models.panics import AuditEntry, Panic, Sweep, SweptOrder
from panicboard.models.processes import Beat, Lease
from panicboard.models.walls import Wall

__all__ = [
    "Account",
    "AuditEntry",
    "Beat",
    "CanaryRun",
    "Countdown",
    "Desk",
    "Drill",
    "DrilledAccount",
    "Egress",
    "Follow",
    "Lease",
    "LifeSign",
    "Maintenance",
    "Panic",
    "Reading",
    "Sweep",
    "SweptOrder",
    "Venue",
    "VenueCall",
    "Wall",
]
