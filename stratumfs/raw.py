"""The mount in the kernel's own words: requests from /dev/fuse, answered on the trio loop.

Room: stratumfs. May import: stratumfs.{device, errnos, ops, protocol, requests}.

One task *leads*: it reads requests until there are none left and answers each on the spot. Where an answer has to
wait for something, the task that has begun it stays with it, and another one takes the lead. So a request that needs
no waiting costs no switch of tasks, and one that does costs one.

Invariants
    D1  At most one task leads. If none does, all of them have a request under way, and the first that is done leads.
    D2  Whatever a request holds and whatever its handler does, it is answered once, and the next one is read.
    D3  A read that waits is given up when whoever reads is killed; what changes something is always seen through.
    D4  No more than `TASKS` requests are under way, and no turn of the loop answers more than `AT_ONCE`.
"""

import errno
import logging
import os
import struct
from collections.abc import Callable, Coroutine, Generator, Iterable
from contextlib import suppress
from pathlib import Path
from time import perf_counter
from types import coroutine
from typing import Any, TypeVar

import trio

from stratumfs import protocol as wire
from stratumfs.device import ALLOW_ROOT, Opened, close_mounted, open_mounted
from stratumfs.errnos import Refused
from stratumfs.ops import Operations
from stratumfs.protocol import Head, Init, Op, Request
from stratumfs.requests import Requests

log = logging.getLogger(__name__)

T = TypeVar("T")

TASKS = 128  # requests under way; the largest takes 1 MiB
AT_ONCE = 16  # requests answered in one turn of the loop
SOON_S = 80e-6  # so long the next request is looked for before the loop is left to wait for it
SHORT_WAIT_S = 400e-6  # what waiting for a request may take for the next one to be looked for
MAX_BACKGROUND = 64  # requests the kernel sends ahead, instead of 12
SPARE_PROCESSOR = len(os.sched_getaffinity(0)) > 1
GONE = {errno.ENODEV, errno.ECONNABORTED}  # unmounted

# What goes on about what is open already, and about the conversation: with `allow_root`, too, whoever caused it.
BY_ANYBODY = {
    Op.INIT, Op.DESTROY, Op.FORGET, Op.BATCH_FORGET, Op.INTERRUPT, Op.NOTIFY_REPLY, Op.READ, Op.WRITE, Op.FLUSH,
    Op.FSYNC, Op.RELEASE, Op.READDIR, Op.READDIRPLUS, Op.FSYNCDIR, Op.RELEASEDIR,
}  # fmt: skip

WANTED = (
    Init.ASYNC_READ
    | Init.ATOMIC_O_TRUNC
    | Init.EXPORT_SUPPORT
    | Init.BIG_WRITES
    | Init.DO_READDIRPLUS
    | Init.READDIRPLUS_AUTO
    | Init.ASYNC_DIO
    | Init.PARALLEL_DIROPS
    | Init.DONT_MASK  # a directory's default access control list is in place of it
    | Init.POSIX_ACL
    | Init.ABORT_ERROR
    | Init.MAX_PAGES
    | Init.CACHE_SYMLINKS  # what a symbolic link says never changes
    | Init.EXPLICIT_INVAL_DATA  # an inode's bytes change through this mount alone (docs/decisions/0014)
    | Init.HANDLE_KILLPRIV_V2  # or the kernel asks for capabilities before every write
    | Init.SETXATTR_EXT
    | Init.INIT_EXT
)


@coroutine
def staying(work: Coroutine[Any, Any, T], waits: Callable[[], None]) -> Generator[Any, Any, T]:
    """Run `work` in this task; call `waits` when it has to wait for the first time."""
    try:
        trap = work.send(None)
    except StopIteration as done:
        return done.value
    waits()
    while True:
        try:
            sent = yield trap
        except BaseException as error:
            step, value = work.throw, error
        else:
            step, value = work.send, sent
        try:
            trap = step(value)
        except StopIteration as done:
            return done.value


