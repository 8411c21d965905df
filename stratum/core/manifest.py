"""The manifest of a content: its ordered runs, as rows of the index.

Room: stratum/core. May import: core.records, core.schema, core.txn.

Invariants
    M1  Runs of one content never overlap; bytes between runs, up to the size its user knows, are zeros (holes).
    M2  The row of a run lies under its *end*, so the run that covers an offset is the first row above it.
    M3  For each volume, `u | volume | content` counts exactly the bytes that this content's runs use of it. A volume
        with no such row, once recorded, has a garbage row: only the reaper deletes, and only after it looked again.
    M4  A content is freed with its last user; one of many runs a slice at a time, and until then the table `K` names
        it (core/endings.py). Contents are shared by server-side copies: whoever wants to change one that has other
        users makes a clone first.
"""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from itertools import islice

from stratum.core.records import Extent, Garbage, Run, decode
from stratum.core.schema import (
    CONTENT_USER,
    VOLUME_USER,
    content_user_key,
    dying_key,
    garbage_key,
    run_end,
    run_key,
    volume_user_key,
)
from stratum.core.txn import Txn, load, save, scan_records

Span = tuple[int, Run]
"""Offset in the content, and what rests there."""

RUNS_AT_ONCE = 64  # freed in one change: each may be the last of a volume, some 30 us


def slice_run(run: Run, start: int, stop: int) -> Run:
    """The bytes [start, stop) of a run, as a run."""
    assert 0 <= start < stop <= run.length
    if run.extent is not None:
        extent = run.extent
        return Run(Extent(extent.volume, extent.at, extent.width, extent.skip + start, stop - start))
    return Run(None, (run.inline or b"")[start:stop])


def trim(span: Span, start: int, stop: int) -> Span:
    """The part of a span inside [start, stop), which must not be empty."""
    offset, run = span
    low, high = max(start, offset), min(stop, offset + run.length)
    return (offset, run) if high - low == run.length else (low, slice_run(run, low - offset, high - offset))


def shift(spans: Iterable[Span], by: int) -> list[Span]:
    """The same runs, `by` bytes further on."""
    return [(offset + by, run) for offset, run in spans]


def extents_of(spans: Iterable[Span]) -> list[Extent]:
    """The extents among the runs (inline runs have none)."""
    return [run.extent for _, run in spans if run.extent is not None]


def spans_in(txn: Txn, content: int, start: int, stop: int) -> list[Span]:
    """What rests in [start, stop) of a content, in order, trimmed to that range; holes are left out."""
    return [trim(span, start, stop) for span in _runs(txn, content, start, stop)]


def some_spans(txn: Txn, content: int, start: int, stop: int, count: int) -> tuple[list[Span], int]:
    """As `spans_in`, the first `count` of them, and where the rest begins (`stop`: there is none)."""
    found = [trim(span, start, stop) for span in islice(_runs(txn, content, start, stop), count)]
    return found, found[-1][0] + found[-1][1].length if len(found) == count else stop


def _overlapping(txn: Txn, content: int, start: int, stop: int) -> list[Span]:
    return list(_runs(txn, content, start, stop))


def _runs(txn: Txn, content: int, start: int, stop: int) -> Iterator[Span]:
    """The runs that reach into [start, stop), as they are stored."""
    if start >= stop or not content:
        return
    prefix = run_key(content, 0)[:9]
    for key, raw in txn.scan(run_key(content, start + 1), prefix + b"\xff" * 9):
        run = decode(key, raw, Run)
        offset = run_end(key) - run.length
        if offset >= stop:
            return
        yield offset, run


def first_at(spans: Sequence[Span], offset: int) -> int:
    """The number of the first span that ends behind `offset`."""
    low, high = 0, len(spans)
    while low < high:
        middle = (low + high) // 2
        if spans[middle][0] + spans[middle][1].length <= offset:
            low = middle + 1
        else:
            high = middle
    return low


def write_spans(txn: Txn, content: int, spans: Iterable[Span]) -> int:
    """Put runs into a content, replacing whatever rested in the ranges that they cover; return how much more it is."""
    used: defaultdict[int, int] = defaultdict(int)
    more = 0
    for offset, run in spans:
        more += run.length - _cut(txn, content, offset, offset + run.length, used)
        _place(txn, content, offset, run, used)
    _count_volume_use(txn, content, used)
    return more


def place_spans(txn: Txn, content: int, spans: Iterable[Span]) -> None:
    """As `write_spans`, into ranges of a content in which nothing rests."""
    used: defaultdict[int, int] = defaultdict(int)
    for offset, run in spans:
        _place(txn, content, offset, run, used)
    _count_volume_use(txn, content, used)


def punch(txn: Txn, content: int, start: int, stop: int) -> int:
    """Make [start, stop) of a content a hole; return how many bytes rested there."""
    used: defaultdict[int, int] = defaultdict(int)
    less = _cut(txn, content, start, stop, used)
    _count_volume_use(txn, content, used)
    return less


def truncate(txn: Txn, content: int, size: int) -> None:
    """Forget everything from `size` on."""
    punch(txn, content, size, 2**63)


def copy_spans(txn: Txn, source: int, start: int, stop: int, target: int, at: int) -> None:
    """Let `target` share the bytes [start, stop) of `source`, at offset `at`. No byte moves."""
    write_spans(txn, target, shift(spans_in(txn, source, start, stop), at - start))


