"""/dev/fuse: mount on a folder, and take the mount away. Blocking, so in a thread.

Room: stratumfs. May import: stratumfs.errnos.

Who may, calls mount(2); who may not, asks fusermount3(1), which is set-uid root, for a descriptor that is mounted.
The descriptor never blocks. None of this waits for an answer of the file system that is mounted.

With `auto_unmount` fusermount3 stays, whoever we are, and takes the mount away when our end of its socket is closed,
however we end. `allow_root` is for the kernel as `allow_other`: who is not meant is refused by the session.
"""

import array
import ctypes
import errno
import os
import select
import socket
import stat
import subprocess
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

from stratumfs.errnos import CannotMount

DEVICE = "/dev/fuse"
KIND = "fuse.stratumfs"  # as /proc/self/mounts shows it
MNT_DETACH = 2  # sys/mount.h: umount2, even while files are open

# sys/mount.h. The first two are for those who ask for them: what lies here came from everybody.
FLAGS = {
    "ro": 1, "nosuid": 2, "nodev": 4, "noexec": 8, "sync": 16, "dirsync": 128, "noatime": 1024, "nodiratime": 2048,
}  # fmt: skip
ALWAYS = FLAGS["nosuid"] | FLAGS["nodev"]
WORDS = ("allow_other", "default_permissions")  # that the kernel knows
AUTO_UNMOUNT, ALLOW_ROOT = "auto_unmount", "allow_root"  # that it does not
VALUES = ("max_read",)
OURS = ("fsname", "subtype")
FUSERMOUNT_S = 10.0


class Opened(NamedTuple):
    """A mount: the descriptor to speak with the kernel; with `auto_unmount`, who watches, and our end of its socket."""

    descriptor: int
    watcher: subprocess.Popen[bytes] | None = None
    alive: socket.socket | None = None


def open_mounted(mountpoint: Path, options: Iterable[str]) -> Opened:
    """Mount. Raises CannotMount."""
    chosen = sorted(options)
    _check(chosen)
    if ALLOW_ROOT in chosen:
        chosen = sorted({*chosen, "allow_other"} - {ALLOW_ROOT})
    try:
        if AUTO_UNMOUNT in chosen:
            return _ask_fusermount(mountpoint, chosen)
        try:
            return Opened(_mount(mountpoint, chosen))
        except PermissionError:
            return _ask_fusermount(mountpoint, chosen)
    except (OSError, subprocess.SubprocessError) as error:
        told = ",".join(chosen)
        raise CannotMount(f"FUSE cannot mount on {mountpoint} (-o {told}): {error}; is {DEVICE} usable?") from error


def close_mounted(opened: Opened, mountpoint: Path) -> None:
    """Hang up, then take the mount away, if nobody did before. What is open on it fails from now on."""
    mounted = not _is_over(opened.descriptor)
    os.close(opened.descriptor)  # first: an unmount asks the file system, which answers no more
    if mounted:
        _unmount(mountpoint)
    if opened.watcher is not None and opened.alive is not None:
        opened.alive.close()
        try:
            opened.watcher.wait(FUSERMOUNT_S)
        except subprocess.TimeoutExpired:
            opened.watcher.kill()
            opened.watcher.wait()


def _unmount(mountpoint: Path) -> None:
    if ctypes.CDLL(None).umount2(os.fsencode(mountpoint), MNT_DETACH):
        subprocess.run(
            ["fusermount3", "-u", "-q", "-z", "--", str(mountpoint)],
            timeout=FUSERMOUNT_S,
            check=False,
            capture_output=True,
        )


def _is_over(descriptor: int) -> bool:
    asked = select.poll()
    asked.register(descriptor, 0)
    return any(events & (select.POLLERR | select.POLLHUP) for _, events in asked.poll(0))


def _check(options: Sequence[str]) -> None:
    if {"allow_other", ALLOW_ROOT} <= set(options):
        raise CannotMount("-o allow_other and -o allow_root: it is one or the other")
    for option in options:
        word, _, value = option.partition("=")
        known = (word in FLAGS or word in (*WORDS, AUTO_UNMOUNT, ALLOW_ROOT)) and not value
        if not known and not (word in VALUES and value.isdecimal()) and word not in OURS:
            raise CannotMount(f"-o {option}: the mount does not know that")


def _mount(mountpoint: Path, options: list[str]) -> int:
    descriptor = os.open(DEVICE, os.O_RDWR | os.O_CLOEXEC | os.O_NONBLOCK)
    try:
        kind = stat.S_IFMT(os.stat(mountpoint).st_mode)
        told = [f"fd={descriptor}", f"rootmode={kind:o}", f"user_id={os.getuid()}", f"group_id={os.getgid()}"]
        flags = ALWAYS
        for option in options:
            word = option.partition("=")[0]
            flags |= FLAGS.get(word, 0)
            if word in WORDS or word in VALUES:
                told.append(option)
        _mount2(_source(options), mountpoint, flags, ",".join(told))
    except BaseException:
        os.close(descriptor)
        raise
    return descriptor


def _mount2(source: str, mountpoint: Path, flags: int, told: str) -> None:
    call = ctypes.CDLL(None, use_errno=True).mount
    call.argtypes = (ctypes.c_char_p, ctypes.c_char_p, ctypes.c_char_p, ctypes.c_ulong, ctypes.c_char_p)
    if call(source.encode(), os.fsencode(mountpoint), KIND.encode(), flags, told.encode()):
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))


def _source(options: Iterable[str]) -> str:
    return next((option.partition("=")[2] for option in options if option.startswith("fsname=")), "stratum")


def _ask_fusermount(mountpoint: Path, options: list[str]) -> Opened:
    """fusermount3 sends the descriptor over a socket whose number it is told (libfuse, doc/fusermount3)."""
    ours, theirs = socket.socketpair()
    command = ["fusermount3", "-o", ",".join(options), "--", str(mountpoint)]
    try:
        with theirs:
            asked = subprocess.Popen(
                command,
                env=os.environ | {"_FUSE_COMMFD": str(theirs.fileno())},
                pass_fds=[theirs.fileno()],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.PIPE,
            )
        descriptor = _received(asked, ours)
    except BaseException:
        ours.close()
        raise
    if AUTO_UNMOUNT in options:
        return Opened(descriptor, asked, ours)
    ours.close()
    asked.wait(FUSERMOUNT_S)
    return Opened(descriptor)


def _received(asked: subprocess.Popen[bytes], ours: socket.socket) -> int:
    """The descriptor that fusermount3 sends, which does not block. Raises OSError with what it says instead."""
    assert asked.stderr is not None
    with asked.stderr:
        ours.settimeout(FUSERMOUNT_S)
        _, sent, _, _ = ours.recvmsg(1, socket.CMSG_SPACE(array.array("i").itemsize))
        numbers = array.array("i")
        for level, kind, content in sent:
            if level == socket.SOL_SOCKET and kind == socket.SCM_RIGHTS:
                numbers.frombytes(content[: numbers.itemsize])
        if not numbers:
            code = asked.wait(FUSERMOUNT_S)
            said = asked.stderr.read().decode(errors="replace").strip()
            raise OSError(errno.EPERM, said or f"fusermount3 ended with {code}, and sent no descriptor")
    os.set_blocking(numbers[0], False)
    return numbers[0]
