"""Turn what stands in a settings file or an environment variable into a value, or say what is wrong with it.

Room: stratum/serve. May import: core.acl. Each function raises Malformed.
"""

import ipaddress
import math
import os
import re
from pathlib import Path

from stratum.core.acl import OWNERSHIPS

SIZES = {"": 1, "b": 1, "k": 1000, "kb": 1000, "kib": 1024, "m": 1000**2, "mb": 1000**2, "mib": 1024**2}
SIZES |= {"g": 1000**3, "gb": 1000**3, "gib": 1024**3, "t": 1000**4, "tb": 1000**4, "tib": 1024**4}
SECONDS = {"": 1.0, "ms": 0.001, "s": 1.0, "min": 60.0, "h": 3600.0, "d": 86400.0}

_QUANTITY = re.compile(r"(\d+(?:_\d+)*(?:\.\d+)?) *([a-zA-Z]*)", re.ASCII)
_ADDRESS = re.compile(r"(\[[0-9a-fA-F:.]+\]|[^:\[\]\s]*):(\d{1,5})", re.ASCII)
_ORIGIN = re.compile(r"https?://(?:[A-Za-z0-9.-]{1,253}|\[[0-9A-Fa-f:.]{2,45}\])(?::[0-9]{1,5})?")

_DOMAIN = re.compile(r"[a-z0-9]([a-z0-9-]*[a-z0-9])?(\.[a-z0-9]([a-z0-9-]*[a-z0-9])?)*", re.ASCII)
_ADDRESS_LIKE = re.compile(r"[0-9.]+", re.ASCII)


class Malformed(ValueError):
    """The value is not of the shape that its setting needs."""


def parse_count(value: object) -> int:
    """A whole number above zero: 512, "512", or bytes as "64MiB"."""
    number = _quantity(value, SIZES, "a whole number, or bytes such as 64MiB")
    if number != int(number):
        raise Malformed(f"{value!r} is not a whole number")
    return int(number)


def parse_seconds(value: object) -> float:
    """A time above zero: 0.5, "50ms", "10min", "7d". In seconds."""
    return float(_quantity(value, SECONDS, "seconds, or a time such as 50ms, 10min, 7d"))


def _quantity(value: object, units: dict[str, int] | dict[str, float], wanted: str) -> float:
    match = _QUANTITY.fullmatch(str(value).strip()) if isinstance(value, int | float | str) else None
    if isinstance(value, bool) or match is None or match[2].lower() not in units:
        raise Malformed(f"{value!r} is not {wanted}")
    digits = match[1].replace("_", "")
    number = (float(digits) if "." in digits else int(digits)) * units[match[2].lower()]
    if not 0 < number < math.inf:
        raise Malformed(f"{value!r} must be above zero")
    return number


def parse_text(value: object) -> str:
    """A word without white space or control characters."""
    if not isinstance(value, str) or not value.isprintable() or not value or " " in value:
        raise Malformed(f"{value!r} is not a word")
    return value


def parse_domains(value: object) -> tuple[str, ...]:
    """Host names without ports, lower case: a list, or words between commas. None at all is a choice too."""
    found = tuple(word.lower().rstrip(".") for word in _words(value))
    for word in found:
        if not _DOMAIN.fullmatch(word) or _ADDRESS_LIKE.fullmatch(word):
            raise Malformed(f"{word!r} is not a host name")
    return found


def parse_networks(value: object) -> tuple[str, ...]:
    """IP addresses and networks (10.0.0.0/8): a list, or words between commas."""
    found = _words(value)
    for word in found:
        try:
            ipaddress.ip_network(word, strict=False)
        except ValueError as error:
            raise Malformed(f"{word!r} is not an IP address or network") from error
    return found


def _words(value: object) -> tuple[str, ...]:
    words = value.split(",") if isinstance(value, str) else value
    if not isinstance(words, list | tuple) or not all(isinstance(word, str) for word in words):
        raise Malformed(f"{value!r} is not a list of words")
    return tuple(word.strip() for word in words if word.strip())


