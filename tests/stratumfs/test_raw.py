"""What our own transport does that pyfuse3 cannot, and what it does with nonsense.

Room: tests. May import: stratum, stratumfs, tests.
"""

import ctypes
import errno
import os
import socket
import subprocess
from contextlib import asynccontextmanager
from itertools import count
from pathlib import Path

import pytest
import trio
import trio.testing
from hypothesis import given
from hypothesis import strategies as some

from stratum.core.objects import ListQuery
from stratum.core.schema import VOLUME_USER
from stratum.core.txn import successor
from stratumfs import protocol as wire
from stratumfs.device import close_mounted, open_mounted
from stratumfs.errnos import CannotMount, Refused
from stratumfs.protocol import Op
from stratumfs.raw import RawSession, staying
from tests.engine.conftest import get
from tests.stratumfs.test_mount import engine, errno_of, place, there  # noqa: F401 - fixtures

FUSE = pytest.mark.fuse
KEEP_SIZE, PUNCH_HOLE, ZERO_RANGE, COLLAPSE = 1, 2, 16, 8
MIB = 1 << 20


@pytest.fixture
def transport():
    return "raw"


def fallocate(fd: int, mode: int, offset: int, length: int) -> int:
    """The errno; 0: done. libc's own posix_fallocate knows no modes."""
    libc = ctypes.CDLL(None, use_errno=True)
    done = libc.fallocate(fd, mode, ctypes.c_longlong(offset), ctypes.c_longlong(length))
    return ctypes.get_errno() if done else 0


@FUSE
@pytest.mark.parametrize("synced", [False, True])
async def test_a_hole_that_is_punched_reads_as_zeros_takes_no_room_and_is_found(engine, place, synced):  # noqa: F811
    content = os.urandom(3 * MIB)

    def play():
        fd = os.open(place / "f", os.O_CREAT | os.O_RDWR)
        os.pwrite(fd, content, 0)
        if synced:
            os.fsync(fd)
        assert fallocate(fd, PUNCH_HOLE | KEEP_SIZE, MIB, MIB) == 0
        if synced:
            os.fsync(fd)
        assert os.fstat(fd).st_size == 3 * MIB
        assert os.pread(fd, 3 * MIB, 0) == content[:MIB] + bytes(MIB) + content[2 * MIB :]
        assert [os.lseek(fd, at, os.SEEK_HOLE) for at in (0, MIB, 2 * MIB)] == [MIB, MIB, 3 * MIB]
        assert [os.lseek(fd, at, os.SEEK_DATA) for at in (5, MIB, 2 * MIB)] == [5, 2 * MIB, 2 * MIB]
        assert errno_of(os.lseek, fd, 3 * MIB, os.SEEK_DATA) == "ENXIO"
        os.close(fd)
        blocks = (place / "f").stat().st_blocks
        assert blocks == 2 * MIB // 512 or not synced

    await there(play)
    assert await get(engine, b"f") == content[:MIB] + bytes(MIB) + content[2 * MIB :]


@FUSE
async def test_the_beginning_can_be_punched_without_the_rest_being_taken_for_new(engine, place):  # noqa: F811
    content = os.urandom(MIB)

    def play():
        (place / "f").write_bytes(content)
        fd = os.open(place / "f", os.O_RDWR)
        assert fallocate(fd, PUNCH_HOLE | KEEP_SIZE, 0, 4096) == 0
        os.pwrite(fd, b"x", 5)
        os.close(fd)

    await there(play)
    punched = b"\0" * 5 + b"x" + bytes(4090) + content[4096:]
    assert await get(engine, b"f") == punched


@FUSE
async def test_room_can_be_asked_for_within_reason(place):  # noqa: F811
    def play():
        fd = os.open(place / "f", os.O_CREAT | os.O_RDWR)
        os.write(fd, b"abc")
        assert fallocate(fd, 0, 0, 10_000) == 0
        assert (os.fstat(fd).st_size, os.pread(fd, 20_000, 0)) == (10_000, b"abc" + bytes(9_997))
        assert fallocate(fd, KEEP_SIZE, 0, 50_000) == 0
        assert fallocate(fd, ZERO_RANGE, 1, 20_000) == 0
        assert os.pread(fd, 30_000, 0) == b"a" + bytes(20_000)
        assert fallocate(fd, COLLAPSE, 0, 4096) == errno.EOPNOTSUPP
        assert fallocate(fd, 0, 0, 1 << 50) == errno.ENOSPC
        os.close(fd)

    await there(play)


