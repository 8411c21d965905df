"""Temporary credentials: begun for a user or a role, verified with every request, ended by what they rest on.

Room: stratum/engine. May import: core, store, engine.{credentials, roles, users}. Secrets appear in no log or repr.

Invariants
    S1  Nobody gets more by a session than by being who began it: a session begins no session, and what it rests on is
        looked at again each time (core/sessions.py S2).
    S2  A role or user that was taken away and made anew is another one: sessions from before do not count.
"""

import secrets
import string
from collections.abc import Callable, Collection
from dataclasses import dataclass, field

from stratum.core.errors import ExpiredSession, InvalidArgument, NoSuchCredential, NoSuchRole, NotPermitted
from stratum.core.policy import parse_policy
from stratum.core.principals import OPERATOR_ID, Principal
from stratum.core.records import Credential
from stratum.core.roles import lets_in_claims, lets_in_user, says
from stratum.core.schema import SESSION_KEY, credential_key
from stratum.core.sealing import WRAP_SALT_BYTES
from stratum.core.sessions import ACCESS_KEY_PREFIX, Session, SessionKey, open_session, seal_session
from stratum.core.txn import Txn, load, save
from stratum.core.web_identity import Identity
from stratum.engine.credentials import Credentials
from stratum.engine.roles import find_role
from stratum.engine.users import find_user
from stratum.store.meta import Meta

POLICY_CHARACTERS_MAX = 2048  # of a session, as AWS
_ALPHABET = string.ascii_uppercase + "234567"
_SECOND = 10**9
_BY_KEY, _BY_PROVIDER = "key:", "oidc:"


@dataclass(frozen=True, slots=True)
class Begun:
    """A session and the token that its holder shows."""

    session: Session = field(repr=False)
    token: str = field(repr=False)
    account: str = ""  # of its role


