"""What is freed a slice at a time: the parts of uploads that were ended, and contents of many runs without users.

Room: stratum/core. May import: core.{manifest, records, schema, txn, upload_rows}.

An upload may have 10,000 parts and an object as many runs. What ends one of them only says so, in a row; the rest is
done in changes of a few hundred rows each, whenever, and goes on where it stood after a crash (engine/endings.py).

Invariants
    N1  A part is freed with its row. As long as its row is there it counts (core/quotas.py), and what counts in the
        object made of the parts is taken off again in the row of the ended upload: the sum is right at every moment.
    N2  Nobody finds an ended upload by its id, nor the content that is to be freed by any user.
"""

from collections.abc import Collection
from itertools import islice

import msgspec

from stratum.core.manifest import RUNS_AT_ONCE, detach_all, free_some, part_user
from stratum.core.records import Ended, decode
from stratum.core.schema import DYING, ENDED, dying_key, id_of, part_key
from stratum.core.txn import Txn, load, save, successor
from stratum.core.upload_rows import some_parts

PARTS_AT_ONCE = 32  # freed in one change
LOOK = 64  # rows of contents to free that are looked at in one change


def free_parts(txn: Txn) -> bool:
    """Inside a change: free the next few parts of the first ended upload. False: there is none."""
    row = next(iter(txn.scan(ENDED, successor(ENDED))), None)
    if row is None:
        return False
    upload_id, ended = row[0][1:].decode(), decode(*row, Ended)
    parts = some_parts(txn, upload_id, ended.after, PARTS_AT_ONCE + 1)
    stays = parts.pop()[1].content if len(parts) > PARTS_AT_ONCE else 0
    detach_all(txn, ((part.content, part_user(upload_id, number)) for number, part in parts), stays)
    less = sum(part.size for _, part in parts if part.bucket)
    for number, _ in parts:
        txn.delete(part_key(upload_id, number))
    if not stays:
        txn.delete(row[0])
    else:
        left = msgspec.structs.replace(ended, bytes=max(ended.bytes - less, 0), after=parts[-1][0])
        save(txn, row[0], left)
    return True


def free_content(txn: Txn, after: bytes, kept: Collection[int]) -> bytes:
    """Inside a change: free some runs of the first content that is to be freed behind the key `after`.

    `kept`: contents that somebody is still putting together. Returns behind which key to go on (empty: there is no
    more behind `after`).
    """
    rows = list(islice(txn.scan(max(after, DYING), successor(DYING)), LOOK))
    for key, raw in rows:
        content = id_of(key)
        if content not in kept:
            return key if free_some(txn, content, decode(key, raw, int), RUNS_AT_ONCE) else key + b"\0"
    return rows[-1][0] + b"\0" if len(rows) == LOOK else b""


def begin_content(txn: Txn, content: int) -> None:
    """Inside a change: what will be put into the content is to be freed again, should nothing come of it."""
    save(txn, dying_key(content), 0)


def keep_content(txn: Txn, content: int) -> None:
    """Inside a change: something came of it."""
    assert load(txn, dying_key(content), int) == 0, "a content that is being freed cannot be used"
    txn.delete(dying_key(content))
