"""A risk manager who is signed in to a running web process, without a browser."""

import requests
from django.contrib.auth.models import Group, User

from panicboard import people

NAME = "risk.desk1"
PASSWORD = "hold for one second"


class Board:
    """The web process at an address, and the session of whoever signed in there."""

    def __init__(self, url: str, session: requests.Session) -> None:
        self.url = url
        self.session = session

    @classmethod
    def sign_in(cls, url: str) -> "Board":
        """Make the risk manager, unless there is one, and sign in."""
        user, _ = User.objects.get_or_create(username=NAME)
        user.set_password(PASSWORD)
        user.save()
        user.groups.add(Group.objects.get(name=people.RISK_MANAGERS))
        board = cls(url, _session())
        board.session.get(f"{url}/login/", timeout=30)
        reply = board.post("/login/", username=NAME, password=PASSWORD)
        assert reply.status_code == 302, f"not signed in: {reply.status_code} {reply.text[:300]}"
        return board

    def another(self) -> "Board":
        """The same login over connections of its own, for another thread."""
        session = _session()
        session.cookies.update(self.session.cookies)
        return Board(self.url, session)

    def press(self, **scope: str) -> str:
        """Press as a held button does. Returns where the answer leads: the panic's page."""
        reply = self.post("/panics/", held_ms="1000", **scope)
        assert reply.status_code == 303, f"{scope}: {reply.status_code} {reply.text[:300]}"
        return reply.headers["Location"]

    def page(self, path: str) -> str:
        """What the page there says."""
        reply = self.session.get(f"{self.url}{path}", timeout=60)
        assert reply.status_code == 200, reply.text
        return reply.text

    def post(self, path: str, **fields: str) -> requests.Response:
        """Send a form, and return the answer to it, wherever it leads."""
        fields["csrfmiddlewaretoken"] = self.session.cookies["csrftoken"]
        return self.session.post(f"{self.url}{path}", data=fields, timeout=30, allow_redirects=False)


def _session() -> requests.Session:
    session = requests.Session()
    session.trust_env = False
    return session