@FUSE
async def test_cp_of_a_file_shares_its_volumes(engine, place):  # noqa: F811
    content = os.urandom(8 * MIB + 5)

    def users() -> set[bytes]:
        rows = engine.meta.read(lambda txn: [key for key, _ in txn.scan(VOLUME_USER, successor(VOLUME_USER))])
        return {row[1:9] for row in rows}

    await there((place / "one").write_bytes, content)
    await engine.files.settle(None)
    before = users()
    await there(lambda: subprocess.run(["cp", "--preserve=all", place / "one", place / "two"], check=True))
    assert await get(engine, b"two") == content
    assert await there((place / "two").read_bytes) == content
    one, two = [await engine.objects.head("bucket", key) for key in (b"one", b"two")]
    assert (one.etag, one.inode.mtime) == (two.etag, two.inode.mtime)
    version = await there(lambda: subprocess.run(["cp", "--version"], capture_output=True, check=True).stdout)
    if int(version.split(b"\n")[0].split()[-1].split(b".")[0]) >= 9:  # older ones read and write
        assert users() == before


@FUSE
async def test_a_range_is_copied_within_the_store_holes_as_holes(engine, place):  # noqa: F811
    content = os.urandom(2 * MIB)

    def play():
        one, two = (os.open(place / name, os.O_CREAT | os.O_RDWR) for name in "ab")
        os.pwrite(one, content, 0)
        os.ftruncate(one, 64 * MIB)
        os.pwrite(one, b"end", 63 * MIB)
        os.fsync(one)
        os.pwrite(two, b"y" * 10, 0)
        copied = 0
        while copied < 64 * MIB:
            copied += os.copy_file_range(one, two, 64 * MIB - copied, copied, copied)
        os.fsync(two)
        assert os.copy_file_range(one, two, 10, 64 * MIB, 0) == 0
        assert os.pread(two, 64 * MIB, 0) == os.pread(one, 64 * MIB, 0)
        assert os.fstat(two).st_blocks <= 4 * MIB // 512
        os.close(one)
        os.close(two)

    await there(play)
    assert (await get(engine, b"b"))[: 2 * MIB] == content


@FUSE
async def test_a_file_without_a_name_can_be_given_one_with_all_that_was_written(engine, place):  # noqa: F811
    def play():
        fd = os.open(place, os.O_TMPFILE | os.O_RDWR, 0o640)
        os.write(fd, b"hidden")
        os.fsync(fd)
        assert os.listdir(place) == [] and os.fstat(fd).st_nlink == 0
        folder = os.open(place, os.O_RDONLY)
        os.link(f"/proc/self/fd/{fd}", "shown", src_dir_fd=folder, dst_dir_fd=folder)  # or it would not follow
        assert os.fstat(fd).st_nlink == 1
        os.fsync(folder)
        os.close(folder)
        os.close(os.open(place, os.O_TMPFILE | os.O_RDWR))
        return fd

    fd = await there(play)
    assert await get(engine, b"shown") == b"hidden"  # by the barrier, not by close
    await there(os.close, fd)
    assert [view.key for view in (await engine.objects.list("bucket", ListQuery())).objects] == [b"shown"]


@FUSE
async def test_listing_plainly_and_with_attributes_gives_the_same_names(place):  # noqa: F811
    def play():
        names = {f"{number:03}" for number in range(300)}
        for name in names:
            os.mknod(place / name)
        assert set(os.listdir(place)) == names
        assert {entry.name for entry in os.scandir(place) if entry.stat().st_size == 0} == names
        assert set(os.listdir(place)) == names

    await there(play)


# --- a conversation, with the test in the place of the kernel -----------------------------------------------------


class Slow:
    """Reads wait until `go` is set, everything else is answered at once. `most`: reads that waited together."""

    def __init__(self):
        self.go, self.waiting, self.most = trio.Event(), 0, 0

    async def read(self, fh, offset, size):
        self.waiting += 1
        self.most = max(self.most, self.waiting)
        try:
            await self.go.wait()
        finally:
            self.waiting -= 1
        return b"read"

    async def lookup(self, parent, name, ctx):
        return None


@asynccontextmanager
async def conversation(operations):
    """Both ends: what the session does, and a socket on which every message is a request or an answer."""
    kernel, device = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    device.setblocking(False)
    talking = session(operations)
    talking._device = device.fileno()
    with device:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(talking.serve)
            yield trio.socket.from_stdlib_socket(kernel), talking
            talking.end()
        kernel.close()


