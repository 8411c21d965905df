"""The rows of deciding: groups, evidence, decisions, yardsticks, state (schema E, G, D, Y, W).

Room: stratum/engine. May import: core, store.meta.
"""

from hashlib import sha256
from itertools import islice

import msgspec

from stratum.core.errors import CorruptRecord
from stratum.core.records import decode
from stratum.core.schema import BLOCK, GROUP, WEEK
from stratum.core.tiering.blocks import BLOCKS_BEGIN, Block, block_key, first_block_key
from stratum.core.tiering.policy import Policy
from stratum.core.tiering.prices import PriceBook
from stratum.core.tiering.tables import (
    TURNS,
    Group,
    History,
    State,
    Turn,
    Week,
    group_key,
    history_key,
    yardstick_key,
)
from stratum.core.txn import Txn, load, save, scan_records, successor
from stratum.store.meta import Meta

GROUPS = 20_000  # told apart; what is more is counted with its bucket
WEEKS = 60  # kept
AT_ONCE = 500  # rows of one change


class Rows:
    """What deciding remembers. `groups` and `state` are kept in memory; everything else is read when it is needed."""

    def __init__(self, meta: Meta) -> None:
        self._meta = meta
        self.state = State()
        self.groups: dict[int, Group] = {}
        self._ids: dict[tuple[str, str, str], int] = {}
        self._kept: set[str] = set()  # yardsticks that are in the index

    def load(self) -> None:
        """Read groups and state. Raises CorruptRecord."""
        self.state = self._meta.read(lambda txn: load(txn, yardstick_key("state"), State)) or State()
        rows = self._meta.read(lambda txn: list(scan_records(txn, GROUP, Group)))
        self.groups = {int.from_bytes(rest, "big"): group for rest, group in rows}
        self._ids = {(each.bucket, each.prefix, each.type): number for number, each in self.groups.items()}

    def keep_state(self, txn: Txn) -> None:
        """Inside a change."""
        save(txn, yardstick_key("state"), self.state)

    # --- groups ---------------------------------------------------------------------------------------------

    def group_of(self, bucket: str, prefix: str, kind: str, day: int) -> int:
        """The number of a group; a new one is in the index with the next evening."""
        found = self._ids.get((bucket, prefix, kind))
        if found is None and len(self._ids) >= GROUPS and (prefix or kind):
            return self.group_of(bucket, "", "", day)
        if found is None:
            found = self.state.groups + 1
            self.state = msgspec.structs.replace(self.state, groups=found)
            self._ids[bucket, prefix, kind] = found
            self.groups[found] = Group(bucket, prefix, kind, counted=day - 1)
        return found

    def keep_groups(self, txn: Txn, numbers: list[int]) -> None:
        """Inside a change."""
        for number in numbers:
            save(txn, group_key(number), self.groups[number])

    def drop_group(self, txn: Txn, number: int) -> None:
        """Inside a change: nothing is in it any more."""
        gone = self.groups.pop(number)
        self._ids.pop((gone.bucket, gone.prefix, gone.type), None)
        txn.delete(group_key(number))

    # --- evidence -------------------------------------------------------------------------------------------

    def blocks(self, after: bytes = BLOCKS_BEGIN) -> list[Block]:
        """Some blocks from this key on. Raises CorruptRecord."""

        def read(txn: Txn) -> list[Block]:
            return [_block(key, raw) for key, raw in islice(txn.scan(after, successor(BLOCK)), 64)]

        return self._meta.read(read)

    def earlier_blocks(self, most: int) -> list[Block]:
        """Some blocks of version 1, the first ones. Raises CorruptRecord."""
        return self._meta.read(
            lambda txn: [_block(key, raw) for key, raw in islice(txn.scan(BLOCK, BLOCKS_BEGIN), most)]
        )

    def block(self, volume: int) -> Block:
        """The block in which a volume is; if there is none, one without it. Raises CorruptRecord."""

        def read(txn: Txn) -> Block:
            for key, raw in islice(txn.scan(block_key(volume), successor(BLOCK)), 1):
                block = _block(key, raw)
                if volume in block:
                    return block
            key = first_block_key(volume)
            earlier = txn.get(key)
            return Block() if earlier is None else _block(key, earlier)

        return self._meta.read(read)

    def reason_code(self, volume: int) -> int | None:
        """The code of the last reason of a volume; None: it was never looked at."""
        return self.block(volume).reason(volume)

    # --- decisions ------------------------------------------------------------------------------------------

    def history(self, volume: int) -> History:
        """The last turns of a volume."""
        return self._meta.read(lambda txn: load(txn, history_key(volume), History)) or History()

    def yardstick(self, txn: Txn, record: PriceBook | Policy) -> str:
        """Inside a change: keep a price book or a policy; return the name it is found by."""
        name = name_of(record)
        if name not in self._kept:
            save(txn, yardstick_key(name), msgspec.json.encode(record))
            self._kept.add(name)
        return name

    def prices(self, name: str) -> PriceBook | None:
        """A price book by name."""
        raw = self._meta.read(lambda txn: load(txn, yardstick_key(name), bytes)) if name else None
        return None if raw is None else msgspec.json.decode(raw, type=PriceBook)

    def policy(self, name: str) -> Policy | None:
        """A policy by name."""
        raw = self._meta.read(lambda txn: load(txn, yardstick_key(name), bytes)) if name else None
        return None if raw is None else msgspec.json.decode(raw, type=Policy)

    def weeks(self) -> list[Week]:
        """The weeks on record, the newest first."""
        return [week for _, week in reversed(self._meta.read(lambda txn: list(scan_records(txn, WEEK, Week))))]


def _block(key: bytes, raw: bytes) -> Block:
    return read_block(decode(key, raw, bytes), key)


def read_block(raw: bytes, key: bytes = b"") -> Block:
    """A stored block. Raises CorruptRecord."""
    try:
        return Block(raw, key)
    except ValueError as error:
        raise CorruptRecord(str(error)) from error


def name_of(record: PriceBook | Policy) -> str:
    """The name of a yardstick: what it is and a digest, so that equal ones are kept once."""
    kind = "prices" if isinstance(record, PriceBook) else "policy"
    return f"{kind}/{sha256(msgspec.json.encode(record)).hexdigest()[:16]}"


def with_turn(history: History, turn: Turn) -> History:
    """The history with one more turn: a decision that was not carried out makes room, then the oldest stay."""
    turns = list(history.turns)
    if turns and _same_plan(turns[-1], turn):
        turns.pop()
    turns.append(turn)
    while len(turns) > TURNS:
        stay = next((at for at, each in enumerate(turns[:-1]) if each.source == each.target), 0)
        turns.pop(stay)
    return msgspec.structs.replace(history, turns=tuple(turns))


def _same_plan(before: Turn, turn: Turn) -> bool:
    return not before.done and before.source != before.target and before.source == turn.source
