"""Temporary credentials: a session, sealed into the token that its holder shows with every request.

Room: stratum/core. May import: core.{errors, sealing}.

Invariants
    S1  A token is opened by authenticated encryption or not at all: no bit of it can be changed.
    S2  The store keeps no session. What a session rests on (role, user, access key, provider) is looked at again with
        every request, so that taking it away ends the session.
"""

import base64
import binascii
import hmac

import msgspec

from stratum.core.errors import BadSession, WrongKey
from stratum.core.sealing import unwrap, wrap

TOKEN_CHARACTERS_MAX = 8192
ACCESS_KEY_PREFIX = "ASIA"  # of temporary credentials, as at AWS

_FORMAT = b"\x01"
_BOUND = b"stratum session 1"


class SessionKey(msgspec.Struct, frozen=True, array_like=True):
    """What tokens are sealed with: random, of this store. A new one ends every session."""

    created: int
    secret: bytes

    def __repr__(self) -> str:
        return f"SessionKey(created={self.created}, secret=<hidden>)"


class Session(msgspec.Struct, frozen=True, array_like=True):
    """Who a token speaks for, since when and until when (ns).

    `user`: canonical id of the user or operator whose session it is, empty for one of a `role`. `source`: what it was
    given for: `key:<access key>` or `oidc:<provider>`. `subject`: who that was, in the words of the provider.
    """

    access_key: str
    secret_key: str
    issued: int
    expires: int
    source: str
    user: str = ""
    role: str = ""
    name: str = ""
    policy: str = ""  # JSON text; what it does not allow is refused
    subject: str = ""

    def __repr__(self) -> str:
        return f"Session(access_key={self.access_key!r}, user={self.user!r}, role={self.role!r}, secret_key=<hidden>)"


def seal_session(key: SessionKey, session: Session, salt: bytes) -> str:
    """Return the token. `salt`: WRAP_SALT_BYTES of core.sealing, random."""
    sealed = _FORMAT + wrap(key.secret, msgspec.msgpack.encode(session), salt, _BOUND)
    return base64.urlsafe_b64encode(sealed).decode("ascii").rstrip("=")


def open_session(key: SessionKey | None, access_key: str, token: str) -> Session:
    """Return the session of a token that is shown together with `access_key`. Raises BadSession (S1)."""
    try:
        if key is None or len(token) > TOKEN_CHARACTERS_MAX or not token.isascii():
            raise BadSession("no such token was ever given out")
        sealed = base64.b64decode(token + "=" * (-len(token) % 4), altchars=b"-_", validate=True)
        if sealed[:1] != _FORMAT or base64.urlsafe_b64encode(sealed).decode().rstrip("=") != token:
            raise BadSession("no such token was ever given out")
        session = msgspec.msgpack.decode(unwrap(key.secret, sealed[1:], _BOUND), type=Session)
    except (binascii.Error, WrongKey, msgspec.DecodeError) as error:
        raise BadSession("no such token was ever given out") from error
    if not hmac.compare_digest(session.access_key.encode(), access_key.encode("utf-8", "replace")):
        raise BadSession("the token is that of another access key")
    return session