def request(opcode: int, unique: int, body: bytes) -> bytes:
    return wire.REQUEST_HEAD.pack(wire.HEAD_BYTES + len(body), opcode, unique, 1, 0, 0, 0, 0, 0) + body


READING = wire.READ_IN.pack(1, 0, 4096, 0, 0, 0, 0)


async def answer_on(kernel) -> tuple[int, int]:
    """(unique, errno) of the next answer."""
    _, error, unique = wire.ANSWER_HEAD.unpack_from(await kernel.recv(1 << 16))
    return unique, -error


async def test_what_has_to_wait_keeps_nobody_else_waiting_and_an_interrupt_ends_it():
    slow = Slow()
    async with conversation(slow) as (kernel, _):
        for unique in (1, 2, 3):
            await kernel.send(request(Op.READ, unique, READING))
        await kernel.send(request(Op.LOOKUP, 4, b"name\0"))
        assert await answer_on(kernel) == (4, 0)
        await kernel.send(request(Op.INTERRUPT, 5, wire.INTERRUPT_IN.pack(2)))
        await kernel.send(request(Op.INTERRUPT, 6, wire.INTERRUPT_IN.pack(99)))  # answered long ago
        assert await answer_on(kernel) == (2, errno.EINTR)
        slow.go.set()
        assert {await answer_on(kernel), await answer_on(kernel)} == {(1, 0), (3, 0)}
        await kernel.send(request(Op.READ, 7, READING))
        assert await answer_on(kernel) == (7, 0)


async def test_no_more_requests_are_under_way_than_there_may_be_and_none_is_forgotten(monkeypatch):
    monkeypatch.setattr("stratumfs.raw.TASKS", 4)
    slow = Slow()
    async with conversation(slow) as (kernel, _):
        for unique in range(1, 21):
            await kernel.send(request(Op.READ, unique, READING))
        await trio.testing.wait_all_tasks_blocked()
        slow.go.set()
        assert {(await answer_on(kernel))[0] for _ in range(20)} == set(range(1, 21))
    assert slow.most == 4


async def test_the_end_waits_for_what_is_under_way():
    slow = Slow()
    async with conversation(slow) as (kernel, talking):
        await kernel.send(request(Op.READ, 1, READING))
        await trio.testing.wait_all_tasks_blocked()
        talking.end()
        slow.go.set()
        assert await answer_on(kernel) == (1, 0)


async def test_who_asks_one_after_the_other_is_answered_without_waiting_and_others_get_their_turns(monkeypatch):
    monkeypatch.setattr("stratumfs.raw.SPARE_PROCESSOR", True)
    monkeypatch.setattr("stratumfs.raw.SOON_S", 0.2)
    monkeypatch.setattr("stratumfs.raw.AT_ONCE", 4)
    monkeypatch.setattr("stratumfs.raw.SHORT_WAIT_S", 60.0)
    waits, turns = count(), count()
    wait_for_one = RawSession._wait_for_one

    async def waiting(self):
        next(waits)
        await wait_for_one(self)

    monkeypatch.setattr(RawSession, "_wait_for_one", waiting)

    def ask(kernel):
        for unique in range(1, 201):
            kernel.send(request(Op.LOOKUP, unique, b"name\0"))
            assert wire.ANSWER_HEAD.unpack_from(kernel.recv(1 << 16))[1:] == (0, unique)

    async def take_turns():
        while True:
            next(turns)
            await trio.lowlevel.checkpoint()

    kernel, device = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    device.setblocking(False)
    talking = session(Slow())
    talking._device = device.fileno()
    with kernel, device:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(talking.serve)
            nursery.start_soon(take_turns)
            await trio.to_thread.run_sync(ask, kernel)
            talking.end()
            nursery.cancel_scope.cancel()
    assert next(waits) < 20
    assert next(turns) >= 200 // 4


def test_the_next_request_is_not_looked_for_while_one_waits_or_after_a_pause_or_on_a_single_processor(monkeypatch):
    talking = session(Slow())
    monkeypatch.setattr(talking, "_next", lambda: pytest.fail("it was looked for"))
    for busy, under_way, spare in ((False, 0, True), (True, 1, True), (True, 0, False)):
        monkeypatch.setattr("stratumfs.raw.SPARE_PROCESSOR", spare)
        talking._busy, talking._under_way = busy, under_way
        assert talking._next_soon() is None
    monkeypatch.setattr("stratumfs.raw.SPARE_PROCESSOR", True)
    monkeypatch.setattr(talking, "_next", lambda: None)
    talking._busy, talking._under_way = True, 0
    assert talking._next_soon() is None
    assert not talking._busy  # not again before one comes soon


