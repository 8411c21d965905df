"""Policies as values: statements, and which requests each of them speaks of.

Room: stratum/core. May import: core.{policy_conditions, policy_pattern, policy_principals, principals}.
"""

from dataclasses import dataclass, field
from enum import Enum

from stratum.core.policy_conditions import Condition, Context, lookup_in
from stratum.core.policy_pattern import Pattern
from stratum.core.policy_principals import Name
from stratum.core.principals import Principal


class Effect(Enum):
    """What a statement does with the requests it speaks of."""

    ALLOW = "Allow"
    DENY = "Deny"


@dataclass(frozen=True, slots=True, kw_only=True)
class AccessRequest:
    """One action on one resource, and everything known about who asks and how.

    `context`: condition keys in lower case and their values, all derived by the server. `service`: set where a service
    of this server asks for itself (log delivery), with `principal` anonymous.
    """

    principal: Principal
    action: str  # s3:GetObject
    resource: str  # arn:aws:s3:::bucket/key
    context: Context
    service: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Statement:
    """One statement. `not_*`: the element was NotPrincipal, NotAction, NotResource."""

    effect: Effect
    principals: tuple[Name, ...]
    actions: tuple[Pattern, ...]  # lower case
    resources: tuple[Pattern, ...]
    conditions: tuple[Condition, ...] = ()
    not_principals: bool = False
    not_actions: bool = False
    not_resources: bool = False
    sid: str = ""

    def applies(self, request: AccessRequest) -> bool:
        """Does it speak of this request?"""
        action = request.action.lower()
        return (
            any(pattern.matches(action) for pattern in self.actions) is not self.not_actions
            and self._names(request) is not self.not_principals
            and self._covers(request) is not self.not_resources
            and all(condition.holds(request.context) for condition in self.conditions)
        )

    def _names(self, request: AccessRequest) -> bool:
        return any(name.matches(request.principal, request.service) for name in self.principals)

    def _covers(self, request: AccessRequest) -> bool:
        lookup = lookup_in(request.context)
        return any(pattern.matches(request.resource, lookup) for pattern in self.resources)

    @property
    def patterns(self) -> tuple[Pattern, ...]:
        """Every pattern that texts of a request are compared with."""
        return (*self.actions, *self.resources, *(value for each in self.conditions for value in each.values))

    @property
    def keys(self) -> frozenset[str]:
        """Condition keys it looks at, in lower case; those of variables too."""
        parts = [condition.keys for condition in self.conditions] + [pattern.keys for pattern in self.resources]
        return frozenset().union(*parts)


@dataclass(frozen=True, slots=True)
class Policy:
    """A parsed policy.

    `weight`: how many texts a request may have to be compared with, each as often as it takes longer than plain text.
    """

    statements: tuple[Statement, ...]
    weight: int = field(default=0, compare=False)

    @property
    def keys(self) -> frozenset[str]:
        """Condition keys it looks at, in lower case."""
        return frozenset().union(*(statement.keys for statement in self.statements))
