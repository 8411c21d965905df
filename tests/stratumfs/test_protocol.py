"""The words of the kernel's protocol: sizes as its header has them, and every value there and back.

Room: tests. May import: stratum, stratumfs.
"""

from struct import Struct
from struct import error as struct_error

import pytest
from hypothesis import given
from hypothesis import strategies as some

from stratum.core.records import Inode, Kind
from stratumfs import protocol as wire
from stratumfs.protocol import Init, Op

U16, U32, U64 = (some.integers(0, (1 << bits) - 1) for bits in (16, 32, 64))
NAMES = some.binary(min_size=1, max_size=255).map(lambda raw: raw.replace(b"\0", b"x"))
TIMES = some.integers(-(1 << 63), (1 << 63) - 1)

# What linux/fuse.h of version 7.38 (COPY_OUT: 7.45) makes of its structs on every machine of 64 bits.
SIZES = {
    "REQUEST_HEAD": 40, "ANSWER_HEAD": 16, "ENTRY_OUT": 128, "ATTR_OUT": 104, "OPEN_OUT": 16, "WRITE_OUT": 8,
    "STATFS_OUT": 80, "XATTR_OUT": 8, "LSEEK_OUT": 8, "INIT_OUT": 64, "DIRENT": 24, "INIT_IN": 16, "FORGET_IN": 8,
    "BATCH_FORGET_IN": 8, "FORGET_ONE": 16, "INTERRUPT_IN": 8, "GETATTR_IN": 16, "SETATTR_IN": 88, "MKNOD_IN": 16,
    "MKDIR_IN": 8, "RENAME_IN": 8, "RENAME2_IN": 16, "LINK_IN": 8, "OPEN_IN": 8, "CREATE_IN": 16, "RELEASE_IN": 24,
    "FLUSH_IN": 24, "READ_IN": 40, "WRITE_IN": 40, "FSYNC_IN": 16, "SETXATTR_OLD": 8, "SETXATTR_IN": 16,
    "GETXATTR_IN": 8, "FALLOCATE_IN": 32, "LSEEK_IN": 24, "COPY_IN": 56, "INVAL_INODE": 24, "INVAL_ENTRY": 16,
    "DELETE": 24, "FLAGS2": 4, "COPY_OUT": 8,
}  # fmt: skip


def test_every_struct_is_as_long_as_the_kernel_has_it():
    assert {name: form.size for name, form in vars(wire).items() if isinstance(form, Struct)} == SIZES
    assert Op.COPY_FILE_RANGE_64 == 53
    assert (Op.LOOKUP, Op.INIT, Op.CREATE, Op.BATCH_FORGET, Op.READDIRPLUS, Op.LSEEK, Op.TMPFILE) == (
        1, 26, 35, 42, 44, 46, 51,
    )  # fmt: skip


def requests(opcode, body, **more):
    fields = {"unique": 1, "node": 1, "uid": 0, "gid": 0, "pid": 0} | more
    length = wire.HEAD_BYTES + len(body)
    return wire.REQUEST_HEAD.pack(length, opcode, *fields.values(), 0, 0) + body


def read(raw: bytes):
    """As from the device, into two buffers that hold the rest of something else."""
    first, rest = bytearray(b"\xee" * wire.FIRST_BYTES), bytearray(b"\xee" * wire.REQUEST_BYTES)
    first[: len(raw[: wire.FIRST_BYTES])] = raw[: wire.FIRST_BYTES]
    rest[: len(raw[wire.FIRST_BYTES :])] = raw[wire.FIRST_BYTES :]
    return wire.request_in(first, memoryview(rest), len(raw))


@given(some.sampled_from(sorted(Op)), some.binary(max_size=300), U64, U64, U32, U32, U32)
def test_a_request_is_read_as_it_was_written_wherever_the_buffers_part(opcode, body, unique, node, uid, gid, pid):
    raw = requests(opcode, body, unique=unique, node=node, uid=uid, gid=gid, pid=pid)
    head, told, content = read(raw)
    assert (head.opcode, head.unique, head.node, head.uid, head.gid, head.pid) == (opcode, unique, node, uid, gid, pid)
    assert (told + content, type(told), type(content)) == (body, bytes, bytes)
    assert not content or (opcode == Op.WRITE and len(told) == wire.WRITE_IN.size)


