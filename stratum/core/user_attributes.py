"""The `user.*` attributes of a file and the `x-amz-meta-*` metadata of an object: the same thing, seen by two doors.

Room: stratum/core. May import: core.errors.

    attribute of the file            metadata of the object, without `x-amz-meta-`
    -------------------------------  ------------------------------------------------------------------
    `user.colour` = `red`            `colour: red`
    `user.stratum.hint` = `hot`      `stratum-hint: hot`        (the dot and the hyphen behind `stratum` change places)
    `user.Colour` = `red`            `stratum-xattr-%43olour: red`
    `user.colour` = `\\xff\\0`         `stratum-xattr-colour: %ff%00`

Names of HTTP headers know no case and only some signs, values only printable ASCII without spaces at their ends. What
cannot be carried so is escaped: `%` and two hex digits stand for a byte.

Invariants
    U1  No two metadata of an object show as the same attribute, and every one shows.
    U2  An attribute that is written as metadata reads back as it was, byte by byte; so does metadata that S3 set.
"""

import re
from collections.abc import Mapping

SPACE = b"user."
OWN, OWN_META = b"stratum.", "stratum-"
ESCAPED = "stratum-xattr-"

_NAME = re.compile(rb"[a-z0-9!#$%&'*+.^_`|~-]+")
_VALUE = re.compile(rb"|[\x21-\x7e]([\t\x20-\x7e]*[\x21-\x7e])?")
_ESCAPE = re.compile(r"%([0-9a-f]{2})")
_NAME_AS_IT_IS = re.compile(rb"[a-z0-9._-]")
_VALUE_AS_IT_IS = re.compile(rb"[\x21-\x24\x26-\x7e]")


def to_metadata(attribute: bytes, value: bytes) -> tuple[str, str]:
    """The metadata (name, value) that an attribute in `user.` is written as."""
    name = _swapped(attribute.removeprefix(SPACE))
    if _NAME.fullmatch(name) and _VALUE.fullmatch(value):
        plain = name.decode(), value.decode()
        if _unescaped(*plain) is None:
            return plain
    return _escaped(name, value)


def to_attributes(metadata: Mapping[str, str]) -> dict[bytes, tuple[bytes, str]]:
    """{attribute: (value, the metadata name it stands under)} of all metadata of an object."""
    shown: dict[bytes, tuple[bytes, str]] = {}
    for meta, text in metadata.items():
        opened = _unescaped(meta, text)
        if opened is None or opened[0].decode("latin-1") in metadata:  # U1: that is the attribute of this name
            opened = meta.encode("latin-1", "replace"), text.encode("latin-1", "replace")
        shown[SPACE + _swapped(opened[0])] = opened[1], meta
    return shown


def metadata_bytes(metadata: Mapping[str, str]) -> int:
    """What S3 counts against its limit: names and values."""
    return sum(len(name) + len(value) for name, value in metadata.items())


def _swapped(name: bytes) -> bytes:
    if name.startswith(OWN):
        return OWN_META.encode() + name[len(OWN) :]
    return OWN + name[len(OWN) :] if name.startswith(OWN_META.encode()) else name


def _escaped(name: bytes, value: bytes) -> tuple[str, str]:
    return ESCAPED + _percent(name, _NAME_AS_IT_IS), _percent(value, _VALUE_AS_IT_IS)


def _percent(raw: bytes, as_it_is: re.Pattern[bytes]) -> str:
    return "".join(chr(byte) if as_it_is.fullmatch(bytes((byte,))) else f"%{byte:02x}" for byte in raw)


def _unescaped(meta: str, text: str) -> tuple[bytes, bytes] | None:
    """The name and value that were escaped; None: nobody would have escaped anything like this."""
    if not meta.startswith(ESCAPED):
        return None
    name, value = (
        _ESCAPE.sub(lambda found: chr(int(found[1], 16)), part).encode("latin-1", "replace")
        for part in (meta.removeprefix(ESCAPED), text)
    )
    needed = not (_NAME.fullmatch(name) and _VALUE.fullmatch(value)) or name.startswith(ESCAPED.encode())
    return (name, value) if name and needed and _escaped(name, value) == (meta, text) else None