class RawSession:
    """One mount. See `stratumfs.mount.Session`."""

    def __init__(self, operations: Operations, mountpoint: Path, options: Iterable[str]) -> None:
        self._operations = operations
        self._requests = Requests(operations)
        self._handlers = self._requests.handlers
        self._mountpoint = mountpoint
        self._options = tuple(options)
        self._owner = os.getuid() if ALLOW_ROOT in self._options else None  # with root, the only one who may ask
        self._device = -1
        self._opened: Opened | None = None
        self._first = bytearray(wire.FIRST_BYTES)  # buffers kept: reading into new ones costs ten times as much
        self._rest = memoryview(bytearray(wire.REQUEST_BYTES))
        self._buffers = [self._first, self._rest]
        self._nursery: trio.Nursery
        self._tasks = 0
        self._resting = trio.lowlevel.ParkingLot()
        self._led = False  # does a task lead?
        self._busy = False  # did the last request come soon after the one before?
        self._under_way = 0  # requests that wait for something
        self._over = trio.Event()
        self._interruptible: dict[int, trio.CancelScope] = {}  # by request: reads that wait for something

    # --- the session ----------------------------------------------------------------------------------------

    async def open(self) -> None:
        """Mount. Raises CannotMount."""
        self._opened = await trio.to_thread.run_sync(open_mounted, self._mountpoint, self._options)
        self._device = self._opened.descriptor

    async def serve(self) -> None:
        """Answer until it is unmounted, or told to `end`."""
        async with trio.open_nursery() as nursery:
            self._nursery = nursery
            self._call_for_a_leader()
            await self._over.wait()

    def end(self) -> None:
        """Answer what is under way, then no more."""
        self._over.set()
        trio.lowlevel.notify_closing(self._device)
        self._resting.unpark_all()

    async def close(self) -> None:
        """Unmount, if it is still mounted."""
        opened, self._opened, self._device = self._opened, None, -1
        if opened is not None:
            await trio.to_thread.run_sync(close_mounted, opened, self._mountpoint)

    def forget_name(self, directory: int, name: bytes, gone: int) -> None:
        """Have the kernel forget a name. Blocking. Raises FileNotFoundError, OSError."""
        told = wire.delete(directory, gone, name) if gone else wire.inval_entry(directory, name)
        os.write(self._device, told)

    def forget_attributes(self, number: int) -> None:
        """Have the kernel forget attributes. Blocking. Raises FileNotFoundError, OSError."""
        os.write(self._device, wire.inval_inode(number, content=False))

    # --- tasks ----------------------------------------------------------------------------------------------

    def _call_for_a_leader(self) -> None:
        """The lead is free: let a task take it that rests, or a new one; if there are enough, the next that is done."""
        self._led = False
        if self._resting:
            self._led = True
            self._resting.unpark()
        elif self._tasks < TASKS:
            self._led = True
            self._tasks += 1
            self._nursery.start_soon(self._work)

    async def _work(self) -> None:
        """Lead, rest, lead again. Begun, and woken, by whoever gives the lead away."""
        while not self._over.is_set():
            with trio.CancelScope() as scope:
                await self._lead(scope)
            if self._over.is_set():
                return
            if self._led:
                await self._resting.park()
            else:
                self._led = True

    async def _lead(self, scope: trio.CancelScope) -> None:
        """Answer requests until one had to wait for something: by then somebody else leads, or nobody (D1)."""
        while not self._over.is_set():
            for _ in range(AT_ONCE):
                request = self._next() or self._next_soon()
                if request is None:
                    break
                if await self._serve_one(request, scope):
                    return
            else:
                await trio.lowlevel.checkpoint()
                continue
            if not self._over.is_set():
                await self._wait_for_one()

    async def _wait_for_one(self) -> None:
        begun = perf_counter()
        with suppress(trio.ClosedResourceError):  # of `end`
            await trio.lowlevel.wait_readable(self._device)
        self._busy = perf_counter() - begun < SHORT_WAIT_S

    def _next(self) -> Request | None:
        """The next request; None if there is none now, or will never be."""
        while True:
            try:
                return wire.request_in(self._first, self._rest, os.readv(self._device, self._buffers))
            except struct.error as error:
                log.error("what was read is no request: %s", error)
            except BlockingIOError:
                return None
            except OSError as error:
                if error.errno in (errno.EINTR, errno.ENOENT):  # ENOENT: it was taken back meanwhile
                    continue
                if error.errno not in GONE:
                    log.error("the mount ends: its requests cannot be read: %s", error)
                self.end()
                return None

    def _next_soon(self) -> Request | None:
        """The next request of whoever asks one after the other, if it comes at once.

        To wait for it would cost more than to answer it: a turn of the loop, and a processor that has gone to sleep
        and is woken again. Nobody is kept from the second processor, and nothing else waits for an answer meanwhile.
        """
        if not self._busy or self._under_way or not SPARE_PROCESSOR:
            return None
        until = perf_counter() + SOON_S
        while perf_counter() < until and not self._over.is_set():
            request = self._next()
            if request is not None:
                return request
        self._busy = False
        return None

    async def _serve_one(self, request: Request, scope: trio.CancelScope) -> bool:
        """Answer one request; return whether the lead was given away meanwhile. `scope`: what an interrupt cancels."""
        waited = False
        head = request[0]

        def waits() -> None:
            nonlocal waited
            waited = True
            self._under_way += 1
            if head.opcode == Op.READ:
                self._interruptible[head.unique] = scope
            self._call_for_a_leader()

        answer: wire.Answer | None = wire.refusal(head.unique, errno.EINTR)  # unless there is another one
        try:
            answer = await staying(self._answer(*request), waits)
        finally:
            if waited:
                self._under_way -= 1
                self._interruptible.pop(head.unique, None)
            if answer is not None:
                self._send(answer)
        return waited

    async def _answer(self, head: Head, body: bytes, content: bytes) -> wire.Answer | None:
        """What to answer; nothing that a request brings about gets out of here (D2)."""
        try:
            if self._owner is not None and head.uid not in (0, self._owner) and head.opcode not in BY_ANYBODY:
                return wire.refusal(head.unique, errno.EACCES)
            handler = self._handlers.get(head.opcode)
            if handler is None:
                return self._answer_other(head, body)
            answer = await handler(head, body, content)
            return None if answer is None else wire.answer(head.unique, answer)
        except Refused as refused:
            return wire.refusal(head.unique, refused.errno)
        except Exception:
            log.exception("a request of the kernel failed", extra={"opcode": head.opcode})
            return wire.refusal(head.unique, errno.EIO)

    def _answer_other(self, head: Head, body: bytes) -> wire.Answer | None:
        """What is about the conversation itself, and what we do not know."""
        if head.opcode == Op.INIT:
            return self._answer_init(head, body)
        if head.opcode == Op.DESTROY:
            return wire.answer(head.unique, b"")
        if head.opcode == Op.INTERRUPT:
            reading = self._interruptible.get(*wire.INTERRUPT_IN.unpack_from(body))
            if reading is not None:
                reading.cancel()
        if head.opcode in (Op.INTERRUPT, Op.NOTIFY_REPLY):
            return None
        return wire.refusal(head.unique, errno.ENOSYS)

    def _answer_init(self, head: Head, body: bytes) -> wire.Answer:
        offer = wire.offer_in(body)
        if offer.major != wire.MAJOR or offer.minor < wire.OLDEST_MINOR:
            log.critical("this kernel speaks version %d.%d of FUSE", offer.major, offer.minor)
            return wire.refusal(head.unique, errno.EPROTO)
        self._requests.long_setxattr = bool(offer.flags & Init.SETXATTR_EXT)
        self._operations.init()
        return wire.answer(head.unique, wire.answer_init(offer, WANTED, MAX_BACKGROUND))

    def _send(self, answer: wire.Answer) -> None:
        try:
            if len(answer) == 1:
                os.write(self._device, answer[0])
            else:
                os.writev(self._device, answer)
        except OSError as error:
            if error.errno in GONE or error.errno == errno.ENOENT:  # ENOENT: nobody waits for it any more
                return
            log.error("an answer was not taken: %s", error)
