"""The tables `[replication.<name>]` of the settings: remote S3 services that buckets may be replicated to.

Room: stratum/serve. May import: core.config, serve.{settings_notify, settings_values}.

    [replication.paris] endpoint_url = "https://s3.example.org"   region = "eu-west-3"   addressing = "path"
                        access_key_ref = "env:PARIS_KEY"           secret_key_ref = "file:/run/secrets/paris"
                        sse = "AES256"                             (what is asked of the remote; empty: its default)
                        allow_private = false                      (true: also addresses of this network)

They have no environment variables: their names are the operator's own.
"""

import re
from collections.abc import Callable, Mapping
from typing import Any

from stratum.core.config import ReplicationRemote
from stratum.serve.settings_notify import parse_reference, parse_url
from stratum.serve.settings_values import Malformed, parse_switch, parse_text

REMOTES_MAX = 64

_KEY = re.compile(r"replication\.([a-z0-9][a-z0-9-]{0,62})\.([a-z_]+)", re.ASCII)


def _one_of(*words: str) -> Callable[[object], str]:
    def parse(value: object) -> str:
        if value not in words:
            raise Malformed(f"{value!r} is not one of {', '.join(words)}")
        return str(value)

    return parse


PARSERS: Mapping[str, Callable[[Any], Any]] = {
    "endpoint_url": parse_url,
    "region": parse_text,
    "access_key_ref": parse_reference,
    "secret_key_ref": parse_reference,
    "sse": _one_of("AES256", "aws:kms"),
    "addressing": _one_of("auto", "path", "virtual"),
    "allow_private": parse_switch,
}


def parser_of(key: str) -> Callable[[Any], Any] | None:
    """How the value of `replication.<name>.<field>` is read; None: it is no such key."""
    match = _KEY.fullmatch(key)
    return PARSERS.get(match[2]) if match is not None else None


def take_remotes(parsed: dict[str, Any]) -> tuple[ReplicationRemote, ...]:
    """Take the keys of all remotes out of `parsed`, return the remotes by name. Raises Malformed."""
    found: dict[str, dict[str, Any]] = {}
    for key in [key for key in parsed if key.startswith("replication.")]:
        _, name, part = key.split(".")
        found.setdefault(name, {})[part] = parsed.pop(key)
    for name, parts in found.items():
        if not {"access_key_ref", "secret_key_ref"} <= parts.keys():
            raise Malformed(f"replication.{name}: access_key_ref and secret_key_ref are needed")
    if len(found) > REMOTES_MAX:
        raise Malformed(f"replication: {len(found)} remotes, more than {REMOTES_MAX}")
    return tuple(ReplicationRemote(name=name, **found[name]) for name in sorted(found))


def as_keys(remotes: tuple[ReplicationRemote, ...]) -> dict[str, object]:
    """The remotes by key, as values a file could hold."""
    return {
        f"replication.{each.name}.{part}": value
        for each in remotes
        for part in PARSERS
        if (value := getattr(each, part)) != ""
    }
