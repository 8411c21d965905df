"""Mount the engine's files, serve the kernel, unmount.

Room: stratumfs. May import: core, engine.engine, stratumfs.*.

Who speaks with the kernel is a `Session`: our own (stratumfs/raw.py) or pyfuse3's. The mount point itself is prepared
by `serve`. Nothing here touches the mount: a process that waits for its own mount waits for ever.
"""

import ctypes
import logging
import os
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Protocol

import trio

from stratum.engine.engine import Engine
from stratumfs.caches import KernelCaches
from stratumfs.errnos import CannotMount
from stratumfs.ops import Operations

__all__ = ["CannotMount", "mount"]

log = logging.getLogger(__name__)

READ_AHEAD_KIB = 1024  # one read request a MiB instead of eight
MAX_BACKGROUND = 64  # requests the kernel sends ahead, instead of 12
TRANSPORT = "raw"
INVALIDATIONS_S = 2.0  # patience with the kernel at the end
OPTIONS = ("default_permissions", "fsname=stratum", "subtype=stratumfs")

# What mount(8) and fstab know and FUSE does not.
NOT_FOR_FUSE = {
    "rw", "auto", "noauto", "user", "nouser", "users", "owner", "group", "defaults", "_netdev", "nofail", "dev", "suid",
    "exec", "async", "relatime", "close=durable", "close=queued",
}  # fmt: skip
PR_SET_IO_FLUSHER = 57  # linux/prctl.h


class Session(Protocol):
    """One mount, and the conversation with the kernel about it."""

    async def open(self) -> None:
        """Mount. Raises CannotMount."""

    async def serve(self) -> None:
        """Answer until it is unmounted, or told to `end`."""

    def end(self) -> None:
        """Answer what is under way, then no more."""

    async def close(self) -> None:
        """Unmount, if it is still mounted."""

    def forget_name(self, directory: int, name: bytes, gone: int) -> None:
        """Have the kernel forget a name. `gone`: the inode behind it, which has no name any more, so that who watches
        it is told; 0: it has. Blocking, so in a thread. Raises FileNotFoundError, OSError."""

    def forget_attributes(self, number: int) -> None:
        """Have the kernel forget attributes. Blocking, so in a thread. Raises FileNotFoundError, OSError."""


async def mount(
    engine: Engine,
    mountpoint: Path,
    options: Sequence[str] = (),
    *,
    transport: str = TRANSPORT,
    task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED,
) -> None:
    """Mount on `mountpoint` and serve until it is unmounted, or until cancelled.

    Started when the kernel has begun to ask. On cancellation everything open is published, and the mount taken away.
    Raises CannotMount.
    """
    caches = KernelCaches(
        lambda *name: session.forget_name(*name), lambda inode: session.forget_attributes(inode), engine.files.is_gone
    )
    operations = Operations(engine.files, caches.forget_inode)
    session = _session(transport, operations, mountpoint, fuse_options(options, os.geteuid()))
    protect_from_reclaim()
    await session.open()
    caches.start()
    engine.changes.subscribe(caches.forget, caches.caught_up)
    try:
        await _serve(engine, operations, session, mountpoint, caches, task_status)
    finally:
        with trio.CancelScope(shield=True):
            engine.changes.unsubscribe(caches.forget)
            await engine.files.close()
            await session.close()


def _session(transport: str, operations: Operations, mountpoint: Path, options: set[str]) -> Session:
    if transport == "raw":
        from stratumfs.raw import RawSession

        return RawSession(operations, mountpoint, options)
    from stratumfs.pyfuse import PyfuseSession  # only here: without it, neither pyfuse3 nor libfuse need be there

    return PyfuseSession(operations, mountpoint, options)


async def _serve(
    engine: Engine,
    operations: Operations,
    session: Session,
    mountpoint: Path,
    caches: KernelCaches,
    task_status: trio.TaskStatus[None],
) -> None:
    """Answer the kernel. The loop is never cancelled in the middle of an answer: it is told to end."""
    async with trio.open_nursery() as nursery:
        nursery.start_soon(_end_when_cancelled, engine, session, caches)
        with trio.CancelScope(shield=True):
            async with trio.open_nursery() as serving:
                serving.start_soon(_announce, operations, mountpoint, task_status)
                await session.serve()
                serving.cancel_scope.cancel()
        nursery.cancel_scope.cancel()


async def _announce(operations: Operations, mountpoint: Path, task_status: trio.TaskStatus[None]) -> None:
    await operations.ready.wait()
    await trio.to_thread.run_sync(tune, mountpoint)
    task_status.started()


async def _end_when_cancelled(engine: Engine, session: Session, caches: KernelCaches) -> None:
    """Wait for the cancellation; then publish what is open and end the loop, while it still answers."""
    try:
        await trio.sleep_forever()
    finally:
        with trio.CancelScope(shield=True):
            await engine.files.publish_all()
            if not await trio.to_thread.run_sync(caches.stop, INVALIDATIONS_S):
                log.warning("the kernel still holds back an invalidation")
            session.end()


def fuse_options(given: Iterable[str], uid: int) -> set[str]:
    """The options for FUSE: ours, and those of the user that FUSE understands."""
    chosen = {word for word in given if word and word not in NOT_FOR_FUSE and not word.startswith("x-")}
    if uid == 0 and "allow_root" not in chosen:
        chosen.add("allow_other")  # backups run as root, files belong to users
    return chosen | set(OPTIONS)


def tune(mountpoint: Path) -> None:
    """Ask the kernel for larger and more requests; without the right to, it stays slower. Blocking."""
    minor = minor_of(mountpoint, Path("/proc/self/mountinfo").read_text(errors="surrogateescape"))
    if minor is None:
        return
    for knob, value in (
        (f"/sys/class/bdi/0:{minor}/read_ahead_kb", READ_AHEAD_KIB),
        (f"/sys/fs/fuse/connections/{minor}/max_background", MAX_BACKGROUND),
    ):
        try:
            Path(knob).write_text(f"{value}\n")
        except OSError as error:
            log.info("the mount runs with the kernel's own settings: %s", error)


def minor_of(mountpoint: Path, mountinfo: str) -> int | None:
    """The minor device number of what is mounted on top at `mountpoint`; None if nothing is."""
    escaped = str(mountpoint).replace("\\", "\\134").replace(" ", "\\040").replace("\t", "\\011").replace("\n", "\\012")
    found = None
    for line in mountinfo.splitlines():
        _, _, device, _, where, *_ = line.split(" ")
        if where == escaped:
            found = int(device.partition(":")[2])
    return found


def protect_from_reclaim() -> None:
    """Tell the kernel that this thread serves a file system: memory reclaim must not wait for it. Only as root."""
    ctypes.CDLL(None).prctl(PR_SET_IO_FLUSHER, 1, 0, 0, 0)
