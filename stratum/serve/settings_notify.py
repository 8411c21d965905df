"""The tables `[notify.<name>]` of the settings: whom buckets may have told of events.

Room: stratum/serve. May import: core.config, serve.settings_values.

    [notify.ops] url = "https://hooks.example.org/stratum"     secret_ref = "file:/run/secrets/hook"   (or "env:HOOK")
                 allow_private = false                         (true: also addresses of this network)

They have no environment variables: their names are the operator's own.
"""

import re
from collections.abc import Callable, Mapping
from typing import Any
from urllib.parse import urlsplit

from stratum.core.config import NotifyTarget
from stratum.serve.settings_values import Malformed, parse_switch

TARGETS_MAX = 64

_KEY = re.compile(r"notify\.([a-z0-9][a-z0-9-]{0,62})\.([a-z_]+)", re.ASCII)
_REFERENCE = re.compile(r"env:[A-Za-z_][A-Za-z0-9_]*|file:/.+")


def parse_url(value: object) -> str:
    """An http or https URL with a host, and nothing secret in it."""
    url = urlsplit(value) if isinstance(value, str) and value.isascii() and value.isprintable() else None
    try:
        known = url is not None and url.scheme in ("http", "https") and bool(url.hostname) and url.port != 0
    except ValueError:
        known = False
    if url is None or not known:
        raise Malformed(f"{value!r} is not an http or https URL")
    if url.username or url.password or url.fragment:
        raise Malformed("a URL with a name, password or fragment in it: use secret_ref")
    return url.geturl()


def parse_reference(value: object) -> str:
    """Where a secret is kept: env:NAME or file:/path."""
    if not isinstance(value, str) or not _REFERENCE.fullmatch(value):
        raise Malformed("must be env:NAME or file:/path; the secret itself does not belong here")
    return value


PARSERS: Mapping[str, Callable[[Any], Any]] = {
    "url": parse_url,
    "secret_ref": parse_reference,
    "allow_private": parse_switch,
}


def parser_of(key: str) -> Callable[[Any], Any] | None:
    """How the value of `notify.<name>.<field>` is read; None: it is no such key."""
    match = _KEY.fullmatch(key)
    return PARSERS.get(match[2]) if match is not None else None


def take_targets(parsed: dict[str, Any]) -> tuple[NotifyTarget, ...]:
    """Take the keys of all targets out of `parsed`, return the targets by name. Raises Malformed."""
    found: dict[str, dict[str, Any]] = {}
    for key in [key for key in parsed if key.startswith("notify.")]:
        _, name, part = key.split(".")
        found.setdefault(name, {})[part] = parsed.pop(key)
    for name, parts in found.items():
        if "url" not in parts:
            raise Malformed(f"notify.{name}: without a url nothing can be sent")
    if len(found) > TARGETS_MAX:
        raise Malformed(f"notify: {len(found)} targets, more than {TARGETS_MAX}")
    return tuple(NotifyTarget(name=name, **found[name]) for name in sorted(found))


def as_keys(targets: tuple[NotifyTarget, ...]) -> dict[str, object]:
    """The targets by key, as values a file could hold."""
    return {
        f"notify.{target.name}.{part}": getattr(target, part)
        for target in targets
        for part in PARSERS
        if getattr(target, part) != ""
    }
