"""Who is logged in to the web console: bounded, forgotten with the process, and gone with the key they stand for.

Room: stratum/console. May import: core.errors, engine.credentials.

A session's token is kept in one browser tab and sent as a header, never as a cookie: no other page, and nothing that
a bucket serves, can make a browser send it. Only its hash is remembered here.
"""

import hashlib
import hmac
import secrets
from collections import OrderedDict, deque
from collections.abc import Callable
from dataclasses import dataclass

from stratum.core.errors import NoSuchCredential
from stratum.engine.credentials import Credentials

SESSIONS_MAX = 256
IDLE_SECONDS = 3600
SESSION_SECONDS = 12 * 3600
TICKETS_MAX = 16
TICKET_SECONDS = 60
REFUSALS_MAX = 10  # wrong credentials within REFUSAL_SECONDS before nobody is let in for a while
REFUSAL_SECONDS = 60


class Refused(Exception):
    """Nobody is logged in; `str()` is what the person is told."""


class TooMany(Refused):
    """There were too many wrong credentials lately."""


@dataclass(slots=True)
class _Session:
    access_key: str
    began: float
    seen: float


class Sessions:
    """All sessions. `now`: seconds of a clock that never goes back."""

    def __init__(self, credentials: Credentials, now: Callable[[], float]) -> None:
        self._credentials = credentials
        self._now = now
        self._open: OrderedDict[bytes, _Session] = OrderedDict()
        self._tickets: OrderedDict[bytes, tuple[str, float]] = OrderedDict()
        self._refusals: deque[float] = deque(maxlen=REFUSALS_MAX)

    def log_in(self, access_key: str, secret_key: str) -> str:
        """Return the token of a new session. Raises Refused; after too many of those, TooMany."""
        self._check_refusals()
        try:
            secret = self._credentials.secret_of(access_key)
            known = True
        except NoSuchCredential:
            secret, known = "x" * 40, False  # compared all the same: unknown and wrong take one path
        if not hmac.compare_digest(secret.encode(), secret_key.encode("utf-8", "replace")) or not known:
            self._refusals.append(self._now())
            raise Refused("the access key or the secret key is wrong")
        return self._begin(access_key)

    def ticket(self, access_key: str) -> str:
        """Return what logs in once, within TICKET_SECONDS, as that key: for a link on the terminal."""
        token = secrets.token_urlsafe(32)
        self._tickets[_hash(token)] = (access_key, self._now() + TICKET_SECONDS)
        while len(self._tickets) > TICKETS_MAX:
            self._tickets.popitem(last=False)
        return token

    def redeem(self, ticket: str) -> str:
        """Return the token of a new session for a ticket, which is then used up. Raises Refused, TooMany."""
        self._check_refusals()
        access_key, until = self._tickets.pop(_hash(ticket), ("", 0.0))
        if not access_key or self._now() > until:
            self._refusals.append(self._now())
            raise Refused("this link was used before, or is too old: ask for another one")
        return self._begin(access_key)

    def holder(self, token: str) -> str:
        """Return the access key of a session that is in use. Raises Refused."""
        hashed = _hash(token)
        session, now = self._open.get(hashed), self._now()
        if session is None:
            raise Refused("log in first")
        if now - session.seen > IDLE_SECONDS or now - session.began > SESSION_SECONDS:
            del self._open[hashed]
            raise Refused("this session is over: log in again")
        try:
            self._credentials.principal_of(session.access_key)
        except NoSuchCredential:
            del self._open[hashed]
            raise Refused("this access key was deleted") from None
        session.seen = now
        self._open.move_to_end(hashed)
        return session.access_key

    def end(self, token: str) -> None:
        """Log out."""
        self._open.pop(_hash(token), None)

    def _begin(self, access_key: str) -> str:
        token, now = secrets.token_urlsafe(32), self._now()
        self._open[_hash(token)] = _Session(access_key, now, now)
        while len(self._open) > SESSIONS_MAX:
            self._open.popitem(last=False)  # the one that rested longest
        return token

    def _check_refusals(self) -> None:
        if len(self._refusals) == REFUSALS_MAX and self._now() - self._refusals[0] < REFUSAL_SECONDS:
            raise TooMany("too many wrong credentials: wait a minute")


def _hash(token: str) -> bytes:
    return hashlib.sha256(token.encode("utf-8", "replace")).digest()