class Sessions:
    """Begin sessions, and tell who they are."""

    def __init__(
        self, meta: Meta, credentials: Credentials, providers: Collection[str], now_ns: Callable[[], int]
    ) -> None:
        """`providers`: names of the identity providers that the settings know (now)."""
        self._meta = meta
        self._credentials = credentials
        self._providers = providers
        self._now_ns = now_ns

    # --- with every request ---------------------------------------------------------------------------------

    def secret_of(self, access_key: str, token: str) -> str:
        """The secret key of a temporary access key. Raises BadSession, ExpiredSession, NoSuchCredential."""
        return self._session(access_key, token)[0].secret_key

    def principal_of(self, access_key: str, token: str) -> Principal:
        """Who a session is. Raises as `secret_of`."""
        session, account = self._session(access_key, token)
        limits = (session.policy,) if session.policy else ()
        if session.role:
            return Principal(
                user=f"role/{session.role}",
                name=session.role,
                access_key=access_key,
                account=account or OPERATOR_ID,
                role=session.role,
                session=session.name,
                limits=limits,
            )
        if session.user == OPERATOR_ID:
            return Principal(user=OPERATOR_ID, name=OPERATOR_ID, access_key=access_key, operator=True, limits=limits)
        user = self._meta.read(lambda txn: find_user(txn, session.user))
        if user is None:
            raise NoSuchCredential(access_key)
        return Principal(user=session.user, name=user.name, access_key=access_key, account=user.account, limits=limits)

    def _session(self, access_key: str, token: str) -> tuple[Session, str]:
        """The session, and the account of its role."""
        key = self._meta.read(lambda txn: load(txn, SESSION_KEY, SessionKey))
        session = open_session(key, access_key, token)
        if self._now_ns() >= session.expires:
            raise ExpiredSession("the session is over")
        return session, self._meta.read(lambda txn: self._rests_on(txn, session))

    def _rests_on(self, txn: Txn, session: Session) -> str:
        """Return the account of its role. Raises NoSuchCredential if something that it rests on is gone (S2)."""
        kind, _, source = session.source.partition(":")
        if f"{kind}:" == _BY_PROVIDER:
            known = source in self._providers
        else:
            known = self._credentials.is_root(source) or load(txn, credential_key(source), Credential) is not None
        if session.role:
            role = find_role(txn, session.role)
            if not known or role is None or role.created > session.issued:
                raise NoSuchCredential(session.access_key)
            return role.account
        user = None if session.user == OPERATOR_ID else find_user(txn, session.user)
        gone = session.user != OPERATOR_ID and (user is None or user.created > session.issued)
        if not known or gone:
            raise NoSuchCredential(session.access_key)
        return ""

    # --- beginning ------------------------------------------------------------------------------------------

    async def begin(self, principal: Principal, seconds: int) -> Begun:
        """A session of who asks, with all that it may do. Raises NotPermitted for who is in a session (S1)."""
        _check_asker(principal)
        return await self._begin(seconds, source=_BY_KEY + principal.access_key, user=principal.user)

    async def assume(self, principal: Principal, role: str, name: str, seconds: int | None, policy: str = "") -> Begun:
        """A session of a role for a user. Raises NotPermitted, InvalidArgument, MalformedPolicy.

        `seconds`: None: as long as the role has it.
        """
        _check_asker(principal)
        found = self._meta.read(lambda txn: find_role(txn, role))
        if found is None or not (principal.operator or lets_in_user(found, principal.user)):
            raise NotPermitted("may not take on that role")  # the same, whether or not there is one
        source = _BY_KEY + principal.access_key
        return await self._begin(
            _within(seconds, found.seconds), source=source, role=role, name=name, policy=policy, account=found.account
        )

    async def assume_by_identity(
        self, identity: Identity, role: str, name: str, seconds: int | None, policy: str = "", role_claim: str = ""
    ) -> Begun:
        """A session of a role for whom a provider vouches for. `role_claim`: a claim that must name the role.

        Raises NotPermitted, InvalidArgument, MalformedPolicy.
        """
        found = self._meta.read(lambda txn: find_role(txn, role))
        fits = found is not None and lets_in_claims(found, identity.provider, identity.claims)
        if found is None or not fits or (role_claim and not says(identity.claims, role_claim, role)):
            raise NotPermitted("may not take on that role")
        return await self._begin(
            _within(seconds, found.seconds),
            source=_BY_PROVIDER + identity.provider,
            role=role,
            name=name,
            policy=policy,
            subject=identity.subject,
            account=found.account,
        )

    async def _begin(
        self,
        seconds: int,
        *,
        source: str,
        user: str = "",
        role: str = "",
        name: str = "",
        policy: str = "",
        subject: str = "",
        account: str = "",
    ) -> Begun:
        if len(policy) > POLICY_CHARACTERS_MAX:
            raise InvalidArgument(f"the policy of a session has at most {POLICY_CHARACTERS_MAX} characters")
        if policy:
            parse_policy(policy)
        now = self._now_ns()
        session = Session(
            access_key=ACCESS_KEY_PREFIX + "".join(secrets.choice(_ALPHABET) for _ in range(16)),
            secret_key=secrets.token_urlsafe(30),
            issued=now,
            expires=now + seconds * _SECOND,
            source=source,
            user=user,
            role=role,
            name=name,
            policy=policy,
            subject=subject,
        )
        key = await self._key()
        return Begun(session, seal_session(key, session, secrets.token_bytes(WRAP_SALT_BYTES)), account)

    async def _key(self) -> SessionKey:
        """What tokens are sealed with; made when it is first needed."""
        found = self._meta.read(lambda txn: load(txn, SESSION_KEY, SessionKey))
        if found is not None:
            return found
        made = SessionKey(self._now_ns(), secrets.token_bytes(32))

        def change(txn: Txn) -> SessionKey:
            there = load(txn, SESSION_KEY, SessionKey)
            if there is None:
                save(txn, SESSION_KEY, made)
            return there or made

        return await self._meta.write(change)

    async def end_all(self) -> None:
        """End every session of the store, at once."""
        made = SessionKey(self._now_ns(), secrets.token_bytes(32))
        await self._meta.write(lambda txn: save(txn, SESSION_KEY, made))

    def account_of(self, role: str) -> str:
        """The account of a role. Raises NoSuchRole."""
        found = self._meta.read(lambda txn: find_role(txn, role))
        if found is None:
            raise NoSuchRole(role)
        return found.account or OPERATOR_ID


def _check_asker(principal: Principal) -> None:
    """S1: long-term keys only."""
    if principal.anonymous or principal.role or principal.access_key.startswith(ACCESS_KEY_PREFIX):
        raise NotPermitted("a session is begun with a long-term access key")


def _within(seconds: int | None, most: int) -> int:
    if seconds is None:
        return min(3600, most)
    if seconds > most:
        raise InvalidArgument("The requested DurationSeconds exceeds the MaxSessionDuration set for this role.")
    return seconds
