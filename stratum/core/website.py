"""A bucket as a web site: which object a path means, and where requests are sent instead.

Room: stratum/core. May import: nothing of ours.

Invariants
    W1  Rules are tried in their order; the first whose conditions all hold counts. A rule that names an error is asked
        only once that error has come; the others before anything is looked up.
    W2  A key is bytes from end to end; rules speak of it as UTF-8.

Source: docs.aws.amazon.com/AmazonS3/latest/userguide/how-to-page-redirect.html
"""

from dataclasses import dataclass

import msgspec

KIND = "website"
RULES_MAX = 50


class RoutingRule(msgspec.Struct, frozen=True, array_like=True):
    """Where a request goes if its key begins with `prefix` and, if `error` is not 0, that status came of it.

    Empty `protocol` and `host`: those of the request. Of `key` and `key_prefix` at most one is not None: the new key,
    or what takes the place of `prefix`.
    """

    prefix: str = ""
    error: int = 0
    protocol: str = ""
    host: str = ""
    key: str | None = None
    key_prefix: str | None = None
    status: int = 301


class Website(msgspec.Struct, frozen=True, array_like=True):
    """`index`: what is shown of a folder; `error`: key of the page for 4xx, or empty; or all goes to `all_host`."""

    index: str = ""
    error: str = ""
    all_host: str = ""
    all_protocol: str = ""
    rules: tuple[RoutingRule, ...] = ()


@dataclass(frozen=True, slots=True)
class Redirect:
    """Send the browser to `key` at `host` by `protocol` (empty: where it is)."""

    status: int
    protocol: str
    host: str
    key: bytes


def document_key(site: Website, key: bytes) -> bytes:
    """The object that a path means: of a folder, its index."""
    return key + site.index.encode() if key == b"" or key.endswith(b"/") else key


def redirect_of(site: Website, key: bytes, status: int = 0) -> Redirect | None:
    """Where a request for `key` goes before anything is looked up, or (`status`) after that error; None: nowhere."""
    if site.all_host:
        return Redirect(301, site.all_protocol, site.all_host, key)
    for rule in site.rules:
        if rule.error == status and key.startswith(rule.prefix.encode()):
            return Redirect(rule.status, rule.protocol, rule.host, _target(rule, key))
    return None


def _target(rule: RoutingRule, key: bytes) -> bytes:
    if rule.key is not None:
        return rule.key.encode()
    if rule.key_prefix is not None:
        return rule.key_prefix.encode() + key.removeprefix(rule.prefix.encode())
    return key