def take_over(txn: Txn, pieces: Iterable[tuple[int, bytes, int]], target: int) -> None:
    """Let `target` have every run of contents that have one user each: (content, its user, offset in `target`).

    The contents are gone then. The volumes stay in use all the while, so none is looked at: a thousand contents
    cost a thousand times one. The ranges of `target` must be empty.
    """
    used: defaultdict[int, int] = defaultdict(int)
    for content, user, at in pieces:
        volumes: set[int] = set()
        for offset, run in _overlapping(txn, content, 0, 2**63):
            txn.delete(run_key(content, offset + run.length))
            _place(txn, target, at + offset, run, used)
            if run.extent is not None:
                volumes.add(run.extent.volume)
        for volume in volumes:
            txn.delete(volume_user_key(volume, content))
        txn.delete(content_user_key(content, user))
    _count_volume_use(txn, target, used)


def _cut(txn: Txn, content: int, start: int, stop: int, used: defaultdict[int, int]) -> int:
    cut = 0
    for offset, run in _overlapping(txn, content, start, stop):
        end = offset + run.length
        cut += min(end, stop) - max(offset, start)
        txn.delete(run_key(content, end))
        if run.extent is not None:
            used[run.extent.volume] -= run.length
        if offset < start:
            _place(txn, content, offset, slice_run(run, 0, start - offset), used)
        if end > stop:
            _place(txn, content, stop, slice_run(run, stop - offset, run.length), used)
    return cut


def _place(txn: Txn, content: int, offset: int, run: Run, used: defaultdict[int, int]) -> None:
    assert run.length > 0
    save(txn, run_key(content, offset + run.length), run)
    if run.extent is not None:
        used[run.extent.volume] += run.length


def _count_volume_use(txn: Txn, content: int, used: defaultdict[int, int]) -> None:
    for volume, change in used.items():
        key = volume_user_key(volume, content)
        total = (load(txn, key, int) or 0) + change
        assert total >= 0, "a content uses less than nothing of a volume"
        if total:
            save(txn, key, total)
        else:
            txn.delete(key)
            note_if_unused(txn, volume)


def note_if_unused(txn: Txn, volume: int) -> None:
    """Inside a change: let the reaper look at the volume if nothing uses it (M3)."""
    if not is_used(txn, volume):
        save(txn, garbage_key(volume), Garbage(since=0, reason="no content uses it"))


def is_used(txn: Txn, volume: int) -> bool:
    """Does any content use bytes of the volume?"""
    return any(True for _ in volume_users(txn, volume))


def volume_users(txn: Txn, volume: int) -> Iterable[tuple[int, int]]:
    """Yield (content, bytes it uses) of a volume."""
    prefix = VOLUME_USER + volume.to_bytes(8, "big")
    for rest, used in scan_records(txn, prefix, int):
        yield int.from_bytes(rest, "big"), used


def attach(txn: Txn, content: int, user: bytes) -> None:
    """Note that `user` (see `inode_user`, `part_user`) refers to the content."""
    save(txn, content_user_key(content, user), 1)


def detach(txn: Txn, content: int, user: bytes) -> bool:
    """Note that `user` no longer refers to the content; free it with its last user. True: it was freed."""
    return bool(detach_all(txn, [(content, user)]))


def detach_all(txn: Txn, pairs: Iterable[tuple[int, bytes]], stays: int = 0) -> int:
    """`detach` many (content, user); each volume is looked at once, after all. Returns how many were freed.

    Of contents with more than RUNS_AT_ONCE runs, alone or together, the table `K` notes that they are to be freed.
    `stays`: a content that likely uses the same volumes; those of it need not be searched for other users.
    """
    unused: set[int] = set()
    freed, left = 0, RUNS_AT_ONCE
    for content, user in pairs:
        txn.delete(content_user_key(content, user))
        if users(txn, content):
            continue
        freed += 1
        runs = list(islice(_runs(txn, content, 0, 2**63), left + 1))
        if len(runs) > left:
            save(txn, dying_key(content), 0)
            continue
        left -= len(runs)
        for offset, run in runs:
            txn.delete(run_key(content, offset + run.length))
            if run.extent is not None:
                txn.delete(volume_user_key(run.extent.volume, content))
                unused.add(run.extent.volume)
    for volume in sorted(unused):
        if not stays or txn.get(volume_user_key(volume, stays)) is None:
            note_if_unused(txn, volume)
    return freed


def free_some(txn: Txn, content: int, after: int, count: int) -> int:
    """Forget the next `count` runs of a content without users, those that end above `after`.

    Returns where the next begin; 0: there is none left, and the row of table `K` is gone.
    """
    used: defaultdict[int, int] = defaultdict(int)
    runs = list(islice(_runs(txn, content, after, 2**63), count))
    for offset, run in runs:
        txn.delete(run_key(content, offset + run.length))
        if run.extent is not None:
            used[run.extent.volume] -= run.length
    _count_volume_use(txn, content, used)
    if len(runs) < count:
        txn.delete(dying_key(content))
        return 0
    after = runs[-1][0] + runs[-1][1].length
    save(txn, dying_key(content), after)
    return after


def users(txn: Txn, content: int) -> int:
    """How many refer to the content."""
    prefix = CONTENT_USER + content.to_bytes(8, "big")
    return sum(1 for _ in scan_records(txn, prefix, int))


INODE_USER, PART_USER = b"i", b"t"


def content_users(txn: Txn, content: int) -> Iterable[tuple[bytes, int]]:
    """Yield (INODE_USER, inode number) and (PART_USER, 0) for each user of a content."""
    for user, _ in scan_records(txn, CONTENT_USER + content.to_bytes(8, "big"), int):
        yield user[:1], int.from_bytes(user[1:], "big") if user[:1] == INODE_USER else 0


def inode_user(inode: int) -> bytes:
    """The user id of an inode."""
    return INODE_USER + inode.to_bytes(8, "big")


def part_user(upload: str, number: int) -> bytes:
    """The user id of a part."""
    return PART_USER + upload.encode() + number.to_bytes(4, "big")
