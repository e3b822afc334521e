"""What a fresh installation still needs before there is anything to watch, and where that is done."""

from dataclasses import dataclass

from django.contrib.auth.models import AbstractBaseUser, AnonymousUser, User
from django.urls import reverse

from panicboard.models import Account, Desk, Venue

_STEPS = (
    (Desk, "Add a desk", "the group of accounts that one team answers for"),
    (Venue, "Add a venue", "which API it speaks, and its address"),
    (Account, "Add an account", "with its own key: no withdrawals, bound to this host's address"),
)


@dataclass(frozen=True, slots=True)
class Step:
    name: str
    words: str
    done: bool
    #: Where it is done; empty for whoever may not.
    url: str


def read(user: AbstractBaseUser | AnonymousUser) -> tuple[Step, ...]:
    """The steps to the first account, for this user."""
    return tuple(
        Step(
            name,
            words,
            model._default_manager.exists(),
            reverse(f"admin:panicboard_{model._meta.model_name}_add") if _may_add(user, model) else "",
        )
        for model, name, words in _STEPS
    )


def _may_add(user: AbstractBaseUser | AnonymousUser, model: type[Desk] | type[Venue] | type[Account]) -> bool:
    return (
        isinstance(user, User) and user.is_staff and user.has_perm(f"panicboard.add_{model._meta.model_name}")
    )
