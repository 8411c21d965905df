"""When is a policy public?

Room: stratum/core. May import: core.policy_*.

A policy is public if one of its Allow statements lets in everyone, and no condition of that statement ties it to fixed
values of a key that tells who or from where. Deny statements are not looked at: they may take back less than it seems.

Source: docs.aws.amazon.com/AmazonS3/latest/userguide/access-control-block-public-access.html, "The meaning of public"
"""

from ipaddress import IPv4Network, IPv6Network, ip_network

from stratum.core.policy_conditions import Condition
from stratum.core.policy_statements import Effect, Policy, Statement

_TELLS_WHO = frozenset(
    (
        "aws:principalaccount",
        "aws:principalarn",
        "aws:principalorgid",
        "aws:principalorgpaths",
        "aws:sourceaccount",
        "aws:sourcearn",
        "aws:sourceowner",
        "aws:sourcevpc",
        "aws:sourcevpce",
        "aws:userid",
        "aws:username",
        "s3:dataaccesspointaccount",
        "s3:dataaccesspointarn",
        "s3:x-amz-server-side-encryption-aws-kms-key-id",
    )
)
_FIXES = ("StringEquals", "StringEqualsIgnoreCase", "StringLike", "ArnEquals", "ArnLike")
WIDEST_IPV4, WIDEST_IPV6 = 8, 32  # bits of a prefix: what is wider, and not private, is the public
_PRIVATE = tuple(map(IPv4Network, ("10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16")))  # RFC 1918
_UNIQUE_LOCAL = IPv6Network("fc00::/7")  # RFC 4193


def is_public(policy: Policy) -> bool:
    """Does the policy let in the public?"""
    return any(map(_lets_in_everyone, policy.statements))


def _lets_in_everyone(statement: Statement) -> bool:
    if statement.effect is not Effect.ALLOW:
        return False
    everyone = statement.not_principals or any(name.kind == "*" for name in statement.principals)
    return everyone and not any(map(_narrows, statement.conditions))


def _narrows(condition: Condition) -> bool:
    """Does it let in fixed values only, and nobody about whom the key says nothing?"""
    operator = condition.operator
    if operator.negated or operator.if_exists or operator.all_values:
        return False
    if condition.key == "aws:sourceip":
        return operator.base == "IpAddress" and all(
            value.fixed and _narrow(value.text(lambda key: None) or "") for value in condition.values
        )
    fixed = all(value.fixed for value in condition.values)
    return condition.key in _TELLS_WHO and operator.base in _FIXES and fixed


def _narrow(text: str) -> bool:
    found = ip_network(text, strict=False)
    if isinstance(found, IPv4Network):
        return found.prefixlen >= WIDEST_IPV4 or any(found.subnet_of(each) for each in _PRIVATE)
    return found.prefixlen >= WIDEST_IPV6 or found.subnet_of(_UNIQUE_LOCAL)
