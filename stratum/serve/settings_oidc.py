"""The tables `[oidc.<name>]` of the settings: identity providers whose tokens are taken for temporary credentials.

Room: stratum/serve. May import: core.config, serve.{settings_notify, settings_values}.

    [oidc.company] issuer = "https://login.example.org/realms/main"    audiences = ["stratum"]
                   jwks_url = "https://..."     (only where the issuer has no discovery document)
                   role_claim = "roles"         (a claim that must name the role that is asked for)
                   allow_private = false        (true: also addresses of this network)

They have no environment variables: their names are the operator's own.
"""

import re
from collections.abc import Callable, Mapping
from typing import Any

from stratum.core.config import OidcProvider
from stratum.serve.settings_notify import parse_url
from stratum.serve.settings_values import Malformed, parse_switch, parse_text

PROVIDERS_MAX = 16

_KEY = re.compile(r"oidc\.([a-z0-9][a-z0-9-]{0,62})\.([a-z_]+)", re.ASCII)


def parse_issuer(value: object) -> str:
    """An issuer, kept as it was written: tokens are compared with it letter by letter."""
    parse_url(value)
    return str(value)


def parse_audiences(value: object) -> tuple[str, ...]:
    """One audience, or a list of them."""
    found = value if isinstance(value, list) else [value]
    if not found:
        raise Malformed("a token must be for somebody: name at least one audience")
    return tuple(parse_text(each) for each in found)


PARSERS: Mapping[str, Callable[[Any], Any]] = {
    "issuer": parse_issuer,
    "audiences": parse_audiences,
    "jwks_url": parse_url,
    "role_claim": parse_text,
    "allow_private": parse_switch,
}


def parser_of(key: str) -> Callable[[Any], Any] | None:
    """How the value of `oidc.<name>.<field>` is read; None: it is no such key."""
    match = _KEY.fullmatch(key)
    return PARSERS.get(match[2]) if match is not None else None


def take_providers(parsed: dict[str, Any]) -> tuple[OidcProvider, ...]:
    """Take the keys of all providers out of `parsed`, return the providers by name. Raises Malformed."""
    found: dict[str, dict[str, Any]] = {}
    for key in [key for key in parsed if key.startswith("oidc.")]:
        _, name, part = key.split(".")
        found.setdefault(name, {})[part] = parsed.pop(key)
    for name, parts in found.items():
        if not {"issuer", "audiences"} <= parts.keys():
            raise Malformed(f"oidc.{name}: issuer and audiences are needed")
    providers = tuple(OidcProvider(name=name, **found[name]) for name in sorted(found))
    if len({each.issuer for each in providers}) < len(providers) or len(providers) > PROVIDERS_MAX:
        raise Malformed(f"oidc: at most {PROVIDERS_MAX} providers, and no two of one issuer")
    return providers


def as_keys(providers: tuple[OidcProvider, ...]) -> dict[str, object]:
    """The providers by key, as values a file could hold."""
    return {
        f"oidc.{each.name}.{part}": list(value) if isinstance(value, tuple) else value
        for each in providers
        for part in PARSERS
        if (value := getattr(each, part)) != ""
    }