@given(some.binary(max_size=wire.HEAD_BYTES - 1))
def test_what_is_too_short_for_a_request_is_refused(raw):
    with pytest.raises(struct_error):
        read(raw)


@given(some.lists(NAMES, min_size=1, max_size=3))
def test_names_come_back_from_a_body(names):
    assert wire.names_in(b"".join(name + b"\0" for name in names), len(names)) == names


@given(some.binary(max_size=40), some.integers(1, 3))
def test_a_body_without_so_many_names_is_refused(body, count):
    if body.count(b"\0") < count:
        with pytest.raises(ValueError):
            wire.names_in(body, count)


@given(U32, U32, some.booleans(), U32, U64, U16)
def test_of_the_flags_only_those_that_are_offered_and_wanted_are_taken(low, high, extended, readahead, wanted, limit):
    low = low & ~Init.INIT_EXT | (Init.INIT_EXT if extended else 0)
    body = wire.INIT_IN.pack(7, 38, readahead, low) + wire.FLAGS2.pack(high) + bytes(44)
    offer = wire.offer_in(body)
    assert offer.flags == (low | (high << 32) if extended else low)
    major, minor, ahead, flags, most, busy, write, grain, pages, _, flags2, *_ = wire.INIT_OUT.unpack(
        wire.answer_init(offer, wanted, limit)
    )
    assert (flags | flags2 << 32) == offer.flags & wanted
    assert (major, minor, ahead, most, grain) == (7, 38, readahead, limit, 1)
    assert busy <= most and write == pages * 4096 == wire.MAX_WRITE <= wire.REQUEST_BYTES - 4096


@given(U64, some.integers(0, 1 << 60), TIMES, TIMES, TIMES, U32, U32, U32, U32, U32)
def test_attributes_come_back_exact_to_the_nanosecond(number, size, atime, mtime, ctime, mode, nlink, uid, gid, rdev):
    inode = Inode(
        kind=Kind.OBJECT, mode=mode, uid=uid, gid=gid, nlink=nlink, size=size, atime=atime, mtime=mtime, ctime=ctime,
        btime=0, rdev=rdev,
    )  # fmt: skip
    entry = wire.ENTRY_OUT.unpack(wire.entry_out(number, inode))
    assert entry[6:] == wire.ATTR_OUT.unpack(wire.attr_out(number, inode))[3:]
    ino, shown, blocks, *times = entry[6:15]
    assert entry[0] == ino == number and shown == size and (blocks - 1) * 512 < size <= blocks * 512
    assert [times[at] * 10**9 + times[at + 3] for at in range(3)] == [atime, mtime, ctime]
    assert all(0 <= part < 10**9 for part in times[3:])
    assert entry[15:20] == (mode, nlink, uid, gid, rdev)


@given(some.lists(some.tuples(NAMES, U64, U64), max_size=5))
def test_a_listing_can_be_walked_as_the_kernel_does(entries):
    listing = b"".join(wire.dirent(name, number, 0o100644, place) for name, number, place in entries)
    seen = []
    while listing:
        number, place, length, kind = wire.DIRENT.unpack_from(listing)
        seen.append((listing[24 : 24 + length], number, place))
        assert kind == 8  # DT_REG
        listing = listing[(24 + length + 7) // 8 * 8 :]
    assert seen == entries


@given(U64, NAMES, U64)
def test_what_the_kernel_is_to_forget_is_told_without_having_been_asked(number, name, child):
    for told, code in (
        (wire.inval_inode(number, content=False), 2),
        (wire.inval_entry(number, name), 3),
        (wire.delete(number, child, name), 6),
    ):
        length, kind, unique = wire.ANSWER_HEAD.unpack_from(told)
        assert (length, kind, unique) == (len(told), code, 0)
    assert wire.INVAL_INODE.unpack_from(wire.inval_inode(number, content=False), 16)[:2] == (number, -1)
    assert wire.INVAL_INODE.unpack_from(wire.inval_inode(number, content=True), 16)[:2] == (number, 0)
