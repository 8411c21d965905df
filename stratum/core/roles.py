"""Roles: what somebody who is no user here may be let in as, and who that may be.

Room: stratum/core. May import: core.{errors, policy, principals}.

Invariants
    R1  A role is taken on by who is named in it: users by their id, or who comes with a token of the role's identity
        provider that says everything the role asks for. Nobody else, whatever policies say.
    R2  It belongs to an account, whose buckets it neither owns nor rules: it may do what its policies allow.
"""

import re
from collections.abc import Mapping, Sequence

import msgspec

from stratum.core.errors import CorruptRecord, MalformedPolicy
from stratum.core.policy import Policy, parse_policy

EVERY_USER = "*"
SECONDS_MIN, SECONDS_MAX, SECONDS_DEFAULT = 900, 43_200, 3600  # of a session, as AWS

_NAME = re.compile(r"[A-Za-z0-9+=,.@_-]{1,64}", re.ASCII)
_ARN = re.compile(r"arn:aws[a-z-]*:iam::[^:/\s]{0,128}:role/(?:[\x21-\x2e\x30-\x7e]{1,64}/){0,8}([^/]{1,64})", re.ASCII)


class Role(msgspec.Struct, frozen=True, array_like=True):
    """A role. `policies`: name -> identity policy (JSON text). `account`: whose it is; empty: the operator's.

    `users`: canonical ids of who may take it on (`*`: every user). `provider` and `claims`: or who brings a token of
    that identity provider with these claims (name -> value; dots go into objects).
    """

    created: int
    policies: dict[str, str] = {}
    account: str = ""
    users: tuple[str, ...] = ()
    provider: str = ""
    claims: dict[str, str] = {}
    seconds: int = SECONDS_DEFAULT  # a session lasts at most


def is_role_name(name: str) -> bool:
    """May a role be called so?"""
    return _NAME.fullmatch(name) is not None


def role_of(arn: str) -> str | None:
    """The name of the role that an ARN names, whatever account and path it says; None: it is none."""
    match = _ARN.fullmatch(arn)
    return match[1] if match is not None and is_role_name(match[1]) else None


def policies_of(role: Role) -> tuple[Policy, ...]:
    """The policies of a role, parsed. Raises CorruptRecord: what cannot be read grants nothing."""
    try:
        return tuple(parse_policy(text) for text in role.policies.values())
    except MalformedPolicy as error:
        raise CorruptRecord("a policy of a role cannot be read") from error


def lets_in_user(role: Role, user: str) -> bool:
    """May that user (canonical id) take it on? (R1)"""
    return user in role.users or EVERY_USER in role.users


def lets_in_claims(role: Role, provider: str, claims: Mapping[str, object]) -> bool:
    """May who brings these claims of that provider take it on? A role that asks for no claim lets nobody in."""
    asked = bool(role.provider) and role.provider == provider and bool(role.claims)
    return asked and all(says(claims, name, wanted) for name, wanted in role.claims.items())


def says(claims: Mapping[str, object], name: str, wanted: str) -> bool:
    """Is the claim that value, or a list with it?"""
    found = claim(claims, name)
    values = found if isinstance(found, Sequence) and not isinstance(found, str | bytes) else (found,)
    return any(_text(value) == wanted for value in values)


def claim(claims: Mapping[str, object], name: str) -> object:
    """A claim by its name; where there is none of the whole name, dots go into objects (`realm_access.roles`)."""
    if name in claims:
        return claims[name]
    head, dot, rest = name.partition(".")
    inner = claims.get(head)
    return claim(inner, rest) if dot and isinstance(inner, Mapping) else None


def _text(value: object) -> str | None:
    if isinstance(value, bool):
        return "true" if value else "false"
    return str(value) if isinstance(value, str | int) else None
