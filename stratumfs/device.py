"""/dev/fuse: mount on a folder, and take the mount away. Blocking, so in a thread.

Room: stratumfs. May import: stratumfs.errnos.

Who may, calls mount(2); who may not, asks fusermount3(1), which is set-uid root, for a descriptor that is mounted.
The descriptor never blocks. None of this waits for an answer of the file system that is mounted.
"""

import array
import ctypes
import errno
import os
import select
import socket
import stat
import subprocess
from collections.abc import Iterable
from pathlib import Path

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
VALUES = ("max_read",)
OURS = ("fsname", "subtype")
FUSERMOUNT_S = 10.0


def open_mounted(mountpoint: Path, options: Iterable[str]) -> int:
    """Mount, return the descriptor to speak with the kernel. Raises CannotMount."""
    chosen = sorted(options)
    _check(chosen)
    try:
        try:
            return _mount(mountpoint, chosen)
        except PermissionError:
            return _ask_fusermount(mountpoint, chosen)
    except (OSError, subprocess.SubprocessError) as error:
        told = ",".join(chosen)
        raise CannotMount(f"FUSE cannot mount on {mountpoint} (-o {told}): {error}; is {DEVICE} usable?") from error


def close_mounted(descriptor: int, mountpoint: Path) -> None:
    """Hang up, then take the mount away, if nobody did before. What is open on it fails from now on."""
    mounted = not _is_over(descriptor)
    os.close(descriptor)  # first: an unmount asks the file system, which answers no more
    if not mounted:
        return
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


def _check(options: Iterable[str]) -> None:
    for option in options:
        word, _, value = option.partition("=")
        known = (word in FLAGS or word in WORDS) and not value
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


def _ask_fusermount(mountpoint: Path, options: list[str]) -> int:
    """fusermount3 sends the descriptor over a socket whose number it is told (libfuse, doc/fusermount3)."""
    ours, theirs = socket.socketpair()
    with ours, theirs:
        command = ["fusermount3", "-o", ",".join(options), "--", str(mountpoint)]
        env = os.environ | {"_FUSE_COMMFD": str(theirs.fileno())}
        done = subprocess.run(
            command,
            env=env,
            pass_fds=[theirs.fileno()],
            timeout=FUSERMOUNT_S,
            check=False,
            capture_output=True,
            text=True,
        )
        if done.returncode:
            raise OSError(errno.EPERM, done.stderr.strip() or f"fusermount3 ended with {done.returncode}")
        ours.settimeout(FUSERMOUNT_S)
        _, sent, _, _ = ours.recvmsg(1, socket.CMSG_SPACE(array.array("i").itemsize))
    numbers = array.array("i")
    for level, kind, content in sent:
        if level == socket.SOL_SOCKET and kind == socket.SCM_RIGHTS:
            numbers.frombytes(content[: numbers.itemsize])
    if not numbers:
        raise OSError(errno.EPROTO, "fusermount3 sent no descriptor")
    os.set_blocking(numbers[0], False)
    return numbers[0]
