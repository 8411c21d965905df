"""The tables `[tier.warm]`, `[tier.cold.<name>]`, `[tier.route.<name>]` and `[storage_classes]` of the settings.

Room: stratum/serve. May import: core.config, serve.{settings_notify, settings_values}.

    [tier.warm]         disks = ["/srv/w0", ...]   code = "4+2"
    [tier.cold.<name>]  bucket = "archive"         endpoint_url = "https://..."  (without: AWS)
                        region = "us-east-1"       key_prefix = "stratum"
                        access_key_ref = "env:NAME"   secret_key_ref = "file:/run/secrets/b2"  (never the secret itself)
                        storage_class = "STANDARD_IA"   sse = "AES256"           (or "aws:kms")
                        multipart_threshold_bytes = "64MiB"   multipart_chunk_bytes = "16MiB"
                        addressing = "auto"        (or "path", "virtual")
                        allow_private = false      (true: also addresses of this network)
                        verify = "head"            (or "read": what was sent is read back before a move counts)
    [tier.route.<name>] backend = "b2"             bucket = "..."  prefix = "..."  tag = "k=v"  metadata = "k=v"
    [storage_classes]   STANDARD_IA = "warm"       GLACIER_IR = "cold"           (which tier a class stands for)

Only those of [tier.warm] have environment variables: the other names are the operator's own.
"""

import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from stratum.core.config import MIB, ColdTier, TierRoute, WarmTier
from stratum.core.lifecycle import CLASSES
from stratum.serve.settings_notify import parse_reference, parse_url
from stratum.serve.settings_values import Malformed, parse_code, parse_count, parse_paths, parse_switch, parse_text

BACKENDS_MAX, ROUTES_MAX = 16, 256
PART_MIN, PART_MAX = 5 * MIB, 512 * MIB  # bytes; a part is held in memory
RESERVED = {"hot", "warm", "cold"}

_COLD = re.compile(r"tier\.cold\.([a-z0-9][a-z0-9-]{0,62})\.([a-z_]+)", re.ASCII)
_ROUTE = re.compile(r"tier\.route\.([a-z0-9][a-z0-9-]{0,62})\.([a-z]+)", re.ASCII)
_CLASS = re.compile(r"storage_classes\.([A-Z_]{1,32})", re.ASCII)
_KEY_PREFIX = re.compile(r"[A-Za-z0-9._/-]{0,200}", re.ASCII)


def _one_of(*words: str) -> Callable[[object], str]:
    def parse(value: object) -> str:
        if value not in words:
            raise Malformed(f"{value!r} is not one of {', '.join(words)}")
        return str(value)

    return parse


def _key_prefix(value: object) -> str:
    if not isinstance(value, str) or not _KEY_PREFIX.fullmatch(value) or ".." in value:
        raise Malformed(f"{value!r} is not a key prefix: letters, digits and . _ - /")
    return value.strip("/")


def _any_text(value: object) -> str:
    if not isinstance(value, str) or not value.isprintable():
        raise Malformed(f"{value!r} is not printable text")
    return value


def _pair(value: object) -> str:
    if not isinstance(value, str) or not value.partition("=")[0] or "=" not in value:
        raise Malformed(f"{value!r} is not key=value")
    return value


def _remote_class(value: object) -> str:
    if value in ("GLACIER", "DEEP_ARCHIVE"):
        raise Malformed(f"{value}: what is in it cannot be read before it is restored; GLACIER_IR can")
    return parse_text(value)


def _part(value: object) -> int:
    size = parse_count(value)
    if not PART_MIN <= size <= PART_MAX:
        raise Malformed(f"{value!r}: 5MiB to 512MiB")
    return size


WARM: Mapping[str, Callable[[Any], Any]] = {"tier.warm.disks": parse_paths, "tier.warm.code": parse_code}
COLD_PARSERS: Mapping[str, Callable[[Any], Any]] = {
    "bucket": parse_text,
    "endpoint_url": parse_url,
    "region": parse_text,
    "key_prefix": _key_prefix,
    "access_key_ref": parse_reference,
    "secret_key_ref": parse_reference,
    "storage_class": _remote_class,
    "sse": _one_of("AES256", "aws:kms"),
    "multipart_threshold_bytes": _part,
    "multipart_chunk_bytes": _part,
    "addressing": _one_of("auto", "path", "virtual"),
    "allow_private": parse_switch,
    "verify": _one_of("head", "read"),
}
ROUTE_PARSERS: Mapping[str, Callable[[Any], Any]] = {
    "backend": parse_text,
    "bucket": parse_text,
    "prefix": _any_text,
    "tag": _pair,
    "metadata": _pair,
}
_TIER = _one_of("hot", "warm", "cold")


