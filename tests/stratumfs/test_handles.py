"""File handles, as an NFS server keeps them: they lead to the same file after a restart, and to nothing else ever.

Room: tests. May import: stratum, tests. By name_to_handle_at(2) and open_by_handle_at(2), which ask what nfsd asks.
"""

import ctypes
import errno
import os
import struct
from pathlib import Path

import pytest

from stratum.core.objects import PutSpec
from tests.engine.conftest import body_of, engine_at
from tests.stratumfs.test_mount import mounted, there

pytestmark = pytest.mark.fuse

LIBC = ctypes.CDLL(None, use_errno=True)
HANDLE_BYTES = 128
AT_FDCWD = -100


def handle_of(path: Path) -> bytes:
    """The handle of a file or folder."""
    told = ctypes.create_string_buffer(struct.pack("Ii", HANDLE_BYTES, 0), 8 + HANDLE_BYTES)
    mount = ctypes.c_int()
    if LIBC.name_to_handle_at(AT_FDCWD, os.fsencode(path), told, ctypes.byref(mount), 0):
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
    length, _ = struct.unpack_from("Ii", told.raw)
    return told.raw[: 8 + length]


def opened(root: Path, handle: bytes, flags: int) -> int:
    """What a handle leads to, opened."""
    mount = os.open(root, os.O_RDONLY)
    try:
        fd = LIBC.open_by_handle_at(mount, ctypes.create_string_buffer(handle, len(handle)), flags)
        if fd < 0:
            raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
        return fd
    finally:
        os.close(mount)


def read(root: Path, handle: bytes) -> bytes:
    """The bytes of the file of a handle."""
    with open(opened(root, handle, os.O_RDONLY), "rb") as file:
        return file.read()


def names(root: Path, handle: bytes) -> list[str]:
    """What is in the folder of a handle, and that its `..` leads up."""
    fd = opened(root, handle, os.O_RDONLY | os.O_DIRECTORY)
    try:
        assert os.stat("..", dir_fd=fd).st_ino == (root / "bucket").stat().st_ino
        return sorted(os.listdir(fd))
    finally:
        os.close(fd)


async def test_handles_outlive_a_restart_and_a_rename_and_never_lead_to_another_file(tmp_path, transport):
    async with engine_at(tmp_path) as engine:
        await engine.buckets.create("bucket", "alice")
        for key in (b"d/one", b"d/two", b"d/gone", b"d/replaced"):
            await engine.objects.put("bucket", key, body_of(b"content of " + key), PutSpec())
        async with mounted(tmp_path, engine, transport) as root:
            paths = {name: root / "bucket/d" / name for name in ("one", "two", "gone", "replaced")}
            held = await there(lambda: {name: handle_of(path) for name, path in paths.items()})
            folder = await there(handle_of, root / "bucket/d")
            assert await there(read, root, held["one"]) == b"content of d/one"
            await there(os.rename, root / "bucket/d/two", root / "bucket/elsewhere")
            await there(os.unlink, root / "bucket/d/gone")
    async with engine_at(tmp_path) as engine:
        await engine.objects.put("bucket", b"d/replaced", body_of(b"something else"), PutSpec())
        async with mounted(tmp_path, engine, transport) as root:
            assert await there(read, root, held["one"]) == b"content of d/one"
            assert await there(read, root, held["two"]) == b"content of d/two"
            assert await there(names, root, folder) == ["one", "replaced"]
            for name in ("gone", "replaced"):
                with pytest.raises(OSError, match=os.strerror(errno.ESTALE)):
                    await there(read, root, held[name])