def parse_path(value: object) -> Path:
    """A folder; made absolute, `~` resolved."""
    if not isinstance(value, str | os.PathLike) or not os.fspath(value):
        raise Malformed(f"{value!r} is not a path")
    return Path(os.path.abspath(Path(value).expanduser()))


def parse_paths(value: object) -> tuple[Path, ...]:
    """Several folders, all different: a list, or one text with `:` between."""
    listed = value.split(":") if isinstance(value, str) else value
    if not isinstance(listed, list | tuple) or not listed:
        raise Malformed(f"{value!r} is not a list of paths")
    paths = tuple(parse_path(one) for one in listed)
    if len(set(paths)) < len(paths):
        raise Malformed("the same path stands there twice")
    return paths


def parse_code(value: object) -> tuple[int, int]:
    """An erasure code such as "4+2": data shards and parity shards."""
    match = re.fullmatch(r"([0-9]{1,3})\+([0-9]{1,3})", value) if isinstance(value, str) else None
    if match is None:
        raise Malformed(f'{value!r} is not a code such as "4+2"')
    k, parity = int(match[1]), int(match[2])
    if k < 1 or parity < 1 or k + parity > 32:
        raise Malformed(f"{value!r}: at least one data and one parity shard, at most 32 together")
    return k, parity


def parse_address(value: object) -> tuple[str, int | None]:
    """HOST:PORT, [IPv6]:PORT, :PORT (this machine only), or "none". Port 0 takes any free one."""
    if value == "none":
        return "127.0.0.1", None
    match = _ADDRESS.fullmatch(value) if isinstance(value, str) else None
    if match is None or int(match[2]) > 65535:
        raise Malformed(f'{value!r} is not HOST:PORT or "none"')
    return match[1].strip("[]") or "127.0.0.1", int(match[2])


def join_address(host: str, port: int | None) -> str:
    """The text that `parse_address` reads."""
    if port is None:
        return "none"
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def parse_level(value: object) -> str:
    """How much is logged."""
    return _one_of(value, ("debug", "info", "warning", "error"))


def parse_log_format(value: object) -> str:
    """How it is logged; auto: text on a terminal, JSON otherwise."""
    return _one_of(value, ("auto", "text", "json"))


def parse_transport(value: object) -> str:
    """What speaks FUSE with the kernel."""
    return _one_of(value, ("raw", "pyfuse3"))


def parse_close(value: object) -> str:
    """Whether close() of a mounted file waits until its publication is durable."""
    return _one_of(value, ("queued", "durable"))


def parse_connection(value: object) -> str:
    """What speaks HTTP/1.1."""
    return _one_of(value, ("httptools", "h11"))


def parse_file(value: object) -> Path | None:
    """A file; none for nothing at all."""
    return None if value == "" else parse_path(value)


def parse_switch(value: object) -> bool:
    """On or off."""
    return value if isinstance(value, bool) else _one_of(value, ("true", "false")) == "true"


def parse_key_file(value: object) -> str:
    """Where the master keys are: a path, "auto" (generated in the data folder) or "none"."""
    return value if value in ("auto", "none") else str(parse_path(value))


def parse_origin(value: object) -> str:
    """scheme://host[:port] and nothing more; empty for nothing at all."""
    if value == "":
        return ""
    if not isinstance(value, str) or _ORIGIN.fullmatch(value) is None:
        raise Malformed(f"{value!r} is not http(s)://HOST[:PORT]")
    return value


def parse_customer_keys(value: object) -> str:
    """Over which lines customers' keys (SSE-C) are taken."""
    return _one_of(value, ("tls", "auto", "any"))


def parse_ownership(value: object) -> str:
    """Whose the objects of new buckets are."""
    if value not in OWNERSHIPS:
        raise Malformed(f"{value!r} is not one of {', '.join(OWNERSHIPS)}")
    return str(value)


def _one_of(value: object, words: tuple[str, ...]) -> str:
    if not isinstance(value, str) or value.lower() not in words:
        raise Malformed(f"{value!r} is not one of {', '.join(words)}")
    return value.lower()