def parser_of(key: str) -> Callable[[Any], Any] | None:
    """How the value of a key of these tables is read; None: it is no such key."""
    for pattern, parsers in ((_COLD, COLD_PARSERS), (_ROUTE, ROUTE_PARSERS)):
        match = pattern.fullmatch(key)
        if match is not None:
            return parsers.get(match[2])
    return _TIER if _CLASS.fullmatch(key) else None


def take_warm(parsed: dict[str, Any], hot: Sequence[Path]) -> WarmTier | None:
    """Take the keys of the warm tier out of `parsed`. Raises Malformed."""
    disks, code = parsed.pop("tier.warm.disks", None), parsed.pop("tier.warm.code", None)
    if disks is None:
        if code is not None:
            raise Malformed("tier.warm.code: without tier.warm.disks there is no warm tier")
        return None
    k, parity = code or (4, 2)
    if len(disks) < k + parity:
        raise Malformed(f"tier.warm.code: {k}+{parity} needs {k + parity} disks, {len(disks)} are named")
    if set(disks) & set(hot):
        raise Malformed("tier.warm.disks: a disk is of one tier only")
    return WarmTier(disks=tuple(disks), k=k, parity=parity)


def take_cold(parsed: dict[str, Any]) -> tuple[ColdTier, ...]:
    """Take the keys of all cold tiers out of `parsed`, in the order of their first keys. Raises Malformed."""
    found = _tables(parsed, "tier.cold.")
    for name, parts in found.items():
        missing = [part for part in ("bucket", "access_key_ref", "secret_key_ref") if part not in parts]
        if missing:
            raise Malformed(f"tier.cold.{name}: {', '.join(missing)} must be set")
        if name in RESERVED:
            raise Malformed(f"tier.cold.{name}: the name of a tier is no name of a backend")
    if len(found) > BACKENDS_MAX:
        raise Malformed(f"tier.cold: {len(found)} backends, more than {BACKENDS_MAX}")
    return tuple(ColdTier(name=name, **parts) for name, parts in found.items())


def take_routes(parsed: dict[str, Any], cold: Sequence[ColdTier]) -> tuple[TierRoute, ...]:
    """Take the keys of all routes out of `parsed`, return them by name. Raises Malformed."""
    found = _tables(parsed, "tier.route.")
    names = {each.name for each in cold}
    for name, parts in found.items():
        if parts.get("backend") not in names:
            raise Malformed(f"tier.route.{name}: backend must name one of [tier.cold.*]")
    if len(found) > ROUTES_MAX:
        raise Malformed(f"tier.route: {len(found)} routes, more than {ROUTES_MAX}")
    return tuple(TierRoute(name=name, **found[name]) for name in sorted(found))


def take_classes(
    parsed: dict[str, Any], warm: WarmTier | None, cold: Sequence[ColdTier]
) -> tuple[tuple[str, str], ...]:
    """Take the storage classes out of `parsed`. A class is taken only if its tier is there. Raises Malformed."""
    there = {"hot", *(["warm"] if warm else []), *(["cold"] if cold else [])}
    found: list[tuple[str, str]] = []
    for key in sorted(key for key in parsed if key.startswith("storage_classes.")):
        name, tier = key.partition(".")[2], parsed.pop(key)
        if name == "STANDARD":
            if tier != "hot":
                raise Malformed("storage_classes.STANDARD is hot")
            continue
        if name not in CLASSES and name != "REDUCED_REDUNDANCY":
            raise Malformed(f"{key}: S3 has no such class")
        if tier not in there:
            raise Malformed(f"{key}: there is no {tier} tier")
        found.append((name, tier))
    return tuple(found)


def _tables(parsed: dict[str, Any], prefix: str) -> dict[str, dict[str, Any]]:
    found: dict[str, dict[str, Any]] = {}
    for key in [key for key in parsed if key.startswith(prefix)]:
        name, _, part = key.removeprefix(prefix).partition(".")
        found.setdefault(name, {})[part] = parsed.pop(key)
    return found


def as_keys(
    warm: WarmTier | None,
    cold: Sequence[ColdTier],
    routes: Sequence[TierRoute],
    classes: Sequence[tuple[str, str]],
) -> dict[str, object]:
    """Everything by key, as values a file could hold."""
    found: dict[str, object] = {}
    if warm is not None:
        found["tier.warm.disks"] = [str(path) for path in warm.disks]
        found["tier.warm.code"] = f"{warm.k}+{warm.parity}"
    for table, parsers, rows in (("cold", COLD_PARSERS, cold), ("route", ROUTE_PARSERS, routes)):
        for row in rows:
            for part in parsers:
                value = getattr(row, part)
                if value != "":
                    found[f"tier.{table}.{row.name}.{part}"] = value
    return found | {f"storage_classes.{name}": tier for name, tier in classes}
