"""Every row of the index of a golden store: what it says, by the names of its fields, and how it is written again.

Room: tests. May import: stratum, tests.golden.

FORMS has one line for each table of core/schema.py. A table that is new there needs one here, and a row in the newest
golden store.
"""

import hashlib
from collections.abc import Callable
from dataclasses import asdict
from typing import Any, NamedTuple

import msgspec

from stratum.core import schema
from stratum.core.inventory import InventoryRun
from stratum.core.lifecycle_due import Due
from stratum.core.patterns import Profile, profile_of
from stratum.core.records import (
    Bucket,
    Credential,
    Ended,
    Entry,
    Event,
    Garbage,
    Inode,
    Leaving,
    LeftHeld,
    LeftShards,
    NamedKey,
    Packed,
    Part,
    Repair,
    Run,
    Upload,
    Usage,
    User,
    Version,
    Volume,
    Wish,
    decode,
    encode,
)
from stratum.core.replication import Outgoing
from stratum.core.roles import Role
from stratum.core.sessions import SessionKey
from stratum.core.tiering.blocks import Block, Touch, touch_of
from stratum.core.tiering.policy import Policy
from stratum.core.tiering.prices import PriceBook
from stratum.core.tiering.tables import Group, History, State, Week
from stratum.core.txn import Txn
from stratum.store.index import SEQUENCE_KEY
from tests.golden import everything

SHOWN_BYTES = 64  # of what is longer, a digest is kept


class Form(NamedTuple):
    """How a row is read: the type of its record; for bytes with a form of their own, how to read and write them."""

    record: type
    inner: Callable[[bytes], Any] = lambda raw: raw
    stored: Callable[[Any], bytes] = lambda inner: inner


def _json(kind: type) -> Form:
    return Form(bytes, lambda raw: msgspec.json.decode(raw, type=kind), msgspec.json.encode)


def _configuration(key: bytes) -> Form:
    return Form(everything.KINDS[key.partition(b"\0")[2].decode()])


def _usage(key: bytes) -> Form:
    return Form(int if key[1:2] == b"c" else Usage)


def _yardstick(key: bytes) -> Form:
    name = key[1:]
    return Form(State) if name == b"state" else _json(PriceBook if name.startswith(b"prices/") else Policy)


FORMS: dict[bytes, Form | Callable[[bytes], Form]] = {
    schema.COUNTER: Form(int),
    schema.BUCKET: Form(Bucket),
    schema.INODE: Form(Inode),
    schema.ENTRY: Form(Entry),
    schema.RUN: Form(Run),
    schema.CONTENT_USER: Form(int),
    schema.VOLUME_USER: Form(int),
    schema.VOLUME: Form(Volume),
    schema.GARBAGE: Form(Garbage),
    schema.REPAIR: Form(Repair),
    schema.UPLOAD: Form(Upload),
    schema.UPLOAD_BY_KEY: Form(int),
    schema.PART: Form(Part),
    schema.XATTR: Form(bytes),
    schema.ORPHAN: Form(int),
    schema.CREDENTIAL: Form(Credential),
    schema.VERSION: Form(Version),
    schema.NULL_VERSION: Form(int),
    schema.CONFIGURATION: _configuration,
    schema.USER: Form(User),
    schema.EVENT: Form(Event),
    schema.DUE: Form(Due),
    schema.NAMED_KEY: Form(NamedKey),
    schema.LEFT_SHARDS: Form(LeftShards),
    schema.LEFT_HELD: Form(LeftHeld),
    schema.WISH: Form(Wish),
    schema.BLOCK: Form(bytes, Block, Block.stored),
    schema.TOUCH: Form(bytes, touch_of, Touch.stored),
    schema.GROUP: Form(Group),
    schema.HISTORY: Form(History),
    schema.YARDSTICK: _yardstick,
    schema.WEEK: Form(Week),
    schema.ROLE: Form(Role),
    schema.SESSION_KEY: Form(SessionKey),
    schema.INVENTORY_RUN: Form(InventoryRun),
    schema.OUTGOING: Form(Outgoing),
    schema.BY_EMAIL: Form(int),
    schema.LAST_USE: Form(int),
    schema.PACKED: Form(Packed),
    schema.HOUR_PROFILE: Form(bytes, profile_of, Profile.stored),
    schema.CONTENT_CLASS: Form(str),
    schema.LEAVING: Form(Leaving),
    schema.USAGE: _usage,
    schema.NOT_PUBLISHED: Form(int),
    schema.HABITS: Form(bytes),
    schema.ENDED: Form(Ended),
    schema.DYING: Form(int),
}


def tables() -> dict[str, str]:
    """The tables of the schema: letter -> name."""
    found = {name: value for name, value in vars(schema).items() if name.isupper() and isinstance(value, bytes)}
    return {value.decode(): name for name, value in found.items() if len(value) == 1}


def all_rows(txn: Txn) -> dict[bytes, bytes]:
    """Every row, as stored."""
    return dict(txn.scan(b"", b"\xff"))


def written_again(key: bytes, raw: bytes) -> bytes:
    """A row as this version writes what it read."""
    form = _form(key)
    record = decode(key, raw, form.record)
    return encode(key, form.stored(form.inner(record)) if form.record is bytes else record)


def by_table(rows: dict[bytes, bytes]) -> dict[str, dict[str, object]]:
    """What all rows say: letter -> key in hex -> plain values. Raises CorruptRecord; KeyError for a table unknown."""
    found: dict[str, dict[str, object]] = {}
    for key, raw in rows.items():
        if key == SEQUENCE_KEY:  # the number of the last commit: the kill decides which one that is
            continue
        form = _form(key)
        said = form.inner(decode(key, raw, form.record)) if form.record is bytes else decode(key, raw, form.record)
        found.setdefault(key[:1].decode(), {})[_short(key)] = _shown(said)
    return found


def _form(key: bytes) -> Form:
    found = FORMS[key[:1]]
    return found if isinstance(found, Form) else found(key)


def _shown(said: object) -> object:
    if isinstance(said, Block):
        return {"due": said.due, "volumes": [[at, _shown(said.get(at))] for at in said.volumes()]}
    if isinstance(said, Touch):
        return {name: getattr(said, name) for name in ("visits", "sent", "swept", "flags", "minute", "recent")}
    if isinstance(said, Profile):
        return asdict(said)
    if isinstance(said, msgspec.Struct):
        return {name: _shown(getattr(said, name)) for name in said.__struct_fields__}
    if isinstance(said, tuple | list):
        return [_shown(each) for each in said]
    if isinstance(said, dict):
        return [[str(name), _shown(each)] for name, each in said.items()]
    return _short(said) if isinstance(said, bytes) else said


def _short(said: bytes) -> str:
    if len(said) <= SHOWN_BYTES:
        return said.hex()
    return f"{said[:8].hex()}... {len(said)} bytes, sha256 {hashlib.sha256(said).hexdigest()[:32]}"
