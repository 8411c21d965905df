"""Whom a policy statement speaks of, and whether a request comes from one of them.

Room: stratum/core. May import: core.{errors, principals}.

How the names of AWS map to users here (core/principals.py); what is not in this table matches nobody:

    "*"                                 everyone, also anonymous requests
    arn:aws:iam::<account>:root         every user of that account
    <account>, <user>                   every user of that account, that user (a bare id, under AWS or CanonicalUser)
    arn:aws:iam::<account>:user/<x>     the user of that account whose id or name is <x>
    arn:aws:iam:::user/<id>             the user with that id
    Service: <name>                     a service of this server that says it is <name>; never a client

Invariants
    W1  Wildcards are a principal only as the whole `*`; inside a name they are refused, as at AWS.
    W2  Names are compared exactly, and a name counts only together with its account. Federated users and groups are
        read, but nobody here is one of them.

Source: docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_elements_principal.html
"""

import re
from dataclasses import dataclass

from stratum.core.errors import MalformedPolicy
from stratum.core.principals import Principal

KINDS = ("AWS", "CanonicalUser", "Service", "Federated")

_ARN = re.compile(r"arn:aws[a-z-]*:(?:iam|sts)::([^:*?]{0,256}):([^:*?]{1,512})", re.ASCII)
_ID = re.compile(r"[A-Za-z0-9$._@+=,-]{1,256}", re.ASCII)
_SERVICE = re.compile(r"[a-z0-9.-]{1,256}", re.ASCII)


@dataclass(frozen=True, slots=True)
class Name:
    """One principal of a statement: `kind` as in KINDS, or `*`; `account` and `path` are of an ARN."""

    kind: str
    text: str = ""
    account: str = ""
    path: str = ""  # root, user/<x> ...

    def matches(self, principal: Principal, service: str) -> bool:
        """Does it name who asks? `service`: the name of the service that asks instead of a client."""
        if self.kind == "*":
            return True
        if service or principal.anonymous or self.kind in ("Service", "Federated"):
            return self.kind == "Service" and service == self.text
        if not self.path:
            return self.text in (principal.user, principal.account_id)
        if self.path == "root":
            return bool(self.account) and self.account == principal.account_id
        kind, _, name = self.path.partition("/")
        if principal.role:
            return self.account in ("", principal.account_id) and _is_session(kind, name, principal)
        if kind != "user" or not name:
            return False
        if not self.account:
            return name == principal.user
        return self.account == principal.account_id and name in (principal.user, principal.name)


def _is_session(kind: str, name: str, principal: Principal) -> bool:
    """`role/<name>` (behind any path) is every session of a role, `assumed-role/<role>/<session>` is one of them."""
    if kind == "role":
        return name.rpartition("/")[2] == principal.role
    return kind == "assumed-role" and name == f"{principal.role}/{principal.session}"


EVERYONE = (Name("*"),)


def parse_name(kind: str, text: str) -> Name:
    """Return one principal. Raises MalformedPolicy (W1)."""
    if kind == "AWS" and text == "*":
        return Name("*")
    if kind == "AWS" and text.startswith("arn:"):
        match = _ARN.fullmatch(text)
        if match is None:
            raise MalformedPolicy(f"Invalid principal in policy: {text[:128]}")
        return Name(kind, text, match[1], match[2])
    shape = _SERVICE if kind == "Service" else _ID
    if kind not in KINDS or (kind != "Federated" and not shape.fullmatch(text)):
        raise MalformedPolicy(f"Invalid principal in policy: {text[:128]}")
    return Name(kind, text)