async def test_what_is_no_request_is_passed_over(caplog):
    async with conversation(Slow()) as (kernel, _):
        await kernel.send(b"nonsense")
        await kernel.send(request(Op.LOOKUP, 1, b"name\0"))
        assert await answer_on(kernel) == (1, 0)
    assert "no request" in caplog.text


# --- nonsense ---------------------------------------------------------------------------------------------------


class NoOperations:
    """Whatever is asked is refused, and what should not have been asked at all is seen."""

    def __getattr__(self, name):
        async def refuse(*arguments):
            raise Refused(errno.EACCES)

        return refuse


def session(operations=None) -> RawSession:
    return RawSession(operations or NoOperations(), Path("/nowhere"), ())


def answer_to(opcode: int, body: bytes, operations=None) -> tuple[int, int] | None:
    """(errno, unique) of the answer."""
    head = wire.Head(wire.HEAD_BYTES + len(body), opcode, 77, 1, 0, 0, 0, 0, 0)

    async def ask():
        return await session(operations)._answer(head, body, b"")

    answer = trio.run(ask)
    if answer is None:
        return None
    length, error, unique = wire.ANSWER_HEAD.unpack_from(answer[0])
    assert length == sum(map(len, answer))
    return -error, unique


SILENT = {Op.FORGET, Op.BATCH_FORGET, Op.INTERRUPT, Op.NOTIFY_REPLY}


@given(some.integers(0, 60), some.binary(max_size=100))
def test_every_request_whatever_it_holds_is_answered_once_and_never_with_an_exception(opcode, body):
    answer = answer_to(opcode, body)
    if answer is not None:
        assert answer[1] == 77
    else:
        assert opcode in SILENT


def test_what_is_not_known_is_not_implemented_and_what_is_malformed_is_an_error():
    assert answer_to(4711, b"") == (errno.ENOSYS, 77)
    assert answer_to(Op.SYMLINK, b"only one name\0") == (errno.EIO, 77)
    assert answer_to(Op.WRITE, b"") == (errno.EIO, 77)
    assert answer_to(Op.INIT, wire.INIT_IN.pack(8, 0, 0, 0)) == (errno.EPROTO, 77)


class Broken:
    """Every handler has a bug."""

    def __getattr__(self, name):
        async def fail(*arguments):
            raise ZeroDivisionError

        return fail


def test_a_bug_is_an_error_of_one_request(caplog):
    assert answer_to(Op.LOOKUP, b"name\0", Broken()) == (errno.EIO, 77)
    assert "ZeroDivisionError" in caplog.text


async def test_work_that_needs_no_waiting_is_done_on_the_spot_and_other_work_says_that_it_waits():
    waits = []

    async def at_once():
        return 1

    async def later():
        await trio.lowlevel.checkpoint()
        await trio.sleep(0)
        return 2

    async def failing():
        await trio.lowlevel.checkpoint()
        raise KeyError

    assert await staying(at_once(), lambda: waits.append(1)) == 1 and waits == []
    assert await staying(later(), lambda: waits.append(2)) == 2 and waits == [2]
    with pytest.raises(KeyError):
        await staying(failing(), lambda: waits.append(3))
    with trio.CancelScope() as scope:
        scope.cancel()
        await staying(trio.sleep_forever(), lambda: waits.append(4))
    assert scope.cancelled_caught and waits == [2, 3, 4]


def test_an_option_that_nobody_knows_is_named(tmp_path):
    with pytest.raises(CannotMount, match="allow_rot"):
        open_mounted(tmp_path, ["allow_rot"])
    with pytest.raises(CannotMount, match="max_read=much"):
        open_mounted(tmp_path, ["max_read=much"])


@FUSE
def test_who_may_not_mount_gets_a_descriptor_from_fusermount3(tmp_path, monkeypatch):
    def refused(*arguments):
        raise PermissionError(errno.EPERM, "not permitted")

    monkeypatch.setattr("stratumfs.device._mount", refused)
    opened = open_mounted(tmp_path, ["default_permissions", "fsname=stratum", "subtype=stratumfs"])
    assert f" {tmp_path} fuse.stratumfs " in Path("/proc/self/mounts").read_text()
    assert not os.get_blocking(opened.descriptor) and opened.watcher is None
    close_mounted(opened, tmp_path)
    assert str(tmp_path) not in Path("/proc/self/mounts").read_text()
    with pytest.raises(CannotMount, match="fusermount3"):
        open_mounted(tmp_path / "missing", [])
